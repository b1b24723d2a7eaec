"""Chapter 1's form: two sliders, and a guest that adds what they say.

`AdderModel` knows what to show and has no ipywidgets in it; `adder` puts sliders before
it. The guest runs anew at every move of a slider.
"""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import dataclass, field

import ipywidgets as widgets  # type: ignore[import-untyped]

from kvmlab import vmm
from kvmlab.errors import KvmlabError
from kvmlab.widgets.form import Form

MOST = 0xFFFF  # what a 16-bit register can hold
ENGINES = {
    "kvm": "by this machine's processor, through KVM",
    "tcg": "by QEMU, which translated it (TCG)",
}
# JupyterLab's own colours, so that the form follows its theme; the fallbacks are for other
# front ends.
INK, MUTED = "var(--jp-ui-font-color1, #1f2933)", "var(--jp-ui-font-color2, #55606e)"
RIM = "var(--jp-border-color2, #bdbdbd)"
MONO = "font-family: var(--jp-code-font-family, monospace)"


@dataclass(frozen=True)
class Step:
    """One instruction of the guest, and what leaves the guest when it runs.

    Args:
        code: the bytes in memory, in hexadecimal.
        instruction: the same in the language of people.
        meaning: what it does with the two numbers at hand.
        leaves: what the monitor gets to see of it; mostly nothing.
    """

    code: str
    instruction: str
    meaning: str
    leaves: str


@dataclass
class AdderModel:
    """Two numbers and the guest that adds them.

    Args:
        a: the first number, 0 to 65535.
        b: the second, likewise.
        run_guest: what runs the guest.

    Raises:
        KvmlabError: the guest could not be run; kept in `error`, not raised, by `update`.

    Example:
        >>> model = AdderModel(2, 3)
        >>> model.update(300, 45)
        >>> model.sentence
        '300 + 45 = 345'
    """

    a: int = 2
    b: int = 3
    run_guest: Callable[[int, int], vmm.Run] = vmm.run
    run: vmm.Run | None = field(default=None, init=False)
    error: KvmlabError | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.update(self.a, self.b)

    def update(self, a: int, b: int) -> None:
        """Run the guest with two other numbers.

        Args:
            a: the first number, 0 to 65535.
            b: the second, likewise.

        Example:
            >>> AdderModel(2, 3).update(4, 5)
        """
        self.a, self.b = a, b
        try:
            self.run, self.error = self.run_guest(a, b), None
        except KvmlabError as error:
            self.run, self.error = None, error

    @property
    def call(self) -> str:
        """The Python call that does the same."""
        return f"vmm.run({self.a}, {self.b}).result"

    @property
    def sentence(self) -> str:
        """What the guest says the sum is."""
        return f"{self.a} + {self.b} = {self.run.result}" if self.run else self.call

    @property
    def overflow(self) -> str:
        """Why the guest's sum is not the true one; empty when it is."""
        total = self.a + self.b
        if self.run is None or total <= MOST:
            return ""
        return (
            f"{total} does not fit into the 16 bits of AX. The processor drops the carry, "
            f"and what is left is {total} - 65536 = {total - MOST - 1}."
        )

    @property
    def timing(self) -> str:
        """Who ran the guest, and for how long."""
        if self.run is None:
            return ""
        text = f"Run {ENGINES[self.run.engine]}. From nothing to the answer: "
        text += _duration(self.run.seconds)
        if self.run.guest_seconds is not None:
            text += f", of which running the guest: {_duration(self.run.guest_seconds)}"
        return text + "."

    @property
    def steps(self) -> list[Step]:
        """The guest's program, with what this run's numbers made of it."""
        if self.run is None:
            return []
        low, high = self.run.output
        meanings = [meaning for _, _, meaning in vmm.LISTING]
        meanings[1] = f"AX = {self.a} + {self.b}"
        leaves = ["", "", f"{low:#04x}, that is {low}", "", f"{high:#04x}, that is {high}", "", ""]
        if self.run.engine == "kvm":
            leaves[2], leaves[4] = f"exit IO: {leaves[2]}", f"exit IO: {leaves[4]}"
            leaves[5] = "exit HLT"
        return [
            Step(code, instruction, meaning, left)
            for (code, instruction, _), meaning, left in zip(
                vmm.LISTING, meanings, leaves, strict=True
            )
        ]

    @property
    def html(self) -> str:
        """All of it as HTML."""
        if self.run is None:
            return f'<div role="alert">{html.escape(str(self.error))}</div>'
        low, high = self.run.output
        parts = [
            f'<div role="status" aria-live="polite" style="font-size: 1.6em; '
            f'margin: 6px 0 10px"><b>{self.sentence}</b></div>',
            _table(self.steps),
            f"<p>The answer leaves as two bytes, the low one first: "
            f"{low} + 256 &times; {high} = <b>{self.run.result}</b>.</p>",
        ]
        if self.overflow:
            parts.append(f'<p role="note"><b>Too big.</b> {html.escape(self.overflow)}</p>')
        parts.append(f'<p style="color: {MUTED}">{html.escape(self.timing)}</p>')
        if self.run.note:
            why = html.escape(self.run.note)
            parts.append(f'<p style="color: {MUTED}"><b>Why not KVM?</b> {why}</p>')
        parts.append(f'<p>In Python: <code style="{MONO}">{self.call}</code></p>')
        style = f"color: {INK}; line-height: 1.45; max-width: 860px"
        return f'<div style="{style}">{"".join(parts)}</div>'


def adder(a: int = 2, b: int = 3, *, model: AdderModel | None = None) -> Form:
    """Show two sliders and the guest that adds their numbers.

    Args:
        a: the first number to begin with, 0 to 65535.
        b: the second, likewise.
        model: what to show instead of a model of one's own.

    Example:
        >>> adder(2, 3)
        A form with two sliders and the guest that adds their numbers: run this cell to see it.
    """
    model = model or AdderModel(a, b)
    # Under TCG every run starts a QEMU: then only where the slider is let go.
    at_once = model.run is not None and model.run.engine == "kvm"
    first, second = (
        widgets.IntSlider(
            value=value,
            min=0,
            max=MOST,
            description=f"{name} number, in {register}",
            continuous_update=at_once,
            style={"description_width": "170px"},
            layout=widgets.Layout(width="min(100%, 700px)"),
        )
        for name, register, value in (("First", "AX", model.a), ("Second", "BX", model.b))
    )
    view = widgets.HTML(value=model.html)

    def moved(_: object) -> None:
        model.update(first.value, second.value)
        view.value = model.html

    first.observe(moved, names="value")
    second.observe(moved, names="value")
    return Form([first, second, view], what="two sliders and the guest that adds their numbers")


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms" if seconds < 0.01 else f"{seconds * 1000:.0f} ms"


def _table(steps: list[Step]) -> str:
    cell = "padding: 3px 22px 3px 0; text-align: left"
    heads = ("In memory", "Instruction", "What it does", "What leaves the guest")
    head = "".join(f'<th scope="col" style="{cell}; color: {MUTED}">{text}</th>' for text in heads)
    rows = "".join(
        f'<tr style="border-top: 1px solid {RIM}">'
        f'<td style="{cell}; {MONO}">{html.escape(step.code)}</td>'
        f'<td style="{cell}; {MONO}">{html.escape(step.instruction)}</td>'
        f'<td style="{cell}">{html.escape(step.meaning)}</td>'
        f'<td style="{cell}"><b>{html.escape(step.leaves)}</b></td></tr>'
        for step in steps
    )
    return (
        '<table style="border-collapse: collapse">'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    )
