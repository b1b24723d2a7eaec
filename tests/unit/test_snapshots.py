"""Snapshots: what can be taken and how, trees, other files in XML; and libvirt's test driver."""

from __future__ import annotations

import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import libvirt
import pytest

from kvmlab import Guest, Lab, SnapshotNode, errors
from kvmlab.snapshots.books import put_right
from kvmlab.snapshots.plan import Subject, draw_up, file_beside
from kvmlab.snapshots.snapshot import Snapshot
from kvmlab.snapshots.tree import doomed_by, lines, tree_of
from kvmlab.snapshots.xml import Move, definition_in, moved, sed
from kvmlab.specs import Disk, Firmware, GuestSpec, SnapshotDisk, SnapshotSpec

IMAGES = "/var/lib/libvirt/images"
DISK = Disk(path=f"{IMAGES}/web.qcow2", target="vda")
DATA = Disk(path=f"{IMAGES}/data.img", target="vdb", format="raw")
CDROM = Disk(path=f"{IMAGES}/cd.iso", target="sda", device="cdrom", format="raw", readonly=True)
REDEFINE = libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE
CURRENT = libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_CURRENT
OLD = 9_000_000
NEW = 11_003_000

RUNNING = Subject(
    name="web",
    state="running",
    disks=(DISK, CDROM),
    firmware=Firmware(),
    has_managed_save=False,
    has_agent=True,
    snapshots=(),
    libvirt_version=OLD,
    taken=frozenset,
)
OFF = replace(RUNNING, state="shut off", has_agent=False)
INTERNAL = SnapshotSpec(
    name="in", memory="no", disks=(SnapshotDisk(name="vda", snapshot="internal"),)
)
EXTERNAL = SnapshotSpec(
    name="ex", memory="no", disks=(SnapshotDisk(name="vda", snapshot="external"),)
)
UEFI = Firmware(auto="efi", variables="/nvram/web.fd")


class TestNames:
    @pytest.mark.parametrize("name", ["clean", "v1.2", "before_update-3", "a" * 63, "2nd"])
    def test_that_are_fine(self, name: str) -> None:
        assert draw_up(OFF, name).spec.name == name

    @pytest.mark.parametrize("name", ["", "a b", "../x", "a/b", "-x", "a\n", "ä", "a" * 64, None])
    def test_that_files_or_shells_stumble_over(self, name: Any) -> None:
        with pytest.raises(errors.InvalidName, match="name of a snapshot"):
            draw_up(OFF, name)

    def test_that_qemu_takes_for_numbers(self) -> None:
        with pytest.raises(errors.InvalidName, match="try-1"):
            draw_up(OFF, "2")

    def test_that_are_taken(self) -> None:
        with pytest.raises(errors.SnapshotAlreadyExists, match="'in'"):
            draw_up(replace(OFF, snapshots=(INTERNAL,)), "in")

    def test_a_description_is_one_line(self) -> None:
        with pytest.raises(errors.InvalidArgument, match="one line"):
            draw_up(OFF, "clean", description="a\nb")


class TestKinds:
    @pytest.mark.parametrize(
        ("subject", "kind"),
        [
            (OFF, "internal"),
            (RUNNING, "internal"),
            (replace(OFF, snapshots=(EXTERNAL,)), "external"),
            (replace(OFF, snapshots=(INTERNAL,)), "internal"),
            (replace(OFF, snapshots=(INTERNAL, EXTERNAL)), "external"),
            (replace(OFF, disks=(DISK, DATA)), "external"),
            (replace(OFF, firmware=UEFI), "external"),
        ],
    )
    def test_without_a_word_it_is_the_one_that_fits(self, subject: Subject, kind: str) -> None:
        assert draw_up(subject, "clean").spec.kind == kind

    @pytest.mark.parametrize(("there", "asked"), [(INTERNAL, "external"), (EXTERNAL, "internal")])
    def test_do_not_mix_unless_insisted(self, there: SnapshotSpec, asked: Any) -> None:
        subject = replace(OFF, snapshots=(there,))
        with pytest.raises(errors.WrongState, match=r"don't mix.*mixed=True"):
            draw_up(subject, "clean", kind=asked)
        assert draw_up(subject, "clean", kind=asked, mixed=True).spec.kind == asked

    def test_that_do_not_exist(self) -> None:
        with pytest.raises(errors.InvalidArgument, match="'internal', 'external'"):
            draw_up(OFF, "clean", kind="eternal")  # type: ignore[arg-type]


