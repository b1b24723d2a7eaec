"""What cloud-init is told, and the CD it is told it by."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from pycdlib import PyCdlib

from kvmlab import CloudInit, Lab, errors
from kvmlab.images import Image
from kvmlab.images.iso import write_iso

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEWCE1bz9soAomkr06u5lFdggwUkJY1uuy4LtUz3V1Nw lab"
NASTY = "a: 'b' \"c\"\n- #d\n%YAML {{ x }}\tü\nEOF\nno newline at the end"


def told(init: CloudInit, name: str = "web") -> tuple[dict[str, Any], dict[str, Any]]:
    files = init.files(name, KEY)
    assert files["user-data"].startswith(b"#cloud-config\n")
    return yaml.safe_load(files["user-data"]), yaml.safe_load(files["meta-data"])


class TestUserData:
    def test_of_one_who_says_nothing(self) -> None:
        user_data, meta_data = told(CloudInit())
        (user,) = user_data["users"]
        assert (user["name"], user["lock_passwd"]) == ("learner", True)
        assert user["ssh_authorized_keys"] == [KEY]
        assert user_data["hostname"] == meta_data["local-hostname"] == "web"
        assert not {"packages", "package_update", "runcmd", "write_files"} & set(user_data)
        assert user_data["ssh_pwauth"] is False

    def test_of_one_who_says_all(self) -> None:
        init = CloudInit(
            user="ada",
            ssh_keys=[KEY],
            password="it's: a #secret",
            hostname="engine.example",
            write_files={"/etc/nasty": NASTY},
            runcmd=["echo 'one: two' > /root/x", ["touch", "/root/a b"]],
            packages=["htop"],
        )
        user_data, meta_data = told(init)
        (user,) = user_data["users"]
        assert user["plain_text_passwd"] == "it's: a #secret"
        assert user["lock_passwd"] is False
        assert user_data["ssh_pwauth"] is True
        assert user_data["hostname"] == meta_data["local-hostname"] == "engine.example"
        assert user_data["write_files"][0]["content"] == NASTY
        assert user_data["runcmd"] == ["echo 'one: two' > /root/x", ["touch", "/root/a b"]]
        assert (user_data["packages"], user_data["package_update"]) == (["htop"], True)
        assert "secret" not in repr(init)

    def test_another_content_is_another_instance(self) -> None:
        ids = {
            told(init, name)[1]["instance-id"]
            for init, name in (
                *((CloudInit(), "web"), (CloudInit(), "db"), (CloudInit(user="ada"), "web")),
                (CloudInit(), "web"),
            )
        }
        assert len(ids) == 3

    def test_without_any_key(self) -> None:
        assert told(CloudInit(ssh_keys=[]))[0]["users"][0]["ssh_authorized_keys"] == []

    @pytest.mark.parametrize(
        "wrong",
        [
            *(
                {"user": name}
                for name in ("", "root", "Ada", "a b", "a:b", "-a", "x" * 33, None, 7)
            ),
            *({"hostname": name} for name in ("", "-a", "a_b", "a..b", "x" * 64, "a b", 7)),
            *({"ssh_keys": keys} for keys in (KEY, ["nonsense"], [KEY + "\n" + KEY], [7], 7)),
            *({"password": word} for word in ("", "a\nb", 7)),
            *({"write_files": files} for files in ({"a": "b"}, {"/": "b"}, {"/a": b"b"}, ["/a"])),
            *({"runcmd": commands} for commands in ("ls", [[]], [""], [7], [["ls", 7]])),
            *({"packages": names} for names in ("htop", ["a b"], ["-y"], [7])),
        ],
        ids=str,
    )
    def test_refuses(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(errors.InvalidArgument) as raised:
            CloudInit(**wrong)
        assert raised.value.next_step


def read(iso: Path) -> dict[str, bytes]:
    """Read a CD's files by the names that Linux shows."""
    disc = PyCdlib()
    disc.open(str(iso))
    found = {}
    for folder, _, names in disc.walk(rr_path="/"):
        for name in names:
            path = f"{folder.rstrip('/')}/{name}"
            content = io.BytesIO()
            disc.get_file_from_iso_fp(content, rr_path=path)
            found[path[1:]] = content.getvalue()
    disc.close()
    return found


