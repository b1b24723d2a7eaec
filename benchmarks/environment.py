"""The environment of the programs that are measured."""

from __future__ import annotations

import os


def as_installed() -> dict[str, str]:
    """Return our environment, but with Python keeping the bytecode it compiles.

    Where that is switched off, every start of a program compiles its modules anew.

    Example:
        >>> "PYTHONDONTWRITEBYTECODE" in as_installed()
        False
    """
    return {key: text for key, text in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