def test_a_comma_in_a_path_is_no_end_for_virsh() -> None:
    disk = Disk(path="/srv/a,b/web.qcow2", target="vda")
    plan = draw_up(replace(RUNNING, disks=(disk,)), "clean", kind="external")
    assert "file=/srv/a,,b/web.clean.mem,snapshot=external" in plan.words
    assert "vda,snapshot=external,file=/srv/a,,b/web.clean" in plan.words
    assert plan.spec.disks[0].path == "/srv/a,b/web.clean"


class TestRefusals:
    def test_raw_disks_hold_no_internal_one(self) -> None:
        with pytest.raises(errors.NotSupported, match=r"'vdb'.*'raw'.*kind='external'"):
            draw_up(replace(OFF, disks=(DISK, DATA)), "clean", kind="internal")

    @pytest.mark.parametrize(
        ("firmware", "version", "works"),
        [
            (UEFI, OLD, False),
            (UEFI, NEW, False),
            (replace(UEFI, variables_format="qcow2"), OLD, False),
            (replace(UEFI, variables_format="qcow2"), 10_009_000, False),
            (replace(UEFI, variables_format="qcow2"), 10_010_000, True),
            (Firmware(loader_type="pflash"), NEW, False),
            (Firmware(loader_type="rom"), OLD, True),
        ],
    )
    def test_uefi_needs_a_new_libvirt(self, firmware: Firmware, version: int, works: bool) -> None:
        subject = replace(OFF, firmware=firmware, libvirt_version=version)
        if works:
            assert draw_up(subject, "clean", kind="internal").spec.kind == "internal"
        else:
            with pytest.raises(errors.NotSupported, match=r"UEFI.*'libvirt \d+\.\d+'"):
                draw_up(subject, "clean", kind="internal")

    @pytest.mark.parametrize("disks", [(), (CDROM,), (replace(DISK, readonly=True),)])
    def test_without_a_disk_there_is_nothing_to_go_back_to(self, disks: Any) -> None:
        with pytest.raises(errors.NotSupported, match="no disk that is written to"):
            draw_up(replace(OFF, disks=disks), "clean")

    def test_a_shared_disk_has_other_writers(self) -> None:
        with pytest.raises(errors.NotSupported, match="'vda' is shared"):
            draw_up(replace(OFF, disks=(replace(DISK, shareable=True),)), "clean")

    def test_a_disk_in_no_file(self) -> None:
        with pytest.raises(errors.NotSupported, match="not kept in a file"):
            draw_up(replace(OFF, disks=(replace(DISK, path=None),)), "clean")

    def test_a_managed_save_belongs_to_the_disk_as_it_is(self) -> None:
        with pytest.raises(errors.WrongState, match="remove_managed_save"):
            draw_up(replace(OFF, has_managed_save=True), "clean")


class TestMemory:
    @pytest.mark.parametrize(
        ("subject", "kind", "memory", "has"),
        [
            (RUNNING, "external", None, True),
            (RUNNING, "external", False, False),
            (replace(RUNNING, state="paused"), "external", None, True),
            (OFF, "external", None, False),
            (OFF, "external", False, False),
        ],
    )
    def test_goes_along_where_there_is_some(
        self, subject: Subject, kind: Any, memory: bool | None, has: bool
    ) -> None:
        plan = draw_up(subject, "clean", kind=kind, memory=memory)
        assert plan.spec.has_memory is has
        assert bool(plan.flags & libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY) is not has

    def test_there_is_none_in_a_guest_that_is_off(self) -> None:
        with pytest.raises(errors.GuestNotRunning, match="no memory to keep"):
            draw_up(OFF, "clean", memory=True)

    def test_can_not_be_left_out_of_an_internal_one(self) -> None:
        with pytest.raises(errors.NotSupported, match="kind='external'"):
            draw_up(RUNNING, "clean", kind="internal", memory=False)


