"""What a learner can see of the library: names, docstrings, and the price of importing it."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

import kvmlab
from kvmlab import errors

CLASSES = [
    value
    for name in kvmlab.__all__
    if inspect.isclass(value := getattr(kvmlab, name)) and not issubclass(value, errors.KvmlabError)
]


def members() -> Iterator[tuple[str, Any]]:
    """Every public method and property that the public classes of the library have themselves."""
    for cls in CLASSES:
        for name, member in inspect.getmembers(cls):
            home = getattr(member, "fget", member)
            ours = (getattr(home, "__module__", None) or "").startswith("kvmlab")
            if ours and not name.startswith("_"):
                yield f"{cls.__name__}.{name}", member


class TestNames:
    def test_every_error_is_public(self) -> None:
        ours = {
            name
            for name, value in vars(errors).items()
            if inspect.isclass(value) and issubclass(value, errors.KvmlabError)
        }
        assert ours <= set(kvmlab.__all__)

    def test_all_are_there(self) -> None:
        for name in kvmlab.__all__:
            assert getattr(kvmlab, name) is not None
            assert name in dir(kvmlab)

    def test_each_is_told_where_it_lives(self) -> None:
        homeless = set(kvmlab.__all__) - set(kvmlab._HOME)
        assert all(hasattr(errors, name) for name in homeless)
        assert set(kvmlab._HOME) <= set(kvmlab.__all__)

    def test_others_are_missing_as_usual(self) -> None:
        with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
            kvmlab.nonsense  # noqa: B018


class TestDocstrings:
    @pytest.mark.parametrize("name", sorted(set(kvmlab.__all__) - set(vars(errors))))
    def test_every_public_name_shows_an_example(self, name: str) -> None:
        assert "Example:" in (inspect.getdoc(getattr(kvmlab, name)) or "")

    @pytest.mark.parametrize(("name", "member"), list(members()))
    def test_every_public_member_is_documented(self, name: str, member: Any) -> None:
        assert inspect.getdoc(member), name

    @pytest.mark.parametrize("cls", [kvmlab.Guest, kvmlab.Console, kvmlab.Guests])
    def test_what_learners_use_most_shows_examples(self, cls: type) -> None:
        inherited = {"get", "keys", "items", "values", "close"}
        for name, member in inspect.getmembers(cls):
            if not name.startswith("_") and name not in inherited and callable(member):
                assert "Example:" in (inspect.getdoc(member) or ""), name


class TestImport:
    def loaded_by(self, code: str) -> set[str]:
        told = subprocess.run(
            [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
            check=True,
            capture_output=True,
            text=True,
        )
        return set(told.stdout.split())

    def test_of_the_package_loads_nothing_else(self) -> None:
        assert not {"libvirt", "PIL", "matplotlib", "ipywidgets"} & self.loaded_by("import kvmlab")

    def test_of_the_library_loads_neither_pictures_nor_images(self) -> None:
        loaded = self.loaded_by("import kvmlab; kvmlab.connect")
        assert "libvirt" in loaded
        assert not {"PIL", "matplotlib", "ipywidgets", "kvmlab.images"} & loaded

    def test_of_the_errors_does_not_load_libvirt(self) -> None:
        assert "libvirt" not in self.loaded_by("import kvmlab.errors")

    def test_gives_the_same_thing_every_time(self) -> None:
        assert kvmlab.connect is kvmlab.connect
        assert isinstance(sys.modules["kvmlab"], ModuleType)
