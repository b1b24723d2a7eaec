"""A guest's snapshots as the tree that they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from kvmlab.specs import SnapshotSpec

if TYPE_CHECKING:
    from kvmlab.handle import GuestHandle

Children = Literal["keep", "remove", "only"]


@dataclass(frozen=True)
class SnapshotNode:
    """A snapshot in the tree of its guest's snapshots, as plain data.

    Attributes:
        name: its name.
        description: what a person had to say on it.
        kind: "internal" or "external".
        has_memory: whether the guest's memory is a part of it.
        state: the guest's state then, in libvirt's word.
        created: when it was taken.
        is_current: whether the guest's disks now are what became of this one, and of none
            of its children.
        children: the snapshots that were taken after it, the oldest first.

    Example:
        >>> [node.name for node in web.snapshots.tree()]
        ['clean']
    """

    name: str
    description: str = ""
    kind: str = "internal"
    has_memory: bool = False
    state: str = "shutoff"
    created: datetime | None = None
    is_current: bool = False
    children: tuple[SnapshotNode, ...] = ()


def specs_of(guest: GuestHandle) -> dict[str, SnapshotSpec]:
    """Return what libvirt knows of each of a guest's snapshots, the oldest first.

    Example:
        >>> specs_of(web)["clean"].kind
        'internal'
    """
    found = [SnapshotSpec.from_xml(each.getXMLDesc()) for each in guest._libvirt.listAllSnapshots()]
    found.sort(key=lambda spec: (spec.created_s or 0, spec.name))
    return {spec.name: spec for spec in found}


def tree_of(
    specs: Mapping[str, SnapshotSpec], current: str | None, parent: str | None = None
) -> tuple[SnapshotNode, ...]:
    """Return snapshots as a tree: those without a parent, with their children in them.

    Args:
        specs: the snapshots, the oldest first.
        current: the name of the current one.
        parent: only those that were taken after this one.

    Example:
        >>> tree_of(specs_of(web), "clean")[0].is_current
        True
    """
    return tuple(
        SnapshotNode(
            name=spec.name,
            description=spec.description or "",
            kind=spec.kind,
            has_memory=spec.has_memory,
            state=spec.state or "shutoff",
            created=datetime.fromtimestamp(spec.created_s or 0, tz=UTC),
            is_current=spec.name == current,
            children=tree_of(specs, current, spec.name),
        )
        for spec in specs.values()
        if spec.parent == parent
    )


def lines(nodes: tuple[SnapshotNode, ...], before: str = "") -> Iterator[str]:
    """Yield a tree as lines of text.

    Example:
        >>> print(*lines(web.snapshots.tree()), sep="\\n")
        clean (internal, with memory): before the update
        └─ update (internal, with memory) <- you are here
    """
    for node in nodes:
        kept = f"{node.kind}, with memory" if node.has_memory else node.kind
        note = f": {node.description}" if node.description else ""
        here = " <- you are here" if node.is_current else ""
        yield f"{before}{node.name} ({kept}){note}{here}"
        for number, child in enumerate(node.children, 1):
            last = number == len(node.children)
            first, *rest = lines((child,))
            yield f"{before}{'└─' if last else '├─'} {first}"
            for line in rest:
                yield f"{before}{'  ' if last else '│ '} {line}"


def doomed_by(name: str, specs: Mapping[str, SnapshotSpec], children: Children) -> list[str]:
    """Return what the deletion of a snapshot takes away, children before their parents.

    Example:
        >>> doomed_by("clean", specs_of(web), "remove")
        ['update', 'clean']
    """
    family = [name]
    if children != "keep":
        for parent in family:  # which grows on the way
            family += [each for each, spec in specs.items() if spec.parent == parent]
    return (family[1:] if children == "only" else family)[::-1]
