"""Passphrases of encrypted volumes: libvirt's secret objects, one for each volume."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import libvirt

from kvmlab.errors import InvalidArgument, NotFound, translate
from kvmlab.specs import SecretSpec
from kvmlab.virsh import feed

if TYPE_CHECKING:
    from kvmlab.lab import Lab

_SHORTEST = 8


def check_passphrase(passphrase: str) -> None:
    """Refuse a passphrase that is as good as none.

    Raises:
        InvalidArgument: it has fewer than 8 characters, or one that nobody can type.
            What it was is not told.

    Example:
        >>> check_passphrase("correct horse battery staple")
    """
    typed = isinstance(passphrase, str) and passphrase.isprintable()
    if not typed or len(passphrase) < _SHORTEST:
        raise InvalidArgument(
            f"a passphrase needs {_SHORTEST} characters or more, such as can be typed in one line",
            next_step="Several words are easier to remember than one strange word",
        )


@contextmanager
def passphrase_for(lab: Lab, path: str, passphrase: str) -> Iterator[str]:
    """Give libvirt the passphrase of a volume that is made within; yield the secret's UUID.

    Where the volume can't be made, libvirt forgets it again. In the commands that do the
    same, virsh asks for it: it is in no log.

    Args:
        lab: whose libvirt.
        path: where the volume will be.
        passphrase: the secret.

    Example:
        >>> with passphrase_for(lab, "/pool/safe.qcow2", "correct horse") as uuid:
        ...     pool.createXML(...)
    """
    log = lab.virsh_log
    forget_passphrase(lab, path)  # one of a volume that was removed by other means
    with log.action() as action:
        spec = SecretSpec(volume=path)
        secret = lab.connection.secretDefineXML(spec.to_xml())
        try:
            secret.setValue(passphrase.encode(), 0)
            named = SecretSpec(volume=path, uuid=secret.UUIDString())
            action.note(feed(log.virsh("secret-define", "/dev/stdin"), named.to_xml()))
            action.note(log.virsh("secret-set-value", secret.UUIDString(), "--interactive"))
            yield secret.UUIDString()
        except BaseException:
            secret.undefine()
            raise


def forget_passphrase(lab: Lab, path: str) -> None:
    """Remove the passphrase of a volume, if libvirt has one.

    Example:
        >>> forget_passphrase(lab, "/pool/safe.qcow2")
    """
    log = lab.virsh_log
    kind = libvirt.VIR_SECRET_USAGE_TYPE_VOLUME
    try:
        secret = lab.connection.secretLookupByUsage(kind, path)
    except libvirt.libvirtError as error:
        if not isinstance(translate(error), NotFound):
            raise
        return
    with log.action() as action:
        secret.undefine()
        action.note(log.virsh("secret-undefine", secret.UUIDString()))
