"""The snapshot form: its model against libvirt's test driver, and the widgets before it."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

import pytest

from kvmlab import Lab, errors
from kvmlab.snapshots.snapshot import Snapshot
from kvmlab.widgets import snapshots
from kvmlab.widgets.snapshots_model import SnapshotsModel
from kvmlab.widgets.snapshots_wish import Wish, spelt


@pytest.fixture
def model(test_lab: Lab) -> SnapshotsModel:
    """The form's model for a guest that has a disk; presses are done at once."""
    test_lab.connection.defineXML(
        "<domain type='test'><name>web</name><memory>1024</memory><os><type>hvm</type></os>"
        "<devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/>"
        "<source file='/pool/web.qcow2'/><target dev='vda' bus='virtio'/></disk></devices></domain>"
    )
    return SnapshotsModel(test_lab, "web", run=lambda work: work())


def call(python: str) -> tuple[str, list[Any], dict[str, Any]]:
    """What a Python call shown to a learner says."""
    tree = ast.parse(python, mode="eval").body
    assert isinstance(tree, ast.Call)
    arguments = {str(each.arg): ast.literal_eval(each.value) for each in tree.keywords}
    return ast.unparse(tree.func), [ast.literal_eval(each) for each in tree.args], arguments


class TestWish:
    def test_only_what_is_unusual_is_said(self) -> None:
        assert Wish("a").choices == {}
        assert Wish("a", "why", "external", memory=False, quiesce=True).choices == {
            "description": "why",
            "kind": "external",
            "memory": False,
            "quiesce": True,
        }

    @pytest.mark.parametrize("value", ['it\'s "é"', True, None, "external"])
    def test_values_are_spelt_as_python(self, value: Any) -> None:
        assert ast.literal_eval(spelt(value)) == value


class TestTaking:
    def test_it_begins_with_a_name_that_is_free(self, model: SnapshotsModel) -> None:
        assert model.wish == Wish("snapshot1")
        assert model.can_take
        model.take()
        assert model.names == ["snapshot1"]
        assert model.wish == Wish("snapshot2")
        assert model.chosen == "snapshot1"
        assert model.message is not None
        assert "is taken" in model.message.text

    def test_the_python_shown_is_the_call_that_is_made(self, model: SnapshotsModel) -> None:
        model.set(name="clean", description='"x" & y', kind="external")
        assert call(model.python) == (
            "lab.guests['web'].snapshots.create",
            ["clean"],
            {"description": '"x" & y', "kind": "external"},
        )

    def test_the_command_shown_is_the_one_that_is_done(self, model: SnapshotsModel) -> None:
        model.set(name="clean", description="x")
        shown = model.virsh
        model.take()
        assert list(model._lab.virsh_log)[-1] == shown

    @pytest.mark.parametrize(
        ("filled_in", "says"),
        [
            ({"name": "a b"}, "name of a snapshot"),
            ({"name": ""}, "name of a snapshot"),
            ({"quiesce": True}, "disks alone"),
            ({"kind": "external", "quiesce": True}, "is off"),
            ({"memory": True}, "no memory to keep"),
        ],
    )
    def test_what_is_wrong_can_not_be_pressed(
        self, model: SnapshotsModel, filled_in: dict[str, Any], says: str
    ) -> None:
        model.set(**filled_in)
        assert says in model.problem
        assert (model.can_take, model.virsh) == (False, "")
        model.take()
        assert model.names == []
        model.set(name="fine", quiesce=False, memory=None, kind=None)
        assert model.problem == ""

    def test_a_failure_is_told_and_what_was_filled_in_stays(
        self, model: SnapshotsModel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: Any, **__: Any) -> None:
            raise errors.NotEnoughDisk("the host is full")

        monkeypatch.setattr("kvmlab.snapshots.snapshots.Snapshots.create", refuse)
        model.set(name="clean")
        model.take()
        assert model.message is not None
        assert (model.message.failed, "full" in model.message.text) == (True, True)
        assert (model.wish.name, model.doing) == ("clean", "")

    def test_looking_is_none_of_the_learners_doing(
        self, model: SnapshotsModel, test_lab: Lab
    ) -> None:
        test_lab.virsh_log.clear()
        model.set(name="x")
        model.look_again()
        assert len(test_lab.virsh_log) == 0


