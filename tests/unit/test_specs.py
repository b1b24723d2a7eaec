"""Specs and libvirt's XML: golden files, both directions, every field.

``KVMLAB_REGENERATE=1 pytest tests/unit/test_specs.py`` writes the golden files anew; look
at the difference before you commit it.
"""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any

import libvirt
import pytest

from kvmlab import Lab, specs
from kvmlab.specs import (
    Bandwidth,
    Cpu,
    CpuFeature,
    DhcpHost,
    DhcpRange,
    Disk,
    DnsHost,
    Firmware,
    FirmwareFeature,
    FrozenDefinition,
    FrozenGuest,
    Graphics,
    GuestSpec,
    Interface,
    IpSpec,
    MemBalloon,
    NetworkSpec,
    OperatingSystem,
    Passphrase,
    PciController,
    PoolSpec,
    Provenance,
    Rng,
    ScsiController,
    SecretSpec,
    Serial,
    SmbiosStrings,
    SnapshotDisk,
    SnapshotSpec,
    Throttle,
    Tpm,
    UsbController,
    Video,
    VolumeSpec,
)
from kvmlab.specs.windows import windows_11
from kvmlab.specs.xml import Element

GOLDEN = Path(__file__).parent / "golden"
IMAGES = "/var/lib/libvirt/images"

SMALLEST = GuestSpec(type="qemu", name="web", memory_mib=128, max_vcpus=1)

TYPICAL = GuestSpec(
    type="kvm",
    name="web",
    uuid="0a5f5c74-0d2b-4b0b-9a55-b7a4b1a0f001",
    provenance=Provenance(image="tiny", digest="3fa9c2d1", volumes=(f"{IMAGES}/web.qcow2",)),
    os=OperatingSystem(id="http://debian.org/debian/12"),
    memory_mib=512,
    current_memory_mib=256,
    max_vcpus=4,
    vcpus=2,
    boot=("hd", "network"),
    smbios_mode="sysinfo",
    smbios=SmbiosStrings(entries=("io.systemd.credential:system.hostname=web", "a=<b> & 'c'")),
    cpu=Cpu(mode="host-passthrough", features=(CpuFeature(name="arch-capabilities"),)),
    disks=(
        Disk(path=f"{IMAGES}/web.qcow2", target="vda"),
        Disk(path=f"{IMAGES}/shared.img", target="vdb", format="raw", shareable=True),
        Disk(path=f"{IMAGES}/cd.iso", target="sda", bus="sata", device="cdrom", readonly=True),
    ),
    scsi=(ScsiController(),),
    pci=(PciController(model="pcie-root"), PciController()),
    interfaces=(
        Interface(network="default"),
        Interface(network="backstage", model="e1000e", mac="52:54:00:12:34:56"),
    ),
)

DIRECT = GuestSpec(
    type="qemu",
    name="bare",
    memory_mib=64,
    max_vcpus=1,
    machine="pc",
    arch="i686",
    os_type="hvm",
    firmware="efi",
    nvram="/var/lib/libvirt/qemu/nvram/bare_VARS.fd",
    kernel="/boot/vmlinuz",
    initrd="/boot/initrd",
    cmdline="console=ttyS0 quiet",
    acpi=False,
    apic=False,
    cpu=Cpu(mode="custom", features=(CpuFeature(name="vmx", policy="require"),)),
    scsi=(ScsiController(model="lsisas1068"),),
    usb=(UsbController(model="qemu-xhci"),),
    serials=(Serial(type="file"),),
    channels=(specs.AgentChannel(name="org.kvmlab.0"),),
    graphics=(Graphics(type="spice", autoport="no", listen="0.0.0.0"),),
    video=(Video(model="virtio"),),
    balloon=MemBalloon(model="none", stats_period_s=None),
    rng=Rng(source="/dev/random"),
)

LIMIT = Bandwidth(
    inbound_kib_s=1024,
    inbound_peak_kib_s=2048,
    inbound_burst_kib=512,
    outbound_kib_s=128,
    outbound_peak_kib_s=256,
    outbound_burst_kib=64,
)

