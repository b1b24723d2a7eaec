"""A virtual machine monitor of our own: one machine, one page of memory, one CPU.

This file is meant to be read. It does what QEMU does for every guest of this
course, with everything left out that a guest of twelve bytes can do without:

1. ask the kernel for an empty virtual machine       (``KVM_CREATE_VM``)
2. give the machine memory, and put the guest there  (``KVM_SET_USER_MEMORY_REGION``)
3. give it a processor, and fill its registers       (``KVM_CREATE_VCPU``)
4. let the guest run until it needs us, help, repeat (``KVM_RUN``)

Where /dev/kvm does not open, `run` gives the very same bytes to QEMU's translator
(`kvmlab.tcg`), which puts the processor's work into software.

Sources: the KVM API (https://docs.kernel.org/virt/kvm/api.html), the numbers and
layouts of ``<linux/kvm.h>`` on x86-64, and, for the idea of so small a guest, Josh
Triplett, "Using the KVM API", LWN, 2015 (https://lwn.net/Articles/658511/).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import struct
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Literal

from kvmlab.errors import GuestProgramError, InvalidArgument, KvmUnavailable

# --- the guest -----------------------------------------------------------------------

LISTING = (
    # bytes      instruction      what it does
    ("ba f8 03", "mov dx, 0x3f8", "DX = the port of a PC's first serial line"),
    ("01 d8", "add ax, bx", "AX = AX + BX: the sum of our two numbers"),
    ("ee", "out dx, al", "send the low byte of AX"),
    ("88 e0", "mov al, ah", "fetch the high byte of AX"),
    ("ee", "out dx, al", "send it too"),
    ("f4", "hlt", "halt: nothing left to do"),
    ("eb fd", "jmp back to hlt", "woken by an interrupt? halt again"),
)
GUEST = bytes.fromhex("".join(code for code, _, _ in LISTING))
LOAD_AT = 0x7C00  # where a PC's firmware puts a boot sector; our guest runs anywhere
PAGE = 4096  # bytes
SERIAL_PORT = 0x3F8

# --- the numbers of <linux/kvm.h> ----------------------------------------------------

DEVICE = "/dev/kvm"
KVM_API_VERSION = 12  # the same since Linux 2.6.22; a program must refuse any other
KVM_GET_API_VERSION = 0xAE00
KVM_CREATE_VM = 0xAE01
KVM_GET_VCPU_MMAP_SIZE = 0xAE04
KVM_CREATE_VCPU = 0xAE41
KVM_SET_USER_MEMORY_REGION = 0x4020AE46
KVM_RUN = 0xAE80
KVM_SET_REGS = 0x4090AE82
KVM_GET_SREGS = 0x8138AE83
KVM_SET_SREGS = 0x4138AE84
KVM_EXIT_IO = 2
KVM_EXIT_HLT = 5
EXIT_NAMES = {2: "IO", 5: "HLT", 6: "MMIO", 8: "SHUTDOWN", 9: "FAIL_ENTRY", 17: "INTERNAL_ERROR"}

MEMORY_REGION = struct.Struct("<IIQQQ")  # slot, flags, guest address, size, our address
REGISTERS = struct.Struct("<18Q")  # rax rbx rcx rdx rsi rdi rsp rbp r8-r15 rip rflags
SREGS_SIZE = 312  # the special registers; the code segment comes first:
CS_BASE, CS_SELECTOR = 0, 12  # where in it: 64 bits and 16 bits wide
EXIT_REASON = 8  # where in the state page that KVM shares with us: 32 bits, and then
EXIT_IO = struct.Struct("<32xBBHIQ")  # from 32 on: outward?, size, port, count, data's place
MOST_EXITS = 1000  # a guest that talks longer than this is not one of ours


@dataclass(frozen=True)
class Exit:
    """One time the guest stopped and the monitor was asked to help.

    Args:
        reason: KVM's name for it without ``KVM_EXIT_``: ``"IO"``, ``"HLT"``, ...
        detail: what the guest wanted, in words.

    Example:
        >>> print(Exit("HLT", "the guest halted"))
        HLT  the guest halted
    """

    reason: str
    detail: str

    def __str__(self) -> str:
        return f"{self.reason:<4} {self.detail}"


@dataclass(frozen=True)
class Run:
    """What came of running the guest once.

    Args:
        engine: who ran the guest's instructions: ``"kvm"`` or ``"tcg"``.
        output: the bytes the guest wrote to port 0x3f8.
        exits: every exit in order; empty under TCG, which has no guest mode to exit from.
        seconds: from having nothing to the guest's answer.
        guest_seconds: the part of it spent in ``KVM_RUN``; None under TCG, where
            translating, running and starting QEMU can't be told apart from outside.
        note: why it was TCG, if it was; else empty.

    Example:
        >>> Run("kvm", b"\\x2a\\x01", (), 0.001, 0.0001).result
        298
    """

    engine: Literal["kvm", "tcg"]
    output: bytes
    exits: tuple[Exit, ...]
    seconds: float
    guest_seconds: float | None = None
    note: str = ""

    @property
    def result(self) -> int:
        """The guest's answer: its output read as a number, low byte first."""
        return int.from_bytes(self.output, "little")


