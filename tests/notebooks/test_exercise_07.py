"""Chapter 7's exercise: its check tells right from wrong, and its solution is right."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator

import nbformat
import pytest
from rig import NOTEBOOKS

import kvmlab
from kvmlab import Lab

CELLS = {
    cell.id: cell.source
    for cell in nbformat.read(NOTEBOOKS / "07_storage.ipynb", as_version=4).cells
}
LEFT_ALONE = [("left.qcow2", "alone", "gold")]
GOLDEN = [("golden.img", "alone", "gold")]
RIGHT_ABOVE = [("right.qcow2", "on another", "empty")]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """The lab host's libvirt: the exercise is on files, and real ones."""
    with kvmlab.connect() as lab:
        yield lab
        if "exam" in lab.pools:
            lab.pools["exam"].delete(contents=True)


def checked(lab: Lab, answer: str) -> str:
    """What the learner sees with that answer in place of the exercise's cell."""
    names = {"lab": lab}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(CELLS["exercise-setup"], names)
        exec(answer, names)
        exec(CELLS["exercise-check"], names)
    return printed.getvalue()


def solution() -> list[str]:
    """The statements of the solution."""
    found = re.search(r"```python\n(.+?)\n```", CELLS["exercise-solution"], re.DOTALL)
    assert found is not None
    return found[1].splitlines()


def test_the_solution_solves_it_in_any_order_and_again(lab: Lab) -> None:
    left, right, golden = solution()
    for answer in ((left, right, golden), (right, left, golden)):
        assert checked(lab, "\n".join(answer)) == "Solved.\n"


@pytest.mark.parametrize(
    ("answer", "seen"),
    [
        (CELLS["exercise"], [*GOLDEN, ("left.qcow2", "on another", "empty")]),
        ("pass", [*GOLDEN, ("left.qcow2", "on another", "empty"), *RIGHT_ABOVE]),
        (solution()[0], [*GOLDEN, *LEFT_ALONE, *RIGHT_ABOVE]),
        ("\n".join(solution()[:2]), [*GOLDEN, *LEFT_ALONE, ("right.qcow2", "alone", "gold")]),
        (
            # The name of the backing file is cut off, and nothing copied.
            "import subprocess\nfor name in ('left.qcow2', 'right.qcow2'):\n"
            "    subprocess.run(['qemu-img', 'rebase', '-u', '-b', '',"
            " exam.volumes[name].path], check=True)\n"
            "exam.refresh()\nexam.volumes['golden.img'].delete()",
            [("left.qcow2", "alone", "empty"), ("right.qcow2", "alone", "empty")],
        ),
        (
            # The file is removed behind libvirt's back.
            "import os\nos.remove(golden.path)",
            [("left.qcow2", "on another", "empty"), ("right.qcow2", "on another", "empty")],
        ),
        (
            "for volume in list(exam.volumes.values()):\n"
            "    if volume.name != 'golden.img':\n"
            "        volume.delete()\n"
            "exam.volumes['golden.img'].delete()",
            [],
        ),
    ],
    ids=["untouched", "nothing", "one", "golden stays", "emptied", "removed", "all gone"],
)
def test_what_is_wrong_is_told_with_what_was_seen(
    lab: Lab, answer: str, seen: list[tuple[str, str, str]]
) -> None:
    assert checked(lab, answer) == f"Not yet. Saw {seen}.\n"