class TestQuiescing:
    def test_is_for_disks_alone(self) -> None:
        plan = draw_up(RUNNING, "clean", kind="external", quiesce=True)
        assert plan.flags & libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE
        assert not plan.spec.has_memory
        for choices in ({"kind": "internal"}, {"kind": "external", "memory": True}):
            with pytest.raises(errors.InvalidArgument, match="disks alone"):
                draw_up(RUNNING, "clean", quiesce=True, **choices)  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("subject", "kind", "says"),
        [
            (replace(RUNNING, has_agent=False), errors.AgentUnavailable, "no agent"),
            (OFF, errors.GuestNotRunning, "is off"),
            (replace(RUNNING, state="paused"), errors.WrongState, "is paused"),
        ],
    )
    def test_needs_an_agent_that_can_hear(self, subject: Any, kind: Any, says: str) -> None:
        with pytest.raises(kind, match=says):
            draw_up(subject, "clean", kind="external", quiesce=True)


class TestCommands:
    def test_an_internal_one_is_short(self) -> None:
        plan = draw_up(RUNNING, "clean", description="it's fine")
        assert plan.words == (
            *("snapshot-create-as", "web", "clean"),
            *("--description", "it's fine"),
        )
        assert plan.flags == 0

    def test_an_external_one_says_where_each_file_goes(self) -> None:
        data = replace(DISK, path=f"{IMAGES}/web.raw", target="vdb", format="raw")
        subject = replace(OFF, disks=(DISK, data, CDROM))
        plan = draw_up(subject, "clean")
        assert [disk.path for disk in plan.spec.disks] == [
            f"{IMAGES}/web.clean",
            f"{IMAGES}/web.clean-2",
        ]
        assert plan.words[3:] == (
            "--disk-only",
            *("--diskspec", f"vda,snapshot=external,file={IMAGES}/web.clean"),
            *("--diskspec", f"vdb,snapshot=external,file={IMAGES}/web.clean-2"),
        )

    def test_memory_has_a_file_of_its_own(self) -> None:
        plan = draw_up(RUNNING, "clean", kind="external")
        assert plan.spec.memory_path == f"{IMAGES}/web.clean.mem"
        assert "--memspec" in plan.words

    @pytest.mark.parametrize(
        ("path", "taken", "found"),
        [
            ("/a/web.qcow2", set(), "/a/web.clean"),
            ("/a/web", set(), "/a/web.clean"),
            ("/a.b/web", set(), "/a.b/web.clean"),
            ("/a/web.qcow2", {"/a/web.clean"}, "/a/web.clean-2"),
            ("/a/web.qcow2", {"/a/web.clean", "/a/web.clean-2"}, "/a/web.clean-3"),
        ],
    )
    def test_no_file_is_taken_twice(self, path: str, taken: set[str], found: str) -> None:
        assert file_beside(path, "clean", taken) == found


def spec(name: str, parent: str | None = None, **more: Any) -> SnapshotSpec:
    return SnapshotSpec(name=name, parent=parent, **more)


FAMILY = {
    each.name: each
    for each in (
        spec("a", created_s=1, description="the first"),
        spec("b", "a", memory="internal", state="running"),
        spec("c", "a"),
        spec("d", "b"),
    )
}


class TestTrees:
    def test_children_are_in_their_parents(self) -> None:
        (root,) = tree_of(FAMILY, "d")
        assert [child.name for child in root.children] == ["b", "c"]
        assert root.children[0].children[0] == SnapshotNode(
            "d", is_current=True, created=root.children[1].created
        )

    def test_as_text(self) -> None:
        assert list(lines(tree_of(FAMILY, "d"))) == [
            "a (internal): the first",
            "├─ b (internal, with memory)",
            "│  └─ d (internal) <- you are here",
            "└─ c (internal)",
        ]

    @pytest.mark.parametrize(
        ("children", "doomed"),
        [("keep", ["a"]), ("remove", ["d", "c", "b", "a"]), ("only", ["d", "c", "b"])],
    )
    def test_what_a_deletion_takes_away(self, children: Any, doomed: list[str]) -> None:
        assert doomed_by("a", FAMILY, children) == doomed

    def test_a_leaf_takes_nothing_along(self) -> None:
        assert doomed_by("d", FAMILY, "only") == []