CARD = Interface(
    type="bridge",
    bridge="br0",
    model="rtl8139",
    mac="52:54:00:12:34:57",
    target="web0",
    link="down",
    mtu=9000,
    bandwidth=LIMIT,
)

BACKSTAGE = NetworkSpec(
    name="backstage",
    uuid="0a5f5c74-0d2b-4b0b-9a55-b7a4b1a0f002",
    forward="nat",
    nat_ipv6="yes",
    bridge="virbr1",
    stp="off",
    delay="0",
    mtu=9000,
    domain="backstage.lab",
    domain_is_local="yes",
    dns=(DnsHost(ip="10.10.0.5", hostnames=("db", "sql")),),
    isolated_ports="yes",
    bandwidth=LIMIT,
    ips=(
        IpSpec(
            family="ipv4",
            address="10.10.0.1",
            prefix=24,
            ranges=(DhcpRange(start="10.10.0.100", end="10.10.0.199"),),
            hosts=(
                DhcpHost(mac="52:54:00:12:34:56", ip="10.10.0.5"),
                DhcpHost(name="web", ip="10.10.0.6"),
            ),
        ),
        IpSpec(family="ipv6", address="fd00:10::1", prefix=64),
        IpSpec(address="10.11.0.1", netmask="255.255.255.0"),
    ),
    options=("no-ping",),
)

WINDOWS = windows_11(
    "win",
    disk=f"{IMAGES}/win.qcow2",
    iso=f"{IMAGES}/Win11_24H2_English_x64.iso",
    drivers=f"{IMAGES}/virtio-win.iso",
)

# The same device's other values, and those that Windows leaves alone.
PLATFORM = replace(
    SMALLEST,
    name="platform",
    firmware_features=(FirmwareFeature(name="secure-boot", enabled="no"),),
    tpm=Tpm(model="tpm-tis", version="1.2"),
)

# Every kind of thing that a disk can be kept in.
DISKS = GuestSpec(
    type="qemu",
    name="store",
    memory_mib=128,
    max_vcpus=1,
    scsi=(ScsiController(model="lsilogic"),),
    disks=(
        Disk(
            path=f"{IMAGES}/safe.qcow2",
            target="vda",
            cache="none",
            discard="unmap",
            serial="SAFE-1",
            encryption=Passphrase(secret="8ac3f3e5-6f43-4fb0-9c6c-f0f5c4d11f0d"),
            throttle=Throttle(total_bytes_sec=2**20, read_iops_sec=100, write_iops_sec=50),
        ),
        Disk(
            type="block",
            device_path="/dev/vg0/data",
            target="sdb",
            bus="scsi",
            format="raw",
            throttle=Throttle(read_bytes_sec=1, write_bytes_sec=2, total_iops_sec=3),
        ),
        Disk(type="volume", pool="default", volume="a.img", target="vdc", format="raw"),
        Disk(type="network", protocol="nbd", remote_name="export", target="vdd", format="raw"),
        Disk(target="sda", bus="sata", device="cdrom", format="raw", readonly=True),
    ),
)

