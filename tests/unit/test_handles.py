"""Collections and handles: mappings by name, few calls, and no error but ours."""

from __future__ import annotations

import inspect
from collections import Counter
from pathlib import Path
from typing import Any

import libvirt
import libvirt_qemu
import pytest

from kvmlab import (
    Disk,
    Disks,
    Guest,
    Guests,
    Interface,
    Interfaces,
    Lab,
    Network,
    Networks,
    Pool,
    Pools,
    Volume,
    Volumes,
    errors,
)
from kvmlab.specs import VolumeSpec


class Counting:
    """A connection that counts the calls made through it."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        self.calls[name] += 1
        return getattr(self._connection, name)


class TestCollections:
    def test_are_mappings_by_name(self, test_lab: Lab) -> None:
        guests = test_lab.guests
        assert list(guests) == ["old"]
        assert len(guests) == 1
        assert "old" in guests
        assert "new" not in guests
        assert 7 not in guests
        assert guests["old"].name == "old"
        assert guests.get("new") is None
        assert [guest.name for guest in guests.values()] == ["old"]

    def test_are_in_the_order_of_their_names(self, test_lab: Lab) -> None:
        for name in ("zoo", "ant"):
            test_lab.guests.create(name)
        assert list(test_lab.guests) == list(test_lab.guests.states()) == ["ant", "old", "zoo"]

    def test_ask_once_for_however_many(self, test_lab: Lab) -> None:
        for number in range(20):
            test_lab.guests.create(f"g{number}")
        test_lab.connection = counting = Counting(test_lab.connection)
        assert len(list(test_lab.guests.items())) == 21
        assert counting.calls == {"listAllDomains": 1}
        assert len(test_lab.guests.states()) == len(test_lab.stats()) == 21
        assert counting.calls == {"listAllDomains": 1, "getAllDomainStats": 2}

    @pytest.mark.parametrize(
        ("collection", "kind"),
        [
            ("guests", errors.GuestNotFound),
            ("networks", errors.NetworkNotFound),
            ("pools", errors.PoolNotFound),
        ],
    )
    def test_name_what_there_is(self, test_lab: Lab, collection: str, kind: type) -> None:
        there = getattr(test_lab, collection)
        with pytest.raises(kind, match=r"nobody.*There is: ") as raised:
            there["nobody"]
        assert isinstance(raised.value.__cause__, libvirt.libvirtError)
        assert next(iter(there)) in str(raised.value)

    @pytest.mark.parametrize("key", [5, ["web"], "a\0b", "\ud800"])
    def test_have_nothing_by_what_is_no_name(self, test_lab: Lab, key: Any) -> None:
        for collection in (test_lab.guests, test_lab.networks, test_lab.pools):
            with pytest.raises(errors.NotFound, match="of that name"):
                collection[key]
            assert key not in collection

    def test_show_a_table_and_escape_what_is_in_it(self, test_lab: Lab) -> None:
        test_lab.connection.defineXML(
            "<domain type='test'><name>&lt;i&gt;</name><memory>1024</memory>"
            "<os><type>hvm</type></os></domain>"
        )
        assert repr(test_lab.guests) == "<i>  shut off\nold  running"
        assert "<td>&lt;i&gt;</td><td>shut off</td>" in test_lab.guests._repr_html_()


def fail(*_: object) -> None:
    error = libvirt.libvirtError("gone")
    error.err = (1, libvirt.VIR_FROM_RPC, "client socket is closed", 2, "", "", "", 0, 0)
    raise error


class Broken:
    """What libvirt's objects are when their daemon is gone: every call fails."""

    def name(self) -> str:
        return "web"

    def getURI(self) -> str:  # noqa: N802 - libvirt's name
        return "test:///broken"

    def __getattr__(self, name: str) -> Any:
        return fail


def broken(cls: type) -> Any:
    lab = Lab(Broken())
    pool = Pool(lab, Broken())
    guest = Guest(lab, Broken())
    known = {
        Lab: lab,
        Guests: lab.guests,
        Networks: lab.networks,
        Volumes: pool.volumes,
        Volume: Volume(pool, Broken()),
        Interfaces: guest.interfaces,
        Interface: Interface(guest, MAC),
        Pools: lab.pools,
        Disks: guest.disks,
        Disk: Disk(guest, "vda"),
    }
    return known[cls] if cls in known else cls(lab, Broken())


MAC = "52:54:00:12:34:56"
ARGUMENTS: dict[str, Any] = {
    "address": "10.10.0.5",
    "command": "true",
    "host": "web",
    "kernel_args": "hostname=box password=secret",
    "key": "web",
    "limit": 512,
    "memory_mib": 64,
    "name": "new",
    "port": 80,
    "needs_bytes": 1,
    "onto": None,
    "size_gib": 1,
    "source": Path("/etc/hostname"),
    "target": Path("/tmp/kvmlab-no-such-file"),
    "spec": VolumeSpec(name="data.img", capacity_bytes=1),
    "vcpus": 1,
}
# What is not needed always, and here.
WANTED = {"size_gib"}
# What can be told without asking libvirt.
SILENT = {"uri", "interfaces", "virsh"}


def members() -> list[tuple[type, str]]:
    return [
        (cls, name)
        for cls in (
            *(Disk, Disks, Guest, Guests, Interface, Interfaces, Lab, Network, Networks),
            *(Pool, Pools, Volume, Volumes),
        )
        for name, member in inspect.getmembers(cls)
        if not name.startswith("_") and (callable(member) or isinstance(member, property))
        if name not in SILENT
    ]


def call(handle: Any, name: str) -> None:
    """Read a property, or call a method with what it needs."""
    member = getattr(handle, name)
    parameters = inspect.signature(member).parameters.values()
    needed = [each for each in parameters if each.default is each.empty or each.name in WANTED]
    places = [ARGUMENTS[each.name] for each in needed if each.kind is each.POSITIONAL_OR_KEYWORD]
    names = {each.name: ARGUMENTS[each.name] for each in needed if each.kind is each.KEYWORD_ONLY}
    list(member(*places, **names))


@pytest.mark.parametrize(("cls", "name"), members())
def test_nothing_lets_an_error_of_libvirts_through(
    cls: type, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(libvirt_qemu, "qemuAgentCommand", fail)
    with pytest.raises(errors.ConnectionLost) as raised:
        call(broken(cls), name)
    assert isinstance(raised.value.__cause__, libvirt.libvirtError)


def test_to_set_something_is_no_way_through_either() -> None:
    for cls in (Guest, Network):
        with pytest.raises(errors.ConnectionLost):
            broken(cls).autostart = True


class TestHandles:
    def test_say_what_they_are(self, test_lab: Lab) -> None:
        guest = test_lab.guests["old"]
        assert repr(guest) == "<Guest old: running>"
        guest.destroy()
        guest.undefine()
        assert repr(guest) == "<Guest old: gone>"
        with pytest.raises(errors.GuestNotFound, match="no longer there"):
            guest.start()
