"""Who uses a lab host in these tests: real root, and an ordinary user.

When the tests run as root, an ordinary user is made for them, with a copy of the
checkout that ``./lab`` sets up as on any machine. When they run as an ordinary
user, that is the one.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).parents[2]
TUN = Path("/dev/net/tun")
NAME = "kvmlab-tester"


@dataclass(frozen=True)
class Person:
    """Somebody with a checkout and a lab of their own.

    ``become`` is what stands before a command to run it as this person.
    """

    name: str
    checkout: Path
    lab_home: Path
    become: list[str] = field(default_factory=list)

    def environment(self, **more: str) -> dict[str, str]:
        kept = {"PATH", "LANG", "TERM", "TMPDIR", "PIP_INDEX_URL", "PIP_CERT"}
        kept |= {each for each in os.environ if each.startswith(("PIP_", "SSL_", "KVMLAB_PYTHON"))}
        mine = {name: os.environ[name] for name in kept if name in os.environ}
        home = pwd.getpwnam(self.name).pw_dir
        if self.become:
            mine["PATH"] = "/usr/local/bin:/usr/bin:/bin"  # an ordinary user's, without sbin
        return {**mine, "HOME": home, "USER": self.name, "KVMLAB_HOME": str(self.lab_home), **more}

    def command(self, *arguments: str) -> list[str]:
        return [*self.become, str(self.checkout / "lab"), *arguments]

    def run(self, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run ``./lab ARGUMENTS`` to its end; output is captured."""
        settings: dict[str, Any] = {
            "stdin": subprocess.DEVNULL,
            "capture_output": True,
            "text": True,
            "timeout": 240,
            "cwd": self.checkout,
        }
        extra = more.pop("env", {})
        return subprocess.run(
            self.command(*arguments),
            env=self.environment(**extra),
            check=False,
            **{**settings, **more},
        )

    def start(self, *arguments: str, **more: Any) -> subprocess.Popen[bytes]:
        """Start ``./lab ARGUMENTS`` and return at once."""
        return subprocess.Popen(
            self.command(*arguments), env=self.environment(), cwd=self.checkout, **more
        )


def copy_checkout(target: Path) -> None:
    """Copy what git tracks, and what it would, as it is now."""
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "-co", "--exclude-standard"],
        cwd=CHECKOUT,
        capture_output=True,
        check=True,
    ).stdout
    for name in filter(None, listed.decode().split("\0")):
        source = CHECKOUT / name
        if source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)


@contextmanager
def ordinary_user() -> Iterator[Person]:
    """Yield an ordinary user: the one we are, or one made for the while."""
    if os.geteuid() != 0:
        yield myself()
        return
    # As distributions ship it; some containers keep it from users.
    before = TUN.stat().st_mode & 0o777
    TUN.chmod(0o666)
    subprocess.run(["useradd", "--create-home", "--shell", "/bin/sh", NAME], check=True)
    try:
        entry = pwd.getpwnam(NAME)
        checkout = Path(entry.pw_dir, "kvmlab")
        copy_checkout(checkout)
        subprocess.run(["chown", "-R", f"{NAME}:", str(checkout)], check=True)
        become = ["setpriv", f"--reuid={NAME}", f"--regid={NAME}", "--init-groups", "--"]
        yield Person(NAME, checkout, Path("/nonexistent"), become)
    finally:
        subprocess.run(["userdel", "--remove", NAME], check=True, capture_output=True)
        TUN.chmod(before)


def myself() -> Person:
    """Return the one who runs these tests, root mostly."""
    return Person(pwd.getpwuid(os.geteuid()).pw_name, CHECKOUT, Path("/nonexistent"))
