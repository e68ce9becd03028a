"""How answers of Open311 are written, as XML and as JSON: one tree of plain values, two writers. Knows no meaning."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from xml.etree import ElementTree as ET

import orjson

#: Extension of the address → media type.
FORMATS: Final[Mapping[str, str]] = {
    "json": "application/json; charset=utf-8",
    "xml": "text/xml; charset=utf-8",
}
#: List in the tree → the XML name of what stands in it.
_ONE: Final[Mapping[str, str]] = {
    "services": "service",
    "service_requests": "request",
    "errors": "error",
    "attributes": "attribute",
    "values": "value",
    "endpoints": "endpoint",
    "formats": "format",
}
#: Characters that XML 1.0 has no way to write.
_UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Tree = Mapping[str, Any] | Sequence[Mapping[str, Any]]


def written(root: str, tree: Tree, format: str) -> bytes:  # noqa: A002  the standard's word
    """Return a tree as UTF-8 bytes. root: the XML name of the whole; JSON has none."""
    if format == "json":
        return orjson.dumps(tree)
    top = ET.Element(root)
    _fill(top, tree)
    made: bytes = ET.tostring(top, encoding="utf-8", xml_declaration=True)
    return made


def _fill(element: ET.Element, value: Any) -> None:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            _fill(ET.SubElement(element, name), inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            _fill(ET.SubElement(element, _ONE[element.tag]), inner)
    elif isinstance(value, bool):
        element.text = "true" if value else "false"
    elif value is not None:
        element.text = _UNWRITABLE.sub("\ufffd", str(value))


def errors(code: int, description: str, format: str) -> bytes:  # noqa: A002
    """Return one error as the standard writes it."""
    return written("errors", [{"code": code, "description": description}], format)
