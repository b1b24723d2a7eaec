"""The error tree, and libvirt's errors on their way into it."""

from __future__ import annotations

import errno
import inspect
import re

import libvirt
import pytest

from kvmlab import errors, limits
from kvmlab.errors import KvmlabError, translate
from kvmlab.libvirt_errors import NAMED, kind_of, translated

TREE = [
    cls
    for _, cls in inspect.getmembers(errors, inspect.isclass)
    if issubclass(cls, KvmlabError) and cls.__module__ == "kvmlab.errors"
]

# They say how bad an error is, not what it is.
LEVELS = {"VIR_ERR_NONE", "VIR_ERR_OK", "VIR_ERR_WARNING", "VIR_ERR_ERROR"}
CODES = sorted(name for name in vars(libvirt) if name.startswith("VIR_ERR_") and name not in LEVELS)


def libvirt_error(
    code: int, message: str = "it broke", *, domain: int = 0, int1: int = 0
) -> libvirt.libvirtError:
    error = libvirt.libvirtError(message)
    error.err = (code, domain, message, libvirt.VIR_ERR_ERROR, "", "", "", int1, 0)
    return error


class TestTree:
    def test_is_drawn_in_the_docstring(self) -> None:
        drawn: dict[str, str] = {}
        path: list[str] = []
        for line in (errors.__doc__ or "").splitlines():
            if found := re.match(r"    ((?:[│ ]   )*(?:[├└]── )?)([A-Z]\w+)(?:  |$)", line):
                depth = len(found[1]) // 4
                path[depth:] = [found[2]]
                drawn[found[2]] = path[depth - 1] if depth else "Exception"
        assert drawn == {cls.__name__: cls.__bases__[0].__name__ for cls in TREE}

    @pytest.mark.parametrize("cls", TREE)
    def test_every_error_is_documented(self, cls: type[KvmlabError]) -> None:
        assert cls.__doc__
        assert cls.__doc__ != KvmlabError.__doc__ or cls is KvmlabError

    def test_says_what_happened_what_was_seen_and_what_to_do(self) -> None:
        error = errors.InvalidName("that is no name", seen="a/b", next_step="Choose another")
        assert str(error) == "that is no name (saw 'a/b'). Choose another."
        assert (error.happened, error.seen, error.next_step) == (
            "that is no name",
            "a/b",
            "Choose another",
        )

    def test_shows_a_learner_their_own_line_and_no_way_through_the_library(self) -> None:
        with pytest.raises(errors.InvalidName) as caught:
            limits.check_name("a/b")
        own, told = caught.value._render_traceback_()
        assert own.endswith('limits.check_name("a/b")')
        assert told == f"InvalidName: {caught.value}"

    def test_gives_the_advice_of_its_class_without_a_next_step(self) -> None:
        assert str(errors.GuestNotRunning("no")) == "no. Start it first: guest.start()."

    def test_is_also_what_python_would_have_raised(self) -> None:
        assert issubclass(errors.NotFound, KeyError)
        assert issubclass(errors.InvalidArgument, ValueError)
        assert issubclass(errors.TimedOut, TimeoutError)
        assert (
            str(errors.GuestNotFound("no such guest", next_step="Look")) == "no such guest. Look."
        )


class TestTranslation:
    @pytest.mark.parametrize("name", CODES)
    def test_every_code_of_this_libvirt_has_a_place_on_purpose(self, name: str) -> None:
        assert name in NAMED, f"give {name} a place in kvmlab/libvirt_errors.py"
        assert kind_of(libvirt_error(getattr(libvirt, name))) is NAMED[name]

    @pytest.mark.parametrize(
        ("code", "kind"),
        [
            (42, errors.GuestNotFound),
            (43, errors.NetworkNotFound),
            (49, errors.PoolNotFound),
            (50, errors.VolumeNotFound),
            (72, errors.SnapshotNotFound),
            (55, errors.WrongState),
            (86, errors.AgentUnavailable),
            (90, errors.VolumeAlreadyExists),
            (9999, errors.LibvirtFailed),
        ],
    )
    def test_the_codes_a_learner_meets(self, code: int, kind: type[KvmlabError]) -> None:
        assert type(translate(libvirt_error(code))) is kind

    @pytest.mark.parametrize(
        ("code", "message", "kind"),
        [
            (1, "qemu-img: web.qcow2: No space left on device", errors.NotEnoughDisk),
            (1, "cannot set up guest memory: Cannot allocate memory", errors.NotEnoughMemory),
            (9, "Active console session exists for this domain", errors.ConsoleBusy),
            (1, "pool 'default' has asynchronous jobs running.", errors.PoolBusy),
            (55, "storage pool 'data' is not active", errors.PoolNotActive),
            (55, "network 'lan' is not active", errors.NetworkNotActive),
            (55, "domain is not running", errors.WrongState),
            (8, "unsupported flags (0x1) in function testDomainReset", errors.NotSupported),
            (27, "No space left on device", errors.InvalidXml),
        ],
    )
    def test_what_is_told_only_in_words(
        self, code: int, message: str, kind: type[KvmlabError]
    ) -> None:
        assert type(translate(libvirt_error(code, message))) is kind

    @pytest.mark.parametrize(
        ("number", "kind"),
        [
            (errno.ENOSPC, errors.NotEnoughDisk),
            (errno.ENOMEM, errors.NotEnoughMemory),
            (errno.EACCES, errors.Forbidden),
            (errno.EINVAL, errors.LibvirtFailed),
        ],
    )
    def test_what_a_system_call_said(self, number: int, kind: type[KvmlabError]) -> None:
        error = libvirt_error(libvirt.VIR_ERR_SYSTEM_ERROR, int1=number)
        assert type(translate(error)) is kind

    def test_a_dead_connection_is_known_by_where_the_error_comes_from(self) -> None:
        error = libvirt_error(1, "client socket is closed", domain=libvirt.VIR_FROM_RPC)
        assert type(translate(error)) is errors.ConnectionLost

    def test_keeps_libvirts_error_as_the_cause(self) -> None:
        cause = libvirt_error(42, "Domain not found")
        with pytest.raises(errors.GuestNotFound) as raised, translated("look for web"):
            raise cause
        assert raised.value.happened == "look for web: Domain not found"
        assert raised.value.__cause__ is cause
