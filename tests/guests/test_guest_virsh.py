"""The virsh commands the library shows are true: a shell that runs them does the same.

Each deed is done to one guest through the library, and the commands that it tells of are
run for its twin.
"""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from made import PREFIX, Make

from kvmlab import Guest, Lab
from kvmlab.specs import GuestSpec

PATIENCE_S = 120
ONE, TWIN = f"{PREFIX}one", f"{PREFIX}twin"


def shell(commands: str, folder: Path | None = None) -> str:
    """Run commands as a learner who copies them; fail as they fail."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, f"{commands}\n{done.stderr}"
    return done.stdout


def for_twin(commands: str) -> str:
    return commands.replace(ONE, TWIN)


def alike(one: Guest, twin: Guest) -> tuple[GuestSpec, GuestSpec]:
    """Return both definitions without what must be each guest's own."""

    def bare(spec: GuestSpec) -> GuestSpec:
        cards = tuple(replace(card, mac=None, target=None) for card in spec.interfaces)
        return replace(spec, uuid=None, interfaces=cards)

    return GuestSpec.from_xml(for_twin(bare(one.spec).to_xml())), bare(twin.spec)


@pytest.mark.parametrize(
    "wish",
    [
        {"image": "tiny", "direct_kernel": True, "vcpus": 2, "max_memory_mib": 256, "disk_gib": 1},
        {"image": "hello", "networks": ["default", "default"], "boot": ["network", "hd"]},
        {"networks": [], "disk_gib": 0.25},
        {},
    ],
    ids=["tiny", "hello", "empty disk", "nothing"],
)
def test_creating(wish: dict[str, object], make: Make, lab: Lab) -> None:
    one = make("one", **wish)
    try:
        shell(for_twin(lab.guests.preview("other", **wish).replace("other", TWIN)))
        twin = lab.guests[TWIN]
        mine, theirs = alike(one, twin)
        assert mine == theirs
        pool = lab.pools["default"].volumes
        if mine.disks:
            assert replace(pool[f"{ONE}.qcow2"].spec, name="", allocation_bytes=0) == replace(
                pool[f"{TWIN}.qcow2"].spec, name="", allocation_bytes=0
            )
    finally:
        if TWIN in lab.guests:
            lab.guests[TWIN].delete()


DEEDS: list[tuple[str, Callable[[Guest], object]]] = [
    ("autostart", lambda guest: setattr(guest, "autostart", True)),
    ("no autostart", lambda guest: setattr(guest, "autostart", False)),
    ("memory", lambda guest: guest.set_memory(32)),
    ("vcpus", lambda guest: guest.set_vcpus(3)),
    ("start", lambda guest: guest.start(paused=True)),
    ("resume", lambda guest: guest.resume()),
    ("suspend", lambda guest: guest.suspend()),
    ("managed save", lambda guest: guest.managed_save()),
    ("start saved", lambda guest: guest.start()),
    ("reset", lambda guest: guest.reset()),
    ("destroy", lambda guest: guest.destroy()),
    ("start again", lambda guest: guest.start()),
    ("managed save again", lambda guest: guest.managed_save()),
    ("forget it", lambda guest: guest.remove_managed_save()),
]


def test_a_whole_life(make: Make, lab: Lab) -> None:
    one, twin = make("one", image="hello"), make("twin", image="hello")
    for what, deed in DEEDS:
        deed(one)
        shell(for_twin(one.virsh))
        assert one.state == twin.state, what
        assert one.autostart == twin.autostart, what
        assert one.has_managed_save == twin.has_managed_save, what
        mine, theirs = alike(one, twin)
        assert mine == theirs, what


def test_renaming_and_removing(make: Make, lab: Lab) -> None:
    one = make("one", image="hello")
    make("twin", image="hello")
    one.rename(f"{ONE}-b")
    shell(for_twin(one.virsh))
    twin = lab.guests[f"{TWIN}-b"]
    mine, theirs = alike(one, twin)
    assert mine == theirs
    one.start()
    twin.start()
    one.delete()
    shell(for_twin(one.virsh))
    assert not [name for name in lab.guests if name.startswith((ONE, TWIN))]
    assert not [name for name in lab.pools["default"].volumes if name.startswith((ONE, TWIN))]


def test_questions(web: Guest, lab: Lab, tmp_path: Path) -> None:
    assert web.state == "running"
    assert shell(web.virsh).strip() == "running"
    assert web.uuid == shell(web.virsh).strip()
    assert GuestSpec.from_xml(web.xml) == GuestSpec.from_xml(shell(web.virsh))
    web.wait_address(timeout_s=PATIENCE_S)
    for source in ("agent", "lease"):
        addresses = web.addresses(source)  # type: ignore[arg-type]
        assert all(each.address in shell(web.virsh) for each in addresses)
    web.screenshot()
    shell(web.virsh, tmp_path)
    assert (tmp_path / f"{web.name}.ppm").exists()
    assert f"Domain: '{web.name}'" in shell(lab.virsh_log.virsh("domstats", web.name))
    web.wait_ready()
    assert "return" in shell(web.virsh)


def test_running_a_command(web: Guest) -> None:
    result = web.run("echo 'it''s' \"$HOME\"; echo again")
    told = json.loads(shell(web.virsh))["return"]
    assert base64.b64decode(told["out-data"]).decode() == result.stdout == "its /root\nagain\n"