DOMAIN = f"""<domain type='qemu'>
  <name>web</name>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/>
      <source file='{IMAGES}/web.img' index='1'/>
      <backingStore type='file'>
        <format type='raw'/>
        <source file='{IMAGES}/web.img'/>
        <backingStore/>
      </backingStore>
      <target dev='vda' bus='virtio'/>
    </disk>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='{IMAGES}/a.qcow2'/>
      <backingStore/>
      <target dev='vdb' bus='virtio'/>
    </disk>
    <interface type='network'>
      <driver name='vhost'/>
    </interface>
  </devices>
</domain>
"""
MOVES = [
    Move(f"{IMAGES}/web.img", f"{IMAGES}/web.clean", "raw", "qcow2"),
    Move(f"{IMAGES}/a.qcow2", f"{IMAGES}/a.clean"),
]


class TestOtherFiles:
    def test_the_shell_command_does_the_same(self) -> None:
        ours = ET.tostring(moved(ET.fromstring(DOMAIN), MOVES), encoding="unicode")
        done = subprocess.run(
            ["bash", "-c", sed(MOVES)], input=DOMAIN, capture_output=True, text=True, check=True
        )
        assert ET.canonicalize(ours, strip_text=True) == ET.canonicalize(
            done.stdout, strip_text=True
        )
        disks = GuestSpec.from_xml(f"<domain><devices>{''}</devices></domain>").disks
        assert disks == ()

    def test_nothing_is_left_of_the_old_chain(self) -> None:
        found = moved(ET.fromstring(DOMAIN), MOVES)
        assert [disk.find("source").get("file") for disk in found.iter("disk")] == [  # type: ignore[union-attr]
            f"{IMAGES}/web.clean",
            f"{IMAGES}/a.clean",
        ]
        assert {driver.get("type") for driver in found.iterfind("devices/disk/driver")} == {"qcow2"}
        assert not list(found.iter("backingStore"))

    def test_other_disks_stay(self) -> None:
        found = moved(ET.fromstring(DOMAIN), [])
        assert {source.get("file") for source in found.iterfind("devices/disk/source")} == {
            f"{IMAGES}/web.img",
            f"{IMAGES}/a.qcow2",
        }

    @pytest.mark.parametrize("extra", ["", "<inactiveDomain><name>next</name></inactiveDomain>"])
    def test_the_definition_is_that_of_the_next_start(self, extra: str) -> None:
        told = ET.fromstring(
            f"<domainsnapshot><domain><name>now</name></domain>{extra}</domainsnapshot>"
        )
        found = definition_in(told)
        assert found is not None
        assert (found.tag, found.findtext("name")) == ("domain", "next" if extra else "now")


@pytest.fixture
def guest(test_lab: Lab) -> Guest:
    """A guest of the test driver that has a disk."""
    test_lab.connection.defineXML(
        "<domain type='test'><name>web</name><memory>1024</memory><os><type>hvm</type></os>"
        "<devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/>"
        "<source file='/pool/web.qcow2'/><target dev='vda' bus='virtio'/></disk></devices></domain>"
    )
    return test_lab.guests["web"]


