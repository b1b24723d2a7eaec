"""The virtual machine monitor of our own, on KVM where it opens, and on TCG everywhere."""

from __future__ import annotations

import ast
import contextlib
import fcntl
import inspect
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from kvmlab import errors, tcg, vmm

MASK = 0xFFFF
SUBTRACT = vmm.GUEST.replace(bytes.fromhex("01d8"), bytes.fromhex("29d8"))


def kvm_opens() -> bool:
    """Whether this machine lets us make a virtual machine, found out without kvmlab."""
    with contextlib.ExitStack() as at_end:
        try:
            kvm = os.open("/dev/kvm", os.O_RDWR)
            at_end.callback(os.close, kvm)
            at_end.callback(os.close, fcntl.ioctl(kvm, 0xAE01, 0))  # KVM_CREATE_VM
        except OSError:
            return False
    return True


# One test function for both engines. Where /dev/kvm does not open, "kvm" asserts the
# refusal instead of being skipped: a skip would hide that nothing was looked at.
@pytest.fixture(params=["kvm", "tcg"])
def engine(request: pytest.FixtureRequest) -> Callable[..., vmm.Run]:
    if request.param == "tcg":
        return tcg.run
    if kvm_opens():
        return vmm.run_on_kvm

    def refused(a: int, b: int, **given: bytes) -> vmm.Run:
        with pytest.raises(errors.KvmUnavailable) as refusal:
            vmm.run_on_kvm(a, b, **given)
        assert refusal.value.next_step
        assert isinstance(refusal.value.__cause__, OSError)
        return vmm.run(a, b, **given)

    return refused


@pytest.mark.parametrize(
    ("a", "b"), [(0, 0), (2, 3), (4, 5), (255, 1), (1234, 4321), (65535, 0), (65535, 65535)]
)
def test_the_guest_adds_what_a_16_bit_register_can_hold(
    engine: Callable[..., vmm.Run], a: int, b: int
) -> None:
    run = engine(a, b)
    assert run.result == (a + b) & MASK
    assert len(run.output) == 2
    assert run.seconds > 0


def test_another_guest_does_something_else(engine: Callable[..., vmm.Run]) -> None:
    assert engine(1000, 1, guest=SUBTRACT).result == 999


@pytest.mark.parametrize(("a", "b"), [(-1, 0), (0, 65536), (1.5, 0), ("2", 3)])
def test_a_number_that_fits_no_register_is_refused(a: int, b: int) -> None:
    for run in (vmm.run, vmm.run_on_kvm, tcg.run):
        with pytest.raises(errors.InvalidArgument, match="65535"):
            run(a, b)


@pytest.mark.parametrize("size", [0, vmm.PAGE])
def test_a_guest_that_fits_no_memory_is_refused(size: int) -> None:
    with pytest.raises(errors.InvalidArgument, match=f"{size} bytes"):
        vmm.run(1, 2, guest=b"\xf4" * size)


def test_run_takes_kvm_where_it_opens_and_says_why_where_not() -> None:
    run = vmm.run(20, 22)
    assert run.result == 42
    if kvm_opens():
        assert run.engine == "kvm"
        assert [exit.reason for exit in run.exits] == ["IO", "IO", "HLT"]
        assert "0x2a" in run.exits[0].detail
        assert run.guest_seconds is not None
        assert 0 < run.guest_seconds < run.seconds
        assert not run.note
    else:
        assert run.engine == "tcg"
        assert run.exits == ()
        assert run.guest_seconds is None
        assert "/dev/kvm" in run.note