def run(a: int, b: int, *, guest: bytes = GUEST) -> Run:
    """Let a guest add two numbers: on KVM where /dev/kvm opens, else under TCG.

    Args:
        a: goes into the guest's register AX; 0 to 65535, which is all it can hold.
        b: goes into the guest's register BX; 0 to 65535.
        guest: the guest's machine code; by default the twelve bytes of `LISTING`.

    Raises:
        InvalidArgument: a number does not fit its register, or the guest its memory.
        GuestProgramError: the guest did something this monitor has no answer to.
        QemuMissing: neither KVM nor QEMU is there.

    Example:
        >>> run(300, 45).result
        345
    """
    try:
        return run_on_kvm(a, b, guest=guest)
    except KvmUnavailable as reason:
        # Imported here: the emulator builds on this file, and only now is it needed.
        from kvmlab import tcg

        return replace(tcg.run(a, b, guest=guest), note=str(reason))


# --- the monitor ---------------------------------------------------------------------


def run_on_kvm(a: int, b: int, *, guest: bytes = GUEST) -> Run:
    """Run the guest on the real processor, through /dev/kvm; arguments as in `run`.

    A guest that never halts is ended by interrupting Python (the notebook's stop
    button), like any other endless loop.

    Raises:
        KvmUnavailable: /dev/kvm is missing, forbidden, or refuses to make a machine.
        InvalidArgument, GuestProgramError: as in `run`.

    Example:
        >>> [exit.reason for exit in run_on_kvm(2, 3).exits]  # doctest: +SKIP
        ['IO', 'IO', 'HLT']
    """
    check(a, b, guest)
    began = time.perf_counter()
    with ExitStack() as at_end:  # closes everything, in reverse, whatever happens
        try:
            kvm = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
            at_end.callback(os.close, kvm)
            if (version := fcntl.ioctl(kvm, KVM_GET_API_VERSION, 0)) != KVM_API_VERSION:
                raise KvmUnavailable("this is not the KVM API we know", seen=version)
            # 1. An empty virtual machine. All that follows hangs on file descriptors.
            vm = fcntl.ioctl(kvm, KVM_CREATE_VM, 0)
            at_end.callback(os.close, vm)
            # 2. One page of our own memory becomes the guest's only memory.
            memory = at_end.enter_context(mmap.mmap(-1, PAGE))
            page, offset = divmod(LOAD_AT, PAGE)
            memory[offset : offset + len(guest)] = guest
            ours = ctypes.addressof(ctypes.c_char.from_buffer(memory))
            region = MEMORY_REGION.pack(0, 0, page * PAGE, PAGE, ours)
            fcntl.ioctl(vm, KVM_SET_USER_MEMORY_REGION, region)
            # 3. One processor, and the page where KVM reports why it stopped.
            vcpu = fcntl.ioctl(vm, KVM_CREATE_VCPU, 0)
            at_end.callback(os.close, vcpu)
            state_size = fcntl.ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0)
            state = at_end.enter_context(mmap.mmap(vcpu, state_size))
            # It wakes up as x86 processors do, in real mode near the top of memory.
            # We point it to our guest instead: code segment 0, instruction LOAD_AT.
            special = bytearray(SREGS_SIZE)
            fcntl.ioctl(vcpu, KVM_GET_SREGS, special)
            struct.pack_into("<Q", special, CS_BASE, 0)
            struct.pack_into("<H", special, CS_SELECTOR, 0)
            fcntl.ioctl(vcpu, KVM_SET_SREGS, bytes(special))
            registers = REGISTERS.pack(a, b, *[0] * 14, LOAD_AT, 2)  # flag bit 1 is always set
            fcntl.ioctl(vcpu, KVM_SET_REGS, registers)
        except OSError as error:
            raise _unavailable(error) from error
        # 4. Run, look why it stopped, help, run on.
        entered = time.perf_counter()
        output, exits = _run_until_halt(vcpu, state)
        done = time.perf_counter()
        return Run("kvm", output, exits, done - began, done - entered)


