"""The create form: its model against libvirt's test driver, and the widgets before it."""

from __future__ import annotations

import ast
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kvmlab import Lab, errors
from kvmlab.host import Host
from kvmlab.images import Image
from kvmlab.widgets import create, create_model, create_order
from kvmlab.widgets.create_order import Order, Surroundings, judge

IMAGE = Image(
    name="mini",
    title="Mini <Linux>",
    digest="0123456789abcdef" * 4,
    disk=Path("/nowhere/disk.qcow2"),
    disk_format="qcow2",
    virtual_size=2**28,
    kernel=None,
    initrd=None,
    cmdline=None,
    memory_mib=128,
    min_memory_mib=64,
    os_id=None,
    has_agent=True,
    boot="disk",
)
HOST = Host("lab", 2, 4096, 2048, "tcg", "", (), "9.0.0", "7.2.0")
AROUND = Surroundings(HOST, frozenset({"old"}), {"default": True, "asleep": False}, 10 * 2**30)
ORDER = Order("web", "mini", 256, 1, 1.0, "default")


class Catalogue(Mapping[str, Image]):
    """Two images: one that is built, and one that is not until somebody asks."""

    def __init__(self) -> None:
        self.images = {"mini": IMAGE, "later": replace(IMAGE, name="later", memory_mib=512)}
        self.built = {"mini"}

    def __getitem__(self, name: str) -> Image:
        assert name in self.built, "opening a form builds nothing"
        return self.images[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.images)

    def __len__(self) -> int:
        return len(self.images)

    def is_built(self, name: str) -> bool:
        if name not in self.images:
            raise errors.ImageNotFound("there is no image of this name", seen=name)
        return name in self.built

    def is_medium(self, name: str) -> bool:
        return self.images[name].is_medium


