"""The control panel: its model against libvirt's test driver, and the widgets before it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import kvmlab
from kvmlab import Guest, Lab, errors
from kvmlab.widgets import control_model
from kvmlab.widgets.control import ControlPanel, control_panel
from kvmlab.widgets.control_actions import ACTIONS, ALIVE, AUTOSTART, OFF
from kvmlab.widgets.control_model import ControlModel

DOMAIN = """<domain type='test'><name>{}</name><memory>8192</memory>
<os><type>hvm</type></os></domain>"""
NODE = "<node>" + "".join(DOMAIN.format(name) for name in ("shop", "web")) + "</node>"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A libvirt of our own with two running guests."""
    node = tmp_path / "node.xml"
    node.write_text(NODE)
    with kvmlab.connect(f"test://{node}") as lab:
        yield lab


def at_once(work: Callable[[], None]) -> None:
    work()


@pytest.fixture
def model(lab: Lab) -> Iterator[ControlModel]:
    model = ControlModel(lab, "web", run=at_once)
    yield model
    model.close()


@pytest.fixture
def panel(lab: Lab) -> Iterator[ControlPanel]:
    panel = ControlPanel(ControlModel(lab, "web", run=at_once))
    yield panel
    panel.close()


def wait_until(model: ControlModel, true: Callable[[], bool]) -> None:
    """Wait for the model to follow what happened elsewhere."""
    changed, before = threading.Event(), model.on_change

    def note() -> None:
        before()
        changed.set()

    model.on_change = note
    while not true():
        assert changed.wait(10), "the model did not follow"
        changed.clear()
    model.on_change = before


def state(model: ControlModel) -> str:
    return model.row.state if model.row else "gone"


