"""The images there are, built when first asked for, and the cache they are kept in.

    images/
        .lock                   held by whoever builds
        .building-XXXX/         an image being made; a left-over unless the lock is held
        3f0c9a7e51d24b86/       an image, named by the first 16 digits of its digest
            disk.qcow2 ...      its files
            SHA256SUMS          what they must hash to, as `sha256sum -c` reads it
            image.json          what they are: the image's name, recipe and fields

The digest is the sha256 of ``SHA256SUMS``, which has one line for each of the image's
files, sorted by name. So it covers all content, whoever built it, and anyone can check
it: ``sha256sum -c SHA256SUMS`` and ``sha256sum SHA256SUMS``. A folder gets its name by
one rename when it is complete and on disk: there is no index that could disagree, and
never half an image.

A newer kvmlab whose recipe changed builds anew beside the old image, which stays for
the guests that were made from it.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from kvmlab.errors import ImageError, ImageNotFound
from kvmlab.home import home
from kvmlab.images.hello import Hello
from kvmlab.images.image import Content, Image, Progress, Recipe
from kvmlab.images.tiny import Tiny

RECIPES: dict[str, Recipe] = {"tiny": Tiny(), "hello": Hello()}

_SUMS, _ABOUT = "SHA256SUMS", "image.json"


@dataclass(frozen=True)
class Verdict:
    """Whether an image still is what was built.

    Attributes:
        name: the image's name.
        ok: whether all its files are as they were.
        expected: the digest its folder is named by, 16 hex digits.
        seen: the same of what is there now.
    """

    name: str
    ok: bool
    expected: str
    seen: str


class Catalogue(Mapping[str, Image]):
    """The images by name; asking for one builds it if need be.

    Args:
        folder: the cache; by default ``images`` in the state folder.
        recipes: the recipes by image name.

    Example:
        >>> list(Catalogue())
        ['tiny', 'hello']
    """

    def __init__(self, folder: Path | None = None, recipes: Mapping[str, Recipe] = RECIPES) -> None:
        self.folder = folder or home() / "images"
        self._recipes = recipes

    def __getitem__(self, name: str) -> Image:
        return self.ensure(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._recipes)

    def __len__(self) -> int:
        return len(self._recipes)

    def __contains__(self, name: object) -> bool:
        return name in self._recipes

    def ensure(self, name: str, progress: Progress | None = None) -> Image:
        """Return an image, building it if it isn't there yet.

        When another process builds just now, this waits for it and takes its image.

        Args:
            name: the image's name.
            progress: called with what is being done and the fraction done, 0 to 1.

        Raises:
            ImageNotFound: there is no such image.
            ImageError: it could not be built; the next step is in the message.
        """
        self._recipe(name)
        return self._find(name) or self._build(name, progress, anew=False)

    def build(self, name: str, progress: Progress | None = None) -> Image:
        """Build an image even if it is there: Debian may have newer packages by now.

        Args and errors are those of :meth:`ensure`.
        """
        return self._build(name, progress, anew=True)

    def is_built(self, name: str) -> bool:
        """Tell whether an image is there, made by today's recipe.

        Raises:
            ImageNotFound: there is no such image.
        """
        self._recipe(name)
        return self._find(name) is not None

    def verify(self) -> list[Verdict]:
        """Read every image in the cache, old ones too, and compare with its digest."""
        verdicts = []
        for folder in self._folders():
            seen = _digest(_sums(folder))[:16]
            name = str(_about(folder).get("name", "?"))
            verdicts.append(Verdict(name, seen == folder.name, folder.name, seen))
        return verdicts

    def _recipe(self, name: str) -> Recipe:
        try:
            return self._recipes[name]
        except KeyError:
            raise ImageNotFound(
                "there is no image of this name",
                seen=name,
                next_step=f"Choose one of: {', '.join(self._recipes)}",
            ) from None

    def _folders(self) -> list[Path]:
        """Return the complete images' folders, oldest first."""
        sums = [path for path in self.folder.glob(f"*/{_SUMS}") if path.parent.name[0] != "."]
        return [path.parent for path in sorted(sums, key=lambda path: path.stat().st_mtime_ns)]

    def _find(self, name: str) -> Image | None:
        """Return the newest image of a name that today's recipe made."""
        fingerprint = self._recipe(name).fingerprint()
        for folder in reversed(self._folders()):
            about = _about(folder)
            if (about.get("name"), about.get("recipe")) == (name, fingerprint):
                return _image(folder, name, Content(**about["content"]))
        return None

    def _build(self, name: str, progress: Progress | None, *, anew: bool) -> Image:
        recipe = self._recipe(name)
        report = progress or (lambda text, fraction: None)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._locked(report):
                if not anew and (image := self._find(name)):
                    return image
                for leftover in self.folder.glob(".building-*"):
                    shutil.rmtree(leftover, ignore_errors=True)
                work = Path(mkdtemp(prefix=".building-", dir=self.folder))
                try:
                    self._make(name, recipe, work, report)
                finally:
                    shutil.rmtree(work, ignore_errors=True)
        except OSError as problem:
            full = problem.errno in (errno.ENOSPC, errno.EDQUOT)
            raise ImageError(
                f"the image {name!r} can't be written: {problem.strerror or problem}",
                seen=str(problem.filename or self.folder),
                next_step="Free some disk space, or set KVMLAB_HOME to a folder on a bigger disk"
                if full
                else "Make this folder writable for you, or set KVMLAB_HOME to one that is",
            ) from problem
        report(f"{name} is ready", 1.0)
        image = self._find(name)
        assert image, "what was just built is found"
        return image

    def _make(self, name: str, recipe: Recipe, work: Path, report: Progress) -> None:
        """Build in the folder ``work`` and rename the outcome into its place."""
        folder = work / "image"
        folder.mkdir()
        content = recipe.build(folder, report)
        sums = _sums(folder)
        (folder / _SUMS).write_text(sums)
        about = {"name": name, "recipe": recipe.fingerprint(), "content": asdict(content)}
        (folder / _ABOUT).write_text(json.dumps(about, indent=2) + "\n")
        for path in folder.iterdir():
            path.chmod(0o444)
            with path.open("rb") as file:
                os.fsync(file.fileno())  # the rename must not reach the disk before the content
        folder.chmod(0o755)
        place = self.folder / _digest(sums)[:16]
        if place.exists() and _sums(place) == sums:
            # The same image again, perhaps by another recipe: now it is the newest.
            os.utime(place / _SUMS)
            (folder / _ABOUT).replace(place / _ABOUT)
            return
        if place.exists():  # and is spoilt
            place.rename(work / "spoilt")
        folder.rename(place)

    @contextmanager
    def _locked(self, report: Progress) -> Iterator[None]:
        """Hold the cache's lock; the kernel lets go of it whenever its holder ends."""
        with (self.folder / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                report("waiting for another build", 0.0)
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _sums(folder: Path) -> str:
    """Return the text ``SHA256SUMS`` should have, for the files that are there now."""
    lines = []
    for path in sorted(folder.iterdir()):
        if path.name not in (_SUMS, _ABOUT):
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            lines.append(f"{digest}  {path.name}\n")
    return "".join(lines)


def _digest(sums: str) -> str:
    return hashlib.sha256(sums.encode()).hexdigest()


def _about(folder: Path) -> dict[str, Any]:
    """Return what an image's folder says of itself; nothing if it can't be read."""
    try:
        about = json.loads((folder / _ABOUT).read_text())
    except (OSError, ValueError):
        return {}
    return about if isinstance(about, dict) else {}


def _image(folder: Path, name: str, content: Content) -> Image:
    """Return the image in a folder, with the paths its content has there."""
    return Image(
        name=name,
        digest=_digest((folder / _SUMS).read_text()),
        **asdict(content)
        | {
            "disk": folder / content.disk,
            "kernel": content.kernel and folder / content.kernel,
            "initrd": content.initrd and folder / content.initrd,
        },
    )
