"""Chapter 6's exercise: its check tells right from wrong, and its solution is right."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from rig import NOTEBOOKS

import kvmlab
from kvmlab import Guest

CELLS = {
    cell.id: cell.source
    for cell in nbformat.read(NOTEBOOKS / "06_snapshots.ipynb", as_version=4).cells
}
NODE = """<node><domain type='test'><name>crash</name><memory>65536</memory>
  <os><type>hvm</type></os><devices><disk type='file' device='disk'>
  <driver name='qemu' type='qcow2'/><source file='/pool/crash.qcow2'/><target dev='vda'/>
  </disk></devices></domain></node>"""


@pytest.fixture
def crash(tmp_path: Path) -> Iterator[Guest]:
    """A guest of libvirt's test driver: the check looks at nothing else."""
    node = tmp_path / "node.xml"
    node.write_text(NODE)
    with kvmlab.connect(f"test://{node}") as lab:
        yield lab.guests["crash"]


def checked(crash: Guest, answer: str) -> str:
    """What the learner sees with that answer in place of the exercise's cell."""
    names = {"crash": crash}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(CELLS["exercise-setup"], names)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(answer, names)
        exec(CELLS["exercise-check"], names)
    return printed.getvalue()


def solution() -> list[str]:
    """The statements of the solution."""
    found = re.findall(r"`(crash\.snapshots.+?)`", CELLS["exercise-solution"])
    assert len(found) == 2
    return found


@pytest.mark.parametrize("order", [1, -1])
def test_the_solution_solves_it(crash: Guest, order: int) -> None:
    assert checked(crash, "\n".join(solution()[::order])).startswith("Solved.")


@pytest.mark.parametrize(
    ("answer", "seen"),
    [
        (CELLS["exercise"], "(['monday'], 'monday')"),
        (solution()[0], "(['monday', 'wednesday'], 'wednesday')"),
        (solution()[1], "(['monday', 'tuesday', 'wednesday'], 'monday')"),
        ("pass", "(['monday', 'tuesday', 'wednesday'], 'wednesday')"),
        ("for each in list(crash.snapshots): crash.snapshots[each].delete()", "([], None)"),
    ],
)
def test_what_is_wrong_is_told_with_what_was_seen(crash: Guest, answer: str, seen: str) -> None:
    assert f"Saw {seen}, expected (['monday', 'wednesday'], 'monday')." in checked(crash, answer)


def test_a_wednesday_that_was_taken_later_is_another_one(crash: Guest) -> None:
    again = 'crash.snapshots["monday"].revert(); crash.snapshots.create("wednesday")'
    answer = "\n".join([CELLS["exercise"], again, solution()[1]])
    assert "not the one that was to stay" in checked(crash, answer)


def test_it_can_be_tried_again(crash: Guest) -> None:
    checked(crash, "\n".join(solution()))
    assert checked(crash, "\n".join(solution())).startswith("Solved.")
