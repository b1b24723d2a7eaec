"""The small CD that tells a guest's cloud-init what to do, as a volume of the guest's own."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from kvmlab.guests.cloudinit import LABEL
from kvmlab.specs import VolumeSpec
from kvmlab.storage.pools import Pool
from kvmlab.storage.volumes import Volume


@dataclass(frozen=True)
class Seed:
    """A CD that is yet to be made.

    Attributes:
        volume: the name its volume shall have.
        files: what shall be on it, by name.

    Example:
        >>> Seed("web-seed.iso", CloudInit().files("web", key)).carry_out(lab.pools["default"])
        <Volume web-seed.iso in default>
    """

    volume: str
    files: Mapping[str, bytes]

    def carry_out(self, pool: Pool) -> Volume:
        """Write the CD into the pool.

        Raises:
            VolumeAlreadyExists: the pool has a volume of that name.
            NotEnoughDisk: the pool is full; nothing of the CD is left there.

        Example:
            >>> seed.carry_out(lab.pools["default"])
            <Volume web-seed.iso in default>
        """
        # Imported late: writing CDs takes much that listing guests does not need.
        from kvmlab.images.iso import write_iso

        with (
            TemporaryDirectory(prefix="kvmlab-seed-") as folder,
            pool.lab.virsh_log.action(question=True),  # `commands` tells it better
        ):
            iso = Path(folder, self.volume)
            write_iso(iso, self.files, label=LABEL)
            size = iso.stat().st_size
            volume = pool.volumes.create_from(
                VolumeSpec(name=self.volume, capacity_bytes=size, format="raw")
            )
            try:
                volume.upload(iso)
            except BaseException:
                volume.delete()
                raise
        return volume

    def commands(self, pool: Pool) -> str:
        """Return the commands that do the same; pycdlib brings a genisoimage along.

        Example:
            >>> print(seed.commands(lab.pools["default"]))
            mkdir -p web-seed
            cat > web-seed/user-data <<'EOF'
            ...
            virsh vol-upload --pool default web-seed.iso web-seed.iso
        """
        name, virsh = self.volume, pool.lab.virsh_log.virsh
        folder = Path(name).stem
        lines = [f"mkdir -p {folder}"]
        for file, content in sorted(self.files.items()):
            text = content.decode()
            end = "EOF"
            while end in text.splitlines():
                end += "_"
            lines.append(f"cat > {folder}/{file} <<'{end}'\n{text}{end}")
        create = virsh("vol-create-as", pool.name, name, "BYTES", "--format", "raw")
        return "\n".join(
            [
                *lines,
                shlex.join(
                    ("pycdlib-genisoimage", "-quiet", "-volid", LABEL, "-joliet", "-rational-rock",
                     "-output", name, folder)
                ),
                create.replace("BYTES", f'"$(stat --format %s {name})"'),
                virsh("vol-upload", "--pool", pool.name, name, name),
            ]
        )  # fmt: skip
