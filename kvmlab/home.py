"""Where kvmlab keeps its state: one folder, ``KVMLAB_HOME``."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """Return the state folder of this lab (not created here).

    ``KVMLAB_HOME`` wins; else ``$XDG_DATA_HOME/kvmlab``, which without that
    variable is ``~/.local/share/kvmlab`` (XDG Base Directory Specification).

    Example:
        >>> home().is_absolute()
        True
    """
    if given := os.environ.get("KVMLAB_HOME"):
        return Path(given).expanduser().absolute()
    # Imported late: the lab host's own processes always have KVMLAB_HOME set,
    # and their start-up time is the learner's waiting time.
    from platformdirs import user_data_path

    return user_data_path("kvmlab", appauthor=False)