def _run_until_halt(vcpu: int, state: mmap.mmap) -> tuple[bytes, tuple[Exit, ...]]:
    output = b""
    exits: list[Exit] = []
    while len(exits) < MOST_EXITS:
        try:
            fcntl.ioctl(vcpu, KVM_RUN, 0)  # the processor is the guest's until this returns
        except InterruptedError:
            continue  # a signal for Python, not an exit of the guest
        except OSError as error:
            raise _refused(error.strerror) from error
        (reason,) = struct.unpack_from("<I", state, EXIT_REASON)
        if reason == KVM_EXIT_HLT:
            return output, (*exits, Exit("HLT", "the guest halted"))
        outward, size, port, count, at = EXIT_IO.unpack_from(state)
        if reason != KVM_EXIT_IO or not outward or port != SERIAL_PORT:
            raise _refused(EXIT_NAMES.get(reason, reason), port if reason == KVM_EXIT_IO else None)
        data = bytes(state[at : at + size * count])
        exits.append(Exit("IO", f"the guest wrote 0x{data.hex()} to port {port:#x}"))
        output += data
    raise _refused(f"{MOST_EXITS} exits and no halt")


# --- what can be wrong ---------------------------------------------------------------


def check(a: int, b: int, guest: bytes) -> None:
    """Raise InvalidArgument unless the numbers and the guest fit the machine.

    Args:
        a: the number meant for AX.
        b: the number meant for BX.
        guest: the guest's machine code.

    Example:
        >>> check(65535, 1, GUEST)
    """
    for register, number in (("AX", a), ("BX", b)):
        if not isinstance(number, int) or not 0 <= number <= 0xFFFF:
            raise InvalidArgument(
                f"the register {register} can't hold this",
                seen=number,
                next_step="Give a whole number from 0 to 65535",
            )
    if not 0 < len(guest) <= PAGE - LOAD_AT % PAGE:
        raise InvalidArgument(
            "the guest does not fit into its memory",
            seen=f"{len(guest)} bytes",
            next_step=f"Give 1 to {PAGE - LOAD_AT % PAGE} bytes of machine code",
        )


def _refused(seen: object, port: int | None = None) -> GuestProgramError:
    return GuestProgramError(
        "the guest did something this small monitor has no answer to",
        seen=seen if port is None else f"{seen} port {port:#x}",
        next_step="Let the guest only write to port 0x3f8, then halt (hlt, byte f4)",
    )


def _unavailable(error: OSError) -> KvmUnavailable:
    if error.errno == errno.ENOENT:
        return KvmUnavailable(
            "this machine has no /dev/kvm",
            next_step="Switch virtualization on in the firmware set-up (or, if this machine is "
            "itself a guest, nested virtualization on its host), then load the module: "
            "sudo modprobe kvm_intel, or kvm_amd",
        )
    if error.errno in (errno.EACCES, errno.EPERM) and error.filename:
        seen = os.stat(error.filename)
        group_may = seen.st_mode & 0o060 == 0o060 and seen.st_gid != 0
        join = "sudo usermod -aG kvm $USER, then log in again"
        grant = "sudo chgrp kvm /dev/kvm && sudo chmod 660 /dev/kvm"
        return KvmUnavailable(
            "/dev/kvm is there, but not open to you",
            seen=f"mode {seen.st_mode & 0o7777:04o}, user {seen.st_uid}, group {seen.st_gid}",
            next_step=f"Join its group: {join}" if group_may else f"{grant}; {join}",
        )
    return KvmUnavailable(
        "/dev/kvm opens, but makes no virtual machine",
        seen=error.strerror,
        next_step="End other hypervisors (VirtualBox, VMware) if one runs, and try again",
    )
