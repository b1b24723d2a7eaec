"""``hello``: the smallest operating system, one disk sector of 512 bytes.

When a PC starts, its BIOS reads the first sector of the disk to address 0x7c00, checks
that it ends in 55 aa, and jumps there: 16-bit real mode, no memory protection, nothing
running but this. What it does is written in :data:`PROGRAM`, the bytes beside the
assembler they stand for.
"""

from __future__ import annotations

from pathlib import Path

from kvmlab.images import machinecode
from kvmlab.images.image import Content, Progress
from kvmlab.images.machinecode import Program, assembled

MESSAGE = "Hello! I am 512 bytes, and this computer is all mine."

# SeaBIOS reads the boot sector by cylinder, head and sector, and finds no cylinder on a disk
# smaller than one of them (16 heads of 63 sectors): "could not read the boot disk". So our
# sector is the first of a disk of 1 MiB; the rest of it is a hole in the file.
DISK_BYTES = 1 << 20

_LOADED_AT = 0x7C00

PROGRAM: Program = (
    ("31 c0", "xor ax, ax", "registers may hold anything at the start:"),
    ("8e d8", "mov ds, ax", "data is read from segment 0,"),
    ("8e d0", "mov ss, ax", "and so is the stack,"),
    ("bc 00 7c", "mov sp, 0x7c00", "which grows down from where we are"),
    ("fc", "cld", "lodsb shall go forwards"),
    ("b8 03 00", "mov ax, 0x0003", "BIOS video call 0: text, 80 by 25,"),
    ("cd 10", "int 0x10", "which clears the screen"),
    ("be 31 7c", "mov si, message", ""),
    # next: (0x7c12)
    ("ac", "lodsb", "the next character into al"),
    ("84 c0", "test al, al", "a zero ends the message"),
    ("74 16", "jz halt", ""),
    ("50", "push ax", ""),
    ("bb 07 00", "mov bx, 0x0007", "page 0, grey"),
    ("b4 0e", "mov ah, 0x0e", "BIOS video call 14: write al on the screen"),
    ("cd 10", "int 0x10", ""),
    ("ba fd 03", "mov dx, 0x3fd", "the first serial port's state:"),
    # wait: (0x7c22)
    ("ec", "in al, dx", ""),
    ("a8 20", "test al, 0x20", "can it take a character?"),
    ("74 fb", "jz wait", ""),
    ("58", "pop ax", ""),
    ("b2 f8", "mov dl, 0xf8", "0x3f8, its data:"),
    ("ee", "out dx, al", "send the character"),
    ("eb e5", "jmp next", ""),
    # halt: (0x7c2d)
    ("fa", "cli", "nothing may wake us,"),
    ("f4", "hlt", "and the processor sleeps;"),
    ("eb fd", "jmp halt + 1", "should something, sleep again"),
    # message: (0x7c31), right after the program
)


def boot_sector() -> bytes:
    """Return the 512 bytes.

    Example:
        >>> boot_sector()[-2:].hex()
        '55aa'
    """
    message = MESSAGE.encode("ascii") + b"\r\n\0"
    return (assembled(PROGRAM) + message).ljust(510, b"\0") + b"\x55\xaa"


def listing() -> str:
    """Return the program as an assembler would list it: address, bytes, instruction, comment."""
    return machinecode.listing(PROGRAM, _LOADED_AT)


class Hello:
    """The recipe for the image ``hello``."""

    def fingerprint(self) -> str:
        """Return the image itself: nothing else decides about it."""
        return f"{boot_sector().hex()} on {DISK_BYTES} bytes"

    def build(self, folder: Path, progress: Progress) -> Content:
        """Write the boot sector, and nothing after it."""
        with (folder / "disk.raw").open("wb") as disk:
            disk.write(boot_sector())
            disk.truncate(DISK_BYTES)
        return Content(
            title="Hello, a 512-byte boot sector",
            disk="disk.raw",
            disk_format="raw",
            virtual_size=DISK_BYTES,
            memory_mib=16,
            min_memory_mib=4,
        )
