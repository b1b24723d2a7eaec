"""cloud-init: what a ready-made image is told about itself at its first boot.

An image for clouds has no password and no name of its own. At its first boot, its program
cloud-init looks for a *data source*; here it is ``NoCloud``, a CD with the label ``cidata``
and two files: ``user-data``, what shall be done, and ``meta-data``, which instance this is.
https://cloudinit.readthedocs.io/en/latest/reference/datasources/nocloud.html
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kvmlab.errors import InvalidArgument

# What useradd of Debian and Red Hat takes; the hostname's rule is RFC 1123's, dots for more.
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOSTNAME = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*")
# RFC 4253's names for kinds of keys, then the key in base64.
_SSH_KEY = re.compile(r"(?:ssh|ecdsa|sk-ssh|sk-ecdsa)-[\w@.-]+ [A-Za-z0-9+/]+=*(?: .*)?")
_PACKAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+:_~=/-]*")

LABEL = "cidata"


@dataclass(frozen=True)
class CloudInit:
    """What a guest is told at its first boot, by a small CD that only it has.

    The user may become root with ``sudo`` without a password, as on all cloud images.

    Attributes:
        user: the name of the user that is made.
        ssh_keys: the public keys that let in as this user; by default the lab's own key.
        password: for logging in on the console, and over ssh too; by default there is
            none. It is readable for whoever can read the CD.
        hostname: by default the guest's name.
        write_files: text by absolute path; root's, readable by all.
        runcmd: commands for the shell, run as root at the end of the first boot.
        packages: names of packages to install. Takes the Internet and minutes: none by
            default, and then the lists of packages are not renewed either.

    Raises:
        InvalidArgument: one of the values makes no sense.

    Example:
        >>> ada = CloudInit(user="ada", runcmd=["echo hello > /root/hello"])
        >>> lab.guests.create("web", image="debian", cloud_init=ada)
    """

    user: str = "learner"
    ssh_keys: Sequence[str] | None = None
    password: str | None = field(default=None, repr=False)
    hostname: str | None = None
    write_files: Mapping[str, str] = field(default_factory=dict)
    runcmd: Sequence[str | Sequence[str]] = ()
    packages: Sequence[str] = ()

    def __post_init__(self) -> None:
        _check("user", self.user, _USER, "Use small letters, digits, '-' and '_', a letter first")
        if self.user == "root":
            raise InvalidArgument(
                "root is there already", seen="root", next_step="Name another user; it has sudo"
            )
        if self.hostname is not None:
            _check("hostname", self.hostname, _HOSTNAME, "Use letters, digits and '-'")
        _check_list("ssh_keys", self.ssh_keys or (), _SSH_KEY, "Give the line of a .pub file")
        _check_list("packages", self.packages, _PACKAGE, "Give names of packages")
        if self.password is not None and (
            not isinstance(self.password, str) or not re.fullmatch(r"[^\x00-\x1f]+", self.password)
        ):
            raise InvalidArgument(
                "that can't be a password", seen="...", next_step="Give text of one line"
            )
        if not isinstance(self.write_files, Mapping):
            raise InvalidArgument(
                "write_files must be a dictionary",
                seen=self.write_files,
                next_step="Give text by path, such as {'/etc/motd': 'Hello'}",
            )
        for path, content in self.write_files.items():
            if not isinstance(path, str) or not re.fullmatch(r"/[^\0]*[^\0/]", path):
                raise InvalidArgument(
                    "write_files takes absolute paths of files",
                    seen=path,
                    next_step="Begin it with '/'",
                )
            if not isinstance(content, str):
                raise InvalidArgument(
                    f"the content of {path} must be text", seen=content, next_step="Give a str"
                )
        if isinstance(self.runcmd, str) or not all(map(_is_command, self.runcmd)):
            raise InvalidArgument(
                "runcmd must be a list of commands",
                seen=self.runcmd,
                next_step="Give shell lines, or lists of a program and its arguments",
            )

    def files(self, name: str, lab_key: str) -> dict[str, bytes]:
        """Return the files of the CD.

        Args:
            name: the guest's name.
            lab_key: the public key of the lab.

        Example:
            >>> sorted(CloudInit().files("web", "ssh-ed25519 AAAA lab"))
            ['meta-data', 'user-data']
        """
        user_data = b"#cloud-config\n" + _yaml(self._user_data(name, lab_key))
        # cloud-init does everything once for each instance: another content, another one.
        instance = hashlib.sha256(name.encode() + b"\0" + user_data).hexdigest()[:12]
        meta_data = {"instance-id": f"{name}-{instance}", "local-hostname": self.hostname or name}
        return {"user-data": user_data, "meta-data": _yaml(meta_data)}

    def _user_data(self, name: str, lab_key: str) -> dict[str, Any]:
        """https://cloudinit.readthedocs.io/en/latest/reference/modules.html has each key."""
        user: dict[str, Any] = {
            "name": self.user,
            "gecos": self.user,
            "shell": "/bin/bash",
            "sudo": "ALL=(ALL) NOPASSWD:ALL",
            "lock_passwd": self.password is None,
            "ssh_authorized_keys": [lab_key] if self.ssh_keys is None else list(self.ssh_keys),
        }
        if self.password is not None:
            user["plain_text_passwd"] = self.password
        data: dict[str, Any] = {
            "hostname": self.hostname or name,
            "manage_etc_hosts": "localhost",
            "users": [user],
            "ssh_pwauth": self.password is not None,
        }
        if self.write_files:
            data["write_files"] = [
                {"path": path, "content": content, "owner": "root:root", "permissions": "0644"}
                for path, content in self.write_files.items()
            ]
        if self.packages:
            data |= {"package_update": True, "packages": list(self.packages)}
        if self.runcmd:
            data["runcmd"] = [each if isinstance(each, str) else list(each) for each in self.runcmd]
        return data


def _yaml(data: object) -> bytes:
    import yaml  # imported late: only who makes such a CD needs it

    class Dumper(yaml.SafeDumper):  # type: ignore[misc]
        """Writes text of several lines as it is, where YAML allows it."""

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        style = "|" if "\n" in value else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    written = yaml.dump(data, Dumper=Dumper, sort_keys=False, allow_unicode=True, encoding="utf-8")
    return bytes(written)


def _is_command(value: object) -> bool:
    if isinstance(value, str):
        return bool(value)
    return (
        isinstance(value, Sequence) and bool(value) and all(isinstance(each, str) for each in value)
    )


def _check(what: str, value: object, rule: re.Pattern[str], advice: str) -> None:
    if not isinstance(value, str) or not rule.fullmatch(value):
        raise InvalidArgument(f"that can't be a {what}", seen=value, next_step=advice)


def _check_list(what: str, values: object, rule: re.Pattern[str], advice: str) -> None:
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise InvalidArgument(f"{what} must be a list", seen=values, next_step=advice)
    for value in values:
        _check(f"value in {what}", value, rule, advice)
