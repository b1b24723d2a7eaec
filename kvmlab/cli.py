"""The kvmlab command, which ``./lab`` runs once the machine is set up."""

from __future__ import annotations

import json
import os
import sys
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kvmlab.errors import KvmlabError
from kvmlab.labhost import acceleration, client, commands, desk, requirements, scratch
from kvmlab.labhost.folders import Folders

app = typer.Typer(
    help="Learn virtualization on real guests, in a lab host of your own.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
image_app = typer.Typer(help="Guest images: list, build, verify.", no_args_is_help=True)
app.add_typer(image_app, name="image")

out = Console()
err = Console(stderr=True)

# What stands behind the options belongs to the command that is run.
PASS_ON = {"allow_interspersed_args": False}
Command = Annotated[list[str], typer.Argument(help="The command and its arguments.")]
Rest = Annotated[list[str] | None, typer.Argument(help="Passed on as they are.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing.")]
Port = Annotated[int | None, typer.Option(min=1024, max=65535, help="JupyterLab's port.")]
NoBrowser = Annotated[bool, typer.Option("--no-browser", help="Do not open a browser.")]


@app.callback(invoke_without_command=True)
def default(
    context: typer.Context, port: Port = None, no_browser: NoBrowser = False, yes: Yes = False
) -> None:
    """Learn virtualization on real guests, in a lab host of your own.

    Without a command: the same as "up".
    """
    if context.invoked_subcommand is None:
        up(port, no_browser, yes)


@app.command()
def up(port: Port = None, no_browser: NoBrowser = False, yes: Yes = False) -> None:
    """Start JupyterLab in the lab host and stay until Ctrl-C."""
    _prepare()
    desk.sit(err, port, browser=not no_browser)


@app.command("test", context_settings=PASS_ON)
def run_tests(arguments: Rest = None, yes: Yes = False) -> None:
    """Run the test suite in a lab host of its own: ./lab test -- [pytest arguments].

    Your own guests and networks are not in it.
    """
    given = arguments or []
    paths = [each for each in given if Path(each.partition("::")[0]).exists()]
    _prepare(every_image=not paths)
    options = [each for each in given if each not in paths]
    # A lab host can only be watched from outside of it.
    outside = [each for each in paths or ["tests/labhost"] if "labhost" in each]
    inside = [each for each in paths if "labhost" not in each]
    if not paths:
        # Chapters show all guests there are: before the tests' own are made.
        inside = [f"tests/{each}" for each in ("unit", "notebooks", "guests")]
    pytest = [sys.executable, "-m", "pytest", *options]
    os.chdir(Path(__file__).parents[1])
    statuses = []
    with scratch.scratch_lab("test") if commands.wanted() else nullcontext():
        if inside:
            statuses.append(_run("test", [*pytest, *inside]))
        if outside and commands.wanted():
            statuses.append(commands.Here().run([*pytest, *outside]))
    # pytest's 5 is "no test was selected", which one of two runs may well say.
    said = {each for each in statuses if each != 5} or {5}
    raise typer.Exit(max(said))


@app.command("exec", context_settings=PASS_ON)
def exec_(command: Command, yes: Yes = False) -> None:
    """Run a command in the lab host: ./lab exec -- virsh list --all."""
    raise typer.Exit(_run(f"exec {' '.join(command)}", command))


@app.command()
def shell(yes: Yes = False) -> None:
    """Open a shell in the lab host."""
    raise typer.Exit(_run("shell", [os.environ.get("SHELL", "/bin/sh")]))


@app.command()
def status() -> None:
    """Show whether the lab host runs, for whom, and its guests."""
    if os.environ.get("KVMLAB_URI"):
        out.print(f"no lab host is used: KVMLAB_URI is {escape(os.environ['KVMLAB_URI'])}")
        return
    seat = client.find()
    if seat is None:
        out.print("the lab host does not run; ./lab starts it")
        return
    with seat:
        state = seat.ask("status")
        out.print("the lab host runs, for: " + escape(", ".join(state["users"])))
        url = state["jupyter"] or "not started; ./lab starts it"
        out.print(f"JupyterLab: {url}", soft_wrap=True)
        out.print(f"Internet for guests: {'yes' if state['internet'] else 'no'}")
        sys.stdout.flush()
        seat.run(["virsh", "list", "--all"])


@app.command()
def down() -> None:
    """End the lab host; its running guests are saved and resume at the next start."""
    with err.status("ending the lab host") as line:
        ended = client.shut_down(line.update)
    out.print("the lab host has ended" if ended else "the lab host does not run")


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check what this machine offers and say what mends what it lacks."""
    found = requirements.check()
    verdict = acceleration.cached()
    if as_json:
        report = {
            "requirements": [asdict(each) for each in found],
            "acceleration": asdict(verdict) if verdict else None,
        }
        print(json.dumps(report, indent=2))
    else:
        table = Table("", "requirement", "seen", "what to do")
        for each in found:
            mark = "[red]missing[/]" if each.problem else "[green]ok[/]"
            advice = f"{each.problem}. Mend it with: {each.remedy}" if each.problem else ""
            table.add_row(mark, each.name, escape(each.seen), escape(advice))
        if verdict:
            table.add_row("", "acceleration", verdict.kind, escape(verdict.reason))
        else:
            table.add_row("", "acceleration", "not tried yet", "./lab tries it at its first start")
        out.print(table)
    raise typer.Exit(1 if any(each.problem for each in found) else 0)


@app.command()
def reset(
    yes: Yes = False,
    images: Annotated[bool, typer.Option("--images", help="Built guest images too.")] = False,
) -> None:
    """Throw the lab away: every guest, network, volume and setting in it."""
    folders = Folders.default()
    if not folders.root.exists():
        out.print(f"there is no lab at {folders.root}")
        return
    if not yes:
        typer.confirm(f"Delete all guests and disks of the lab at {folders.root}?", abort=True)
    kept = {"images", "ssh", "acceleration.json"}
    scratch.wipe(folders.root, frozenset() if images else frozenset(kept))
    out.print("the lab is as new")


@app.command(context_settings=PASS_ON)
def bench(arguments: Rest = None, yes: Yes = False) -> None:
    """Run the benchmarks and print their ratios: ./lab bench -- [names]."""
    _prepare()
    os.chdir(Path(__file__).parents[1])
    raise typer.Exit(commands.Here().run([sys.executable, "-m", "benchmarks", *(arguments or [])]))


@image_app.command("list")
def image_list() -> None:
    """List the guest images and whether they are built."""
    from kvmlab.images import Catalogue

    catalogue = Catalogue()
    table = Table("name", "built", "size", "digest")
    for name in catalogue:
        if catalogue.is_built(name):
            image = catalogue[name]
            size = f"{image.disk.stat().st_size / 2**20:.1f} MiB"
            table.add_row(name, "yes", size, image.digest[:12])
        else:
            table.add_row(name, "no", "", "")
    out.print(table)


@image_app.command("build")
def image_build(name: Annotated[str, typer.Argument(help="As ./lab image list shows it.")]) -> None:
    """Build a guest image, anew if it is there."""
    from kvmlab import prepare
    from kvmlab.images import Catalogue

    prepare.build(err, Catalogue(), name)


@image_app.command("verify")
def image_verify() -> None:
    """Hash every built image again and compare."""
    from kvmlab.images import Catalogue

    verdicts = Catalogue().verify()
    for each in verdicts:
        out.print(f"{each.name}: {'ok' if each.ok else f'DAMAGED: {each.seen}'}")
    raise typer.Exit(0 if all(each.ok for each in verdicts) else 1)


def _prepare(*, every_image: bool = False) -> None:
    """Have images and a verdict on KVM, unless it is another libvirt's business."""
    if commands.wanted():
        from kvmlab import prepare

        prepare.prepare(err, every_image=every_image)


def _run(what: str, command: list[str]) -> int:
    """Run a command in the lab host, or right here where none is wanted."""
    if not commands.wanted():
        return commands.Here().run(command)
    with err.status("starting the lab host") as line:
        seat = client.enter(what, line.update)
    with seat:
        result = seat.run(command)
        with err.status("leaving the lab host") as line:
            seat.leave(line.update)
    return result


def main() -> None:
    """Run the command line; one of our errors becomes one line and status 1."""
    try:
        app()
    except KvmlabError as error:
        err.print(f"[red]error:[/] {escape(str(error))}", soft_wrap=True, highlight=False)
        sys.exit(1)


if __name__ == "__main__":
    main()