class TestTestDriver:
    def test_taking_and_telling(self, guest: Guest) -> None:
        assert list(guest.snapshots) == []
        assert guest.snapshots.current is None
        assert repr(guest.snapshots) == "<no snapshots>"
        clean = guest.snapshots.create("clean", "the first")
        assert (
            guest.virsh == f"virsh --connect {guest.lab.uri} snapshot-create-as web clean "
            "--description 'the first'"
        )
        assert (clean.name, clean.description, clean.kind) == ("clean", "the first", "internal")
        assert (clean.state, clean.has_memory, clean.parent) == ("shutoff", False, None)
        assert clean.is_current
        later = guest.snapshots.create("later")
        assert [each.name for each in clean.children] == ["later"]
        assert later.parent is not None
        assert later.parent.name == "clean"
        assert guest.snapshots.current is not None
        assert guest.snapshots.current.name == "later"
        assert repr(guest.snapshots).splitlines()[1] == "└─ later (internal) <- you are here"
        assert repr(later) == "<Snapshot later of web>"

    def test_going_back(self, guest: Guest) -> None:
        guest.snapshots.create("off")
        guest.start()
        guest.snapshots.create("on")
        guest.snapshots["off"].revert()
        assert guest.state == "shut off"
        on = guest.snapshots["on"]
        on.revert(paused=True)
        assert guest.state == "paused"
        assert on.virsh.endswith("snapshot-revert web on --paused")
        assert on.preview_revert(running=True).endswith("snapshot-revert web on --running")
        on.revert(running=True)
        assert guest.state == "running"
        with pytest.raises(errors.InvalidArgument):
            guest.snapshots["on"].revert(paused=True, running=True)

    def test_deleting(self, guest: Guest) -> None:
        for name in ("a", "b", "c"):
            guest.snapshots.create(name)
        guest.snapshots["b"].delete()
        assert list(guest.snapshots) == ["a", "c"]
        assert guest.snapshots["c"].parent is not None
        leaf = guest.snapshots["c"]
        leaf.delete(children="only")
        assert (list(guest.snapshots), leaf.virsh) == (["a", "c"], "")
        guest.snapshots["a"].delete(children="only")
        assert list(guest.snapshots) == ["a"]
        guest.snapshots.create("d")
        guest.snapshots["a"].delete(children="remove")
        assert list(guest.snapshots) == []

    def test_what_is_not_there(self, guest: Guest) -> None:
        clean = guest.snapshots.create("clean")
        with pytest.raises(errors.SnapshotNotFound, match="There is: clean"):
            guest.snapshots["dirty"]
        with pytest.raises(errors.InvalidArgument, match="'keep', 'remove', 'only'"):
            clean.delete(children="some")  # type: ignore[arg-type]
        clean.delete()
        for ask in (clean.revert, clean.delete, lambda: clean.spec):
            with pytest.raises(errors.SnapshotNotFound, match="no longer there"):
                ask()

    def test_a_preview_takes_nothing(self, guest: Guest) -> None:
        told = guest.snapshots.preview("clean", "x")
        assert told.endswith("snapshot-create-as web clean --description x")
        assert list(guest.snapshots) == []
        guest.lab.virsh_log.clear()
        guest.snapshots.preview("clean")
        assert len(guest.lab.virsh_log) == 0

    def test_undefining_a_guest_forgets_them(self, guest: Guest) -> None:
        guest.snapshots.create("clean")
        guest.undefine()
        assert "--snapshots-metadata" in guest.virsh


class Recorder:
    """A libvirt snapshot and domain that write down what is asked of them."""

    def __init__(self, xml: str, refuse: libvirt.libvirtError | None = None) -> None:
        self.xml, self.calls, self.refuse = xml, [], refuse  # type: ignore[var-annotated]

    def __getattr__(self, name: str) -> Callable[..., Any]:
        answers: dict[str, Any] = {
            "getXMLDesc": self.xml,
            "hasManagedSaveImage": 0,
            "isActive": 0,
            "getName": "ex",
        }
        answers["state"] = [libvirt.VIR_DOMAIN_SHUTOFF, 0]
        answers["XMLDesc"] = "<domain type='test'><name>web</name></domain>"
        answers["hasCurrentSnapshot"] = 0

        def call(*args: Any) -> Any:
            self.calls.append((name, *args))
            if name in ("revertToSnapshot", "delete") and self.refuse:
                raise self.refuse
            return answers.get(name, self)

        return call


@pytest.mark.parametrize(
    ("current", "now", "wrong"),
    [
        ({"disks": "web.a"}, "web.a", False),
        ({"disks": "web.a"}, "web.9", True),
        ({"disks": "web.a", "revert_disks": "web.9"}, "web.9", False),
    ],
)
def test_libvirts_books_are_put_right_where_they_would_harm(
    guest: Guest, current: dict[str, str], now: str, wrong: bool
) -> None:
    disks = {
        place: (SnapshotDisk(name="vda", snapshot="external", path=f"/pool/{path}"),)
        for place, path in current.items()
    }
    spec = SnapshotSpec(name="a", memory="no", **disks)
    domain = Recorder(spec.to_xml())
    domain.hasCurrentSnapshot = lambda: True  # type: ignore[method-assign]
    domain.getName = lambda: "a"  # type: ignore[method-assign]
    domain.isCurrent = lambda: True  # type: ignore[method-assign]
    disk = Disk(path=f"/pool/{now}", target="vda")
    domain.XMLDesc = lambda *_: (  # type: ignore[method-assign]
        f"<domain><devices>{disk.to_xml()}</devices></domain>"
    )
    handle = Guest(guest.lab, guest._libvirt)
    handle._libvirt = domain
    for name in ("a", "b"):
        before, after = put_right(handle, name, {"a": spec})
        assert (bool(before), bool(after)) == (wrong, wrong and name == "b")
        for step, path, flags in (
            *((step, f"/pool/{now}", REDEFINE | CURRENT) for step in before),
            *((step, spec.disks[0].path, REDEFINE) for step in after),
        ):
            step.do()
            assert domain.calls[-1][0] == "snapshotCreateXML"
            told = SnapshotSpec.from_xml(domain.calls[-1][1])
            assert (told.disks[0].path, domain.calls[-1][2]) == (path, flags)
            domain.xml = told.to_xml()
            assert ("--current" in step.command) is bool(flags & CURRENT)