def stubborn(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Have guests shut down only when the event is set."""
    obeys = threading.Event()

    def shutdown(guest: Guest, timeout_s: float) -> None:
        if not obeys.wait(10):
            raise errors.TimedOut("it did not obey")
        guest.virsh = kvmlab.virsh.Commands(f"virsh shutdown {guest.name}")

    monkeypatch.setattr(Guest, "shutdown", shutdown)
    return obeys


# ---- what there is to see


def test_all_guests_are_listed_and_the_wanted_one_is_chosen(model: ControlModel) -> None:
    assert [(row.name, row.state, row.autostart) for row in model.rows] == [
        ("shop", "running", False),
        ("web", "running", False),
    ]
    assert model.chosen == "web"


def test_without_a_wish_the_first_is_chosen(lab: Lab) -> None:
    model = ControlModel(lab)
    assert model.chosen == "shop"
    model.close()


def test_a_guest_that_is_not_there_is_refused(lab: Lab) -> None:
    with pytest.raises(errors.GuestNotFound, match="nobody"):
        control_panel(lab, "nobody")
    assert not [t for t in threading.enumerate() if t.name == "kvmlab-control-panel"]


def test_looking_is_not_in_the_labs_log_of_commands(lab: Lab, model: ControlModel) -> None:
    model.choose("shop")
    lab.connection.lookupByName("shop").suspend()
    wait_until(model, lambda: state(model) == "paused")
    assert len(lab.virsh_log) == 0


def test_a_lab_without_guests_gets_its_first(lab: Lab) -> None:
    for domain in lab.connection.listAllDomains():
        domain.destroy()
        domain.undefine()
    model = ControlModel(lab)
    assert (model.rows, model.chosen, model.row) == ((), "", None)
    assert not any(model.allows(name) for name in ACTIONS)
    lab.connection.defineXML(DOMAIN.format("new"))
    wait_until(model, lambda: state(model) == "shut off")
    assert model.chosen == "new"
    model.close()


def test_when_the_chosen_guest_goes_another_is_chosen(lab: Lab, model: ControlModel) -> None:
    web = lab.connection.lookupByName("web")
    web.destroy()
    web.undefine()
    wait_until(model, lambda: len(model.rows) == 1)
    assert model.chosen == "shop"


def test_an_address_that_comes_without_an_event_is_found(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_model, "LEASE_INTERVAL_S", 0.01)
    leases = iter([None, None, None])
    monkeypatch.setattr(control_model, "lease_of", lambda *_: next(leases, "192.0.2.7"))
    model = ControlModel(lab, "web")
    wait_until(model, lambda: model.address is not None)
    assert model.address == "192.0.2.7"
    model.close()


# ---- following others


def test_what_others_do_is_followed(lab: Lab, model: ControlModel) -> None:
    web = lab.connection.lookupByName("web")
    for do, then in (
        (web.suspend, "paused"),
        (web.resume, "running"),
        (lambda: web.managedSave(0), "saved"),
        (web.create, "running"),
        (web.destroy, "shut off"),
    ):
        do()
        wait_until(model, lambda then=then: state(model) == then)
    assert model.python_log == model.virsh_log == ""


def test_a_closed_model_follows_nothing(lab: Lab, model: ControlModel) -> None:
    changes: list[str] = []
    model.on_change = lambda: changes.append(state(model))
    model.close()
    with lab.events.watch() as watch:
        lab.connection.lookupByName("web").suspend()
        watch.wait_for("suspended")
    assert (changes, state(model)) == ([], "running")
    assert not [t for t in threading.enumerate() if t.name == "kvmlab-control-panel"]


# ---- what makes sense when


@pytest.mark.parametrize(
    ("do", "allowed"),
    [
        ([], {"shutdown", "reboot", "suspend", "managed_save", "destroy", "autostart"}),
        (["suspend"], {"resume", "managed_save", "destroy", "autostart"}),
        (["managed_save"], {"start", "autostart"}),
        (["destroy"], {"start", "autostart"}),
    ],
    ids=["running", "paused", "saved", "shut off"],
)
def test_what_makes_sense_in_a_state(model: ControlModel, do: list[str], allowed: set[str]) -> None:
    for name in do:
        model.press(name)
        model.confirm()
    assert {name for name in (*ACTIONS, "autostart") if model.allows(name)} == allowed


def test_every_state_offers_a_way_on() -> None:
    for state in ALIVE | OFF:
        assert any(state in action.states for action in ACTIONS.values()), state


def test_a_press_that_came_too_late_does_nothing(model: ControlModel) -> None:
    model.press("resume")
    assert (state(model), model.python_log, model.message) == ("running", "", None)


# ---- pressing


def test_presses_are_done_and_written_down(lab: Lab, model: ControlModel) -> None:
    prefix = f"virsh --connect {lab.uri}"
    for name in ("suspend", "resume", "managed_save", "start", "autostart", "autostart"):
        model.press(name)
    assert model.python_log.splitlines() == [
        'lab.guests["web"].suspend()',
        'lab.guests["web"].resume()',
        'lab.guests["web"].managed_save()',
        'lab.guests["web"].start()',
        'lab.guests["web"].autostart = True',
        'lab.guests["web"].autostart = False',
    ]
    assert model.virsh_log.splitlines() == [
        f"{prefix} suspend web",
        f"{prefix} resume web",
        f"{prefix} managedsave web",
        f"{prefix} start web",
        f"{prefix} autostart web",
        f"{prefix} autostart web --disable",
    ]


def test_a_press_says_what_came_of_it(model: ControlModel) -> None:
    model.press("suspend")
    assert model.message
    assert model.message.text == "web: suspended: CPUs stopped, memory kept."
    assert not model.message.failed


def test_a_message_goes_with_the_state_it_tells_of(lab: Lab, model: ControlModel) -> None:
    model.press("suspend")
    lab.connection.lookupByName("web").resume()
    wait_until(model, lambda: state(model) == "running")
    assert model.message is None


def test_a_failure_is_one_line_and_not_written_down(
    model: ControlModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def suspend(_: Guest) -> None:
        raise errors.LibvirtFailed("suspend web: no", next_step="Read the log")

    monkeypatch.setattr(Guest, "suspend", suspend)
    model.press("suspend")
    assert model.message
    assert model.message.text == "suspend web: no. Read the log."
    assert model.message.failed
    assert (model.python_log, model.under_way) == ("", None)


def test_a_guest_that_is_gone_is_an_error_and_no_crash(lab: Lab, model: ControlModel) -> None:
    model._unsubscribe()  # it does not hear of it in time
    web = lab.connection.lookupByName("web")
    web.destroy()
    web.undefine()
    model.press("suspend")
    assert [row.name for row in model.rows] == ["shop"]
    assert model.python_log == ""


# ---- pulling the plug


def test_the_plug_is_not_pulled_without_asking(model: ControlModel) -> None:
    model.press("destroy")
    assert model.asking is ACTIONS["destroy"]
    assert state(model) == "running"
    model.cancel()
    assert model.asking is None
    model.confirm()  # there is nothing to confirm any more
    assert (state(model), model.python_log) == ("running", "")


def test_the_plug_is_pulled_when_confirmed(model: ControlModel) -> None:
    model.press("destroy")
    model.confirm()
    assert (state(model), model.asking) == ("shut off", None)
    assert model.python_log == 'lab.guests["web"].destroy()'


def test_a_question_is_for_one_guest_only(model: ControlModel) -> None:
    model.press("destroy")
    model.choose("shop")
    model.confirm()
    assert [row.state for row in model.rows] == ["running", "running"]


def test_a_question_is_withdrawn_when_the_guest_goes_off(lab: Lab, model: ControlModel) -> None:
    model.press("destroy")
    lab.connection.lookupByName("web").destroy()
    wait_until(model, lambda: state(model) == "shut off")
    assert model.asking is None


def test_only_pulling_the_plug_loses_anything() -> None:
    assert [name for name, action in ACTIONS.items() if action.confirm] == ["destroy"]


# ---- what takes its time


def test_a_long_action_keeps_nobody_waiting(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    obeys = stubborn(monkeypatch)
    model = ControlModel(lab, "web")
    model.press("shutdown")
    assert model.under_way
    assert model.under_way.action.name == "shutdown"
    assert {name for name in (*ACTIONS, "autostart") if model.allows(name)} == {"destroy"}
    model.choose("shop")
    assert model.allows("suspend"), "another guest can be managed meanwhile"
    model.choose("web")
    obeys.set()
    wait_until(model, lambda: model.under_way is None)
    assert model.message
    assert model.message.text == "web: it has shut itself down."
    model.close()


def test_a_guest_that_does_not_obey_can_be_unplugged(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    obeys = stubborn(monkeypatch)
    model = ControlModel(lab, "web")
    model.press("shutdown")
    model.press("destroy")
    model.confirm()
    wait_until(model, lambda: model.message is not None)
    assert state(model) == "shut off"
    obeys.set()  # the shutdown returns, as the guest is off
    wait_until(model, lambda: "shutdown" in model.python_log)
    assert model.python_log.splitlines() == [
        'lab.guests["web"].shutdown()',
        'lab.guests["web"].destroy()',
    ]
    assert model.message
    assert "plug is pulled" in model.message.text
    model.close()


# ---- the widgets


def test_only_what_makes_sense_can_be_pressed(panel: ControlPanel) -> None:
    assert not panel._buttons["suspend"].disabled
    assert panel._buttons["resume"].disabled
    panel._buttons["suspend"].click()
    assert panel._buttons["suspend"].disabled
    assert not panel._buttons["resume"].disabled
    assert "paused" in panel._card.value
    assert panel._guests["web"].description == "web: paused"


def test_the_logs_are_texts_to_copy_from(panel: ControlPanel) -> None:
    panel._buttons["suspend"].click()
    python, virsh = panel._logs
    assert python.value == 'lab.guests["web"].suspend()'
    assert virsh.value.endswith("suspend web")
    # A text that can't be edited has JupyterLab take the keys pressed in it for its own.
    assert not python.disabled
    assert not virsh.disabled


def test_a_guest_is_chosen_by_its_button(panel: ControlPanel) -> None:
    panel._guests["shop"].click()
    assert panel.model.chosen == "shop"
    assert "kvmlab-chosen" in panel._guests["shop"]._dom_classes
    assert "kvmlab-chosen" not in panel._guests["web"]._dom_classes
    assert "<b" in panel._card.value
    assert "shop" in panel._card.value


def test_the_question_is_asked_in_the_panel(panel: ControlPanel) -> None:
    assert panel._question.layout.display == "none"
    panel._buttons["destroy"].click()
    assert panel._question.layout.display == "flex"
    assert "not yet written to disk" in panel._loss.value
    assert panel._yes.description == "Destroy web"
    panel._no.click()
    assert panel._question.layout.display == "none"
    panel._buttons["destroy"].click()
    panel._yes.click()
    assert panel._guests["web"].description == "web: shut off"


def test_ticking_autostart_sets_it_and_shows_it(lab: Lab, panel: ControlPanel) -> None:
    panel._autostart.value = True
    assert lab.guests["web"].autostart
    panel._guests["shop"].click()
    assert not panel._autostart.value
    assert not lab.guests["shop"].autostart
    panel._guests["web"].click()
    assert panel._autostart.value


def test_progress_is_of_the_time_it_may_take(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    obeys = stubborn(monkeypatch)
    panel = control_panel(lab, "web")
    panel._buttons["shutdown"].click()
    assert "for 60 s at most" in panel._status.value
    assert "kvmlab-fill 60.0s" in panel._status.value
    obeys.set()
    wait_until(panel.model, lambda: panel.model.under_way is None)
    panel.close()


def test_errors_are_shown_as_text(panel: ControlPanel, monkeypatch: pytest.MonkeyPatch) -> None:
    def suspend(_: Guest) -> None:
        raise errors.LibvirtFailed("<b>no</b>")

    monkeypatch.setattr(Guest, "suspend", suspend)
    panel._buttons["suspend"].click()
    assert 'role="alert"' in panel._status.value
    assert "&lt;b&gt;no&lt;/b&gt;" in panel._status.value


def test_everything_has_a_label(panel: ControlPanel) -> None:
    for button in (*panel._buttons.values(), *panel._guests.values()):
        assert button.description
        assert button.tooltip
    assert [log.description for log in panel._logs] == ["In Python", "With virsh"]
    assert panel._autostart.description.startswith("Autostart")
    assert AUTOSTART[True].tip in panel._autostart.tooltip


def test_closing_the_panel_frees_its_subscription(lab: Lab) -> None:
    panel = control_panel(lab)
    panel.close()
    panel.close()  # once more does no harm
    assert not [t for t in threading.enumerate() if t.name == "kvmlab-control-panel"]


def test_what_a_notebook_keeps_is_the_same_everywhere(panel: ControlPanel) -> None:
    assert panel._repr_mimebundle_()["text/plain"] == (
        "A form with the guests of the lab and a button for each thing to do to them: "
        "run this cell to see it."
    )
