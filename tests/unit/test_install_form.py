"""The form that installs: its model, against libvirt's test driver, and its view."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from kvmlab import Guest, Lab, errors
from kvmlab.images.iso import write_iso
from kvmlab.widgets.install import InstallForm
from kvmlab.widgets.install_model import InstallModel


@pytest.fixture
def model(test_lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> InstallModel:
    """A model with one medium that is there, "mine", and one yet to be built."""
    monkeypatch.setattr("kvmlab.storage.volumes.Volume.upload", lambda self, *_: None)
    monkeypatch.setattr("kvmlab.storage.volumes.Volume.begins_like", lambda self, *_: True)
    write_iso(tmp_path / "mine.iso", {"x": b"y"}, label="MINE")
    test_lab.images.add(tmp_path / "mine.iso")
    model = InstallModel(test_lab, "box", iso="mine")
    model.set(memory_mib=64)
    return model


@pytest.fixture
def installing(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Installations that succeed at once; what they were told."""
    told: list[str] = []

    def install(self: Guest, kernel_args: str, *, progress: Any) -> None:
        told.append(kernel_args)
        for number, step in enumerate(("Partitioning", "Copying", "Copying")):
            progress(step, number / 3)
        progress("installed", 1.0)
        if "bad" in kernel_args:
            raise errors.InstallationFailed("the installer gave up", seen="no disk")

    monkeypatch.setattr(Guest, "install", install)
    return told


class TestModel:
    def test_offers_media_only(self, model: InstallModel) -> None:
        assert model.media == ["installer", "mine"]

    def test_wants_a_password(self, model: InstallModel) -> None:
        assert not model.can_install
        assert model.notes["password"].kind == "error"
        model.set(password="secret")
        assert model.can_install
        assert "virt-install" in model.virsh
        assert "secret" not in model.answers.python + model.virsh

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            *(("hostname", each) for each in ("", "a b", "-a", "a.b", "x" * 64)),
            *(("password", each) for each in ("", "a b", "a\nb")),
            *(("name", each) for each in ("old", "a b")),
            *(("memory_mib", 0), ("disk_gib", 0.0), ("disk_gib", 1e6)),
        ],
    )
    def test_refuses(self, model: InstallModel, field: str, value: Any) -> None:
        model.set(password="secret")
        model.set(**{field: value})
        assert model.notes[field].kind == "error"
        assert not model.can_install
        model.press()  # does nothing
        assert "box" not in model._lab.guests

    def test_says_of_the_name_only_what_is_true(self, model: InstallModel) -> None:
        assert model.notes["name"].text == ""  # the host name is asked for apart
        model.set(name="a b")
        assert "name of a guest" in model.notes["name"].text

    def test_says_something_before_the_installer_does(
        self, model: InstallModel, installing: list[str]
    ) -> None:
        seen: list[str] = []
        model.on_change = lambda: seen.append(model.doing[0] if model.doing else "")
        model.set(password="secret")
        model.install()
        assert seen.index("starting the CD's kernel") < seen.index("Partitioning")

    def test_the_host_name_follows_the_name_until_it_is_chosen(self, model: InstallModel) -> None:
        model.set(name="web")
        assert model.answers.hostname == "web"
        model.set(hostname="own")
        model.set(name="db")
        assert model.answers.hostname == "own"

    def test_installs(self, model: InstallModel, installing: list[str]) -> None:
        model.set(password="secret")
        guest = model.install()
        assert installing == ["hostname=box password=secret"]
        assert model.steps == ["Partitioning", "Copying"]
        assert (guest.state, model.guest, model.doing) == ("running", guest, None)
        assert model.notes["name"].kind == "done"

    def test_leaves_nothing_of_what_failed(
        self, model: InstallModel, installing: list[str]
    ) -> None:
        model.set(password="bad")
        with pytest.raises(errors.InstallationFailed):
            model.install()
        assert "no disk" in model.problem
        assert "screenshot" not in model.problem  # the guest is gone
        assert "box" not in model._lab.guests
        model.set(password="good")
        assert not model.problem

    def test_a_press_works_in_the_background(
        self, model: InstallModel, installing: list[str]
    ) -> None:
        done = threading.Event()
        model.on_change = lambda: model.guest and not model.doing and done.set()  # type: ignore[func-returns-value]
        model.set(password="secret")
        model.press()
        assert done.wait(10)

    def test_of_a_medium_that_is_none(self, test_lab: Lab) -> None:
        with pytest.raises(errors.ImageNotFound):
            InstallModel(test_lab, iso="nowhere")
        assert InstallModel(test_lab).answers.name == "box1"


class TestForm:
    def test_shows_what_the_model_says(self, model: InstallModel, installing: list[str]) -> None:
        form = InstallForm(model)
        assert form.button.disabled
        form.fields["password"].value = "secret"
        assert not form.button.disabled
        form.fields["name"].value = "<b>"
        assert form.button.disabled
        assert "&lt;b&gt;" in form._python.value
        form.fields["name"].value = "web"
        assert form.fields["hostname"].value == "web"
        assert form.install().name == "web"
        assert "<li>Copying</li>" in form._steps.value
        assert form.guest is model.guest

    def test_says_why_it_failed(self, model: InstallModel, installing: list[str]) -> None:
        form = InstallForm(model)
        form.fields["password"].value = "bad"
        with pytest.raises(errors.InstallationFailed):
            form.install()
        assert 'role="alert"' in form._steps.value
        assert "no disk" in form._steps.value

    def test_is_told_in_one_line(self, model: InstallModel) -> None:
        assert repr(InstallForm(model)) == (
            "A form with the answers to an installer's questions: run this cell to see it."
        )
