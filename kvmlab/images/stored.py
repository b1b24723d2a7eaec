"""One image in the cache: its folder, what hashes to its name, and what it says of itself."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kvmlab.images.image import Content, Image

SUMS, ABOUT = "SHA256SUMS", "image.json"


def sums_of(folder: Path) -> str:
    """Return the text ``SHA256SUMS`` should have, for the files that are there now."""
    lines = []
    for path in sorted(folder.iterdir()):
        if path.name not in (SUMS, ABOUT):
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            lines.append(f"{digest}  {path.name}\n")
    return "".join(lines)


def digest_of(sums: str) -> str:
    """Return an image's digest: the sha256 of its ``SHA256SUMS``, in hex."""
    return hashlib.sha256(sums.encode()).hexdigest()


def said_by(folder: Path) -> dict[str, Any]:
    """Return what an image's folder says of itself; nothing if it can't be read."""
    try:
        said = json.loads((folder / ABOUT).read_text())
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def image_in(folder: Path, name: str, content: Content) -> Image:
    """Return the image in a folder, with the paths its content has there."""
    return Image(
        name=name,
        digest=digest_of((folder / SUMS).read_text()),
        **asdict(content)
        | {
            "disk": folder / content.disk,
            "kernel": content.kernel and folder / content.kernel,
            "initrd": content.initrd and folder / content.initrd,
        },
    )
