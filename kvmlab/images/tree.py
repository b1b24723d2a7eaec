"""A file tree held in memory, on its way from packages into a guest's disk.

Everything in it belongs to the guest's root and has the modes given here, so
building an image needs neither root nor a well-behaved umask.
"""

from __future__ import annotations

import io
import os
import re
import stat
import tarfile
from collections.abc import Callable
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import IO, NamedTuple


class Node(NamedTuple):
    """One file: its type and permissions as in ``st_mode``, and its content or link target."""

    mode: int
    content: bytes = b""


Tree = dict[str, Node]
"""Paths without a leading slash, to nodes. A folder needs no node of its own unless it is empty."""

FILE, PROGRAM, FOLDER = stat.S_IFREG | 0o644, stat.S_IFREG | 0o755, stat.S_IFDIR | 0o755


def link(target: str) -> Node:
    """Return a symbolic link to ``target``.

    Example:
        >>> link("usr/bin").content
        b'usr/bin'
    """
    return Node(stat.S_IFLNK | 0o777, target.encode())


def from_tar(archive: IO[bytes], wanted: Callable[[str], bool]) -> Tree:
    """Read the wanted files and links out of a tar stream.

    ``/bin`` and ``/lib`` are folded into ``/usr``, as on an installed Debian, where
    they are links (https://wiki.debian.org/UsrMerge); so are the two ``sbin`` folders.

    Args:
        archive: the stream; read to its end, so that its writer can finish.
        wanted: tells by path which to keep.
    """
    tree: Tree = {}
    with tarfile.open(fileobj=archive, mode="r|") as tar:
        for member in tar:
            path = _folded(member.name)
            if not wanted(path):
                continue
            if member.issym():
                # setdefault: /sbin/ip, a link to /bin/ip, would fold into a link to itself.
                tree.setdefault(path, link(member.linkname))
            elif member.isreg() and (file := tar.extractfile(member)):
                tree[path] = Node(PROGRAM if member.mode & 0o100 else FILE, file.read())
            elif member.islnk() and (earlier := tree.get(_folded(member.linkname))):
                tree[path] = earlier
    archive.read()
    return tree


def _folded(path: str) -> str:
    """Return where a path from a package lies on a system with a merged ``/usr``."""
    path = path.removeprefix("./")
    if path.partition("/")[0] in ("bin", "sbin", "lib", "lib64"):
        path = f"usr/{path}"
    return re.sub("^usr/sbin/", "usr/bin/", path)


def from_package(folder: Traversable, prefix: str = "") -> Tree:
    """Read the files under ``folder``; those that begin with ``#!`` become programs.

    Modes on disk are not looked at: a wheel, an archive or a checkout may lose them.
    """
    tree: Tree = {}
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            tree |= from_package(entry, f"{prefix}{entry.name}/")
        else:
            content = entry.read_bytes()
            tree[prefix + entry.name] = Node(PROGRAM if content[:2] == b"#!" else FILE, content)
    return tree


def with_folders(tree: Tree) -> Tree:
    """Return ``tree`` with a node for every folder, each before what is in it."""
    folders = {str(parent): Node(FOLDER) for path in tree for parent in Path(path).parents[:-1]}
    return dict(sorted((folders | tree).items()))


def write(tree: Tree, folder: Path, time: int) -> None:
    """Write ``tree`` into the existing ``folder``, all dated ``time`` (seconds since 1970)."""
    full = with_folders(tree)
    folder.chmod(0o755)
    for path, node in full.items():
        place = folder / path
        if stat.S_ISDIR(node.mode):
            place.mkdir(exist_ok=True)
            place.chmod(0o700)  # until it is filled; its own mode may forbid writing
        elif stat.S_ISLNK(node.mode):
            place.symlink_to(node.content.decode())
        else:
            place.write_bytes(node.content)
    for path, node in reversed(full.items()):
        place = folder / path
        if not stat.S_ISLNK(node.mode):
            place.chmod(stat.S_IMODE(node.mode))
        os.utime(place, (time, time), follow_symlinks=False)


def tar(tree: Tree, time: int) -> bytes:
    """Return ``tree`` as a tar archive, all of it root's and dated ``time``."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path, node in with_folders(tree).items():
            info = tarfile.TarInfo(path)
            info.mode, info.mtime = stat.S_IMODE(node.mode), time
            if stat.S_ISDIR(node.mode):
                info.type = tarfile.DIRTYPE
            elif stat.S_ISLNK(node.mode):
                info.type, info.linkname = tarfile.SYMTYPE, node.content.decode()
            else:
                info.size = len(node.content)
            archive.addfile(info, io.BytesIO(node.content if info.isreg() else b""))
    return out.getvalue()


def cpio(tree: Tree) -> bytes:
    """Return ``tree`` as a cpio archive, the form in which Linux takes an initrd.

    The "newc" format: https://docs.kernel.org/driver-api/early-userspace/buffer-format.html
    """
    out = bytearray()

    def add(number: int, name: str, node: Node) -> None:
        encoded = name.encode() + b"\0"
        fields = (number, node.mode, 0, 0, 1, 0, len(node.content), 0, 0, 0, 0, len(encoded), 0)
        out.extend(b"070701" + b"".join(b"%08X" % field for field in fields))
        for part in (encoded, node.content):
            out.extend(part)
            out.extend(bytes(-len(out) % 4))

    for number, (name, node) in enumerate(with_folders(tree).items(), start=1):
        add(number, name, node)
    add(0, "TRAILER!!!", Node(0))
    return bytes(out)
