"""Frozen dataclasses that are libvirt XML: each field says once where it lives.

A field is declared with the place of its value, and both directions follow
from that one declaration, so that they cannot disagree:

    @dataclass(frozen=True)
    class Disk(Element, tag="disk", fixed={"@type": "file"}):
        path: str = text("source/@file")
        readonly: bool = present("readonly", default=False)

A place is written ``child/grandchild`` for an element's text and
``child/@attribute`` for an attribute. Namespaced names use the prefixes of
``NAMESPACES``. What the fields do not speak of is ignored when reading.
"""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any, ClassVar, Self

NAMESPACES = {
    "kvmlab": "urn:kvmlab:guest",
    "libosinfo": "http://libosinfo.org/xmlns/libvirt/domain/1.0",
    "dnsmasq": "http://libvirt.org/schemas/network/dnsmasq/1.0",
}
for _prefix, _uri in NAMESPACES.items():
    ET.register_namespace(_prefix, _uri)

# libvirt accepts and prints these (util/virutil.c, virScaleInteger).
_BYTES = {"b": 1, "bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


@dataclasses.dataclass(frozen=True)
class _Place:
    """Where one field's value lives, and how it is read from and written there."""

    read: Callable[[ET.Element], Any]
    write: Callable[[ET.Element, Any], None]


def _field(place: _Place, default: Any) -> Any:
    return dataclasses.field(default=default, metadata={"place": place}, kw_only=True)


def _qualified(tag: str) -> str:
    prefix, colon, local = tag.rpartition(":")
    return f"{{{NAMESPACES[prefix]}}}{local}" if colon else tag


def _make(parent: ET.Element, path: str) -> ET.Element:
    """Return the element at ``path``, making what is missing on the way."""
    for tag in filter(None, path.split("/")):
        found = parent.find(tag, NAMESPACES)
        parent = ET.SubElement(parent, _qualified(tag)) if found is None else found
    return parent


def _get(element: ET.Element, path: str) -> str | None:
    head, at, attribute = path.partition("@")
    found = element.find(head.rstrip("/") or ".", NAMESPACES)
    if found is None:
        return None
    return found.get(attribute) if at else (found.text or "").strip()


def _set(element: ET.Element, path: str, value: str) -> None:
    head, at, attribute = path.partition("@")
    target = _make(element, head)
    if at:
        target.set(attribute, value)
    else:
        target.text = value


def text(path: str, default: Any = dataclasses.MISSING) -> Any:
    """Declare a string field; ``None`` is written as nothing.

    Example:
        >>> network: str = text("source/@network")
    """

    def write(element: ET.Element, value: str | None) -> None:
        if value is not None:
            _set(element, path, value)

    return _field(_Place(lambda element: _get(element, path), write), default)


def number(path: str, default: Any = dataclasses.MISSING) -> Any:
    """Declare a whole-number field.

    Example:
        >>> vcpus: int = number("vcpu")
    """

    def read(element: ET.Element) -> int | None:
        found = _get(element, path)
        return None if found is None else int(found)

    def write(element: ET.Element, value: int | None) -> None:
        if value is not None:
            _set(element, path, str(value))

    return _field(_Place(read, write), default)


def size(path: str, unit: str, default: Any = dataclasses.MISSING) -> Any:
    """Declare a size kept in ``unit``, whatever unit libvirt prints it in.

    Example:
        >>> memory_mib: int = size("memory", "MiB")
    """

    def read(element: ET.Element) -> int | None:
        found = element.find(path)
        if found is None or found.text is None:
            return None
        return int(found.text) * _BYTES[found.get("unit", "KiB")] // _BYTES[unit]

    def write(element: ET.Element, value: int | None) -> None:
        if value is not None:
            target = _make(element, path)
            target.set("unit", unit)
            target.text = str(value)

    return _field(_Place(read, write), default)


def present(path: str, default: Any = dataclasses.MISSING) -> Any:
    """Declare a yes-or-no field that is told by an empty element being there.

    Example:
        >>> acpi: bool = present("features/acpi")
    """

    def write(element: ET.Element, value: bool) -> None:
        if value:
            _make(element, path)

    return _field(_Place(lambda element: element.find(path) is not None, write), default)


def texts(path: str, default: Any = ()) -> Any:
    """Declare a tuple of strings: the text, or an attribute, of each element at ``path``.

    Example:
        >>> boot: tuple[str, ...] = texts("os/boot/@dev")
    """
    elements, at, attribute = path.partition("/@")
    parent, _, tag = elements.rpartition("/")

    def read(element: ET.Element) -> tuple[str, ...]:
        found = element.findall(elements, NAMESPACES)
        return tuple((e.get(attribute) if at else e.text) or "" for e in found)

    def write(element: ET.Element, values: tuple[str, ...]) -> None:
        for value in values:
            made = ET.SubElement(_make(element, parent), _qualified(tag))
            _set(made, f"@{attribute}" if at else "", value)

    return _field(_Place(read, write), default)


def told(path: str) -> Any:
    """Declare a tuple of attributes that libvirt tells, and nobody writes or compares.

    Example:
        >>> backing: tuple[str, ...] = told(".//backingStore/source/@file")
    """
    elements, _, attribute = path.partition("/@")

    def read(element: ET.Element) -> tuple[str, ...]:
        return tuple(found.get(attribute, "") for found in element.iterfind(elements))

    place = _Place(read, lambda *_: None)
    return dataclasses.field(default=(), metadata={"place": place}, kw_only=True, compare=False)


def child(cls: type[Element], parent: str = "", default: Any = None) -> Any:
    """Declare a field that is one element of its own, or ``None``.

    Example:
        >>> cpu: Cpu | None = child(Cpu)
    """

    def read(element: ET.Element) -> Element | None:
        return next(iter(cls.all_in(element, parent)), None)

    def write(element: ET.Element, value: Element | None) -> None:
        if value is not None:
            _make(element, parent).append(value.to_element())

    return _field(_Place(read, write), default)


def children(cls: type[Element], parent: str = "", default: Any = ()) -> Any:
    """Declare a field that is a tuple of elements.

    Example:
        >>> disks: tuple[Disk, ...] = children(Disk, "devices")
    """

    def write(element: ET.Element, values: tuple[Element, ...]) -> None:
        for value in values:
            _make(element, parent).append(value.to_element())

    return _field(_Place(lambda element: tuple(cls.all_in(element, parent)), write), default)


class Element:
    """Base of every spec: a dataclass that is one libvirt XML element."""

    tag: ClassVar[str]
    fixed: ClassVar[dict[str, str]]

    def __init_subclass__(cls, *, tag: str, fixed: dict[str, str] | None = None) -> None:
        """Name the element, and the values in it that are always the same."""
        cls.tag, cls.fixed = tag, fixed or {}

    @classmethod
    def all_in(cls, element: ET.Element, parent: str = "") -> list[Self]:
        """Read every element of this kind (tag and fixed values) below ``parent``."""
        path = f"{parent}/{cls.tag}" if parent else cls.tag
        return [
            cls.from_element(found)
            for found in element.findall(path, NAMESPACES)
            if all(_get(found, place) == value for place, value in cls.fixed.items())
        ]

    @classmethod
    def from_element(cls, element: ET.Element) -> Self:
        """Read one element; what the fields do not speak of is ignored."""
        fields = dataclasses.fields(cls)  # type: ignore[arg-type]
        return cls(**{f.name: f.metadata["place"].read(element) for f in fields})

    @classmethod
    def from_xml(cls, xml: str) -> Self:
        """Read the spec from libvirt's XML text.

        Example:
            >>> GuestSpec.from_xml(guest.xml).memory_mib
            256
        """
        return cls.from_element(ET.fromstring(xml))

    def to_element(self) -> ET.Element:
        """Build the XML element."""
        element = ET.Element(_qualified(self.tag))
        for place, value in self.fixed.items():
            _set(element, place, value)
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            field.metadata["place"].write(element, getattr(self, field.name))
        return element

    def to_xml(self) -> str:
        """Build the XML text, indented as libvirt prints it.

        Example:
            >>> print(Interface(network="default").to_xml())
            <interface type="network">
              <source network="default" />
              <model type="virtio" />
            </interface>
        """
        element = self.to_element()
        ET.indent(element)
        return ET.tostring(element, encoding="unicode")


def one_line(spec: Element) -> str:
    """Build the XML text of a spec in one line, as it fits onto a command line.

    Example:
        >>> one_line(DhcpHost(name="web", ip="10.10.0.5"))
        "<host name='web' ip='10.10.0.5' />"
    """
    return ET.tostring(spec.to_element(), encoding="unicode")