def test_a_libvirt_that_can_is_left_to_do_it(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    domain = Recorder(EXTERNAL.to_xml())
    domain.listAllSnapshots = lambda: [domain]  # type: ignore[method-assign]
    snapshot = Snapshot(guest, domain)
    monkeypatch.setattr(guest, "_libvirt", domain)
    monkeypatch.setattr(Snapshot, "_libvirt_manages_external", lambda _: True)
    snapshot.revert(paused=True)
    assert ("revertToSnapshot", domain, libvirt.VIR_DOMAIN_SNAPSHOT_REVERT_PAUSED) in domain.calls
    snapshot.delete()
    assert ("delete",) in domain.calls


REFUSALS: list[tuple[int, str, type[errors.KvmlabError], str]] = [
    (
        libvirt.VIR_ERR_SNAPSHOT_REVERT_RISKY,
        "revert requires force",
        errors.WrongState,
        r"requires force.*revert\(force=True\)",
    ),
    (
        libvirt.VIR_ERR_INTERNAL_ERROR,
        "Invalid target domain state 'disk-snapshot'. Refusing snapshot reversion",
        errors.NotSupported,
        "without its memory.*libvirt 11",
    ),
    (
        libvirt.VIR_ERR_CONFIG_UNSUPPORTED,
        "deletion of external disk snapshot with multiple children snapshots not supported",
        errors.NotSupported,
        "multiple children.*Delete those that were taken after it first",
    ),
]


@pytest.mark.parametrize(("code", "said", "kind", "says"), REFUSALS)
def test_what_libvirt_refuses_is_explained(
    guest: Guest,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    said: str,
    kind: type[errors.KvmlabError],
    says: str,
) -> None:
    refusal = libvirt.libvirtError("")
    refusal.err = (code, libvirt.VIR_FROM_QEMU, said, 2, "", None, None, 0, 0)
    domain = Recorder(EXTERNAL.to_xml(), refuse=refusal)
    domain.listAllSnapshots = lambda: [domain]  # type: ignore[method-assign]
    monkeypatch.setattr(guest, "_libvirt", domain)
    monkeypatch.setattr(Snapshot, "_libvirt_manages_external", lambda _: True)
    snapshot = Snapshot(guest, domain)
    with pytest.raises(kind, match=says):
        snapshot.delete() if "deletion" in said else snapshot.revert()


@pytest.mark.parametrize(("features", "manages"), [("", False), ("<externalSnapshot/>", True)])
def test_libvirt_tells_whether_it_can(
    guest: Guest, monkeypatch: pytest.MonkeyPatch, features: str, manages: bool
) -> None:
    told = f"<capabilities><guest><features><pae/>{features}</features></guest></capabilities>"
    snapshot = Snapshot(guest, Recorder(EXTERNAL.to_xml()))
    with monkeypatch.context() as patch:
        patch.setattr(guest.lab, "connection", SimpleNamespace(getCapabilities=lambda: told))
        assert snapshot._libvirt_manages_external() is manages


def test_two_reverts_in_a_second_are_no_failure(
    guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "external snapshot file for disk vda already exists and is not a block device: /x.1"
    refusal = libvirt.libvirtError(said)
    domain = Recorder(INTERNAL.to_xml(), refuse=refusal)
    monkeypatch.setattr(guest, "_libvirt", domain)
    tried: list[str] = []

    def attempts(timeout_s: float) -> Iterator[None]:
        yield
        tried.append("again")
        domain.refuse = None
        yield

    monkeypatch.setattr("kvmlab.snapshots.snapshot.attempts", attempts)
    Snapshot(guest, domain).revert()
    assert tried == ["again"]
    assert [call[0] for call in domain.calls].count("revertToSnapshot") == 2