@pytest.fixture
def make(test_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Models whose guests are made without an image, which the test driver can't take."""
    real = test_lab.guests.create

    def without_image(name: str, **arguments: Any) -> Any:
        progress = arguments.pop("progress")
        progress("upload", 0.5)
        return real(name, **arguments | {"image": None}, pool="default")

    def preview(name: str, **arguments: Any) -> str:
        return f"virsh define {name} --memory {arguments['memory_mib']}"

    monkeypatch.setattr(test_lab.guests, "create", without_image)
    monkeypatch.setattr(test_lab.guests, "preview", preview)

    def model(*names: str) -> create_model.CreateModel:
        found = Catalogue()
        return create_model.CreateModel(test_lab, *names, image="mini", catalogue=found)  # type: ignore[arg-type]

    return model


class TestNotes:
    @pytest.mark.parametrize(
        ("field", "value", "kind", "says"),
        [
            ("name", "web", "hint", "hostname"),
            ("name", "", "error", "can't be the name"),
            ("name", "my guest", "error", "letters, digits"),
            ("name", "<b>", "error", "can't be the name"),
            ("name", "old", "error", "already"),
            ("memory_mib", 256, "hint", "64 to 4096; 2048 are free"),
            ("memory_mib", 63, "error", "at least 64 MiB"),
            ("memory_mib", -1, "error", "above zero"),
            ("memory_mib", 3000, "warning", "2048 MiB are free"),
            ("memory_mib", 4097, "error", "4096 MiB"),
            ("vcpus", 0, "error", "above zero"),
            ("vcpus", 2, "hint", "1 to 4"),
            ("vcpus", 4, "warning", "take turns"),
            ("vcpus", 5, "error", "2 CPUs"),
            ("disk_gib", 0.25, "hint", "10.0 are free"),
            ("disk_gib", 0.2, "error", "needs 0.25 GiB"),
            ("disk_gib", 0.0, "error", "above zero"),
            ("disk_gib", 10.5, "error", "10.0 GiB left"),
            ("network", None, "hint", "No network card"),
            ("network", "default", "hint", "switch"),
            ("network", "asleep", "warning", "not started"),
        ],
    )
    def test_each_field_is_judged(self, field: str, value: Any, kind: str, says: str) -> None:
        note = judge(replace(ORDER, **{field: value}), AROUND, IMAGE)[field]
        assert (note.kind, says in note.text) == (kind, True), note

    def test_a_system_yet_to_be_built_is_no_obstacle(self) -> None:
        notes = judge(ORDER, AROUND, None)
        assert notes["image"].kind == "warning"
        assert all(note.kind != "error" for note in notes.values())

    def test_the_guest_just_made_is_not_blamed_on_somebody_else(self) -> None:
        note = judge(replace(ORDER, name="old"), AROUND, IMAGE, made="old")["name"]
        assert "is made" in note.text


class TestOrder:
    @pytest.mark.parametrize(
        "order", [ORDER, replace(ORDER, network=None, disk_gib=0.5), replace(ORDER, name='a"b')]
    )
    def test_the_python_shown_is_the_call_that_is_made(self, order: Order) -> None:
        call = ast.parse(order.python, mode="eval").body
        assert isinstance(call, ast.Call)
        assert ast.unparse(call.func) == "lab.guests.create"
        shown = {each.arg: ast.literal_eval(each.value) for each in call.keywords}
        assert (ast.literal_eval(call.args[0]), shown) == (order.name, order.arguments)

    def test_a_whole_number_of_gib_is_shown_as_one(self) -> None:
        assert "disk_gib=1," in ORDER.python
        assert "disk_gib=0.5," in replace(ORDER, disk_gib=0.5).python


class TestModel:
    def test_it_begins_with_what_suits(self, make: Any) -> None:
        model = make()
        assert model.order == Order("guest1", "mini", 128, 1, 1.0, "default")
        assert model.network_choices == [("default", "default"), ("none", None)]
        assert model.system_choices == [
            ("Mini <Linux>", "mini"),
            ("later (yet to be built)", "later"),
        ]

    def test_an_unknown_system_is_refused_at_once(self, test_lab: Lab) -> None:
        with pytest.raises(errors.ImageNotFound):
            create_model.CreateModel(test_lab, image="nope", catalogue=Catalogue())  # type: ignore[arg-type]

    def test_what_is_wrong_can_not_be_pressed(self, make: Any) -> None:
        model = make("web")
        assert model.can_create
        model.set(vcpus=1000)
        assert not model.can_create
        assert model.virsh == ""
        model.press()
        assert model.doing is None
        model.set(vcpus=1, memory_mib=512)
        assert model.virsh == "virsh define web --memory 512"

    def test_memory_goes_with_the_system_until_it_is_chosen(self, make: Any) -> None:
        model = make("web")
        model.set(image="later")
        assert model.order.memory_mib == create_model.MEMORY_MIB
        model.set(memory_mib=200)
        model.set(image="mini")
        assert model.order.memory_mib == 200

    def test_a_refusal_of_the_library_is_shown(
        self, make: Any, test_lab: Lab, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: Any, **__: Any) -> str:
            raise errors.NotSupported("this host can't do that")

        monkeypatch.setattr(test_lab.guests, "preview", refuse)
        model = make("web")
        assert not model.can_create
        assert "this host can't do that" in model.problem

    def test_creating_makes_a_guest_and_tells_of_it(self, make: Any, test_lab: Lab) -> None:
        model, told = make("web"), []
        model.on_change = lambda: told.append(model.doing)
        guest = model.create()
        assert (guest.name, model.guest, model.doing) == ("web", guest, None)
        assert ("upload", 0.5) in told
        assert "web" in test_lab.guests
        assert "is made" in model.notes["name"].text
        assert not model.can_create

    def test_a_failure_is_kept_and_forgotten_at_the_next_change(self, make: Any) -> None:
        model = make("old")
        with pytest.raises(errors.GuestAlreadyExists):
            model.create()
        assert "old" in model.problem
        assert model.doing is None
        model.set(name="new")
        assert model.problem == ""
        assert model.can_create

    def test_who_asks_while_it_is_made_gets_the_same_guest(
        self, make: Any, test_lab: Lab, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model, begun, go_on = make("web"), threading.Event(), threading.Event()
        real = test_lab.guests.create

        def slow(*args: Any, **arguments: Any) -> Any:
            begun.set()
            assert go_on.wait(10)
            return real(*args, **arguments)

        monkeypatch.setattr(test_lab.guests, "create", slow)
        model.press()
        assert begun.wait(10)
        got: list[Any] = []
        asking = threading.Thread(target=lambda: got.append(model.create()))
        asking.start()
        go_on.set()
        asking.join(10)
        assert got == [model.guest]

    def test_another_order_of_the_same_name_is_refused(self, make: Any) -> None:
        model = make("web")
        assert model.create() is model.create()
        model.set(vcpus=2)
        with pytest.raises(errors.GuestAlreadyExists):
            model.create()

    def test_looking_is_none_of_the_learners_doing(self, make: Any, test_lab: Lab) -> None:
        test_lab.virsh_log.clear()
        make("web").set(vcpus=2)
        assert len(test_lab.virsh_log) == 0

    def test_progress_comes_a_hundred_times_at_most(self, make: Any) -> None:
        model, told = make("web"), []
        model.on_change = lambda: told.append(model.doing)
        for step in range(10_000):
            model._progress("upload", step / 10_000)
        assert len(told) == 100


class TestForm:
    def test_what_is_filled_in_reaches_the_order_and_the_notes(self, make: Any) -> None:
        form = create.CreateForm(make("web"))
        form.fields["memory_mib"].value = 10**6
        assert form.model.order.memory_mib == 10**6
        assert form.button.disabled
        assert 'role="alert"' in form._notes["memory_mib"].value
        form.fields["memory_mib"].value = 256
        assert not form.button.disabled

    def test_only_the_lines_that_changed_are_marked(self, make: Any) -> None:
        form = create.CreateForm(make("web"))
        assert "kvmlab-changed" not in form._python.value
        form.fields["vcpus"].value = 2
        assert form._python.value.count("kvmlab-changed") == 1
        form.model.on_change()
        assert form._python.value.count("kvmlab-changed") == 1

    def test_no_network_is_a_choice_that_is_seen(self, make: Any) -> None:
        form = create.CreateForm(make("web"))
        form.fields["network"].label = "none"
        assert form.model.order.network is None
        assert form.fields["network"].label == "none"
        form.fields["network"].label = "default"
        assert form.model.order.network == "default"

    def test_commands_out_of_date_look_so(self, make: Any) -> None:
        form = create.CreateForm(make("web"))
        form.fields["name"].value = "my guest"
        assert "kvmlab-past" in form._virsh._dom_classes
        assert "define web" in form._virsh.value
        form.fields["name"].value = "mine"
        assert "kvmlab-past" not in form._virsh._dom_classes

    def test_text_of_others_is_escaped(self, make: Any) -> None:
        form = create.CreateForm(make("web"))
        form.fields["name"].value = "<img>"
        assert "<img>" not in form._python.value
        assert "<img>" not in form._notes["name"].value

    def test_creating_from_a_cell_is_pressing_the_button(self, make: Any) -> None:
        form = create.CreateForm(make("web"))
        assert form.guest is None
        guest = form.guest or form.create()
        assert form.guest is guest
        assert "<b>web</b> is made" in form._result.value

    def test_a_failure_is_told_once_and_clearly(self, make: Any) -> None:
        form = create.CreateForm(make("old"))
        with pytest.raises(errors.GuestAlreadyExists):
            form.create()
        assert form._result.value.count("Not made.") == 1

    def test_fields_are_labelled_and_explained(self, make: Any) -> None:
        fields = create.CreateForm(make("web")).fields
        assert set(fields) == set(Order.__annotations__)
        for field in fields.values():
            assert field.description
            assert field.tooltip

    def test_what_a_notebook_keeps_is_the_same_everywhere(self, make: Any) -> None:
        form = create.CreateForm(make("web"))
        kept = form._repr_mimebundle_()["text/plain"]
        assert kept == "A form with the five choices that make a guest: run this cell to see it."

    def test_it_is_made_by_one_call(self, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(create_model, "Catalogue", Catalogue)
        form = create.create_form(make("x")._lab, "web", image="mini")
        assert form.model.order.name == "web"


def test_the_networks_state_is_looked_at(test_lab: Lab) -> None:
    assert create_order.look(test_lab).networks == {"default": True}
