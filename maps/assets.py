"""Folium's scripts and styles: taken from our own vendored files, or nowhere.

Folium's classes name public hosts. `vendored` walks them once and writes our paths in; what we have no file for cannot
be drawn and raises instead of reaching for a host. Paths are below the folder that pages are served their assets from;
the list with versions, licences and hashes is `api/vendor.json`, and a test holds the two together.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

from branca.element import CssLink, Figure, JavascriptLink
from folium.elements import JSCSSMixin

from core.errors import Unavailable

#: Folium's name of a file → our file. An empty path: not needed by anything we draw, and left out.
ALLOWED = {
    "leaflet": "leaflet/leaflet.js",
    "leaflet_css": "leaflet/leaflet.css",
    "leaflet-heat.js": "leaflet-heat/leaflet-heat.js",
    "markerclusterjs": "leaflet-markercluster/leaflet.markercluster.js",
    "markerclustercss": "leaflet-markercluster/MarkerCluster.css",
    "markerclusterdefaultcss": "leaflet-markercluster/MarkerCluster.Default.css",
    # Icons of markers; ours are circles drawn by Leaflet itself.
    "jquery": "",
    "bootstrap": "",
    "bootstrap_css": "",
    "glyphicons_css": "",
    "awesome_markers": "",
    "awesome_markers_css": "",
    "awesome_markers_font_css": "",
    "awesome_rotate_css": "",
}
#: One name for two things: a boat's script is not the clusters'.
_MISNAMED = {"BoatMarker"}


class Refused(list[tuple[str, str]]):
    """Stands for files that we do not have; raises Unavailable as soon as somebody wants to link them."""

    def __init__(self, owner: str, names: list[str]) -> None:
        super().__init__()
        self.owner = owner
        self.names = names

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Raise Unavailable."""
        raise Unavailable("The map part {part} needs files that are not vendored.", part=self.owner)


@cache
def vendored() -> int:
    """Make every class of Folium name our files only; return how many classes there are. Safe to call again."""
    import folium.plugins  # noqa: F401  a class that is not loaded yet would keep its hosts

    found = list(_below(JSCSSMixin))
    for kind in found:
        for member in ("default_js", "default_css"):
            if member in kind.__dict__:
                setattr(kind, member, _ours(kind.__name__, getattr(kind, member)))
    return len(found)


def linked(figure: Figure) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the paths of styles and of scripts that a rendered figure needs, in order; nothing else of its header."""
    links = list(figure.header._children.values())  # noqa: SLF001  branca has no other way to its links
    styles = tuple(link.url for link in links if isinstance(link, CssLink))
    scripts = tuple(link.url for link in links if isinstance(link, JavascriptLink))
    foreign = [path for path in (*styles, *scripts) if path not in ALLOWED.values()]
    if foreign:
        raise Unavailable("The map part {part} needs files that are not vendored.", part=foreign[0])
    return styles, scripts


def _below(kind: type[Any]) -> Iterator[Any]:
    for child in kind.__subclasses__():
        yield child
        yield from _below(child)


def _ours(owner: str, files: list[tuple[str, str]]) -> list[tuple[str, str]]:
    unknown = [name for name, _ in files if name not in ALLOWED]
    if unknown or (files and owner in _MISNAMED):
        return Refused(owner, unknown)
    return [(name, ALLOWED[name]) for name, _ in files if ALLOWED[name]]
