"""What every session needs before its first guest: images, and a verdict on KVM."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from kvmlab.images import Catalogue
from kvmlab.images.catalogue import RECIPES
from kvmlab.labhost import acceleration
from kvmlab.labhost.acceleration import Acceleration

IMAGES = ("tiny", "hello")


def prepare(console: Console, *, every_image: bool = False) -> Acceleration:
    """Build the course's images and probe KVM, where that has not been done yet.

    Args:
        console: where progress is shown.
        every_image: build those too that are otherwise built when first asked for.

    Raises:
        ImageError: an image can't be built; the message says why.
    """
    catalogue = Catalogue()
    for name in RECIPES if every_image else IMAGES:
        if not catalogue.is_built(name):
            build(console, catalogue, name)
    return acceleration.cached() or probe(console, catalogue)


def build(console: Console, catalogue: Catalogue, name: str) -> None:
    """Build one image under a progress bar."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(f"image {name}", total=1.0)

        def show(step: str, fraction: float) -> None:
            bar.update(task, description=f"image {name}: {step}", completed=fraction)

        catalogue.build(name, progress=show)
    console.print(f"==> guest image {name} is built")


def probe(console: Console, catalogue: Catalogue) -> Acceleration:
    """Boot the tiny image's kernel under KVM and say what came of it."""
    tiny = catalogue["tiny"]
    assert tiny.kernel is not None
    assert tiny.initrd is not None
    with console.status("trying whether KVM runs a Linux guest (some seconds)"):
        verdict = acceleration.probe(tiny.kernel, tiny.initrd)
    console.print(f"==> acceleration: {verdict.kind}: {verdict.reason}")
    return verdict
