"""What running a chapter and checking a chapter have in common.

A notebook runs with the interpreter that runs this file and with nothing of the user's own
Jupyter or IPython settings, so that it means the same on every machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from kvmlab.labhost.jupyter import prepare_kernels

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
NOTEBOOKS = ROOT / "notebooks"
SANITIZE = HERE / "sanitize.cfg"
CELL_TIMEOUT_S = 120


def chapters() -> list[Path]:
    """Every chapter, in the order they are taught."""
    return sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))


def environment(folder: Path) -> dict[str, str]:
    """The environment a chapter runs in.

    Args:
        folder: an empty folder for what Jupyter and IPython want to keep.
    """
    own = {
        name: str(folder / name.lower())
        for name in (
            "IPYTHONDIR",
            "JUPYTER_CONFIG_DIR",
            "JUPYTER_DATA_DIR",
            "JUPYTER_RUNTIME_DIR",
            "MPLCONFIGDIR",
        )
    }
    prepare_kernels(Path(own["IPYTHONDIR"]))  # as in the lab host
    # Commands of the chapters (`!virsh`, `!python`) get a plain, English, unpaged terminal.
    plain = {"LC_ALL": "C.UTF-8", "COLUMNS": "100", "NO_COLOR": "1", "PAGER": "cat"}
    beside = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "COVERAGE"))}
    return inherited | own | plain | beside


def run_nbval(notebook: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run one notebook under nbval in strict mode: every output is compared.

    Args:
        notebook: which one.
        folder: for Jupyter's files and nbval's report, ``report.xml``.
    """
    options = ["--nbval", "--nbval-current-env", f"--nbval-cell-timeout={CELL_TIMEOUT_S}"]
    options += [f"--nbval-sanitize-with={SANITIZE}", f"--junitxml={folder / 'report.xml'}"]
    # pytest's settings of this project are for its own tests, not for cells.
    options += ["-c", os.devnull, f"--rootdir={notebook.parent}", "-p", "no:cacheprovider"]
    options += ["-p", "no:timeout", "--color=no", "-q", "-x"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(notebook)],
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