def test_without_dev_kvm_the_same_guest_runs_under_tcg(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(vmm, "DEVICE", str(tmp_path / "kvm"))
    run = vmm.run(300, 45)
    assert (run.engine, run.result) == ("tcg", 345)
    assert run.note.startswith("this machine has no /dev/kvm")


@pytest.mark.parametrize(
    ("mode", "group", "mends"),
    [(0o660, 104, "usermod -aG kvm"), (0o600, 0, "chmod 660"), (0o660, 0, "chgrp kvm")],
)
def test_a_forbidden_dev_kvm_says_how_to_mend_it(
    monkeypatch: pytest.MonkeyPatch, mode: int, group: int, mends: str
) -> None:
    def forbidden(path: str, flags: int) -> int:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(vmm.os, "open", forbidden)
    seen = os.stat_result((0o20000 | mode, 0, 0, 1, 0, group, 0, 0, 0, 0))
    monkeypatch.setattr(vmm.os, "stat", lambda path: seen)
    with pytest.raises(errors.KvmUnavailable) as refusal:
        vmm.run_on_kvm(1, 2)
    assert mends in str(refusal.value)
    assert f"{mode:04o}" in str(refusal.value)


def test_kvm_that_makes_no_machine_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(fd: int, request: int, argument: object = 0) -> int:
        if request == vmm.KVM_GET_API_VERSION:
            return vmm.KVM_API_VERSION
        raise OSError(16, "Device or resource busy")

    monkeypatch.setattr(vmm, "DEVICE", "/dev/null")
    monkeypatch.setattr(vmm.fcntl, "ioctl", busy)
    with pytest.raises(errors.KvmUnavailable, match="busy"):
        vmm.run_on_kvm(1, 2)


def test_without_qemu_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(errors.QemuMissing, match="apt-get install qemu-system-x86"):
        tcg.run(1, 2)


def test_under_tcg_a_silent_guest_is_given_up() -> None:
    with pytest.raises(errors.GuestProgramError, match=r"within 0\.5 s"):
        tcg.run(1, 2, guest=b"\xf4", timeout_s=0.5)


def test_a_qemu_that_refuses_is_quoted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    qemu = tmp_path / "qemu-system-x86_64"
    qemu.write_text("#!/bin/sh\necho no such machine >&2; exit 1\n")
    qemu.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(errors.GuestProgramError, match="no such machine"):
        tcg.run(1, 2)


def refusal_on_kvm(guest: str) -> str:
    """What a bad guest gets: on KVM its own fault is told; without KVM, that KVM is missing."""
    with pytest.raises(errors.VmmError) as refusal:
        vmm.run_on_kvm(1, 2, guest=bytes.fromhex(guest))
    expected = errors.GuestProgramError if kvm_opens() else errors.KvmUnavailable
    assert type(refusal.value) is expected
    return str(refusal.value)


@pytest.mark.parametrize(
    ("guest", "told"),
    [
        ("e6 80 f4", "port 0x80"),  # out 0x80, al
        ("e4 60 f4", "port 0x60"),  # in al, 0x60
        ("ba f8 03 ee eb fd", "1000 exits"),  # out, for ever
        ("a0 00 90 f4", "MMIO"),  # mov al, [0x9000]: beyond its one page
    ],
)
def test_a_guest_that_asks_for_more_is_refused(guest: str, told: str) -> None:
    text = refusal_on_kvm(guest)
    assert (told if kvm_opens() else "/dev/kvm") in text


def test_an_endless_guest_is_ended_by_a_signal() -> None:
    class Stopped(Exception):  # noqa: N818  (it stands for KeyboardInterrupt)
        pass

    def stop(*_: object) -> None:
        raise Stopped

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(Stopped if kvm_opens() else errors.KvmUnavailable):
            vmm.run_on_kvm(1, 2, guest=bytes.fromhex("eb fe"))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("guest", [vmm.GUEST, bytes.fromhex("e6 80 f4")])
def test_nothing_stays_open(guest: bytes) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    with contextlib.suppress(errors.VmmError):
        vmm.run_on_kvm(1, 2, guest=guest)
    tcg.run(1, 2)
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_no_qemu_and_no_file_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcg.tempfile, "tempdir", str(tmp_path))
    tcg.run(1, 2)
    with pytest.raises(errors.GuestProgramError):
        tcg.run(1, 2, guest=b"\xf4", timeout_s=0.1)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)  # not even a zombie


def test_the_listing_is_the_guest() -> None:
    assert len(vmm.GUEST) == 12
    assert vmm.GUEST.hex(" ") == " ".join(code for code, _, _ in vmm.LISTING)


# What a C compiler says of <linux/kvm.h> on x86-64 (Linux 6.1; the ABI is frozen): the
# request number of an ioctl holds the size of its argument in bits 16 to 29.
@pytest.mark.parametrize(
    ("request_number", "argument_size", "number", "direction"),
    [
        (vmm.KVM_GET_API_VERSION, 0, 0x00, 0),
        (vmm.KVM_CREATE_VM, 0, 0x01, 0),
        (vmm.KVM_GET_VCPU_MMAP_SIZE, 0, 0x04, 0),
        (vmm.KVM_CREATE_VCPU, 0, 0x41, 0),
        (vmm.KVM_SET_USER_MEMORY_REGION, vmm.MEMORY_REGION.size, 0x46, 1),
        (vmm.KVM_RUN, 0, 0x80, 0),
        (vmm.KVM_SET_REGS, vmm.REGISTERS.size, 0x82, 1),
        (vmm.KVM_GET_SREGS, vmm.SREGS_SIZE, 0x83, 2),
        (vmm.KVM_SET_SREGS, vmm.SREGS_SIZE, 0x84, 1),
    ],
)
def test_request_numbers_hold_the_size_of_their_argument(
    request_number: int, argument_size: int, number: int, direction: int
) -> None:
    assert request_number == direction << 30 | argument_size << 16 | 0xAE << 8 | number


def test_layouts_are_those_of_linux_kvm_h() -> None:
    assert (vmm.MEMORY_REGION.size, vmm.REGISTERS.size, vmm.SREGS_SIZE) == (32, 144, 312)
    # struct kvm_run: exit_reason at 8; io.direction 32, .size 33, .port 34, .count 36,
    # .data_offset 40
    page = bytes(32) + bytes([1, 2]) + (0x3F8).to_bytes(2, "little") + bytes([3, 0, 0, 0, 99])
    assert vmm.EXIT_IO.unpack_from(page.ljust(48, b"\0")) == (1, 2, 0x3F8, 3, 99)
    assert (vmm.EXIT_REASON, vmm.CS_BASE, vmm.CS_SELECTOR) == (8, 0, 12)


def test_the_firmware_jumps_from_the_reset_vector_to_its_start() -> None:
    image = tcg.firmware(0x1234, 0x5678, vmm.GUEST)
    assert len(image) == 65536
    assert image.startswith(bytes.fromhex("b8 34 12 bb 78 56") + vmm.GUEST)
    opcode, distance = image[0xFFF0], int.from_bytes(image[0xFFF1:0xFFF3], "little")
    assert opcode == 0xE9
    assert (0xFFF3 + distance) & MASK == 0


def test_the_monitor_stays_short_enough_to_read() -> None:
    statements = 0
    for function in (vmm.run_on_kvm, vmm._run_until_halt):
        (definition,) = ast.parse(inspect.getsource(function)).body
        statements += len({node.lineno for node in ast.walk(definition) if hasattr(node, "lineno")})
    assert statements <= 60