class TestIso:
    def test_holds_its_files_under_their_names(self, tmp_path: Path) -> None:
        files = {
            "user-data": b"one",
            "meta-data": b"",
            "a-long-folder-name/with.two.dots": b"x" * 5000,
            "a-long-folder-name/with.two.spots": b"y",
            "a-long-folder-too/user-data-twice": b"z",
            "a-long-folder-too/user-data-thrice": b"z" * 2048,
        }
        write_iso(tmp_path / "cd.iso", files, label="cidata")
        assert read(tmp_path / "cd.iso") == files

    def test_has_the_label_cloud_init_looks_for(self, tmp_path: Path) -> None:
        write_iso(tmp_path / "cd.iso", {"user-data": b""}, label="cidata")
        data = (tmp_path / "cd.iso").read_bytes()
        assert data[16 * 2048 + 40 :][:32].strip() == b"cidata"

    def test_can_be_booted(self, tmp_path: Path) -> None:
        """El Torito's record names a catalogue, and that the loader, patched with its place."""
        loader = bytes(range(256)) * 20
        files = {"isolinux/isolinux.bin": loader, "isolinux/isolinux.cfg": b"default x\n"}
        write_iso(tmp_path / "cd.iso", files, label="BOOT", bootable=True)
        data = (tmp_path / "cd.iso").read_bytes()
        record = data[17 * 2048 :][:2048]
        assert record[7:30] == b"EL TORITO SPECIFICATION"
        catalogue = data[int.from_bytes(record[71:75], "little") * 2048 :][:64]
        assert (catalogue[0], catalogue[30:32], catalogue[32]) == (1, b"\x55\xaa", 0x88)
        place = int.from_bytes(catalogue[40:44], "little")
        written = data[place * 2048 :][: len(loader)]
        assert written[:8] + written[64:] == loader[:8] + loader[64:]
        # The boot information table: where the volume descriptor is, the loader, its length.
        assert int.from_bytes(written[8:12], "little") == 16
        assert int.from_bytes(written[12:16], "little") == place
        assert int.from_bytes(written[16:20], "little") == len(loader)


class TestGuest:
    @pytest.fixture
    def image(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Image:
        monkeypatch.setattr("kvmlab.images.public_key", lambda: KEY)
        monkeypatch.setattr("kvmlab.storage.volumes.Volume.upload", lambda self, *_: None)
        disk = tmp_path / "disk.qcow2"
        disk.write_bytes(b"disk" * 99)
        return Image(
            name="cloudy",
            title="",
            digest="a" * 64,
            disk=disk,
            disk_format="qcow2",
            virtual_size=2**27,
            kernel=None,
            initrd=None,
            cmdline=None,
            memory_mib=64,
            min_memory_mib=32,
            os_id=None,
            has_agent=False,
            boot="disk",
        )

    def test_gets_a_cd_that_goes_with_it(self, test_lab: Lab, image: Image) -> None:
        web = test_lab.guests.create("web", image=image, cloud_init=CloudInit())
        cd = web.spec.disks[1]
        assert (cd.path, cd.device, cd.bus, cd.readonly) == (
            "/pool/web-seed.iso", "cdrom", "scsi", True,
        )  # fmt: skip
        assert [each.model for each in web.spec.scsi] == ["virtio-scsi"]
        assert "web-seed.iso" in test_lab.pools["default"].volumes
        web.delete()
        assert list(test_lab.pools["default"].volumes) == ["kvmlab-cloudy-aaaaaaaaaaaa.qcow2"]

    def test_is_told_the_same_by_the_commands(
        self, test_lab: Lab, image: Image, tmp_path: Path
    ) -> None:
        wish: dict[str, Any] = {
            "image": image,
            "cloud_init": CloudInit(write_files={"/a": NASTY}, runcmd=["EOF", "echo 'a b'"]),
        }
        preview = test_lab.guests.preview("web", **wish)
        seed = preview[preview.index("mkdir -p web-seed") : preview.index("virt-install")]
        assert seed in test_lab.guests.create("web", **wish).virsh
        script = seed[: seed.index("virsh")]
        subprocess.run(["bash", "-euc", script], check=True, cwd=tmp_path, capture_output=True)
        assert read(tmp_path / "web-seed.iso") == wish["cloud_init"].files("web", KEY)

    def test_needs_an_image(self, test_lab: Lab) -> None:
        with pytest.raises(errors.InvalidArgument, match="image='debian'"):
            test_lab.guests.create("web", cloud_init=CloudInit())
