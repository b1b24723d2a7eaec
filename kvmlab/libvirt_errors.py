"""Which of our errors stands for which of libvirt's.

Codes are given by name, so that the table reads the same for every version of
libvirt; their meaning is in libvirt's ``include/libvirt/virterror.h``. A test
compares the table with the installed libvirt: a code that is new there must be
given a place here on purpose.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import libvirt

from kvmlab import errors
from kvmlab.errors import KvmlabError, translate

_NAMES: dict[type[KvmlabError], str] = {
    errors.InvalidArgument: """
        INVALID_ARG INVALID_MAC INVALID_DOMAIN INVALID_NETWORK INVALID_STORAGE_POOL
        INVALID_STORAGE_VOL INVALID_NODE_DEVICE INVALID_INTERFACE INVALID_NWFILTER INVALID_SECRET
        INVALID_DOMAIN_SNAPSHOT INVALID_DOMAIN_CHECKPOINT INVALID_NETWORK_PORT INVALID_STREAM
        INVALID_NWFILTER_BINDING OVERFLOW""",
    errors.InvalidXml: """
        XML_ERROR XML_DETAIL XML_INVALID_SCHEMA OS_TYPE NO_KERNEL NO_ROOT NO_SOURCE NO_TARGET
        NO_NAME NO_OS NO_DEVICE PARSE_FAILED CONF_SYNTAX SEXPR_SERIAL""",
    errors.NotFound: """
        NO_INTERFACE NO_NWFILTER NO_NWFILTER_BINDING NO_SECRET NO_NETWORK_PORT NO_DOMAIN_METADATA
        NO_NETWORK_METADATA NO_SERVER NO_CLIENT""",
    errors.GuestNotFound: "NO_DOMAIN",
    errors.NetworkNotFound: "NO_NETWORK",
    errors.PoolNotFound: "NO_STORAGE_POOL",
    errors.VolumeNotFound: "NO_STORAGE_VOL",
    errors.SnapshotNotFound: "NO_DOMAIN_SNAPSHOT NO_DOMAIN_CHECKPOINT NO_DOMAIN_BACKUP",
    errors.DeviceNotFound: "NO_NODE_DEVICE DEVICE_MISSING",
    errors.AlreadyExists: "NETWORK_PORT_EXIST STORAGE_POOL_BUILT",
    errors.GuestAlreadyExists: "DOM_EXIST",
    errors.NetworkAlreadyExists: "NETWORK_EXIST",
    errors.VolumeAlreadyExists: "STORAGE_VOL_EXIST",
    errors.WrongState: """
        OPERATION_INVALID SNAPSHOT_REVERT_RISKY MIGRATE_UNSAFE BLOCK_COPY_ACTIVE RESOURCE_BUSY
        CHECKPOINT_INCONSISTENT MULTIPLE_DOMAINS MULTIPLE_INTERFACES""",
    errors.TimedOut: "OPERATION_TIMEOUT",
    errors.AgentUnavailable: """
        AGENT_UNRESPONSIVE AGENT_UNSYNCED AGENT_COMMAND_TIMEOUT AGENT_COMMAND_FAILED""",
    errors.ConnectionFailed: "NO_CONNECT UNKNOWN_HOST NO_HOSTNAME GNUTLS_ERROR SSH LIBSSH",
    errors.ConnectionLost: "RPC INVALID_CONN",
    errors.Forbidden: """
        ACCESS_DENIED AUTH_FAILED AUTH_CANCELLED AUTH_UNAVAILABLE OPERATION_DENIED""",
    errors.NotSupported: """
        NO_SUPPORT CONFIG_UNSUPPORTED ARGUMENT_UNSUPPORTED OPERATION_UNSUPPORTED CPU_INCOMPATIBLE
        NO_SECURITY_MODEL""",
    # Failures inside libvirt, its helpers or drivers no guest of ours has:
    # there is nothing better to say than libvirt's own words.
    errors.LibvirtFailed: """
        INTERNAL_ERROR NO_MEMORY OPERATION_FAILED OPERATION_ABORTED SYSTEM_ERROR CALL_FAILED
        DRIVER_FULL OPEN_FAILED READ_FAILED WRITE_FAILED STORAGE_PROBE_FAILED BUILD_FIREWALL
        HOOK_SCRIPT_FAILED DBUS_SERVICE MIGRATE_PERSIST_FAILED MIGRATE_FINISH_OK GET_FAILED
        POST_FAILED HTTP_ERROR NO_XEN XEN_CALL NO_XENSTORE""",
}
NAMED: dict[str, type[KvmlabError]] = {
    f"VIR_ERR_{name}": kind for kind, names in _NAMES.items() for name in names.split()
}

# VIR_ERR_SYSTEM_ERROR carries the errno of the failed system call.
_ERRNO: dict[int, type[KvmlabError]] = {
    errno.ENOSPC: errors.NotEnoughDisk,
    errno.EDQUOT: errors.NotEnoughDisk,
    errno.ENOMEM: errors.NotEnoughMemory,
    errno.EACCES: errors.Forbidden,
    errno.EPERM: errors.Forbidden,
}

# What QEMU and qemu-img say, which of two things is in the wrong state, and whether it
# is the driver that can't, reaches us only as text.
_SAID: tuple[tuple[str, type[KvmlabError]], ...] = (
    (r"No space left on device|Disk quota exceeded", errors.NotEnoughDisk),
    (r"Cannot allocate memory", errors.NotEnoughMemory),
    (r"unsupported flags", errors.NotSupported),
    (r"storage pool '.*' is not active", errors.PoolNotActive),
    (r"network '.*' is not active", errors.NetworkNotActive),
    (r"[Aa]ctive console session exists", errors.ConsoleBusy),
    (r"pool .* has asynchronous jobs running", errors.PoolBusy),
    (r"Child process \(\S*tc (qdisc|class|filter) ", errors.NoBandwidthLimits),
    (r"No more available PCI slots", errors.NotEnough),
    (r"guest agent is not (connected|responding)", errors.AgentUnavailable),
)
_VAGUE = {
    libvirt.VIR_ERR_INVALID_ARG,
    libvirt.VIR_ERR_INTERNAL_ERROR,
    libvirt.VIR_ERR_OPERATION_FAILED,
    libvirt.VIR_ERR_OPERATION_INVALID,
    libvirt.VIR_ERR_SYSTEM_ERROR,
}


@cache
def _by_code() -> dict[int, type[KvmlabError]]:
    return {getattr(libvirt, name): kind for name, kind in NAMED.items() if hasattr(libvirt, name)}


def kind_of(error: libvirt.libvirtError) -> type[KvmlabError]:
    """Return the class of ours that stands for an error of libvirt's.

    Example:
        >>> kind_of(error)  # of connection.lookupByName("nobody")
        <class 'kvmlab.errors.GuestNotFound'>
    """
    code = error.get_error_code()
    if code in _VAGUE:
        if error.get_error_domain() == libvirt.VIR_FROM_RPC:
            return errors.ConnectionLost
        if code == libvirt.VIR_ERR_SYSTEM_ERROR and (kind := _ERRNO.get(error.get_int1())):
            return kind
        for pattern, kind in _SAID:
            if re.search(pattern, error.get_error_message() or ""):
                return kind
    return _by_code().get(code, errors.LibvirtFailed)


@contextmanager
def translated(doing: str = "") -> Iterator[None]:
    """Raise libvirt's errors, where they come up within, as ours.

    Example:
        >>> with translated("look for web"):
        ...     connection.lookupByName("web")
        Traceback (most recent call last):
        kvmlab.errors.GuestNotFound: look for web: Domain not found: ...
    """
    try:
        yield
    except libvirt.libvirtError as error:
        raise translate(error, doing=doing) from error
