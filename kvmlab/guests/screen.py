"""What a guest shows on its screen, as a picture."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Screenshot:
    """A picture of a guest's screen; a notebook shows it.

    Attributes:
        png: the picture, a PNG file's bytes.
        width: in pixels.
        height: in pixels.

    Example:
        >>> web.screenshot()
        Screenshot(width=720, height=400)
    """

    png: bytes = field(repr=False)
    width: int
    height: int

    @classmethod
    def from_bytes(cls, picture: bytes) -> Screenshot:
        """Make one from a picture in any form Pillow reads; QEMU before 7.1 gives PPM only.

        Example:
            >>> Screenshot.from_bytes(b"P6 1 1 255\\n" + bytes(3))
            Screenshot(width=1, height=1)
        """
        # Pillow is imported late: most programs take no screenshot.
        from PIL import Image

        with Image.open(io.BytesIO(picture)) as image:
            if image.format != "PNG":
                converted = io.BytesIO()
                image.save(converted, "PNG")
                picture = converted.getvalue()
            return cls(picture, *image.size)

    def save(self, path: Path | str) -> None:
        """Write the PNG file.

        Example:
            >>> web.screenshot().save("web.png")
        """
        Path(path).write_bytes(self.png)

    def _repr_html_(self) -> str:
        # Not as a bare PNG, to which JupyterLab gives no alternative text.
        data = base64.b64encode(self.png).decode()
        alt = f"The screen of a guest, {self.width} by {self.height} pixels"
        style = "max-width: 100%; border: 1px solid #888; border-radius: 4px"
        return f'<img alt="{alt}" style="{style}" src="data:image/png;base64,{data}">'
