"""What a lab host could leave on the machine, and the machine's own network state."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Traces:
    """Namespaces other than ours, supervisors, mounts, interfaces."""

    found: frozenset[str]

    @classmethod
    def taken(cls) -> Traces:
        found = set()
        for process in Path("/proc").glob("[0-9]*"):
            try:
                words = (process / "cmdline").read_bytes().split(b"\0")
                namespace = os.readlink(process / "ns/pid")
            except OSError:
                continue  # it ended, or is none of our business
            if b"kvmlab.labhost.supervisor" in words:
                found.add(f"supervisor {process.name}")
            if namespace != os.readlink("/proc/self/ns/pid"):
                found.add(f"process in {namespace}")
        found |= {f"mount {line}" for line in _mounts()}
        found |= {f"interface {each['ifname']}" for each in _json("ip", "-json", "link")}
        return cls(frozenset(found))

    def beyond(self, before: Traces) -> set[str]:
        """Return what is here now and was not before."""
        return set(self.found - before.found)


def _mounts() -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line.split()[4] for line in lines]


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
        ["sysctl", "-a", "--pattern", "^(net|kernel|vm)\\."],
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
