"""Chapter 5's exercise: its check tells right from wrong, and its solution is right."""

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
    for cell in nbformat.read(NOTEBOOKS / "05_networking.ipynb", as_version=4).cells
}


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A libvirt that only pretends, and keeps networks as the real one does."""
    with kvmlab.connect("test:///default") as lab:
        yield lab


def checked(lab: Lab, answer: str) -> str:
    """What the learner sees with that answer in place of the exercise's cell."""
    names = {"lab": lab}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(answer, names)
        exec(CELLS["exercise-check"], names)
    if "quiet" in lab.networks:
        lab.networks["quiet"].delete()
    return printed.getvalue()


def solution() -> str:
    found = re.search(r"`(lab\.networks\.create\(.+?\))`", CELLS["exercise-more"], re.DOTALL)
    assert found is not None
    return found[1].replace("\n", " ")


def test_the_solution_solves_it(lab: Lab) -> None:
    assert checked(lab, solution()) == "Solved.\n"


@pytest.mark.parametrize(
    "answer",
    [
        CELLS["exercise"],  # untouched
        solution().replace("isolated_ports=True, ", ""),
        solution().replace('"10.9.0.59"', '"10.9.0.60"'),
        solution().replace('"printer"', '"scanner"'),
        solution().replace("{", "{ 'other': '10.9.0.51', "),
        solution().replace('"quiet",', '"quiet", mode="isolated",'),
    ],
)
def test_what_is_wrong_is_told_with_what_was_seen(lab: Lab, answer: str) -> None:
    assert answer != solution()
    assert "Not yet. Saw" in checked(lab, answer)


def test_what_is_not_there_is_told(lab: Lab) -> None:
    with pytest.raises(kvmlab.NetworkNotFound, match="quiet"):
        checked(lab, "pass")
