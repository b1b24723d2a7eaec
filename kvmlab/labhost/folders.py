"""Where the files of a lab host are, all below ``KVMLAB_HOME``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kvmlab.home import home

# Folders of the system that the lab host covers with its own.
COVERED = {
    "etc": "/etc/libvirt",
    "lib": "/var/lib/libvirt",
    "cache": "/var/cache/libvirt",
    "log": "/var/log/libvirt",
    "run": "/run/libvirt",
}


@dataclass(frozen=True)
class Folders:
    """The layout of one lab host's state.

    Example:
        >>> Folders(Path("/srv/lab")).control.name
        'control.sock'
    """

    root: Path

    @classmethod
    def default(cls) -> Folders:
        """Return the folders of this user's lab host."""
        return cls(home())

    @property
    def control(self) -> Path:
        """The socket that users of the lab host hold on to."""
        return self.root / "control.sock"

    @property
    def start_lock(self) -> Path:
        """Held by the one launcher that is starting the lab host."""
        return self.root / "start.lock"

    @property
    def run_lock(self) -> Path:
        """Held by the supervisor for as long as it lives."""
        return self.root / "run.lock"

    @property
    def netns(self) -> Path:
        """Where the network namespace is mounted (seen inside the lab host only)."""
        return self.root / "netns"

    @property
    def resume(self) -> Path:
        """Names of the guests to resume at the next start."""
        return self.root / "resume.json"

    @property
    def logs(self) -> Path:
        """Logs of the lab host itself; libvirt's are in ``covering("log")``."""
        return self.root / "log"

    @property
    def jupyter(self) -> Path:
        """JupyterLab's settings, data and token."""
        return self.root / "jupyter"

    @property
    def replacements(self) -> Path:
        """The lab host's own versions of single files below /etc."""
        return self.root / "host" / "files"

    def covering(self, name: str) -> Path:
        """Return the folder that lies over ``COVERED[name]`` inside the lab host."""
        return self.root / "host" / name

    def make(self) -> None:
        """Create what is missing; readable by the owner only."""
        self.root.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o700)
        for folder in (self.logs, self.jupyter, self.replacements):
            folder.mkdir(parents=True, exist_ok=True)
        for name in COVERED:
            self.covering(name).mkdir(parents=True, exist_ok=True)
