"""Deleting a snapshot without harm to any other.

An external snapshot is a file that nobody writes to any more. What was written after it is in
overlays on that file. To forget the snapshot and keep all else, one overlay is committed into
the file, and takes its place; further ones get their own copy of what they need from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import libvirt

from kvmlab.errors import InUse, LibvirtFailed, TimedOut
from kvmlab.events import Watch
from kvmlab.snapshots.books import Merge, list_own, tell_others
from kvmlab.snapshots.files import Files, refuse_strangers
from kvmlab.snapshots.steps import Step
from kvmlab.specs import GuestSpec, SnapshotSpec
from kvmlab.storage import qemuimg
from kvmlab.storage.volumes import Progress
from kvmlab.virsh import shell

if TYPE_CHECKING:
    from kvmlab.handle import GuestHandle

_TELL_EVERY_S = 0.25
_COMMIT_S = 3600.0  # no commit that goes on takes longer; one that hangs shall end, too


def steps_to_delete(
    guest: GuestHandle,
    name: str,
    specs: Mapping[str, SnapshotSpec],
    progress: Progress | None = None,
) -> list[Step]:
    """Return the steps that forget an external snapshot, and keep all else as it is.

    Everything that could stand in the way is looked for here. Should a step fail, all data are
    still there: files are only deleted when nothing needs them any more.

    Args:
        guest: the guest.
        name: the snapshot's name.
        specs: all of the guest's snapshots.
        progress: is called with what is being done, and how much of it is done (0 to 1).

    Raises:
        InUse: a file that would change is used by somebody else, or holds an internal snapshot.
        NotSupported: the files are in no storage pool.

    Example:
        >>> steps = steps_to_delete(web, "clean", specs_of(web))
    """
    spec, domain = specs[name], guest._libvirt
    merges, files = merges_for(guest, name, specs)
    memory = [spec.memory_path] if spec.memory_path else []
    steps = [step for merge in merges for step in _merge(guest, merge, files, progress)]
    steps += tell_others(guest, name, merges, files, specs)
    forget = partial(
        domain.snapshotLookupByName(name).delete, libvirt.VIR_DOMAIN_SNAPSHOT_DELETE_METADATA_ONLY
    )
    log = guest.lab.virsh_log
    steps.append(Step(log.virsh("snapshot-delete", guest.name, name, "--metadata"), forget))
    gone = [merge.overlay or ("" if merge.is_shared else merge.point) for merge in merges]
    is_active = bool(domain.isActive())
    steps += list_own(guest, merges, gone, files, specs, is_active=is_active)
    for path in (*gone, *memory):
        if path in files:
            pool = files.volume(path).pool
            steps.append(Step(log.virsh("pool-refresh", pool.name), pool.refresh))
            steps.append(files.deletion(path))
    return steps


def merges_for(
    guest: GuestHandle, name: str, specs: Mapping[str, SnapshotSpec]
) -> tuple[list[Merge], Files]:
    """Return what would be merged if an external snapshot was deleted; only looks.

    Args:
        guest: the guest.
        name: the snapshot's name.
        specs: all of the guest's snapshots.

    Raises:
        InUse: a file that would change is used by somebody else, or holds an internal snapshot.
        NotSupported: the files are in no storage pool.

    Example:
        >>> merges, files = merges_for(web, "clean", specs_of(web))
    """
    spec, domain = specs[name], guest._libvirt
    is_active = bool(domain.isActive())
    disks = GuestSpec.from_xml(domain.XMLDesc()).disks
    now = {disk.target: disk.path for disk in disks if disk.path}
    points = [point for each in specs.values() for point in each.points.values()]
    memory = [spec.memory_path] if spec.memory_path else []
    files = Files(guest.lab, [*points, *now.values(), *memory])
    ours = {path for each in (*points, *now.values()) for path in files.chain(each)}
    merges = [
        _plan(guest, name, target, now.get(target, point), files, ours, specs, is_active=is_active)
        for target, point in spec.points.items()
        if point in files
    ]
    return merges, files


def _plan(
    guest: GuestHandle,
    name: str,
    target: str,
    now: str,
    files: Files,
    ours: set[str],
    specs: Mapping[str, SnapshotSpec],
    *,
    is_active: bool,
) -> Merge:
    point = specs[name].points[target]
    above = files.on(point)
    if strangers := [path for path in above if path not in ours]:
        raise InUse(
            f"snapshot {name!r} can't be deleted: an overlay that is not this guest's stands on "
            "its file",
            seen=strangers[0],
            next_step="Delete that first, or make it independent of the file",
        )
    chain = files.chain(now)
    overlay = next((path for path in above if path in chain), above[0] if above else None)
    others = [each for each in specs.values() if each.name != name]
    kept = [each.kind for each in others if point in each.points.values()]
    if "external" in kept:  # both are the same file: it stays as it is
        return Merge(target, point, now, None, (), is_live=False, is_shared=True)
    for path in above:
        for each in others:
            if path in each.held_in:
                raise InUse(
                    f"snapshot {name!r} can't be deleted: internal snapshot {each.name!r} is "
                    "kept in an overlay on its file",
                    seen=path,
                    next_step=f"Delete {each.name!r} first",
                )
    for path in filter(None, (point, overlay)):
        refuse_strangers(guest.lab, guest.name, path)
    return Merge(
        target,
        point,
        now,
        overlay,
        tuple(path for path in above if path != overlay),
        is_live=is_active and overlay in chain,
        is_shared=bool(kept),
    )


def _merge(
    guest: GuestHandle, merge: Merge, files: Files, progress: Progress | None
) -> Iterator[Step]:
    below = files.below(merge.point)
    onto = ("-F", files.spec(merge.point).backing_format or "raw") if below else ()
    for other in merge.others:
        yield _qemu_img(guest, progress, "rebase", "-f", "qcow2", "-b", below or "", *onto, other)
    if merge.overlay is None:
        return
    if merge.is_live:
        yield _commit_live(guest, merge, progress)
    else:
        yield _qemu_img(guest, progress, "commit", "-f", "qcow2", "-d", merge.overlay)
    chain = files.chain(merge.now) if merge.is_live else []
    point = ("-b", merge.point, "-F", files.spec(merge.point).format or "raw")
    for other in files.on(merge.overlay):
        if other not in chain:  # QEMU itself has seen to those that it has open
            yield _qemu_img(guest, progress, "rebase", "-u", "-f", "qcow2", *point, other)


def _qemu_img(guest: GuestHandle, progress: Progress | None, *words: str) -> Step:
    doing = f"{words[0]} {words[-1]}"
    return Step(
        shell("qemu-img", *words),
        partial(qemuimg.run, guest.lab, *words, doing=doing, progress=progress),
    )


def _commit_live(guest: GuestHandle, merge: Merge, progress: Progress | None) -> Step:
    """Let the running guest's QEMU commit an overlay, and wait for it."""
    is_top = merge.overlay == merge.now
    words = ("--active", "--pivot") if is_top else ("--top", merge.overlay, "--wait")
    command = ("blockcommit", guest.name, merge.target, "--base", merge.point, *words)

    def commit() -> None:
        domain, target = guest._libvirt, merge.target
        flags = libvirt.VIR_DOMAIN_BLOCK_COMMIT_ACTIVE if is_top else 0
        with guest.lab.events.watch(guest=guest.name) as watch:
            top = None if is_top else merge.overlay
            domain.blockCommit(target, merge.point, top, 0, flags)
            try:
                while (event := _next(watch, domain, merge, progress)) != "completed":
                    if event != "ready":
                        raise LibvirtFailed(
                            f"committing an overlay of guest {guest.name!r} failed", seen=event
                        )
                    domain.blockJobAbort(target, libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT)
            except BaseException:
                with suppress(libvirt.libvirtError):  # most often there is none any more
                    domain.blockJobAbort(target)
                raise

    return Step(guest.lab.virsh_log.virsh(*command), commit)


def _next(watch: Watch, domain: Any, merge: Merge, progress: Progress | None) -> str:
    """Wait for the next word on a disk's block job; tell how far it is meanwhile."""
    while True:
        try:
            event = watch.next(_TELL_EVERY_S if progress else _COMMIT_S)
        except TimedOut:
            if progress is None:
                raise
            told = domain.blockJobInfo(merge.target)
            if told and told.get("end"):
                progress(f"commit {merge.overlay}", min(told["cur"] / told["end"], 1.0))
            continue
        about, _, state = event.detail.rpartition(" ")
        if event.kind == "block job" and about == merge.target:
            return state
        if event.kind == "stopped":
            return "stopped"
