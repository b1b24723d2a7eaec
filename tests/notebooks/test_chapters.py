"""Every chapter runs from top to bottom with real guests, twice, and leaves nothing behind.

nbval runs the cells and compares each output with the one committed (strict mode). A cell
whose output can't be the same everywhere carries the tag ``nbval-ignore-output``.
"""

from __future__ import annotations

import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import nbformat
import pytest
from rig import chapters, run_nbval

LISTS = ("list --all --name", "net-list --all --name", "pool-list --all --name")


def kept() -> dict[str, list[str]]:
    """What libvirt knows of, guests and networks and pools and volumes."""
    found = {words: _virsh(words) for words in LISTS}
    for pool in found[LISTS[2]]:
        _virsh(f"pool-refresh {pool}")
        # A backing image stays: the next guest of the same image needs it.
        volumes = [line.split()[0] for line in _virsh(f"vol-list {pool}")[2:]]
        found[f"volumes of {pool}"] = [v for v in volumes if not v.startswith("kvmlab-")]
    return found


def _virsh(words: str) -> list[str]:
    done = subprocess.run(
        ["virsh", "--quiet", *words.split()], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"virsh {words}: {done.stderr}"
    return sorted(line.strip() for line in done.stdout.splitlines() if line.strip())


@pytest.mark.timeout(900)
@pytest.mark.parametrize("notebook", chapters(), ids=lambda path: path.stem)
def test_chapter_runs_twice_and_leaves_nothing_behind(notebook: Path, tmp_path: Path) -> None:
    code_cells = [c for c in nbformat.read(notebook, as_version=4).cells if c.cell_type == "code"]
    before = kept()
    for time in ("first", "second"):
        folder = tmp_path / time
        folder.mkdir()
        done = run_nbval(notebook, folder)
        assert done.returncode == 0, f"the {time} run of {notebook.name}:\n{done.stdout[-8000:]}"
        report = ET.parse(folder / "report.xml").getroot().find("testsuite")
        assert report is not None
        counts = {name: int(report.attrib[name]) for name in ("tests", "failures", "skipped")}
        # A skipped cell, or one expected to fail, is one that was not checked.
        assert counts == {"tests": len(code_cells), "failures": 0, "skipped": 0}
        assert kept() == before, f"the {time} run of {notebook.name} left something behind"
    print(f"{notebook.stem}: {len(code_cells)} cells, twice")