class TestGoingBack:
    def test_it_asks_first_and_shows_what_it_will_do(
        self, model: SnapshotsModel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model.take()
        model.ask_revert("running")
        assert model.asking is not None
        assert "is lost" in model.asking.text
        assert call(model.asking.python) == (
            "lab.guests['web'].snapshots['snapshot1'].revert",
            [],
            {"running": True},
        )
        assert model.asking.virsh.endswith("snapshot-revert web snapshot1 --running")
        done: list[dict[str, Any]] = []
        monkeypatch.setattr(Snapshot, "revert", lambda _, **choices: done.append(choices))
        model.ask_revert("running")
        model.confirm()
        assert done == [{"running": True}]
        assert model.asking is None

    def test_what_is_left_is_not_done(self, model: SnapshotsModel) -> None:
        model.take()
        model.ask_delete()
        model.cancel()
        assert model.asking is None
        model.confirm()
        assert model.names == ["snapshot1"]

    @pytest.mark.parametrize(
        ("children", "left", "lost"),
        [
            ("keep", ["b", "c"], "The way back to a is lost. All others stay"),
            ("remove", [], "The way back to a is lost, and to all that were taken after a."),
            ("only", ["a"], "The way back to all that were taken after a is lost. a itself stays"),
        ],
    )
    def test_deleting(
        self, model: SnapshotsModel, children: Any, left: list[str], lost: str
    ) -> None:
        for name in ("a", "b", "c"):
            model.set(name=name)
            model.take()
        model.choose("a")
        model.ask_delete(children)
        assert model.asking is not None
        assert model.asking.text.startswith(lost)
        model.confirm()
        assert model.names == left

    def test_nothing_can_be_done_without_a_snapshot(self, model: SnapshotsModel) -> None:
        assert not model.can_act
        model.ask_revert()
        model.ask_delete()
        assert model.asking is None

    def test_what_can_not_be_done_is_not_asked_for(
        self, model: SnapshotsModel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model.take()

        def refuse(*_: Any, **__: Any) -> str:
            raise errors.InUse("somebody stands on it")

        monkeypatch.setattr(Snapshot, "preview_delete", refuse)
        model.ask_delete()
        assert model.asking is None
        assert model.message is not None
        assert "stands on it" in model.message.text

    def test_what_others_did_is_seen_when_one_looks(self, model: SnapshotsModel) -> None:
        model._guest.snapshots.create("by-others")
        model.look_again()
        assert model.names == ["by-others"]


def test_a_guest_that_is_not_there(test_lab: Lab) -> None:
    with pytest.raises(errors.GuestNotFound):
        SnapshotsModel(test_lab, "nobody")


class TestForm:
    @pytest.fixture
    def form(self, model: SnapshotsModel) -> snapshots.SnapshotForm:
        return snapshots.SnapshotForm(model)

    def test_what_is_filled_in_reaches_the_wish(self, form: snapshots.SnapshotForm) -> None:
        form.fields["name"].value = "clean"
        form.fields["kind"].value = "external"
        assert form.model.wish == Wish("clean", kind="external")
        form.fields["memory"].value = False
        assert form.model.wish == Wish("clean", kind="external", memory=False)
        form.fields["kind"].value = form.fields["memory"].value = ""
        assert form.model.wish == Wish("clean")
        form.fields["name"].value = "not good"
        assert form.buttons["take"].disabled
        assert 'role="alert"' in form._status.value

    def test_what_is_left_to_the_library_is_not_shown_as_an_empty_field(
        self, form: snapshots.SnapshotForm
    ) -> None:
        said = ("the one that fits", "if the guest runs")
        assert (form.fields["kind"].label, form.fields["memory"].label) == said
        form.fields["kind"].index, form.fields["memory"].index = 2, 1
        form.fields["kind"].index = form.fields["memory"].index = 0
        assert (form.fields["kind"].label, form.fields["memory"].label) == said

    def test_buttons(self, form: snapshots.SnapshotForm) -> None:
        assert form.buttons["revert"].disabled
        form.buttons["take"].click()
        assert form.model.names == ["snapshot1"]
        assert form._chosen.value == "snapshot1"
        assert form.fields["name"].value == "snapshot2"
        form.buttons["delete"].click()
        assert form._question.layout.display == "flex"
        assert form.buttons["yes"].description == "Delete snapshot1"
        form.buttons["no"].click()
        assert form._question.layout.display == "none"
        form.buttons["delete"].click()
        form.buttons["yes"].click()
        assert form.model.names == []
        assert form._chosen.value is None

    def test_the_picture_is_that_of_the_tree(self, form: snapshots.SnapshotForm) -> None:
        assert "no snapshots" in form._picture.value
        form.buttons["take"].click()
        assert "snapshot1 (internal)" in form._picture.value

    def test_the_code_is_that_of_the_question_while_it_is_asked(
        self, form: snapshots.SnapshotForm
    ) -> None:
        form.buttons["take"].click()
        form.buttons["revert"].click()
        assert "snapshot-revert web snapshot1" in form._code.value
        form.buttons["no"].click()
        assert "snapshot-create-as web snapshot2" in form._code.value

    def test_text_of_others_is_escaped(self, form: snapshots.SnapshotForm) -> None:
        form.fields["description"].value = "<img src=x>"
        assert "<img src=x>" not in form._code.value
        form.buttons["take"].click()
        assert "<img src=x>" not in form._picture.value

    def test_everything_is_labelled_and_explained(self, form: snapshots.SnapshotForm) -> None:
        for field in (*form.fields.values(), form._chosen, form._then, form._children):
            assert field.description
            assert field.tooltip
        assert all(form.buttons[name].description for name in ("take", "revert", "delete", "no"))

    def test_what_a_notebook_keeps_is_the_same_everywhere(
        self, form: snapshots.SnapshotForm
    ) -> None:
        kept = form._repr_mimebundle_()["text/plain"]
        assert kept.endswith("run this cell to see it.")

    def test_it_is_made_by_one_call(self, model: SnapshotsModel) -> None:
        form = snapshots.snapshot_form(model._lab, "web")
        assert form.model.guest == "web"


def test_work_is_done_without_waiting_for_it(model: SnapshotsModel) -> None:
    waiting: list[Callable[[], None]] = []
    model._run = waiting.append
    model.take()
    assert model.doing == "taking snapshot snapshot1"
    assert not model.can_take
    waiting[0]()
    assert model.doing == ""
    assert model.names == ["snapshot1"]
