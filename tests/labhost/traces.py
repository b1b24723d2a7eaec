"""What a lab host could leave on the machine, and the machine's own network state."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path


def traces(lab_home: Path) -> set[str]:
    """Return what is there of one lab's host: processes, mounts, and any bridge or tap.

    A process belongs to it that has the lab's folder in its environment or command
    line, or is in a PID namespace with one that has.
    """
    mark = str(lab_home).encode()
    marked, namespace_of = set(), {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            namespace_of[process.name] = os.readlink(process / "ns/pid")
            if mark in (process / "cmdline").read_bytes() + (process / "environ").read_bytes():
                marked.add(process.name)
        except OSError:
            continue  # it ended, or is none of our business
    theirs = {namespace_of[each] for each in marked} - {os.readlink("/proc/self/ns/pid")}
    inside = {each for each, namespace in namespace_of.items() if namespace in theirs}
    found = {f"process {each}" for each in marked | inside}
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    found |= {f"mount {line}" for line in mounts if str(lab_home) in line}
    links = {str(each["ifname"]) for each in _json("ip", "-json", "link")}
    return found | {f"interface {each}" for each in links if each.startswith(("virbr", "vnet"))}


def _json(*command: str) -> list[dict[str, object]]:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    parsed: list[dict[str, object]] = json.loads(done.stdout or "[]")
    return parsed


# What the kernel changes by itself while packets flow.
RESTLESS = ("nf_conntrack_count", "ipv4.route.", "random", "ns_last_pid", "netdev_rss_key")


def network_state() -> dict[str, str]:
    """Return addresses, routes, firewall and network sysctls of this machine."""
    addresses = _json("ip", "-json", "addr")
    for interface in addresses:
        for address in interface.get("addr_info", []):  # type: ignore[attr-defined]
            address.pop("valid_life_time", None)
            address.pop("preferred_life_time", None)
    rules = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=False)
    settings = subprocess.run(
        ["sysctl", "-a", "--pattern", "^(net\\.|kernel\\.(host|domain)name)"],
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "addresses": json.dumps(addresses, indent=1),
        "routes": json.dumps(_json("ip", "-json", "route"), indent=1),
        "routes of IPv6": json.dumps(_json("ip", "-6", "-json", "route"), indent=1),
        # An ordinary user may not read the rules, and could not change them either.
        "firewall": rules.stdout,
        "sysctls": "\n".join(
            line
            for line in settings.stdout.splitlines()
            if not any(each in line for each in RESTLESS)
        ),
    }
