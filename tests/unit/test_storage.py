"""Storage without storage: wishes for pools, chains as lists, and what libvirt's words mean."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import libvirt
import pytest

from kvmlab import Guest, Lab, errors
from kvmlab.plots.chains import size_in_words
from kvmlab.specs import Disk
from kvmlab.storage import chains, poolkinds
from kvmlab.storage.chains import Link, index_of, refuse_commit
from kvmlab.storage.plugging import _is_harmless, free_target
from kvmlab.storage.usage import Use

GIB = 2**30
IMAGE = "/pool/kvmlab-tiny-3fa9c2d17b60.qcow2"
CHAIN = (
    Link("/pool/over2", "qcow2", GIB, 1, "/pool/over1", ("web (vda)",)),
    Link("/pool/over1", "qcow2", GIB, 1, "/pool/web.qcow2"),
    Link("/pool/web.qcow2", "qcow2", GIB, 1, IMAGE),
    Link(IMAGE, "qcow2", GIB, 1),
)
WEB = """<domain type='test'><name>web</name><memory>65536</memory><os><type>hvm</type></os>
<devices>
  <disk type='file' device='disk'><driver name='qemu' type='qcow2'/>
    <source file='/pool/web.qcow2'/><target dev='vda' bus='virtio'/></disk>
  <disk type='file' device='cdrom'><target dev='sda' bus='sata'/></disk>
