"""Ask the questions, each where it can be asked; print and save the answers.

./lab bench                                  all of them
./lab bench -- import_time state_of_fifty    some
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from benchmarks.pairs import Comparison
from benchmarks.questions import BY_NAME, Place, Question, read, write
from benchmarks.table import save, table
from kvmlab.errors import KvmlabError, LabHostError
from kvmlab.labhost import client, commands
from kvmlab.labhost.scratch import scratch_lab

out = Console()
err = Console(stderr=True)


def main() -> None:
    """Run the benchmarks; status 1 when a limit is exceeded or a question unanswered."""
    parser = argparse.ArgumentParser(prog="./lab bench --", description="Run benchmarks.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(BY_NAME)}")
    parser.add_argument("--pairs", type=int, help="measure this often, not as often as usual")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := [each for each in options.names if each not in BY_NAME]:
        parser.error(f"no such benchmark: {', '.join(unknown)}; there is {', '.join(BY_NAME)}")
    questions = [BY_NAME[each] for each in options.names or BY_NAME]
    try:
        if options.write:  # we are the process in the lab host that `_inside` starts
            write(options.write, questions[0].answer(err, options.pairs))
        else:
            sys.exit(_ask(questions, options.pairs))
    except KvmlabError as error:
        err.print(f"[red]error:[/] {escape(str(error))}", soft_wrap=True, highlight=False)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _ask(questions: list[Question], pairs: int | None) -> int:
    """Answer the questions, print and save; return the exit status."""
    answers: list[Comparison] = []
    absent: dict[str, str] = {}
    failed = False
    with ExitStack() as stack:
        if commands.wanted():
            stack.enter_context(scratch_lab("bench"))
        for question in questions:
            if reason := _why_not(question.place):
                absent[question.name] = reason
                continue
            try:
                answers += _answer(question, pairs)
            except Exception as error:  # whatever it is, the other answers count
                err.print(f"[red]{question.name}:[/] {escape(repr(error))}", highlight=False)
                absent[question.name] = "failed; see above"
                failed = True
    out.print(table(answers, absent))
    if answers:
        out.print(f"All times: {save(answers)}", highlight=False, soft_wrap=True)
    return int(failed or not all(each.is_within_limit for each in answers))


def _why_not(place: Place) -> str | None:
    """Return why a question can't be asked here, or None."""
    if place in (Place.LAB_HOST, Place.OUTSIDE) and os.environ.get("KVMLAB_URI"):
        return "it is about the lab host, and KVMLAB_URI is set"
    if place is Place.OUTSIDE and not commands.wanted():
        return "it is about starting a lab host, and this is in one"
    return None


def _answer(question: Question, pairs: int | None) -> list[Comparison]:
    if question.place in (Place.ANYWHERE, Place.OUTSIDE) or not commands.wanted():
        return question.answer(err, pairs)
    return _inside(question, pairs)


def _inside(question: Question, pairs: int | None) -> list[Comparison]:
    """Answer a question in a lab host, by another process of this program."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "answer.json")
        command = [sys.executable, "-m", "benchmarks", question.name, f"--write={path}"]
        if pairs:
            command.append(f"--pairs={pairs}")
        with client.enter("bench") as seat:
            status = seat.run(command)
            seat.leave()
        if status == 130:
            raise KeyboardInterrupt
        if status:
            raise LabHostError(f"{question.name} was not answered in the lab host", seen=status)
        return read(path)


if __name__ == "__main__":
    main()
