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
never half an image. Images that were added (`Catalogue.add`) lie among the others.

A newer kvmlab whose recipe changed builds anew beside the old image, which stays for
the guests that were made from it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import mkdtemp

from kvmlab.errors import ImageAlreadyExists, ImageError, ImageNotFound
from kvmlab.home import home
from kvmlab.images.alpine import Alpine
from kvmlab.images.debian import Debian
from kvmlab.images.hello import Hello
from kvmlab.images.hosttools import discard
from kvmlab.images.image import Content, Image, Progress, Recipe
from kvmlab.images.installer import Installer
from kvmlab.images.stored import ABOUT, SUMS, digest_of, image_in, said_by, sums_of
from kvmlab.images.tiny import Tiny

RECIPES: dict[str, Recipe] = {
    "tiny": Tiny(),
    "hello": Hello(),
    "debian": Debian(),
    "alpine": Alpine(),
    "installer": Installer(),
}

# The fingerprint of what is no recipe's work, but somebody's own file.
ADDED = "added"


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
        ['tiny', 'hello', 'debian', 'alpine', 'installer']
    """

    def __init__(self, folder: Path | None = None, recipes: Mapping[str, Recipe] = RECIPES) -> None:
        self.folder = folder or home() / "images"
        self._recipes = recipes

    def __getitem__(self, name: str) -> Image:
        return self.ensure(name)

    def __iter__(self) -> Iterator[str]:
        return iter((*self._recipes, *sorted(self._added())))

    def __len__(self) -> int:
        return len(self._recipes) + len(self._added())

    def __contains__(self, name: object) -> bool:
        return name in self._recipes or name in self._added()

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
        return self._find(name) or self._build(name, self._recipes[name], progress, anew=False)

    def build(self, name: str, progress: Progress | None = None) -> Image:
        """Build an image even if it is there: Debian may have newer packages by now.

        Args and errors are those of :meth:`ensure`.
        """
        if name not in self._recipes and self._find(name):
            raise ImageError(
                "this image was added, and there is no recipe to build it by",
                seen=name,
                next_step=f"It is ready to use; recipes there are for {', '.join(self._recipes)}",
            )
        return self._build(name, self._recipes[name], progress, anew=True)

    def add(self, name: str, recipe: Recipe, progress: Progress | None = None) -> Image:
        """Put somebody's own image among the others; `kvmlab.images.added` has the recipe.

        Args:
            name: what it shall be called.
            recipe: copies it into its place.
            progress: called with what is being done and the fraction done, 0 to 1.

        Raises:
            ImageAlreadyExists: the name is taken.
            ImageError: it can't be added; the next step is in the message.
        """
        if name in self:
            raise ImageAlreadyExists("there is an image of that name", seen=name)
        return self._build(name, recipe, progress, anew=False)

    def remove(self, name: str) -> None:
        """Remove an image that was added; guests made from it keep their own copy.

        Raises:
            ImageNotFound: there is no such image.
            ImageError: it has a recipe, and would come back.
        """
        self._find(name)
        if name in self._recipes:
            raise ImageError(
                "only an image that was added can be removed",
                seen=name,
                next_step="./lab reset --images throws all built images away",
            )
        with self._locked(lambda text, fraction: None):
            for folder in self._added()[name]:
                doomed = Path(mkdtemp(prefix=".building-", dir=self.folder))
                folder.rename(doomed / folder.name)
                shutil.rmtree(doomed)

    def is_built(self, name: str) -> bool:
        """Tell whether an image is there, made by today's recipe.

        Raises:
            ImageNotFound: there is no such image.
        """
        return self._find(name) is not None

    def is_medium(self, name: str) -> bool:
        """Tell whether an image, built or not, is a medium to install from.

        Raises:
            ImageNotFound: there is no such image.
        """
        found = self._find(name)
        return found.is_medium if found else getattr(self._recipes[name], "is_medium", False)

    def verify(self) -> list[Verdict]:
        """Read every image in the cache, old ones too, and compare with its digest."""
        verdicts = []
        for folder in self._folders():
            seen = digest_of(sums_of(folder))[:16]
            name = str(said_by(folder).get("name", "?"))
            verdicts.append(Verdict(name, seen == folder.name, folder.name, seen))
        return verdicts

    def _added(self) -> dict[str, list[Path]]:
        """Return the folders of the images that were added, by name."""
        added: dict[str, list[Path]] = {}
        for folder in self._folders():
            about = said_by(folder)
            if about.get("recipe") == ADDED and about.get("name") not in self._recipes:
                added.setdefault(str(about.get("name")), []).append(folder)
        return added

    def _folders(self) -> list[Path]:
        """Return the complete images' folders, oldest first."""
        found = [path for path in self.folder.glob(f"*/{SUMS}") if path.parent.name[0] != "."]
        return [path.parent for path in sorted(found, key=lambda path: path.stat().st_mtime_ns)]

    def _find(self, name: str) -> Image | None:
        """Return the newest image of a name that today's recipe made, or that was added.

        Raises:
            ImageNotFound: there is no such image.
        """
        recipe = self._recipes.get(name)
        fingerprint = recipe.fingerprint() if recipe else ADDED
        for folder in reversed(self._folders()):
            about = said_by(folder)
            if (about.get("name"), about.get("recipe")) == (name, fingerprint):
                return image_in(folder, name, Content(**about["content"]))
        if recipe:
            return None
        raise ImageNotFound(
            "there is no image of this name",
            seen=name,
            next_step=f"Choose one of: {', '.join(self)}",
        )

    def _build(self, name: str, recipe: Recipe, progress: Progress | None, *, anew: bool) -> Image:
        report = progress or (lambda text, fraction: None)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._locked(report):
                if not anew and name in self and (image := self._find(name)):
                    return image
                for leftover in self.folder.glob(".building-*"):
                    discard(leftover)
                work = Path(mkdtemp(prefix=".building-", dir=self.folder))
                try:
                    self._make(name, recipe, work, report)
                finally:
                    discard(work)
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
        sums = sums_of(folder)
        (folder / SUMS).write_text(sums)
        about = {"name": name, "recipe": recipe.fingerprint(), "content": asdict(content)}
        (folder / ABOUT).write_text(json.dumps(about, indent=2) + "\n")
        for path in folder.iterdir():
            path.chmod(0o444)
            with path.open("rb") as file:
                os.fsync(file.fileno())  # the rename must not reach the disk before the content
        folder.chmod(0o755)
        place = self.folder / digest_of(sums)[:16]
        if place.exists() and sums_of(place) == sums:
            # The same image again, perhaps by another recipe: now it is the newest.
            os.utime(place / SUMS)
            (folder / ABOUT).replace(place / ABOUT)
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
