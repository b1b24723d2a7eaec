"""The house rules of the chapters, checked on the files as they are committed."""

from __future__ import annotations

import ast
import json
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from rig import chapters

LONGEST_CELL = 8
HEADINGS = ("Goal", "Exercise", "Recap", "Clean up")
TAGS = {"nbval-ignore-output", "raises-exception", "lesson-def"}
FORM = "run this cell to see it"  # kvmlab.widgets.form
CODE = re.compile(r"^\s*[!%].*$", re.MULTILINE)  # IPython's lines are no Python


@pytest.fixture(params=chapters(), ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture
def notebook(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def texts(notebook: Any) -> Iterator[str]:
    """Everything a reader gets to see: sources, and outputs without pictures."""
    for cell in notebook.cells:
        yield cell.source
        for output in cell.get("outputs", []):
            yield output.get("text", "")
            yield "\n".join(output.get("traceback", []))
            for kind, data in output.get("data", {}).items():
                if kind.startswith("text/"):
                    yield re.sub(r"base64,[A-Za-z0-9+/=]+", "", data)


def test_there_are_chapters() -> None:
    assert chapters()


def test_it_is_a_valid_notebook_with_an_id_for_each_cell(path: Path) -> None:
    raw = json.loads(path.read_text())
    assert (raw["nbformat"], raw["nbformat_minor"]) >= (4, 5)
    nbformat.validate(raw)
    ids = [cell["id"] for cell in raw["cells"]]
    assert len(set(ids)) == len(ids)


def test_metadata_says_nothing_of_the_machine(notebook: Any) -> None:
    assert notebook.metadata.kernelspec.name == "python3"
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert set(notebook.metadata.language_info) == {"name"}
    for cell in notebook.cells:
        assert set(cell.metadata) <= {"tags"}
        assert set(cell.metadata.get("tags", [])) <= TAGS


def test_every_code_cell_was_run_in_order(notebook: Any) -> None:
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))


def test_a_cell_that_shows_something_has_its_output(notebook: Any) -> None:
    for cell in code_cells(notebook):
        shows = "print(" in cell.source or cell.source.lstrip().startswith(("!", "%%"))
        tree = ast.parse(CODE.sub("", cell.source))
        last = tree.body[-1] if tree.body else None
        # What a cell ends in is there to be shown, unless it is a call, which may say nothing.
        shows = shows or (isinstance(last, ast.Expr) and not isinstance(last.value, ast.Call))
        if shows and not cell.source.rstrip().endswith(";"):
            assert cell.outputs, cell.source


def test_errors_are_only_where_they_are_the_lesson(notebook: Any) -> None:
    for cell in code_cells(notebook):
        failed = any(output.output_type == "error" for output in cell.outputs)
        assert failed == ("raises-exception" in cell.metadata.get("tags", [])), cell.source


def test_code_cells_are_short(notebook: Any) -> None:
    for cell in code_cells(notebook):
        assert len(cell.source.splitlines()) <= LONGEST_CELL, cell.source
        assert cell.source.strip(), "an empty cell"


def test_lines_fit_the_screen(notebook: Any) -> None:
    for cell in code_cells(notebook):
        for line in cell.source.splitlines():
            assert len(line) <= 88, line


def test_no_function_is_defined_unless_it_is_the_lesson(notebook: Any) -> None:
    for cell in code_cells(notebook):
        if "lesson-def" in cell.metadata.get("tags", []):
            continue
        for node in ast.walk(ast.parse(CODE.sub("", cell.source))):
            assert not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda), cell.source


def test_no_comment_talks_to_the_checker(notebook: Any) -> None:
    for cell in code_cells(notebook):
        for word in ("NBVAL", "noqa", "type: ignore", "TODO", "FIXME"):
            assert word not in cell.source


def test_prose_comes_before_every_code_cell(notebook: Any) -> None:
    for before, cell in zip([None, *notebook.cells], notebook.cells, strict=False):
        if cell.cell_type == "code":
            assert before is not None
            assert before.cell_type == "markdown", cell.source
            prose = re.sub(r"^#.*$", "", before.source, flags=re.MULTILINE).strip()
            assert prose, f"only a heading before:\n{cell.source}"


def test_the_headings_every_chapter_has(notebook: Any) -> None:
    prose = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    headings = re.findall(r"^#+ +(.+?)\s*$", prose, re.MULTILINE)
    for wanted in HEADINGS:
        assert any(heading.startswith(wanted) for heading in headings), wanted
    assert notebook.cells[0].source.startswith("# ")
    assert len(re.findall(r"^# ", prose, re.MULTILINE)) == 1


def test_it_says_which_part_of_the_book_it_teaches(notebook: Any) -> None:
    assert re.search(r"section .*“.+”", notebook.cells[0].source)


def test_there_is_a_form(notebook: Any) -> None:
    shown = [
        output.get("data", {}).get("text/plain", "")
        for cell in code_cells(notebook)
        for output in cell.outputs
    ]
    assert any(FORM in text for text in shown)


def test_pictures_have_alternative_text(notebook: Any) -> None:
    for cell in notebook.cells:
        for alt in re.findall(r"!\[(.*?)\]", cell.source):
            assert alt.strip(), cell.source
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            # JupyterLab gives no alternative text to a bare image; HTML has one.
            assert not any(kind.startswith("image/") for kind in data) or "text/html" in data
            for tag in re.findall(r"<img\b[^>]*?(?:src=|>)", data.get("text/html", "")):
                assert re.search(r'alt="[^"]+"', tag), tag[:80]


def test_no_path_of_the_machine_it_was_run_on(notebook: Any) -> None:
    for text in texts(notebook):
        assert not re.search(r"/(root|home/\w+|work|tmp|Users)/", text), text
        assert "site-packages" not in text, text


def test_no_clutter_of_emoji(notebook: Any) -> None:
    for text in texts(notebook):
        for character in text:
            assert unicodedata.category(character) != "So" or character in "│└├─", text


def test_a_learner_is_asked_to_predict(notebook: Any) -> None:
    prose = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    assert len(re.findall(r"\*\*Predict", prose)) >= 2
