"""The first sector of a bootable disk: a program of at most 440 bytes, and four partitions.

The BIOS loads it to 0x7c00 and jumps there. Like any such program, ours moves out of the
way, loads the first sector of the partition to boot, and jumps to that. Before, it does
one thing of its own, which makes a guest without hardware acceleration restart in half
the time or less: it has QEMU zero the memory the kernel is about to be unpacked to.

QEMU translates the code a guest runs, and keeps the translations of the kernel that ran
before the restart. While there are some of a page, every single write into that page goes
the long way, to see whether it changes what was translated: unpacking took ten seconds
instead of one third. QEMU's own writes drop all translations of a page at once, and its
fw_cfg device writes zeros wherever it is asked to:
https://www.qemu.org/docs/master/specs/fw_cfg.html#guest-side-dma-interface
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from kvmlab.images.machinecode import Program, assembled

SECTOR = 512
# Where the partition to boot starts; one MiB, as all tools have it nowadays.
BOOT_SECTOR = 2048

PROGRAM: Program = (
    ("31 c0", "xor ax, ax", "all segments are 0"),
    ("8e d0", "mov ss, ax", ""),
    ("bc 00 7c", "mov sp, 0x7c00", "the stack grows down from here"),
    ("8e d8", "mov ds, ax", ""),
    ("8e c0", "mov es, ax", ""),
    ("fc", "cld", "copies go forwards"),
    ("52", "push dx", "dl is the disk we came from"),
    ("be 00 7c", "mov si, 0x7c00", "make room: move this sector"),
    ("bf 00 06", "mov di, 0x0600", "to 0x600,"),
    ("b9 00 01", "mov cx, 256", "256 words of it,"),
    ("f3 a5", "rep movsw", ""),
    ("ea 1d 06 00 00", "jmp 0:moved", "and go on there"),
    # moved: (0x61d)
    ("ba 14 05", "mov dx, 0x514", "where QEMU has its fw_cfg"),
    ("66 ed", "in eax, dx", ""),
    ("66 3d 51 45 4d 55", "cmp eax, 'QEMU'", "is there one?"),
    ("75 0a", "jne boot", ""),
    ("b2 18", "mov dl, 0x18", "0x518 takes the address of a request,"),
    ("66 b8 00 00 06 49", "mov eax, 0x49060000", "highest byte first: 0x649"),
    ("66 ef", "out dx, eax", "and QEMU carries it out at once"),
    # boot: (0x634)
    ("5a", "pop dx", "the disk"),
    ("be 59 06", "mov si, packet", "what to read from it"),
    ("b4 42", "mov ah, 0x42", "BIOS disk call: extended read"),
    ("cd 13", "int 0x13", ""),
    ("72 08", "jc halt", ""),
    ("be be 07", "mov si, 0x07be", "the partition's entry, for its program"),
    ("ea 00 7c 00 00", "jmp 0:0x7c00", "which is on its own now"),
    # halt: (0x646)
    ("f4", "hlt", "the disk can't be read"),
    ("eb fd", "jmp halt", ""),
    # The request to fw_cfg (0x649), highest bytes first:
    ("ff ff 00 0a", "dd 0xffff000a", "select an item that isn't there, read it: zeros"),
    ("03 80 00 00", "dd 0x03800000", "56 MiB of them"),
    ("00 00 00 00 01 00 00 00", "dq 0x01000000", "to 16 MiB, the kernel's place (with nokaslr)"),
    # The packet for the BIOS (0x659): https://en.wikipedia.org/wiki/INT_13H
    ("10 00 01 00", "dw 16, 1", "its size; one sector"),
    ("00 7c 00 00", "dw 0x7c00, 0", "to 0:0x7c00"),
    ("00 08 00 00 00 00 00 00", "dq 2048", "from BOOT_SECTOR on"),
)


class Partition(NamedTuple):
    """An entry of the partition table.

    Attributes:
        kind: what is in it: 0x0c is FAT, 0x83 is Linux.
        start: its first sector.
        sectors: how many it has.
        boot: whether to boot from it.
    """

    kind: int
    start: int
    sectors: int
    boot: bool = False


def first_sector(*partitions: Partition) -> bytes:
    """Return the master boot record, 512 bytes.

    Example:
        >>> len(first_sector(Partition(0x0C, BOOT_SECTOR, 65536, boot=True)))
        512
    """
    # Where a partition starts and ends in cylinders, heads and sectors is unused since
    # disks outgrew them: fe ff ff says "see the numbers that follow".
    table = b"".join(
        struct.pack("<B3sB3sII", 0x80 * each.boot, b"\xfe\xff\xff", each.kind, b"\xfe\xff\xff",
                    each.start, each.sectors)
        for each in partitions
    )  # fmt: skip
    program = assembled(PROGRAM)
    return program.ljust(440, b"\0") + b"KVML\0\0" + table.ljust(64, b"\0") + b"\x55\xaa"
