"""Run chapters and keep their outputs: the way to commit a notebook.

    ./lab exec -- .venv/bin/python tests/notebooks/execute.py            # all chapters
    ./lab exec -- .venv/bin/python tests/notebooks/execute.py notebooks/01_*.ipynb

A chapter is run from top to bottom in a fresh kernel, and only written when every cell
ran. What differs between machines and says nothing to a reader is left out: times of
execution, versions of Python, models of widgets (whose cells keep a line of text instead).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from rig import CELL_TIMEOUT_S, ROOT, chapters, environment

WIDGET = "application/vnd.jupyter.widget-view+json"


def execute(notebook: Path) -> None:
    """Run a chapter and write its outputs into it.

    Args:
        notebook: the chapter's file.
    """
    content = nbformat.read(notebook, as_version=4)
    with tempfile.TemporaryDirectory(prefix="kvmlab-chapter-") as folder:
        client = NotebookClient(
            content,
            kernel_name="python3",
            timeout=CELL_TIMEOUT_S,
            resources={"metadata": {"path": str(notebook.parent)}},
        )
        client.execute(env=environment(Path(folder)))
    normalise(content)
    nbformat.validate(content)
    nbformat.write(content, notebook)


def normalise(content: NotebookNode) -> None:
    """Leave out what would change from run to run, or from machine to machine.

    Args:
        content: the notebook, changed in place.
    """
    content.metadata = NotebookNode(
        kernelspec={
            "display_name": "Python 3 (ipykernel)",
            "language": "python",
            "name": "python3",
        },
        language_info={"name": "python"},
    )
    for cell in content.cells:
        for passing in ("execution", "collapsed", "scrolled", "jupyter", "editable"):
            cell.metadata.pop(passing, None)
        if cell.cell_type == "code":
            cell.outputs = _joined(cell.outputs)
            for output in cell.outputs:
                output.get("data", {}).pop(WIDGET, None)


def _joined(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """One output for what was printed in one go, however it arrived."""
    joined: list[NotebookNode] = []
    for output in outputs:
        last = joined[-1] if joined else None
        if last and output.output_type == last.output_type == "stream" and output.name == last.name:
            last.text += output.text
        else:
            joined.append(output)
    return joined


if __name__ == "__main__":
    for chosen in [Path(name).resolve() for name in sys.argv[1:]] or chapters():
        print(chosen.relative_to(ROOT), flush=True)
        execute(chosen)
