"""What a guest goes through, against libvirt's test driver and as QEMU tells it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import libvirt
import pytest

import kvmlab
from kvmlab.events import Event
from kvmlab.guests.transitions import Transitions

DOMAIN = """<domain type='test'><name>web</name><memory>8192</memory>
<os><type>hvm</type></os></domain>"""


def test_from_the_cradle_to_the_grave(tmp_path: Path) -> None:
    node = tmp_path / "node.xml"
    node.write_text("<node/>")
    with kvmlab.connect(f"test://{node}") as lab:
        seen = Transitions(lab, "web")
        with lab.events.watch(guest="web") as watch:
            domain = lab.connection.defineXML(DOMAIN)
            for do in ("create", "suspend", "resume", "managedSave", "create", "destroy"):
                getattr(domain, do)(*([0] if do == "managedSave" else []))
            domain.undefine()
            watch.wait_for("undefined")
        seen.close()
    assert list(seen) == [
        ("no guest", "define", "shut off"),
        ("shut off", "start", "running"),
        ("running", "suspend", "paused"),
        ("paused", "resume", "running"),
        ("running", "managedsave", "saved"),
        ("saved", "start", "running"),
        ("running", "destroy", "shut off"),
        ("shut off", "undefine", "no guest"),
    ]


class FakeQemu:
    """A lab whose events are a list, and whose guest's state is given beside each."""

    def __init__(self, told: list[tuple[str, str, list[int]]]) -> None:
        self.told = told
        self.now = [libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED]
        self.connection = self.events = self

    def lookupByName(self, _: str) -> Any:  # noqa: N802 - libvirt's name
        return SimpleNamespace(state=lambda: self.now, hasManagedSaveImage=lambda: 0)

    def watch(self, guest: str) -> Any:
        return self

    def close(self) -> None:
        pass

    def __iter__(self) -> Any:
        for kind, detail, now in self.told:
            self.now = now
            yield Event("web", kind, detail)


RUNNING = [libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_BOOTED]
PAUSED = [libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER]
SAVING = [libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_SAVE]
SAVED = [libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_SAVED]
OFF = [libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN]

BOOT = [
    ("agent", "disconnected", RUNNING),
    ("resumed", "unpaused", RUNNING),
    ("started", "booted", RUNNING),
]


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (BOOT, [("shut off", "start", "running")]),
        (
            [*BOOT, ("suspended", "paused", SAVING), ("stopped", "saved", SAVED)],
            [("shut off", "start", "running"), ("running", "managedsave", "saved")],
        ),
        (  # the question comes when the save is through
            [*BOOT, ("suspended", "paused", SAVED), ("stopped", "saved", SAVED)],
            [("shut off", "start", "running"), ("running", "managedsave", "saved")],
        ),
        (  # or even later
            [*BOOT, ("suspended", "paused", RUNNING), ("stopped", "saved", RUNNING)],
            [("shut off", "start", "running"), ("running", "managedsave", "saved")],
        ),
        (
            [*BOOT, ("suspended", "paused", PAUSED), ("stopped", "saved", SAVED)],
            [
                ("shut off", "start", "running"),
                ("running", "suspend", "paused"),
                ("paused", "managedsave", "saved"),
            ],
        ),
        (
            [("started", "restored", RUNNING), ("resumed", "from snapshot", RUNNING)],
            [("shut off", "start", "running")],
        ),
        (
            [("started", "restored", PAUSED), ("suspended", "restored", PAUSED)],
            [("shut off", "start", "paused")],
        ),
        (
            [
                *BOOT,
                ("stopped", "from snapshot", OFF),
                ("started", "from snapshot", RUNNING),
                ("resumed", "from snapshot", RUNNING),
            ],
            [
                ("shut off", "start", "running"),
                ("running", "snapshot-revert", "shut off"),
                ("shut off", "snapshot-revert", "running"),
            ],
        ),
        (
            [("started", "from snapshot", PAUSED), ("suspended", "from snapshot", PAUSED)],
            [("shut off", "snapshot-revert", "paused")],
        ),
        (
            [*BOOT, ("reboot", "", RUNNING), ("reboot", "", RUNNING)],
            [("shut off", "start", "running"), *[("running", "reboot", "running")] * 2],
        ),
        (
            [*BOOT, ("shutdown", "guest", OFF), ("stopped", "shutdown", OFF)],
            [("shut off", "start", "running"), ("running", "shutdown", "shut off")],
        ),
        (
            [*BOOT, ("shutdown", "host", OFF), ("stopped", "destroyed", OFF)],
            [("shut off", "start", "running"), ("running", "destroy", "shut off")],
        ),
    ],
    ids=[
        "boot",
        "save",
        "save, seen late",
        "save, seen too late",
        "save of a paused guest",
        "restore",
        "restore of a paused guest",
        "revert",
        "revert to a paused guest",
        "reboot",
        "shutdown",
        "destroy",
    ],
)
def test_as_qemu_tells_it(
    told: list[tuple[str, str, list[int]]], expected: list[tuple[str, str, str]]
) -> None:
    seen = Transitions(FakeQemu(told), "web")  # type: ignore[arg-type]
    seen.close()
    assert list(seen) == expected