CASES: dict[str, Element] = {
    "guest-windows": WINDOWS,
    "guest-platform": PLATFORM,
    "guest-smallest": SMALLEST,
    "guest-typical": TYPICAL,
    "guest-direct": DIRECT,
    "volume": VolumeSpec(name="data.img", capacity_bytes=2**30, format="raw"),
    "volume-overlay": VolumeSpec(
        name="web.qcow2",
        capacity_bytes=2**31,
        allocation_bytes=4096,
        backing_path=f"{IMAGES}/kvmlab-tiny.qcow2",
        backing_format="qcow2",
    ),
    "interface-bridge": CARD,
    "network": BACKSTAGE,
    "snapshot": SnapshotSpec(
        name="update",
        description="before <the> update",
        state="running",
        parent="clean",
        created_s=1795508100,
        memory="external",
        memory_path=f"{IMAGES}/web.update.mem",
        disks=(
            SnapshotDisk(
                name="vda", snapshot="external", path=f"{IMAGES}/web.update", format="qcow2"
            ),
            SnapshotDisk(name="sda", snapshot="no"),
        ),
        revert_disks=(
            SnapshotDisk(name="vda", snapshot="external", path=f"{IMAGES}/web.1795508100"),
        ),
        guest=FrozenGuest(disks=(Disk(path=f"{IMAGES}/web.clean", target="vda"),)),
        definition=FrozenDefinition(disks=(Disk(path=f"{IMAGES}/web.clean", target="vda"),)),
    ),
    "firmware": Firmware(
        auto="efi", loader_type="pflash", variables="/nvram/web.fd", variables_format="qcow2"
    ),
    "guest-disks": DISKS,
    "volume-encrypted": VolumeSpec(
        name="safe.qcow2",
        capacity_bytes=2**30,
        encryption=Passphrase(format="default", secret="8ac3f3e5-6f43-4fb0-9c6c-f0f5c4d11f0d"),
    ),
    "pool": PoolSpec(
        name="data",
        type="netfs",
        path="/srv/data",
        hosts=("nas",),
        directory="/export/data",
        format="nfs",
    ),
    "pool-logical": PoolSpec(
        name="vg",
        type="logical",
        path="/dev/vg",
        source_name="vg",
        devices=("/dev/sdb", "/dev/sdc"),
        format="lvm2",
    ),
    "secret": SecretSpec(
        volume=f"{IMAGES}/safe.qcow2",
        uuid="8ac3f3e5-6f43-4fb0-9c6c-f0f5c4d11f0d",
        description="of the safe",
    ),
}

# What libvirt tells of a running guest, and nobody writes.
READ_ONLY = {
    ("AgentChannel", "state"),
    ("Disk", "alias"),
    ("Disk", "backing"),
    ("Interface", "alias"),
    ("NetworkSpec", "connections"),
}


@pytest.mark.parametrize("name", CASES)
def test_writes_what_it_wrote_before(name: str) -> None:
    golden = GOLDEN / f"{name}.xml"
    xml = CASES[name].to_xml() + "\n"
    if os.environ.get("KVMLAB_REGENERATE"):
        golden.write_text(xml)
    assert xml == golden.read_text()


@pytest.mark.parametrize("name", CASES)
def test_reads_back_what_it_wrote(name: str) -> None:
    spec = CASES[name]
    assert type(spec).from_xml((GOLDEN / f"{name}.xml").read_text()) == spec


def test_no_golden_file_is_left_over() -> None:
    assert {file.stem for file in GOLDEN.glob("*.xml")} == set(CASES)


def every_spec(value: object) -> list[Element]:
    """Return a spec and all those within it."""
    if isinstance(value, tuple):
        return [each for part in value for each in every_spec(part)]
    if not isinstance(value, Element):
        return []
    parts = [getattr(value, field.name) for field in fields(value)]  # type: ignore[arg-type]
    return [value, *(each for part in parts for each in every_spec(part))]


@pytest.mark.parametrize("cls", [getattr(specs, name) for name in specs.__all__])
def test_every_field_has_a_golden_file_in_which_it_is_not_its_default(cls: Any) -> None:
    seen = [each for case in CASES.values() for each in every_spec(case) if type(each) is cls]
    untested = {
        field.name
        for field in fields(cls)
        if (cls.__name__, field.name) not in READ_ONLY
        and not any(
            field.default is MISSING or getattr(spec, field.name) != field.default for spec in seen
        )
    }
    assert seen
    # hvm is the only kind of guest kvmlab makes; a default that is never left is held by
    # every golden file.
    assert untested <= {"os_type"}


