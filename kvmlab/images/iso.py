"""Writing CD images: ISO 9660, with long names, and with a boot loader if need be.

The format is ECMA-119, the long names are Rock Ridge's and Joliet's, and what makes a CD
bootable is the "El Torito" specification; pycdlib knows them all.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

# isolinux is the first program of such a CD, and wants a table of where things are written
# into it: https://wiki.syslinux.org/wiki/index.php?title=ISOLINUX
_LOADER, _CATALOGUE = "isolinux/isolinux.bin", "isolinux/boot.cat"
_LOADER_SECTORS = 4  # of 512 bytes, which the BIOS loads; isolinux loads its own rest


def write_iso(
    iso: Path,
    files: Mapping[str, bytes],
    *,
    label: str,
    bootable: bool = False,
) -> None:
    """Write a CD image.

    Args:
        iso: the file to write.
        files: contents by path, without a leading slash.
        label: the volume's name, at most 16 characters.
        bootable: ``isolinux/isolinux.bin`` is among the files, and shall be booted.

    Example:
        >>> write_iso(Path("seed.iso"), {"meta-data": b"{}"}, label="cidata")
    """
    # Imported late: only who writes a CD needs it.
    from pycdlib import PyCdlib

    disc = PyCdlib()
    disc.new(
        interchange_level=3,
        joliet=3,
        rock_ridge="1.09",
        vol_ident=label,
        sys_ident="LINUX",
    )
    short: dict[str, str] = {"": ""}
    folders = {str(each) for path in files for each in PurePosixPath(path).parents} - {"."}
    if bootable:
        folders.add(str(PurePosixPath(_CATALOGUE).parent))
    for folder in sorted(folders):
        parent, name = _split(folder)
        short[folder] = f"{short[parent]}/{_short(name, short, short[parent])}"
        disc.add_directory(short[folder], rr_name=name, joliet_path=f"/{folder}")
    for path, content in sorted(files.items()):
        parent, name = _split(path)
        short[path] = f"{short[parent]}/{_short(name, short, short[parent])}"
        disc.add_fp(
            io.BytesIO(content),
            len(content),
            f"{short[path]};1",
            rr_name=name,
            joliet_path=f"/{path}",
        )
    if bootable:
        disc.add_eltorito(
            f"{short[_LOADER]};1",
            bootcatfile="/ISOLINUX/BOOT.CAT;1",
            rr_bootcatname="boot.cat",
            joliet_bootcatfile=f"/{_CATALOGUE}",
            boot_load_size=_LOADER_SECTORS,
            boot_info_table=True,
        )
    disc.write(str(iso))
    disc.close()


def _split(path: str) -> tuple[str, str]:
    parent, _, name = path.rpartition("/")
    return parent, name


def _short(name: str, taken: Mapping[str, str], parent: str) -> str:
    """Return a name as plain ISO 9660 has them: capitals, digits, "_", one dot; 8.3 at most."""
    stem, _, ending = re.sub(r"[^A-Z0-9_.]", "_", name.upper()).partition(".")
    ending = re.sub(r"\.", "_", ending)[:3]
    for number in range(1000):
        mark = f"{number}" if number else ""
        short = stem[: 8 - len(mark)] + mark + (f".{ending}" if ending else "")
        if f"{parent}/{short}" not in taken.values():
            return short
    raise AssertionError("a folder of a CD has fewer files of like names")
