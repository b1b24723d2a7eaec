"""How the package is built: who may import whom, and how long a module may be."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import kvmlab

ROOT = Path(kvmlab.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

# From the ground up; a layer may import those before it, and itself. What is named first
# wins, and what is not named is a noun.
LAYERS = [
    ("errors", {"errors", "home", "libvirt_errors"}),
    ("images", {"images"}),
    ("labhost", {"labhost"}),
    ("specs", {"specs"}),
    ("nouns", set()),
    ("course", {"course"}),
    ("widgets", {"widgets"}),
    ("cli", {"cli", "__main__", "prepare"}),
]
NAMES = [name for name, _ in LAYERS]

# Only for a type checker's eyes, so that nothing is loaded: what a failed command printed.
TYPES_ONLY = {("errors", "nouns")}

# Longer, and one idea: the tree of all errors.
LONG = {"errors.py"}
LIMIT = 300


def module_of(file: Path) -> str:
    parts = file.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer_of(module: str) -> str | None:
    """Return a module's layer; the package itself, which only hands out names, has none."""
    _, _, inner = module.partition(".")
    room = inner.split(".")[0]
    if not room:
        return None
    return next((name for name, rooms in LAYERS if room in rooms), "nouns")


def imports(file: Path) -> Iterator[tuple[str, bool]]:
    """Yield every kvmlab module a file imports, and whether only a type checker sees it."""
    tree = ast.parse(file.read_text())
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            # `from kvmlab import lab` names a module, `from kvmlab.lab import Lab` is in one.
            names = [f"kvmlab.{alias.name}" for alias in node.names]
            if node.module != "kvmlab":
                names = [node.module or ""]
        else:
            continue
        for name in names:
            if name.startswith("kvmlab."):
                yield name, id(node) in for_types


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_imports_only_what_is_below_it(file: Path) -> None:
    own = layer_of(module_of(file))
    if own is None:
        return
    for name, for_types in imports(file):
        room = name.split(".")[1]
        if not (ROOT / room).exists() and not (ROOT / f"{room}.py").exists():
            continue  # a public name of the package, such as kvmlab.Guest
        theirs = layer_of(name)
        assert theirs is not None
        if for_types and (own, theirs) in TYPES_ONLY:
            continue
        assert NAMES.index(theirs) <= NAMES.index(own), f"{own} imports {theirs}: {name}"
        # Neither knows the other's nouns: they stand side by side.
        if own == "labhost":
            assert theirs != "specs"
        if own == "images":
            assert theirs in ("errors", "images")


def test_the_lab_host_and_the_images_know_no_noun() -> None:
    for file in [*(ROOT / "labhost").rglob("*.py"), *(ROOT / "images").rglob("*.py")]:
        assert "nouns" not in {layer_of(name) for name, _ in imports(file)}, file


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_holds_one_idea(file: Path) -> None:
    if str(file.relative_to(ROOT)) not in LONG:
        lines = len(file.read_text().splitlines())
        assert lines <= LIMIT