</devices></domain>"""


@pytest.fixture
def web(test_lab: Lab) -> Guest:
    test_lab.connection.defineXML(WEB)
    return test_lab.guests["web"]


class TestPools:
    """A wish for a pool, before libvirt hears of it."""

    @staticmethod
    def specify(lab: Lab, kind: str, **wish: Any) -> Any:
        blank: dict[str, Any] = dict.fromkeys(("path", "host", "directory", "source_name"))
        blank |= {"format": None, "devices": (), "make": False, "beside": "/var/images"}
        return poolkinds.specify(lab, "data", kind, **{**blank, **wish})

    def test_a_folder_is_beside_the_default_pool_or_where_it_is_told(self, test_lab: Lab) -> None:
        assert self.specify(test_lab, "dir").path == "/var/pools/data"
        assert self.specify(test_lab, "dir", path="/srv/data").path == "/srv/data"
        with pytest.raises(errors.InvalidArgument, match="no storage pool 'default'"):
            self.specify(test_lab, "dir", beside=None)

    def test_each_kind_has_its_source_its_format_and_its_place(
        self, test_lab: Lab, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # As of a libvirt on another machine, whose devices can't be looked at from here.
        monkeypatch.setattr(poolkinds.qemuimg, "is_local", lambda lab: False)
        nfs = self.specify(test_lab, "netfs", host="files", directory="/export")
        assert (nfs.hosts, nfs.directory, nfs.format) == (("files",), "/export", "auto")
        lvm = self.specify(test_lab, "logical", source_name="vg0")
        assert (lvm.source_name, lvm.format, lvm.path) == ("vg0", "lvm2", "/dev/vg0")
        disk = self.specify(test_lab, "disk", devices=["/dev/vdz"], format="dos")
        assert (disk.devices, disk.format, disk.path) == (("/dev/vdz",), "dos", "/dev")

    @pytest.mark.parametrize(
        ("kind", "wish", "words"),
        [
            ("tape", {}, "no such type of storage pool .saw 'tape'.*dir, fs, netfs, logical, disk"),
            ("fs", {}, "it needs devices"),
            ("netfs", {"host": "files"}, "it needs directory"),
            ("logical", {}, "it needs source_name"),
            ("dir", {"devices": ["/dev/vdz"]}, "it has no devices .saw .*/dev/vdz"),
            ("dir", {"format": "ext4"}, "it has no format .saw 'ext4'"),
            ("disk", {"devices": ["/dev/vdz"], "path": "/srv"}, "it has no path"),
            ("dir", {"path": "data"}, "the whole path of its folder .saw 'data'"),
            ("dir", {"path": ""}, "the whole path of its folder .saw ''"),
            ("dir", {"path": Path("/srv")}, "the whole path of its folder"),
            ("dir", {"path": "/srv/\0"}, "the whole path of its folder"),
            ("fs", {"devices": ["/dev/vdz"], "format": "ntfs"}, "can't have that format"),
            ("dir", {"make": True}, "there is nothing to make"),
            ("fs", {"devices": ["/dev/vdz"], "make": True}, "Say format='ext4'"),
        ],
    )
    def test_what_makes_no_sense_is_refused(
        self, test_lab: Lab, kind: str, wish: dict[str, Any], words: str
    ) -> None:
        with pytest.raises(errors.InvalidArgument, match=words):
            self.specify(test_lab, kind, **wish)

    def test_a_device_that_is_none_is_refused_where_libvirt_is_here(self) -> None:
        poolkinds._check_devices([])
        for wrong in ("/dev/null", "/dev/vdz", "/etc/fstab"):
            with pytest.raises(errors.DeviceNotFound, match=wrong):
                poolkinds._check_devices([wrong])

    @pytest.mark.parametrize(
        ("said", "kind", "words"),
        [
            ("Cannot find 'vgs' in path: No such file", errors.NotSupported, "'vgs'.*lvm2"),
            ("failed to find path for parted binary", errors.NotSupported, "it is in parted"),
            (
                "internal error: Child process (/usr/bin/mount /dev/x /mnt) unexpected exit status "
                "32: mount: /mnt: unknown filesystem type 'zfs'.\n more",
                errors.NotSupported,
                "^pool-start data: mount: /mnt: unknown filesystem type 'zfs'",
            ),
            (
                "unexpected exit status 32: mount: /mnt: permission denied.",
                errors.Forbidden,
                "root",
            ),
            ("Volume group 'vg0' not found", errors.DeviceNotFound, "vgs"),
            ("Storage source conflict with pool: 'a'", errors.InUse, "Use that pool"),
        ],
    )
    def test_what_a_helper_said_is_passed_on_with_the_next_step(
        self, said: str, kind: type[errors.KvmlabError], words: str
    ) -> None:
        error = libvirt.libvirtError("")
        error.err = (1, 18, said, 2, "", None, None, 0, 0)
        found = poolkinds.reason(error, "pool-start data")
        assert type(found) is kind
        with pytest.raises(kind, match=words):
            raise found

    def test_what_nobody_knows_is_left_to_others(self) -> None:
        error = libvirt.libvirtError("")
        error.err = (1, 18, "the moon is full", 2, "", None, None, 0, 0)
        assert poolkinds.reason(error, "pool-start data") is None


class TestChains:
    def test_a_file_is_meant_by_its_name_or_its_path(self) -> None:
        assert index_of(CHAIN, "over1") == index_of(CHAIN, "/pool/over1") == 1
        with pytest.raises(errors.InvalidArgument, match=r"saw 'pool'.*over2, over1, web\.qcow2"):
            index_of(CHAIN, "pool")

    @pytest.fixture
    def uses(self, monkeypatch: pytest.MonkeyPatch) -> list[Use]:
        """Who uses what, for the test to say: libvirt's test driver has no overlays."""
        told = [
            Use("/pool/over2", "guest 'web' (vda)", "web", "vda", is_disk=True),
            Use("/pool/over1", "guest 'web' (vda)", "web", "vda"),
            Use("/pool/over1", "volume 'over2' of pool 'p'", overlay="/pool/over2"),
            Use("/pool/web.qcow2", "volume 'over1' of pool 'p'", overlay="/pool/over1"),
        ]
        monkeypatch.setattr(chains, "survey", lambda lab: tuple(told))
        return told

    @pytest.mark.parametrize(("first", "last"), [(0, 1), (1, 2), (0, 2)])
    def test_a_commit_that_concerns_nobody_else_is_allowed(
        self, test_lab: Lab, uses: list[Use], first: int, last: int
    ) -> None:
        refuse_commit(test_lab, CHAIN, first, last, guest="web")

    @pytest.mark.parametrize(("first", "last"), [(1, 1), (2, 0), (1, 4)])
    def test_a_commit_goes_down(
        self, test_lab: Lab, uses: list[Use], first: int, last: int
    ) -> None:
        with pytest.raises(errors.InvalidArgument, match="has no such file below it"):
            refuse_commit(test_lab, CHAIN, first, last)

    def test_an_image_is_never_committed_into(self, test_lab: Lab, uses: list[Use]) -> None:
        with pytest.raises(errors.InUse, match="it is an image"):
            refuse_commit(test_lab, CHAIN, 0, 3, guest="web")

    @pytest.mark.parametrize(
        "other",
        [
            Use("/pool/web.qcow2", "volume 'twin' of pool 'p'", overlay="/pool/twin"),
            Use("/pool/web.qcow2", "guest 'twin' (vdb)", "twin", "vdb", is_disk=True),
            # A file between the two is in the way as well: it would change under its other user.
            Use("/pool/over1", "volume 'twin' of pool 'p'", overlay="/pool/twin"),
            Use("/pool/web.qcow2", "snapshot 's' of guest 'web'", "web", is_snapshot=True),
        ],
    )
    def test_a_commit_that_changes_what_another_has_is_refused(
        self, test_lab: Lab, uses: list[Use], other: Use
    ) -> None:
        uses.append(other)
        with pytest.raises(errors.InUse, match=re.escape(f"'web.qcow2': {other.by}")):
            refuse_commit(test_lab, CHAIN, 0, 2, guest="web")
        refuse_commit(test_lab, CHAIN, 0, 2, guest="web", but=lambda use: use is other)

    def test_without_a_guest_even_the_one_that_has_it_is_in_the_way(
        self, test_lab: Lab, uses: list[Use]
    ) -> None:
        with pytest.raises(errors.InUse, match="guest 'web'"):
            refuse_commit(test_lab, CHAIN, 0, 1)

    @pytest.mark.parametrize(
        ("size", "words"),
        [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1024, "1 KiB"),
            (200704, "196 KiB"),
            (int(1.5 * 2**20), "1.5 MiB"),
            (100 * GIB, "100 GiB"),
            (12345 * GIB, "12345 GiB"),
        ],
    )
    def test_sizes_are_said_as_people_say_them(self, size: int, words: str) -> None:
        assert size_in_words(size) == words


