"""Chapter 1's form: its model without any widget, and the sliders before it."""

from __future__ import annotations

import pytest

from kvmlab import errors, vmm
from kvmlab.widgets.vmm import AdderModel, adder


def kvm_run(a: int, b: int) -> vmm.Run:
    total = (a + b) & 0xFFFF
    exits = (vmm.Exit("IO", "low"), vmm.Exit("IO", "high"), vmm.Exit("HLT", "halted"))
    return vmm.Run("kvm", total.to_bytes(2, "little"), exits, 0.0011, 0.00012)


def tcg_run(a: int, b: int) -> vmm.Run:
    output = ((a + b) & 0xFFFF).to_bytes(2, "little")
    return vmm.Run("tcg", output, (), 0.04, note="no <b>/dev/kvm</b> here")


def failing(a: int, b: int) -> vmm.Run:
    raise errors.QemuMissing("QEMU does not start", seen="<nothing>", next_step="Install it")


def test_the_sentence_is_the_guests_answer() -> None:
    model = AdderModel(300, 45, run_guest=kvm_run)
    assert model.sentence == "300 + 45 = 345"
    assert model.call == "vmm.run(300, 45).result"
    assert model.overflow == ""


def test_every_instruction_is_shown_with_what_leaves_the_guest() -> None:
    steps = AdderModel(300, 45, run_guest=kvm_run).steps
    assert [step.code for step in steps] == [code for code, _, _ in vmm.LISTING]
    assert [step.leaves for step in steps] == [
        "", "", "exit IO: 0x59, that is 89", "", "exit IO: 0x01, that is 1", "exit HLT", "",
    ]  # fmt: skip
    assert steps[1].meaning == "AX = 300 + 45"


def test_under_tcg_no_exit_is_claimed_and_the_reason_is_told() -> None:
    model = AdderModel(300, 45, run_guest=tcg_run)
    assert "exit" not in " ".join(step.leaves for step in model.steps)
    assert "no &lt;b&gt;/dev/kvm&lt;/b&gt; here" in model.html
    assert "translated" in model.timing
    assert "40 ms" in model.timing


def test_a_sum_too_big_is_explained() -> None:
    model = AdderModel(65535, 10, run_guest=kvm_run)
    assert model.sentence == "65535 + 10 = 9"
    assert "65545 - 65536 = 9" in model.overflow
    assert "Too big" in model.html


def test_the_time_is_told_in_milliseconds() -> None:
    assert "1.10 ms" in AdderModel(run_guest=kvm_run).timing
    assert "0.12 ms" in AdderModel(run_guest=kvm_run).timing


def test_a_failure_is_shown_and_the_next_run_forgets_it() -> None:
    model = AdderModel(1, 2, run_guest=failing)
    assert 'role="alert"' in model.html
    assert "&lt;nothing&gt;" in model.html
    assert model.steps == []
    assert model.timing == model.overflow == ""
    model.run_guest = kvm_run
    model.update(1, 2)
    assert model.error is None
    assert model.sentence == "1 + 2 = 3"


def test_moving_a_slider_runs_the_guest_again() -> None:
    form = adder(2, 3)
    first, second, view = form.children
    assert "2 + 3 = 5" in view.value
    first.value = 1000
    second.value = 65535
    assert "1000 + 65535 = 999" in view.value


@pytest.mark.parametrize(("run_guest", "at_once"), [(kvm_run, True), (tcg_run, False)])
def test_only_kvm_runs_while_the_slider_moves(run_guest: object, at_once: bool) -> None:
    form = adder(model=AdderModel(run_guest=run_guest))
    assert [slider.continuous_update for slider in form.children[:2]] == [at_once, at_once]


def test_sliders_are_labelled_and_hold_what_a_register_can() -> None:
    first, second, _ = adder().children
    assert (first.description, second.description) == (
        "First number, in AX",
        "Second number, in BX",
    )
    assert (first.min, first.max, second.min, second.max) == (0, 65535, 0, 65535)


def test_what_a_notebook_keeps_is_the_same_everywhere() -> None:
    kept = adder()._repr_mimebundle_()["text/plain"]
    assert kept == (
        "A form with two sliders and the guest that adds their numbers: run this cell to see it."
    )
