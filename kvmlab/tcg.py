"""The guest of `kvmlab.vmm` without KVM: every instruction translated by QEMU.

TCG, QEMU's Tiny Code Generator, reads the guest's instructions block by block and
writes instructions for this machine's processor that have the same effect on a
processor kept in QEMU's memory
(https://www.qemu.org/docs/master/devel/index-tcg.html). It needs no right to anything.
"""

from __future__ import annotations

import os
import select
import struct
import subprocess
import tempfile
import time
from pathlib import Path

from kvmlab.errors import GuestProgramError, QemuMissing
from kvmlab.vmm import GUEST, Run, check

ANSWER_BYTES = 2
FIRMWARE_SIZE = 0x10000  # 64 KiB, the smallest QEMU takes
RESET_VECTOR = FIRMWARE_SIZE - 16  # where an x86 processor looks for its first instruction


def run(a: int, b: int, *, guest: bytes = GUEST, timeout_s: float = 20.0) -> Run:
    """Let the guest add two numbers under pure emulation.

    QEMU has no option that sets registers, so two more instructions go before the
    guest's. The whole takes the place of QEMU's firmware; there is no other software in
    this machine. QEMU would let a halted processor sleep for good, so it is ended as soon
    as the answer has come.

    Args:
        a: goes into the guest's register AX; 0 to 65535.
        b: goes into the guest's register BX; 0 to 65535.
        guest: the guest's machine code; its answer must have two bytes.
        timeout_s: how many seconds to wait for the answer.

    Raises:
        QemuMissing: there is no qemu-system-x86_64 on this machine.
        GuestProgramError: the guest gave no answer in time.
        InvalidArgument: a number does not fit its register, or the guest its memory.

    Example:
        >>> run(300, 45).result
        345
    """
    check(a, b, guest)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="kvmlab-tcg-") as folder:
        file = Path(folder, "firmware.bin")
        file.write_bytes(firmware(a, b, guest))
        command = ["qemu-system-x86_64", "-accel", "tcg", "-machine", "q35", "-nodefaults"]
        command += ["-display", "none", "-serial", "stdio", "-bios", str(file)]
        pipe = subprocess.PIPE
        try:
            qemu = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe)
        except OSError as error:
            raise QemuMissing(
                "QEMU does not start",
                seen=error.strerror,
                next_step="Install it: sudo apt-get install qemu-system-x86",
            ) from error
        with qemu:  # waits for its end, and closes the pipes
            try:
                output = _answer(qemu, timeout_s)
            finally:
                qemu.terminate()
        return Run("tcg", output, (), time.perf_counter() - began)


def firmware(a: int, b: int, guest: bytes) -> bytes:
    """Return a firmware image that sets AX and BX, then is the guest.

    Args:
        a: the number for AX.
        b: the number for BX.
        guest: the guest's machine code.

    Example:
        >>> firmware(2, 3, b"\\xf4")[:7].hex(" ")
        'b8 02 00 bb 03 00 f4'
    """
    program = struct.pack("<BHBH", 0xB8, a, 0xBB, b) + guest  # mov ax, a; mov bx, b; ...
    # A near jump counts from its own end, and 16-bit addresses wrap around to 0.
    jump = struct.pack("<BH", 0xE9, FIRMWARE_SIZE - (RESET_VECTOR + 3))
    image = bytearray(b"\xf4" * FIRMWARE_SIZE)  # all the rest is hlt
    image[: len(program)] = program
    image[RESET_VECTOR : RESET_VECTOR + len(jump)] = jump  # to offset 0
    return bytes(image)


def _answer(qemu: subprocess.Popen[bytes], timeout_s: float) -> bytes:
    assert qemu.stdout is not None  # both are pipes, as asked for above
    assert qemu.stderr is not None
    output, deadline = b"", time.monotonic() + timeout_s
    while len(output) < ANSWER_BYTES:
        left = max(0.0, deadline - time.monotonic())
        ready, _, _ = select.select([qemu.stdout], [], [], left)
        more = os.read(qemu.stdout.fileno(), ANSWER_BYTES - len(output)) if ready else b""
        if not more:
            why = f"no answer from the guest within {timeout_s:g} s"
            if ready:  # an end of file, then: QEMU is gone
                why = f"QEMU ended early: {qemu.stderr.read().decode().strip()}"
            raise GuestProgramError(
                why,
                seen=f"{len(output)} of {ANSWER_BYTES} bytes",
                next_step="Let the guest write two bytes to port 0x3f8",
            )
        output += more
    return output