DISK, READER, SHARER = (
    Disk(target="vdb"),
    Disk(target="vdb", readonly=True),
    Disk(target="vdb", shareable=True),
)
WRITER = Use("/a", "", "ann", "vdb", is_disk=True, is_exclusive=True)
SHARED = Use("/a", "", "ann", "vdb", is_disk=True)


class TestPlugging:
    def test_the_next_free_target_of_the_bus_is_taken(self, web: Guest) -> None:
        assert free_target(web, Disk(target="")).target == "vdb"
        assert free_target(web, Disk(target="", bus="sata")).target == "sdb"
        assert free_target(web, Disk(target="", bus="scsi")).target == "sdb"
        assert free_target(web, Disk(target="vdz")).target == "vdz"

    def test_a_target_that_is_taken_or_of_another_bus_is_refused(self, web: Guest) -> None:
        with pytest.raises(errors.InvalidArgument, match=r"has such a disk .saw 'vda'"):
            free_target(web, Disk(target="vda", path="/pool/other.img"))
        for wrong in ("sda", "vd", "vd1", "vda/x", "VDA"):
            with pytest.raises(errors.InvalidArgument, match="no target for the bus 'virtio'"):
                free_target(web, Disk(target=wrong))

    @pytest.mark.parametrize(
        ("use", "spec", "harmless"),
        [
            # Of a snapshot of the same disk, and of the disk itself, nothing is to be feared.
            (Use("/a", "", "web", is_snapshot=True), DISK, True),
            (replace(WRITER, guest="web"), DISK, True),
            # Two that write to one file, and one that writes while the other reads.
            (WRITER, DISK, False),
            (WRITER, READER, False),
            # Both say that they share it; or both only read.
            (SHARED, SHARER, True),
            (SHARED, DISK, False),
            (SHARED, READER, True),
            # A file below another's disk may be read, and never written to.
            (Use("/a", "", "ann", "vda"), SHARER, False),
            (Use("/a", "", overlay="/b"), READER, True),
        ],
    )
    def test_who_may_have_a_file_beside_whom(self, use: Use, spec: Disk, harmless: bool) -> None:
        assert _is_harmless(use, "web", spec) is harmless
