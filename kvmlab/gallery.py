"""The images that guests are made from, as a lab shows them: built-in ones and one's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from kvmlab.storage.volumes import Progress

if TYPE_CHECKING:
    from kvmlab.images import Catalogue, Image


class Images(Mapping[str, "Image"]):
    """The guest images of this machine, by name; taking one out builds it if need be.

    An image is files in a cache, named by their content: `kvmlab.images.Catalogue`. All
    labs of one home share them.

    Example:
        >>> list(lab.images)
        ['tiny', 'hello', 'debian', 'alpine', 'installer']
        >>> lab.images["tiny"].memory_mib
        128
    """

    @property
    def catalogue(self) -> Catalogue:
        """The cache they are in.

        Example:
            >>> lab.images.catalogue.is_built("debian")
            False
        """
        # Imported late: building images takes much that listing guests does not need.
        from kvmlab.images import Catalogue

        return Catalogue()

    def __getitem__(self, name: str) -> Image:
        return self.catalogue[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.catalogue)

    def __len__(self) -> int:
        return len(self.catalogue)

    def __contains__(self, name: object) -> bool:
        return name in self.catalogue

    def build(self, name: str, progress: Progress | None = None) -> Image:
        """Build an image now, anew if it is there: ``./lab image build NAME``.

        Args:
            name: its name.
            progress: is called with what is being done, and how much of it is done (0 to 1).

        Raises:
            ImageNotFound: there is no such image.
            ImageError: it can't be built.

        Example:
            >>> lab.images.build("debian", print)
        """
        return self.catalogue.build(name, progress)

    def add(
        self, path_or_iso: str | Path, *, name: str | None = None, progress: Progress | None = None
    ) -> Image:
        """Add an image of your own: a qcow2 or raw disk, or an ISO to install from.

        The file is copied. An ISO's operating system is recognised by libosinfo, as
        virt-manager does it; of a disk, by the os-release file on its ext file system, if it
        has one. What memory and disk suit that system, libosinfo says: it is what
        ``lab.guests.create`` then takes where nothing else is asked for.

        Args:
            path_or_iso: the file.
            name: what the image shall be called; by default as the file.
            progress: is called with what is being done, and how much of it is done (0 to 1).

        Raises:
            InvalidArgument: there is no such file, or it is no image.
            InvalidName: that can't be the name of an image.
            ImageAlreadyExists: the name is taken.
            ImageError: it is an overlay without its backing image, or of another format.
            NotEnoughDisk: there is no room for the copy.

        Example:
            >>> lab.images.add("debian-12.9.0-amd64-netinst.iso", name="debian-installer").title
            'Debian 12, to install from'
            >>> lab.guests.create("new", iso="debian-installer")
        """
        from kvmlab.images.added import Added

        path = Path(path_or_iso).expanduser()
        chosen = path.stem if name is None else name
        return self.catalogue.add(chosen, Added(path, chosen), progress)

    def remove(self, name: str) -> None:
        """Remove an image that was added. Guests made from it stay as they are.

        Raises:
            ImageNotFound: there is no such image.
            ImageError: it was not added, but is one of kvmlab's own.

        Example:
            >>> lab.images.remove("debian-installer")
        """
        self.catalogue.remove(name)

    def __repr__(self) -> str:
        width = max(map(len, self))
        return "\n".join(f"{name:{width}}  {about}" for name, about in self._told())

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{name}</td><td>{escape(about)}</td></tr>" for name, about in self._told()
        )
        return f"<table><tr><th>Name</th><th>What it is</th></tr>{rows}</table>"

    def _told(self) -> list[tuple[str, str]]:
        catalogue = self.catalogue
        return [
            (name, catalogue[name].title if catalogue.is_built(name) else "yet to be built")
            for name in catalogue
        ]
