"""Picking from unpacked Debian packages what a small system needs, and no more."""

from __future__ import annotations

import re
import stat
from pathlib import Path

from kvmlab.errors import ImageError
from kvmlab.images.tree import FILE, Node, Tree

LIBRARIES = "usr/lib/x86_64-linux-gnu"
_SONAME = re.compile(rb"\0((?:lib|ld-)[\w.+-]+\.so(?:\.\d+)*)(?=\0)")


def files(packages: Tree, paths: tuple[str, ...]) -> Tree:
    """Return the files at some paths.

    Raises:
        ImageError: the packages don't have them all.
    """
    if missing := [path for path in paths if path not in packages]:
        raise ImageError(
            "Debian's packages do not have all the files they used to",
            seen=missing,
            next_step="Update kvmlab: a newer one knows where they are now",
        )
    return {path: packages[path] for path in paths}


def libraries(packages: Tree, programs: Tree) -> Tree:
    """Return the libraries ``programs`` need, and those these need.

    The names of the libraries to load stand as NUL-ended text in every ELF file.
    """
    chosen: Tree = {}
    todo = list(programs.values())
    while todo:
        node = todo.pop()
        names = [node.content] if stat.S_ISLNK(node.mode) else _SONAME.findall(node.content)
        for name in names:
            path = f"{LIBRARIES}/{name.decode()}"
            if path in packages and path not in chosen:
                chosen[path] = packages[path]
                todo.append(packages[path])
    return chosen


def modules(packages: Tree, names: tuple[str, ...]) -> Tree:
    """Return kernel modules, those they depend on, and the index modprobe reads.

    What depmod would tell it: https://man7.org/linux/man-pages/man5/modules.dep.5.html
    Every module says in itself what it depends on and which devices it drives.

    Args:
        packages: the unpacked packages, a kernel's among them.
        names: the modules' names, with underscores.

    Raises:
        ImageError: there is no module of that name.
    """
    paths = {Path(path).stem.replace("-", "_"): path for path in packages if path.endswith(".ko")}
    about: dict[str, tuple[list[str], list[str]]] = {}

    def visit(name: str) -> list[str]:
        """Note a module; return it and all that must be loaded before it, first come last."""
        path = paths.get(name, f"{name}.ko")
        content = files(packages, (path,))[path].content
        direct = _said(content, b"depends")[0].replace("-", "_").split(",")
        before = [each for other in direct if other for each in visit(other)]
        # Of a module needed twice the last place counts: that is loaded first.
        before = list(dict.fromkeys(reversed(before)))[::-1]
        about[name] = before, _said(content, b"alias")
        return [name, *before]

    for name in names:
        visit(name)
    folder = paths[names[0]].partition("/kernel/")[0]
    tree = {paths[name]: packages[paths[name]] for name in about}
    local = {name: paths[name].removeprefix(f"{folder}/") for name in about}
    dep = "".join(
        f"{local[name]}: {' '.join(local[each] for each in about[name][0])}\n"
        for name in sorted(about)
    )
    alias = "".join(f"alias {alias} {name}\n" for name in sorted(about) for alias in about[name][1])
    tree[f"{folder}/modules.dep"] = Node(FILE, dep.encode())
    tree[f"{folder}/modules.alias"] = Node(FILE, alias.encode())
    return tree


def _said(module: bytes, key: bytes) -> list[str]:
    """Return what a kernel module says of itself under ``key``."""
    return [value.decode() for value in re.findall(rb"\b" + key + rb"=([ -~]*)\0", module)]


def applets(packages: Tree) -> list[str]:
    """Return the names of the commands BusyBox has: a list in the program, from ``[`` on."""
    program = files(packages, ("usr/bin/busybox",))["usr/bin/busybox"].content
    names = program.partition(b"\0[\0[[\0")[2].partition(b"\0\0")[0]
    return ["[", "[[", *names.decode().split("\0")]
