"""Folium's files: ours, listed, and nothing else."""

import json

import folium
import folium.plugins
import pytest
from folium.elements import JSCSSMixin

from core.errors import Unavailable
from core.settings import ROOT
from maps import assets


def _classes(kind: type = JSCSSMixin) -> list[type]:
    return [found for child in kind.__subclasses__() for found in (child, *_classes(child))]


def _served() -> set[str]:
    listed = json.loads((ROOT / "api" / "vendor.json").read_text(encoding="utf-8"))
    return {f"{entry['folder']}/{source.removeprefix(entry['strip'])}" for entry in listed for source in entry["files"]}


def test_every_class_of_folium_names_our_files_or_refuses() -> None:
    assert assets.vendored() > 30
    for kind in _classes():
        for member in ("default_js", "default_css"):
            files = getattr(kind, member)
            if isinstance(files, assets.Refused):
                continue
            for _, path in files:
                assert "//" not in path, f"{kind.__name__} names {path}"
                assert path in _served(), f"{kind.__name__} needs {path}, which api/vendor.json does not list"


def test_every_allowed_file_is_served() -> None:
    assert {path for path in assets.ALLOWED.values() if path} <= _served()


def test_a_part_without_vendored_files_is_refused_when_it_is_drawn() -> None:
    assets.vendored()
    drawn = folium.Map(location=[23, 113], tiles=None)
    folium.plugins.MiniMap().add_to(drawn)
    with pytest.raises(Unavailable, match="MiniMap"):
        drawn.get_root().render()


def test_a_link_to_another_host_is_refused() -> None:
    assets.vendored()
    drawn = folium.Map(location=[23, 113], tiles=None)
    drawn.get_root().header.add_child(folium.JavascriptLink("https://cdn.example/evil.js"), name="evil")
    drawn.get_root().render()
    with pytest.raises(Unavailable):
        assets.linked(drawn.get_root())


def test_the_parts_we_draw_with_need_only_what_they_use() -> None:
    assets.vendored()
    drawn = folium.Map(location=[23, 113], tiles=None)
    folium.plugins.HeatMap([[23, 113, 1]]).add_to(drawn)
    folium.plugins.FastMarkerCluster([[23, 113]]).add_to(drawn)
    drawn.get_root().render()
    styles, scripts = assets.linked(drawn.get_root())
    assert scripts[0] == "leaflet/leaflet.js"
    assert not any("jquery" in path or "bootstrap" in path for path in (*styles, *scripts))
