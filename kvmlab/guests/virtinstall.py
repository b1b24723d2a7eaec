"""The virt-install command that defines a guest as kvmlab does."""

from __future__ import annotations

import shlex
import xml.etree.ElementTree as ET
from collections.abc import Iterable

from kvmlab.specs import Cpu, GuestSpec
from kvmlab.specs.xml import NAMESPACES, Element
from kvmlab.virsh import VirshLog


def define_commands(spec: GuestSpec, log: VirshLog) -> str:
    """Return the shell commands that define a guest, without starting it.

    virt-install would start it at once; so it only prints the XML here, which
    virsh then defines. The last commands note what the guest was made from: a
    virt-install whose libosinfo does not know a system yet refuses its name.

    Example:
        >>> print(define_commands(spec, lab.virsh_log))
        virt-install --name web \\
          --memory 256 \\
          ...
          --print-xml | virsh define /dev/stdin
        virsh metadata web --uri urn:kvmlab:guest --key kvmlab ...
    """
    lines = [log.tool("virt-install", "--name", spec.name)]
    lines += [f"--{option} {shlex.quote(value)}" for option, value in _options(spec)]
    lines += ["--import", f"--print-xml | {log.virsh('define', '/dev/stdin')}"]
    commands = [" \\\n  ".join(lines)]
    metadata = [spec.provenance, spec.os]
    for element in filter(None, metadata):
        key, _, _ = element.tag.partition(":")
        words = ("--uri", NAMESPACES[key], "--key", key, "--set", unprefixed(element), "--config")
        commands.append(log.virsh("metadata", spec.name, *words))
    if spec.balloon and spec.balloon.stats_period_s:
        period = ("--period", str(spec.balloon.stats_period_s), "--config")
        commands.append(log.virsh("dommemstat", spec.name, *period))
    return "\n".join(commands)


def _options(spec: GuestSpec) -> list[tuple[str, str]]:
    """Return virt-install's options (man virt-install) for each part of a guest."""
    cpu = spec.cpu or Cpu(mode="maximum")
    boot = ["firmware=efi"] if spec.firmware else []
    boot += [
        f"firmware.feature{place}.{key}={value}"
        for place, each in enumerate(spec.firmware_features)
        for key, value in (("name", each.name), ("enabled", each.enabled))
    ]
    boot += [f"{key}={value}" for key, value in _direct_boot(spec)]
    disks = [
        ("disk", f"path={d.path},format={d.format},bus={d.bus}"
         + (",device=cdrom" if d.device == "cdrom" else ""))
        for d in spec.disks
    ]  # fmt: skip
    networks = [("network", f"network={i.network},model={i.model}") for i in spec.interfaces]
    strings = spec.smbios.entries if spec.smbios else ()
    return [
        ("osinfo", "detect=off,require=off"),
        ("virt-type", spec.type),
        ("machine", spec.machine or "q35"),
        ("memory", f"memory={spec.memory_mib},currentMemory={spec.current_memory_mib}"),
        ("vcpus", f"vcpus={spec.max_vcpus},vcpu.current={spec.vcpus}"),
        ("cpu", ",".join([f"mode={cpu.mode}", *(f"disable={f.name}" for f in cpu.features)])),
        ("boot", ",".join([*spec.boot, *boot])),
        ("sysinfo", ",".join(["type=smbios", *_numbered("oemStrings.entry", strings)])),
        *(disks or [("disk", "none")]),
        *(networks or [("network", "none")]),
        *(("controller", f"scsi,model={s.model}") for s in spec.scsi),
        *(("controller", f"usb,model={u.model}") for u in spec.usb),
        *(("channel", f"unix,target.type=virtio,target.name={c.name}") for c in spec.channels),
        *(("graphics", f"{g.type},listen={g.listen}") for g in spec.graphics),
        *(("video", v.model) for v in spec.video),
        *([("rng", spec.rng.source)] if spec.rng and spec.rng.source else []),
        *([] if spec.clock else [("xml", "xpath.delete=./clock")]),  # its own idea of one
    ]


def _direct_boot(spec: GuestSpec) -> list[tuple[str, str]]:
    parts = (("kernel", spec.kernel), ("initrd", spec.initrd), ("kernel_args", spec.cmdline))
    # Commas part virt-install's options, but for those in quotes.
    return [(key, f'"{value}"' if "," in value else value) for key, value in parts if value]


def _numbered(key: str, values: Iterable[str]) -> list[str]:
    return [f"{key}{place}={value}" for place, value in enumerate(values)]


def unprefixed(spec: Element) -> str:
    """Write metadata as ``virsh metadata --set`` wants it: without its namespace.

    Example:
        >>> unprefixed(Provenance(image="tiny"))
        '<guest><image name="tiny" /></guest>'
    """
    element = spec.to_element()
    for each in element.iter():
        each.tag = each.tag.rpartition("}")[2]
    return ET.tostring(element, encoding="unicode")