def test_understands_the_cards_of_a_running_guest() -> None:
    told = """<domain><name>web</name><memory>1024</memory><vcpu>1</vcpu><os><type>hvm</type></os>
      <devices>
        <interface type='network'><mac address='52:54:00:12:34:56'/>
          <source network='default' portid='0a5f5c74-0d2b-4b0b-9a55-b7a4b1a0f003' bridge='virbr0'/>
          <target dev='vnet0'/><model type='virtio'/><alias name='net0'/></interface>
        <interface type='bridge'><mac address='52:54:00:12:34:57'/>
          <source network='street' bridge='br0'/><target dev='vnet1'/><link state='down'/>
        </interface>
        <interface type='user'/>
      </devices></domain>"""
    element = ET.fromstring(told)
    plain, street = Interface.all_in(element, "devices")
    assert (plain.network, plain.bridge, plain.target) == ("default", "virbr0", "vnet0")
    assert (plain.alias, plain.link, plain.bandwidth) == ("net0", None, None)
    assert (street.type, street.network, street.link) == ("bridge", "street", "down")


def test_a_subnet_is_told_by_prefix_or_by_netmask() -> None:
    _, six, masked = BACKSTAGE.ips
    assert [str(ip.subnet) for ip in (six, masked)] == ["fd00:10::/64", "10.11.0.0/24"]


@pytest.mark.parametrize(
    ("address", "subnet"),
    [
        ("10.1.2.3", "10.0.0.0/8"),
        ("172.16.0.1", "172.16.0.0/16"),
        ("192.168.7.1", "192.168.7.0/24"),
        ("fd00:10::1", "fd00:10::/64"),
    ],
)
def test_a_subnet_may_go_without_saying(address: str, subnet: str) -> None:
    assert str(IpSpec(address=address).subnet) == subnet


def test_understands_what_libvirt_makes_of_it() -> None:
    told = """<domain type='kvm' id='3'>
      <name>web</name><memory unit='KiB'>262144</memory>
      <currentMemory unit='b'>134217728</currentMemory>
      <vcpu placement='static'>2</vcpu>
      <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os>
      <devices>
        <disk type='network' device='disk'><source protocol='nbd'/><target dev='vdb'/></disk>
        <disk type='file' device='cdrom'><target dev='sda' bus='sata'/></disk>
        <disk type='block' device='disk'><source dev='/dev/vg0/a'/><target dev='vdc'/></disk>
        <disk type='volume' device='disk'><source pool='p' volume='v'/><target dev='vdd'/></disk>
        <disk type='file' device='disk'><source file='/top'/>
          <backingStore type='file'><format type='qcow2'/><source file='/middle'/>
            <backingStore type='file'><format type='raw'/><source file='/base'/><backingStore/>
            </backingStore></backingStore>
          <target dev='vde'/><alias name='virtio-disk4'/></disk>
        <disk type='vhostuser' device='disk'><target dev='vdf' bus='virtio'/></disk>
        <interface type='user'/>
        <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0' state='connected'/>
        </channel>
        <channel type='spicevmc'><target type='virtio' name='com.redhat.spice.0'/></channel>
      </devices></domain>"""
    spec = GuestSpec.from_xml(told)
    assert (spec.memory_mib, spec.current_memory_mib) == (256, 128)
    assert (spec.vcpus, spec.max_vcpus) == (None, 2)
    assert [(disk.target, disk.source) for disk in spec.disks] == [
        ("vdb", "nbd:"),
        ("sda", None),
        ("vdc", "/dev/vg0/a"),
        ("vdd", "p/v"),
        ("vde", "/top"),
        ("vdf", None),
    ]
    assert (spec.disks[4].backing, spec.disks[4].alias) == (("/middle", "/base"), ("virtio-disk4",))
    assert spec.interfaces == ()
    assert [channel.state for channel in spec.channels] == ["connected"]
    assert (spec.balloon, spec.rng, spec.provenance, spec.acpi) == (None, None, None, False)


def test_libvirts_schema_takes_windows(test_lab: Lab) -> None:
    """All of it but the kind of guest: there are only "test" ones here."""
    windows = replace(WINDOWS, type="test").to_xml()
    domain = test_lab.connection.defineXMLFlags(windows, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
    told = GuestSpec.from_xml(domain.XMLDesc())
    for part in ("hyperv", "tpm", "clock", "smm", "firmware_features"):
        assert getattr(told, part) == getattr(WINDOWS, part)
    assert [disk.path for disk in told.disks] == [disk.path for disk in WINDOWS.disks]
