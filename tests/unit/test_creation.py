"""Creating guests, against libvirt's test driver: what is refused, and what is left behind."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import libvirt
import pytest

from kvmlab import Lab, errors
from kvmlab.images import Image
from kvmlab.limits import check_name
from kvmlab.specs import Provenance


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Image:
    """An image whose files are there, and small."""
    monkeypatch.setattr("kvmlab.images.public_key", lambda: "ssh-ed25519 AAAA lab")
    for name in ("disk.qcow2", "vmlinuz", "initrd"):
        (tmp_path / name).write_bytes(name.encode() * 300)
    return Image(
        name="mini",
        title="A small image",
        digest="0123456789abcdef" * 4,
        disk=tmp_path / "disk.qcow2",
        disk_format="qcow2",
        virtual_size=2**27,
        kernel=tmp_path / "vmlinuz",
        initrd=tmp_path / "initrd",
        cmdline="console=ttyS0,115200",
        memory_mib=128,
        min_memory_mib=64,
        os_id="http://debian.org/debian/12",
        has_agent=True,
        boot="disk",
    )


def state_of(lab: Lab) -> tuple[list[str], list[str]]:
    return list(lab.guests), list(lab.pools["default"].volumes)


class TestNames:
    @pytest.mark.parametrize("name", ["a", "web", "web-1", "db.lan", "7of9", "A_b", "x" * 63])
    def test_good(self, name: str) -> None:
        check_name(name)

    @pytest.mark.parametrize(
        "name",
        [
            *("", "a/b", "/", "..", ".web", "-web", "a<b", "a\nb", "a b", "a\0b", "web\n", "büro"),
            *("x" * 64, "x" * 300, "a'b", 'a"b', "a&b", "$(id)", "a,b", None, 7),
        ],
    )
    def test_bad(self, name: Any, test_lab: Lab) -> None:
        before = state_of(test_lab)
        with pytest.raises(errors.InvalidName) as raised:
            test_lab.guests.create(name)
        assert raised.value.seen == name
        assert "Use 1 to 63 letters" in raised.value.next_step
        assert state_of(test_lab) == before
        with pytest.raises(errors.InvalidName):
            test_lab.guests["old"].rename(name)


class TestRefused:
    @pytest.mark.parametrize(
        ("wish", "kind"),
        [
            ({"memory_mib": 0}, errors.InvalidArgument),
            ({"memory_mib": -256}, errors.InvalidArgument),
            ({"memory_mib": 256.5}, errors.InvalidArgument),
            ({"memory_mib": True}, errors.InvalidArgument),
            ({"memory_mib": "256"}, errors.InvalidArgument),
            ({"memory_mib": 10**9}, errors.NotEnoughMemory),
            ({"memory_mib": 512, "max_memory_mib": 256}, errors.InvalidArgument),
            ({"vcpus": 0}, errors.InvalidArgument),
            ({"vcpus": 1000}, errors.NotEnoughCpus),
            ({"disk_gib": 0}, errors.InvalidArgument),
            ({"disk_gib": -1}, errors.InvalidArgument),
            ({"disk_gib": float("nan")}, errors.InvalidArgument),
            ({"disk_gib": "10"}, errors.InvalidArgument),
            ({"disk_gib": 10_000}, errors.NotEnoughDisk),
            ({"networks": ["nowhere"]}, errors.NetworkNotFound),
            ({"pool": "nowhere"}, errors.PoolNotFound),
            ({"image": "nowhere"}, errors.ImageNotFound),
            ({"boot": ["floppy"]}, errors.InvalidArgument),
            ({"firmware": "openfirmware"}, errors.InvalidArgument),
            ({"accel": "hvf"}, errors.InvalidArgument),
            ({"direct_kernel": True}, errors.NotSupported),
            ({"name": "old"}, errors.GuestAlreadyExists),
        ],
    )
    def test_and_nothing_is_left(
        self, wish: dict[str, Any], kind: type[errors.KvmlabError], test_lab: Lab
    ) -> None:
        before = state_of(test_lab)
        with pytest.raises(kind) as raised:
            test_lab.guests.create(**{"name": "web", **wish})
        assert raised.value.next_step
        assert any(repr(value) in str(raised.value) for value in [raised.value.seen])
        assert state_of(test_lab) == before

    def test_less_than_the_image_needs(self, test_lab: Lab, image: Image) -> None:
        with pytest.raises(errors.NotEnoughMemory, match="at least 64 MiB"):
            test_lab.guests.create("web", image=image, memory_mib=32)
        with pytest.raises(errors.InvalidArgument, match=r"Ask for disk_gib=0.125 or more"):
            test_lab.guests.create("web", image=image, disk_gib=0.1)

    def test_a_definition_that_libvirt_refuses_takes_its_disk_along(
        self, test_lab: Lab, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object) -> None:
            error = libvirt.libvirtError("no")
            error.err = (27, 0, "XML error: no", 2, "", "", "", 0, 0)
            raise error

        before = state_of(test_lab)
        monkeypatch.setattr(test_lab.connection, "defineXMLFlags", refuse)
        with pytest.raises(errors.InvalidXml):
            test_lab.guests.create("web", disk_gib=1)
        assert state_of(test_lab) == before
        assert "web" not in str(test_lab.virsh_log)


class TestMade:
    def test_as_it_was_wished(self, test_lab: Lab) -> None:
        web = test_lab.guests.create(
            "web", memory_mib=100, vcpus=2, disk_gib=0.5, boot=["network", "hd"], max_memory_mib=200
        )
        spec = web.spec
        assert (spec.memory_mib, spec.current_memory_mib) == (200, 100)
        assert (spec.vcpus, spec.max_vcpus) == (2, 4)
        assert spec.boot == ("network", "hd")
        assert [disk.path for disk in spec.disks] == ["/pool/web.qcow2"]
        assert [card.network for card in spec.interfaces] == ["default"]
        assert spec.provenance == Provenance(volumes=("/pool/web.qcow2",))
        assert spec.smbios
        assert spec.smbios.entries == ("io.systemd.credential:system.hostname=web",)
        volume = test_lab.pools["default"].volumes["web.qcow2"]
        assert volume.spec.capacity_bytes == 2**29

    def test_without_disk_and_network(self, test_lab: Lab) -> None:
        spec = test_lab.guests.create("web", networks=[]).spec
        assert (spec.disks, spec.interfaces) == ((), ())

    def test_a_single_network_needs_no_list(self, test_lab: Lab) -> None:
        for number, network in enumerate(["default", test_lab.networks["default"]]):
            spec = test_lab.guests.create(f"g{number}", networks=network).spec
            assert [card.network for card in spec.interfaces] == ["default"]

    def test_from_an_image(
        self, test_lab: Lab, image: Image, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # The test driver keeps no bytes, so that nothing can be sent to it.
        sent: list[str] = []
        monkeypatch.setattr(
            "kvmlab.storage.volumes.Volume.upload", lambda self, *_: sent.append(self.name)
        )
        web = test_lab.guests.create("web", image=image, direct_kernel=True)
        begin = "kvmlab-mini-0123456789ab"
        assert sent == [f"{begin}.qcow2", f"{begin}.kernel", f"{begin}.initrd"]
        spec = web.spec
        assert (spec.kernel, spec.initrd) == (f"/pool/{begin}.kernel", f"/pool/{begin}.initrd")
        assert spec.cmdline == "console=ttyS0,115200"
        assert spec.memory_mib == 128
        assert spec.smbios
        assert spec.smbios.entries[1].endswith("=ssh-ed25519 AAAA lab")
        overlay = test_lab.pools["default"].volumes["web.qcow2"].spec
        assert (overlay.capacity_bytes, overlay.backing_path) == (2**27, f"/pool/{begin}.qcow2")
        assert overlay.backing_format == "qcow2"

    def test_beside_a_disk_of_that_name(self, test_lab: Lab) -> None:
        test_lab.guests.create("web", disk_gib=1).rename("shop")
        web = test_lab.guests.create("web", disk_gib=1)
        assert [disk.path for disk in web.spec.disks] == ["/pool/web-1.qcow2"]
        test_lab.guests["shop"].delete()
        assert list(test_lab.pools["default"].volumes) == ["web-1.qcow2"]


class TestPreview:
    def test_tells_what_create_does(self, test_lab: Lab) -> None:
        wish: dict[str, Any] = {"disk_gib": 1, "memory_mib": 100, "vcpus": 2}
        preview = test_lab.guests.preview("web", **wish)
        assert "web" not in test_lab.guests
        assert preview == test_lab.guests.create("web", **wish).virsh

    def test_refuses_what_create_refuses(self, test_lab: Lab) -> None:
        with pytest.raises(errors.NotEnoughMemory):
            test_lab.guests.preview("web", memory_mib=10**9)

    def test_of_an_image_that_is_yet_to_be_built(self, test_lab: Lab) -> None:
        assert test_lab.guests.preview("web", image="tiny") == "./lab image build tiny"

    def test_quotes_what_a_shell_or_virt_install_would_take_apart(
        self, test_lab: Lab, image: Image
    ) -> None:
        preview = test_lab.guests.preview("web", image=image, direct_kernel=True)
        words = shlex.split(preview.replace("\\\n", ""))
        boot = words[words.index("--boot") + 1]
        assert boot.endswith(',kernel_args="console=ttyS0,115200"')


def test_uploading_nothing_is_refused(test_lab: Lab, tmp_path: Path) -> None:
    volume = test_lab.pools["default"].volumes.create("data.img", size_gib=1, format="raw")
    with pytest.raises(errors.InvalidArgument, match="nothing"):
        volume.upload(tmp_path / "nothing")


class TestDeleted:
    def test_with_its_own_volumes_only(self, test_lab: Lab) -> None:
        volumes = test_lab.pools["default"].volumes
        volumes.create("keep.qcow2", size_gib=1)
        web = test_lab.guests.create("web", disk_gib=1)
        web.start()
        web.delete()
        assert state_of(test_lab) == (["old"], ["keep.qcow2"])

    def test_but_for_what_has_become_a_backing_image(self, test_lab: Lab) -> None:
        web = test_lab.guests.create("web", disk_gib=1)
        volumes = test_lab.pools["default"].volumes
        volumes.create("clone.qcow2", size_gib=1, backing=volumes["web.qcow2"])
        web.delete()
        assert list(volumes) == ["clone.qcow2", "web.qcow2"]

    def test_of_others_only_what_nobody_else_uses(self, test_lab: Lab) -> None:
        volumes = test_lab.pools["default"].volumes
        for name in ("own", "shared", "cd", "used", "base"):
            volumes.create(f"{name}.img", size_gib=1, format="raw")
        volumes.create("top.qcow2", size_gib=1, backing=volumes["base.img"])
        disks = {
            "own": "",
            "shared": "<shareable/>",
            "cd": "<readonly/>",
            "used": "",
            "base": "",
            "outside": "",
        }
        foreign = "".join(
            f"<disk type='file'><source file='/pool/{name}.img'/>"
            f"<target dev='vd{letter}'/>{more}</disk>"
            for letter, (name, more) in zip("abcdef", disks.items(), strict=True)
        )
        other = "<disk type='file'><source file='/pool/used.img'/><target dev='vda'/></disk>"
        for name, devices in (("foreign", foreign), ("other", other)):
            test_lab.connection.defineXML(
                f"<domain type='test'><name>{name}</name><memory>1024</memory>"
                f"<os><type>hvm</type></os><devices>{devices}</devices></domain>"
            )
        test_lab.guests["foreign"].delete()
        assert list(volumes) == ["base.img", "cd.img", "shared.img", "top.qcow2", "used.img"]

    def test_with_its_managed_save(self, test_lab: Lab) -> None:
        web = test_lab.guests.create("web")
        web.start()
        web.managed_save()
        web.undefine()
        assert web.virsh == test_lab.virsh_log.virsh("undefine", "web", "--managed-save")
        assert "web" not in test_lab.guests

    def test_a_guest_that_would_be_gone_once_it_is_off(self, test_lab: Lab) -> None:
        test_lab.connection.createXML(
            "<domain type='test'><name>brief</name><memory>1024</memory>"
            "<os><type>hvm</type></os></domain>"
        )
        test_lab.guests["brief"].delete()
        assert "brief" not in test_lab.guests
