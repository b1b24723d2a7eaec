"""Asks libosinfo, for kvmlab.images.osinfo: a program of its own, for the system's Python.

libosinfo's binding belongs to the system's Python (virt-install brings it along), and can't
be installed into another one.

    python3 osinfo_query.py medium FILE.iso
    python3 osinfo_query.py release debian 12

Prints JSON: what libosinfo knows of the operating system, or ``null``.
"""

import json
import re
import sys
from typing import Any


def main(question: str, *words: str) -> None:
    """Answer one question on standard output."""
    import gi

    gi.require_version("Libosinfo", "1.0")
    from gi.repository import Libosinfo

    loader = Libosinfo.Loader()
    loader.process_default_path()
    database = loader.get_db()
    if question == "medium":
        found = _of_medium(Libosinfo, database, words[0])
    else:
        found = _of_release(database, words[0], words[1])
    print(json.dumps(found and _told(found)))


def _of_medium(osinfo: Any, database: Any, path: str) -> Any:
    anything = osinfo.MediaDetectFlags(0)  # also a CD that can't be booted, as of drivers
    medium = osinfo.Media.create_from_location_with_flags(path, None, anything)
    return medium.get_os() if database.identify_media(medium) else None


def _of_release(database: Any, distribution: str, version: str) -> Any:
    """Find a system by what its /etc/os-release says.

    Of a release that is newer than the database, the newest that it knows: what suits
    that one will do.
    """
    family = distribution.partition("-")[0]
    systems: dict[tuple[int, ...], Any] = {}
    for number in range(database.get_os_list().get_length()):
        each = database.get_os_list().get_nth(number)
        told, name = each.get_version() or "", each.get_distro() or ""
        if name in (family, f"{family}linux") and re.fullmatch(r"\d+(\.\d+)*", told):
            key = tuple(map(int, told.split(".")))
            # Editions share their version with the plain system: fedora37, silverblue37.
            if key not in systems or each.get_short_id() == name + told:
                systems[key] = each
    wanted = tuple(map(int, re.findall(r"\d+", version)))
    for length in range(len(wanted), 0, -1):  # Alpine's 3.23.1 is libosinfo's 3.23
        if found := systems.get(wanted[:length]):
            return found
    return systems[max(systems)] if systems else None


def _told(system: Any) -> dict[str, Any]:
    return {
        "id": system.get_id(),
        "name": system.get_name(),
        "version": system.get_version(),
        "minimum": _resources(system.get_minimum_resources()),
        "recommended": _resources(system.get_recommended_resources()),
    }


def _resources(resources: Any) -> dict[str, int]:
    """Return memory and disk in bytes, for the architecture of the lab's guests or for any."""
    best: dict[str, int] = {}
    for number in range(resources.get_length()):
        each = resources.get_nth(number)
        if each.get_architecture() in ("x86_64", "all"):
            said = {"memory": each.get_ram(), "disk": each.get_storage()}
            said = {key: value for key, value in said.items() if value > 0}
            best = best | said if each.get_architecture() == "x86_64" else said | best
    return best


if __name__ == "__main__":
    main(*sys.argv[1:])
