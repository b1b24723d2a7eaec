"""What guests use of the host, as libvirt counts it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import libvirt

from kvmlab.states import state_word

GROUPS = (
    libvirt.VIR_DOMAIN_STATS_STATE
    | libvirt.VIR_DOMAIN_STATS_CPU_TOTAL
    | libvirt.VIR_DOMAIN_STATS_BALLOON
    | libvirt.VIR_DOMAIN_STATS_VCPU
    | libvirt.VIR_DOMAIN_STATS_INTERFACE
    | libvirt.VIR_DOMAIN_STATS_BLOCK
)


@dataclass(frozen=True)
class GuestStats:
    """One measurement of one guest. Counters count from the guest's start.

    Attributes:
        guest: its name.
        time_s: when it was taken, on a clock that only goes forward.
        state: libvirt's word: "running", "paused", "shut off", ...
        vcpus: virtual CPUs plugged in.
        cpu_time_s: CPU time of the host spent on the guest.
        memory_mib: memory the guest has now, the balloon taken off.
        max_memory_mib: memory it can have.
        unused_memory_mib: what the guest itself leaves unused, if it tells.
        resident_memory_mib: memory of the host that its QEMU holds.
        disk_read_bytes: read from all its disks.
        disk_written_bytes: written to all its disks.
        net_received_bytes: received by all its network cards.
        net_sent_bytes: sent by all its network cards.

    Example:
        >>> web.stats().memory_mib
        256
    """

    guest: str
    time_s: float
    state: str
    vcpus: int
    cpu_time_s: float
    memory_mib: int
    max_memory_mib: int
    unused_memory_mib: int | None
    resident_memory_mib: int | None
    disk_read_bytes: int
    disk_written_bytes: int
    net_received_bytes: int
    net_sent_bytes: int

    def cpu_percent_since(self, earlier: GuestStats) -> float:
        """Return the CPU use between two measurements; one busy vCPU is 100.

        Example:
            >>> before = web.stats()
            >>> web.run("sha256sum /dev/vda")
            >>> web.stats().cpu_percent_since(before)
            97.4
        """
        elapsed_s = self.time_s - earlier.time_s
        return 100 * (self.cpu_time_s - earlier.cpu_time_s) / elapsed_s if elapsed_s > 0 else 0.0


def read(records: Iterable[tuple[Any, dict[str, Any]]]) -> list[GuestStats]:
    """Turn what ``getAllDomainStats`` returns into measurements.

    The keys are those of ``virsh domstats`` (libvirt-domain.c, virConnectGetAllDomainStats).

    Example:
        >>> read(connection.getAllDomainStats(GROUPS))[0].guest
        'web'
    """
    now = time.monotonic()
    return [_one(domain.name(), now, record) for domain, record in records]


def _one(name: str, now: float, record: dict[str, Any]) -> GuestStats:
    def mib(key: str) -> int | None:
        kib = record.get(key)
        return None if kib is None else kib // 1024

    def total(device: str, counter: str) -> int:
        count = record.get(f"{device}.count", 0)
        return sum(record.get(f"{device}.{i}.{counter}", 0) for i in range(count))

    return GuestStats(
        guest=name,
        time_s=now,
        state=state_word(record["state.state"]),
        vcpus=record.get("vcpu.current", 0),
        cpu_time_s=record.get("cpu.time", 0) / 1e9,
        memory_mib=mib("balloon.current") or 0,
        max_memory_mib=mib("balloon.maximum") or 0,
        unused_memory_mib=mib("balloon.unused"),
        resident_memory_mib=mib("balloon.rss"),
        disk_read_bytes=total("block", "rd.bytes"),
        disk_written_bytes=total("block", "wr.bytes"),
        net_received_bytes=total("net", "rx.bytes"),
        net_sent_bytes=total("net", "tx.bytes"),
    )
