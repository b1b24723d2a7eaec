"""What is measured: the host, the guests, their screens."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import libvirt
import pytest
from PIL import Image

import kvmlab
from kvmlab import Lab, Screenshot, errors
from kvmlab.guests import metrics
from kvmlab.host import domain_type, read_host
from kvmlab.labhost import acceleration

MIB = 1024  # KiB


class Connection:
    """As much of a connection as is asked about the host."""

    uri = "qemu:///system"
    kvm = True

    def getURI(self) -> str:  # noqa: N802 - libvirt's names
        return self.uri

    def getInfo(self) -> list[Any]:  # noqa: N802
        return ["x86_64", 8192, 4]

    def getMemoryStats(self, cell: int) -> dict[str, int]:  # noqa: N802
        assert cell == libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS
        return {"total": 8 * MIB, "free": MIB, "buffers": 2 * MIB, "cached": 3 * MIB}

    def getHostname(self) -> str:  # noqa: N802
        return "host"

    def getLibVersion(self) -> int:  # noqa: N802
        return 9_000_000

    def getVersion(self) -> int:  # noqa: N802
        return 7_002_022

    def getDomainCapabilities(self, *_: object) -> str:  # noqa: N802
        if not self.kvm:
            raise libvirt.libvirtError("no kvm")
        return "<domainCapabilities/>"

    def getCapabilities(self) -> str:  # noqa: N802
        kvm = "<domain type='kvm'/>" if self.kvm else ""
        return f"<c><guest><arch><domain type='qemu'/>{kvm}</arch></guest></c>"


class TestHost:
    def test_is_told_with_units(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("KVMLAB_LABHOST", raising=False)
        host = read_host(Connection())
        assert (host.hostname, host.vcpus) == ("host", 4)
        assert (host.memory_mib, host.free_memory_mib) == (8, 6)
        assert (host.libvirt_version, host.qemu_version) == ("9.0.0", "7.2.22")

    def test_of_the_test_driver_has_no_statistics(self, test_lab: Lab) -> None:
        host = test_lab.host
        assert host.memory_mib == 3072
        assert host.acceleration in ("tcg", "kvm")  # what it makes up differs by its version
        assert domain_type(test_lab.connection, "kvm") == "test"

    @pytest.mark.parametrize(
        ("kvm", "kind", "type"), [(True, "kvm", "kvm"), (False, "tcg", "qemu")]
    )
    def test_elsewhere_libvirt_tells_of_kvm(
        self, kvm: bool, kind: str, type: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("KVMLAB_LABHOST", raising=False)
        connection = Connection()
        connection.kvm = kvm
        assert read_host(connection).acceleration == kind
        assert domain_type(connection, kind) == type

    def test_in_a_lab_host_the_probe_tells(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KVMLAB_LABHOST", "1")
        verdict = acceleration.Acceleration("kvm", "a guest ran", ("arch-capabilities",))
        monkeypatch.setattr(acceleration, "cached", lambda: verdict)
        host = read_host(Connection())
        assert (host.acceleration, host.acceleration_reason) == ("kvm", "a guest ran")
        assert host.disabled_cpu_features == ("arch-capabilities",)
        monkeypatch.setattr(acceleration, "cached", lambda: None)
        assert read_host(Connection()).acceleration == "tcg"

    def test_a_far_host_is_not_this_lab_host(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KVMLAB_LABHOST", "1")
        connection = Connection()
        connection.uri = "qemu+ssh://server/system"
        assert read_host(connection).acceleration == "kvm"


class TestConnecting:
    def test_outside_a_lab_host_says_what_to_do(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for variable in ("KVMLAB_URI", "KVMLAB_LABHOST"):
            monkeypatch.delenv(variable, raising=False)
        with pytest.raises(errors.ConnectionFailed, match=r"Run \./lab"):
            kvmlab.connect()

    def test_goes_where_the_environment_says(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("KVMLAB_URI", "test:///default")
        with kvmlab.connect() as lab:
            assert (lab.uri, repr(lab)) == ("test:///default", "<Lab test:///default>")
            assert list(lab.guests) == ["test"]

    def test_to_nowhere_fails_quietly(self, capfd: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(errors.ConnectionFailed, match="nonsense:///") as raised:
            kvmlab.connect("nonsense:///")
        assert isinstance(raised.value.__cause__, libvirt.libvirtError)
        assert capfd.readouterr() == ("", "")


class TestStats:
    RECORD: ClassVar[dict[str, int]] = {
        "state.state": libvirt.VIR_DOMAIN_RUNNING,
        "vcpu.current": 2,
        "cpu.time": 2_500_000_000,
        "balloon.current": 256 * MIB,
        "balloon.maximum": 512 * MIB,
        "balloon.unused": 64 * MIB,
        "balloon.rss": 300 * MIB,
        "block.count": 2,
        "block.0.rd.bytes": 100,
        "block.1.rd.bytes": 20,
        "block.1.wr.bytes": 3,
        "net.count": 1,
        "net.0.rx.bytes": 7,
        "net.0.tx.bytes": 8,
    }

    def test_have_units_and_sums(self) -> None:
        (stats,) = metrics.read([(SimpleNamespace(name=lambda: "web"), self.RECORD)])
        assert (stats.guest, stats.state, stats.vcpus) == ("web", "running", 2)
        assert stats.cpu_time_s == 2.5
        assert (stats.memory_mib, stats.max_memory_mib) == (256, 512)
        assert (stats.unused_memory_mib, stats.resident_memory_mib) == (64, 300)
        assert (stats.disk_read_bytes, stats.disk_written_bytes) == (120, 3)
        assert (stats.net_received_bytes, stats.net_sent_bytes) == (7, 8)

    def test_of_a_guest_that_is_off_are_zero_or_unknown(self) -> None:
        record = {"state.state": libvirt.VIR_DOMAIN_SHUTOFF}
        (stats,) = metrics.read([(SimpleNamespace(name=lambda: "web"), record)])
        assert (stats.state, stats.cpu_time_s, stats.unused_memory_mib) == ("shut off", 0.0, None)

    def test_two_of_them_tell_the_cpu_use(self) -> None:
        (one,) = metrics.read([(SimpleNamespace(name=lambda: "web"), self.RECORD)])
        two = metrics.GuestStats(**{**vars(one), "time_s": one.time_s + 2, "cpu_time_s": 4.0})
        assert two.cpu_percent_since(one) == pytest.approx(75)
        assert one.cpu_percent_since(one) == 0


class TestScreenshots:
    def test_become_png_whatever_they_were(self, tmp_path: Path) -> None:
        ppm = b"P6\n2 1\n255\n" + b"\xff\0\0" + b"\0\xff\0"
        shot = Screenshot.from_bytes(ppm)
        assert repr(shot) == "Screenshot(width=2, height=1)"
        assert 'alt="The screen of a guest, 2 by 1 pixels"' in shot._repr_html_()
        with Image.open(io.BytesIO(shot.png)) as picture:
            assert picture.format == "PNG"
            assert picture.convert("RGB").tobytes() == b"\xff\0\0\0\xff\0"
        assert Screenshot.from_bytes(shot.png) == shot
        shot.save(tmp_path / "shot.png")
        assert (tmp_path / "shot.png").read_bytes() == shot.png

    def test_of_the_test_driver(self, test_lab: Lab) -> None:
        assert test_lab.guests["old"].screenshot().width == 1120
