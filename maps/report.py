"""The report map 报告地图: cells shaded by load, heat and clusters of one period, drawn by Folium and kept on disk.

Knows the statements it is made of and how it looks; a page puts it into a frame of words. Loads are kept counts
(`dispatch.tallies`), points are cases of the actor's scope. No foreign host is named, and words that people wrote are
escaped in one place, `_card`.
"""

import base64
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import folium
import orjson
from branca.element import MacroElement
from folium.plugins import FastMarkerCluster, HeatMap
from jinja2 import Template
from markupsafe import escape
from sqlalchemy import text
from sqlalchemy.orm import Session

from core.db import actor_of
from core.errors import Forbidden, NotFound, Unavailable
from maps import assets
from maps.tiles import WIDE

#: More cells than this are drawn as communities: neither a screen nor a page of paper shows so many.
MOST_CELLS = 4000
#: The newest cases that clusters are made of, and the pixels of about 100 m that heat is made of.
MOST_MARKERS, MOST_HEAT = 3000, 6000
#: Shades from few to many, as in the heat of the live map.
RAMP = ("#fdf0d5", "#fbd38d", "#f3a35c", "#d9603b", "#97201f")
#: Pictures that are kept on disk.
_MOST_KEPT = 60
#: Pictures drawn by another version of this file are not shown again.
_LOOK = sha256(Path(__file__).read_bytes()).hexdigest()


@dataclass(frozen=True, slots=True)
class Asked:
    """What the report is about."""

    #: First and last day of intake, Asia/Shanghai, both included.
    first: date
    last: date
    #: 9-digit code; empty for the whole district.
    town: str = ""
    #: Code of a category, its subtree is meant; empty for all.
    category: str = ""


@dataclass(frozen=True, slots=True)
class TownLoad:
    """One line of the table under the map."""

    code: str
    name: str
    opened: int
    closed: int
    cells: int


@dataclass(frozen=True, slots=True)
class Words:
    """Every word that the picture itself shows, in the reader's language, with placeholders."""

    load: str
    heat: str
    clusters: str
    towns: str
    #: `{code}`, `{n}`, `{kind}`.
    cell: str
    cases: str
    open: str
    ended: str
    source: str
    kinds: Mapping[str, str]
    #: Blots personal numbers out of what residents wrote: this map is printed and passed on.
    masked: Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawn report: parts of a page, and the figures beside it."""

    #: Paths below the folder of vendored assets.
    styles: tuple[str, ...]
    scripts: tuple[str, ...]
    #: The map's element, and the one inline script that draws into it.
    body: str
    script: str
    towns: tuple[TownLoad, ...]
    opened: int
    closed: int
    #: Cases of the period without a place; they are in the figures and not on the map.
    unplaced: int
    #: Lowest and highest count of each shade.
    classes: tuple[tuple[int, int], ...]
    #: `cell` or `community`: what is shaded.
    level: str
    #: Cases drawn one by one; fewer than `opened` when there are more than `MOST_MARKERS`.
    markers: int
    drawn_at: datetime

    @property
    def script_hash(self) -> str:
        """The source expression of the script for a content policy (CSP level 2)."""
        return "'sha256-" + base64.b64encode(sha256(self.script.encode()).digest()).decode() + "'"


_WHERE_TALLY = """
  t.district_code = :d AND t.day BETWEEN :first AND :last
  AND (:town = '' OR starts_with(t.cell_code, :town))
  AND (:category = '' OR starts_with(t.category_code, :category))
"""
_WHERE_CASES = """
  k.district_code = :d AND k.received_at >= CAST(:first AS timestamp) AT TIME ZONE 'Asia/Shanghai'
  AND k.received_at < (CAST(:last AS timestamp) + interval '1 day') AT TIME ZONE 'Asia/Shanghai'
  AND (:town = '' OR k.town_code = :town) AND (:category = '' OR starts_with(k.category_code, :category))
"""
_STAMP = text(f"""
SELECT (SELECT revision FROM district WHERE district_code = :d) AS revision, sum(t.opened), sum(t.closed),
       sum(t.opened * (hashtext(t.cell_code || t.category_code)::bigint % 65521)), count(*)
FROM tally t WHERE {_WHERE_TALLY}
""")  # noqa: S608  made of this module's constants
_LOADS = text(f"""
WITH t AS MATERIALIZED (
  SELECT left(t.cell_code, :digits) AS code, sum(t.opened) AS opened, sum(t.closed) AS closed
  FROM tally t WHERE {_WHERE_TALLY} GROUP BY 1
)
SELECT t.code, t.opened::int, t.closed::int FROM t
""")  # noqa: S608  made of this module's constants
_CELLS = text("""
SELECT c.code, c.kind, c.town_code, ST_AsGeoJSON(ST_SimplifyPreserveTopology(c.geom, 0.00005), 5, 0) AS shape
FROM cell c WHERE c.district_code = :d AND (:town = '' OR c.town_code = :town) ORDER BY c.code
""")
_AREAS = text("""
SELECT a.code, a.short AS name, a.town_code,
       ST_AsGeoJSON(ST_SimplifyPreserveTopology(a.geom, 0.0001), 5, 0) AS shape
FROM area a
WHERE a.district_code = :d AND a.level = :level AND a.geom IS NOT NULL AND (:town = '' OR a.town_code = :town)
ORDER BY a.code
""")
_HEAT = text(f"""
SELECT round(ST_Y(k.geom)::numeric, 3)::float8 AS lat, round(ST_X(k.geom)::numeric, 3)::float8 AS lng, count(*) AS n
FROM cases k WHERE {_WHERE_CASES} AND k.geom IS NOT NULL GROUP BY 1, 2 ORDER BY n DESC, 1, 2 LIMIT :most
""")  # noqa: S608  made of this module's constants
_MARKERS = text(f"""
SELECT k.number, k.open, coalesce(nullif(k.title, ''), left(k.text, 100)) AS title, k.place_name, c.name AS category,
       greatest(k.warned, (k.due_at <= :at)::int * 3) AS colour, ST_Y(k.geom) AS lat, ST_X(k.geom) AS lng
FROM cases k LEFT JOIN category c ON c.district_code = :d AND c.code = k.category_code
WHERE {_WHERE_CASES} AND k.geom IS NOT NULL ORDER BY k.received_at DESC, k.number LIMIT :most
""")  # noqa: S608  made of this module's constants


def report(session: Session, asked: Asked, words: Words, *, at: datetime, folder: Path) -> tuple[Picture, bool]:
    """Return the report map of a period, and whether it was kept from before.

    A town's official gets the own town whatever is asked. It is drawn anew when the counts of the period or the ground
    changed, else read from `folder`. at: aware; decides what is overdue, as of when it was drawn. Reads only. Raises
    Forbidden for roles that do not see counts and NotFound for a town of elsewhere.
    """
    actor = actor_of(session)
    if actor.role not in WIDE:
        raise Forbidden("Your role may not see this layer of the map.")
    bound = {**asdict(asked), "d": actor.district, "town": actor.town or asked.town}
    stamp = tuple(session.execute(_STAMP, bound).one())
    # The day belongs to it, because what was due then is overdue now.
    key = orjson.dumps([_LOOK, bound, [str(part) for part in stamp], asdict(words), at.date()], default=str)
    file = folder / f"{sha256(key).hexdigest()[:32]}.json"
    kept = _read(file)
    if kept is not None:
        return kept, True
    made = _drawn(session, bound, words, at=at)
    _write(file, made)
    return made, False


def _drawn(session: Session, bound: dict[str, Any], words: Words, *, at: datetime) -> Picture:
    towns = [dict(row) for row in session.execute(_AREAS, bound | {"level": "town"}).mappings()]
    if not towns and bound["town"]:
        raise NotFound("There is no such town in this district.")
    cells = [dict(row) for row in session.execute(_CELLS, bound).mappings()]
    level, digits, shapes = "cell", 15, cells
    if len(cells) > MOST_CELLS:
        level, digits = "community", 12
        shapes = [dict(row) for row in session.execute(_AREAS, bound | {"level": "community"}).mappings()]
    loads = {row.code: row for row in session.execute(_LOADS, bound | {"digits": digits})}
    heat = [(row.lat, row.lng, row.n) for row in session.execute(_HEAT, bound | {"most": MOST_HEAT})]
    cases = list(session.execute(_MARKERS, bound | {"most": MOST_MARKERS, "at": at}))
    counts = {code: row.opened for code, row in loads.items() if code}
    classes = shades([counts.get(shape["code"], 0) for shape in shapes])
    figure = _figure(towns, shapes, counts, classes, heat=heat, cases=cases, words=words)
    table = tuple(
        TownLoad(
            code=town["code"],
            name=town["name"],
            opened=sum(row.opened for code, row in loads.items() if code.startswith(town["code"])),
            closed=sum(row.closed for code, row in loads.items() if code.startswith(town["code"])),
            cells=sum(1 for cell in cells if cell["town_code"] == town["code"]),
        )
        for town in towns
    )
    return Picture(
        **figure,
        towns=tuple(sorted(table, key=lambda line: (-line.opened, line.code))),
        opened=sum(row.opened for row in loads.values()),
        closed=sum(row.closed for row in loads.values()),
        unplaced=loads[""].opened if "" in loads else 0,
        classes=classes,
        level=level,
        markers=len(cases),
        drawn_at=at,
    )


def shades(counts: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Return lowest and highest count of at most five shades; zero has no shade.

    Head/tail breaks: split at the mean, then again what lies above it, because loads are many small and few large and
    it is the large that an official looks for. Source: Jiang 2013, The Professional Geographer 65(3).
    """
    rest = [count for count in counts if count > 0]
    if not rest:
        return ()
    most = max(rest)
    tops: list[int] = []
    while len(tops) < len(RAMP) - 1 and len(set(rest)) > 1:
        mean = sum(rest) // len(rest)
        tops.append(mean)
        rest = [count for count in rest if count > mean]
    tops.append(most)
    lows = [1, *(top + 1 for top in tops[:-1])]
    return tuple(zip(lows, tops, strict=True))


def shade(count: int, classes: Sequence[tuple[int, int]]) -> str:
    """Return the colour of a count; empty for none."""
    # With fewer classes than colours the darker ones are taken, so that the highest always stands out.
    ramp = RAMP[len(RAMP) - len(classes) :]
    return next((ramp[i] for i, (low, high) in enumerate(classes) if low <= count <= high), "")


def _card(*lines: object) -> str:
    """Return HTML of lines of text: the one place where words become markup on this map."""
    return "".join(f"<p>{escape(str(line))}</p>" for line in lines if line)


class _Script(MacroElement):
    """A line of our own JavaScript after the map; `{{ map }}` is its name."""

    def __init__(self, code: str, **values: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # branca is half typed
        self._name = "WanggeScript"
        self.values = values
        self._template = Template("{% macro script(this, kwargs) %}" + code + "{% endmacro %}")


def _figure(
    towns: Sequence[Mapping[str, Any]],
    shapes: Sequence[Mapping[str, Any]],
    counts: Mapping[str, int],
    classes: Sequence[tuple[int, int]],
    *,
    heat: Sequence[tuple[float, float, int]],
    cases: Sequence[Any],
    words: Words,
) -> dict[str, Any]:
    """Return styles, scripts, body and script of the map."""
    assets.vendored()
    drawn = folium.Map(location=[23.0, 113.0], tiles=None)
    # Folium's own arguments of these names reach tile layers only, and clusters need a highest zoom.
    drawn.options |= {"minZoom": 7, "maxZoom": 18, "zoomSnap": 0.25}
    load = folium.FeatureGroup(name=words.load, control=True).add_to(drawn)
    area = _layer(
        [
            {
                "code": shape["code"],
                "shade": shade(counts.get(shape["code"], 0), classes),
                "card": _card(
                    words.cell.format(code=shape["code"], name=shape.get("name", "")),
                    words.kinds.get(shape.get("kind", ""), ""),
                    words.cases.format(n=counts.get(shape["code"], 0)),
                ),
                "shape": shape["shape"],
            }
            for shape in shapes
        ],
        lambda feature: {
            "color": "#9aa4b0",
            "weight": 0.8,
            "fillColor": feature["properties"]["shade"] or "#ffffff",
            "fillOpacity": 0.85 if feature["properties"]["shade"] else 0.0,
        },
    )
    if area is not None:
        area.add_to(load)
        _Script(
            "{{ this.values.area }}.bindTooltip(function (layer) { return layer.feature.properties.card; },"
            " {sticky: true});",
            area=area.get_name(),
        ).add_to(drawn)
    outline = _layer(
        [{"code": town["code"], "shade": "", "card": _card(town["name"]), "shape": town["shape"]} for town in towns],
        lambda _feature: {"color": "#4a5563", "weight": 1.6, "fill": False},
        name=words.towns,
    )
    if outline is not None:
        outline.add_to(drawn)
        _Script(
            "{{ this.values.towns }}.eachLayer(function (layer) { layer.bindTooltip(layer.feature.properties.card,"
            " {permanent: true, direction: 'center', className: 'townname'}); });",
            towns=outline.get_name(),
        ).add_to(drawn)
        _Script(
            # A wide map keeps the ground clear of the list of layers; a narrow one needs all its width.
            "{{ this.values.map }}.fitBounds({{ this.values.towns }}.getBounds(), {paddingTopLeft: [8, 8],"
            " paddingBottomRight: [{{ this.values.map }}.getSize().x > 640 ? 120 : 8, 8]});",
            map=drawn.get_name(),
            towns=outline.get_name(),
        ).add_to(drawn)
    if heat:
        most = max(n for *_, n in heat)
        HeatMap(  # type: ignore[no-untyped-call]  # folium's plugins are half typed
            [[lat, lng, n / most] for lat, lng, n in heat],
            name=words.heat,
            show=False,
            radius=14,
            blur=18,
            min_opacity=0.25,
            gradient={0.2: RAMP[1], 0.5: RAMP[2], 0.8: RAMP[3], 1.0: RAMP[4]},
        ).add_to(drawn)
    if cases:
        clusters = _clusters(cases, words)
        clusters.add_to(drawn)
        # Folium adds this kind to the map whatever `show` says.
        _Script("{{ this.values.clusters }}.remove();", clusters=clusters.get_name()).add_to(drawn)
    folium.LayerControl(collapsed=False).add_to(drawn)
    _Script(
        "L.control.scale({imperial: false}).addTo({{ this.values.map }});"
        "{{ this.values.map }}.attributionControl.setPrefix(false).addAttribution({{ this.values.source|tojson }});",
        map=drawn.get_name(),
        source=_card(words.source).removeprefix("<p>").removesuffix("</p>"),
    ).add_to(drawn)
    figure: Any = drawn.get_root()
    figure.render()
    styles, scripts = assets.linked(figure)
    script = figure.script.render()
    if "</script" in script.lower() or "<!--" in script:
        raise Unavailable("The map could not be drawn safely.")
    return {"styles": styles, "scripts": scripts, "body": figure.html.render(), "script": script}


def _layer(features: Sequence[Mapping[str, Any]], style: Any, *, name: str | None = None) -> Any:
    """Return a layer of shapes that already are GeoJSON text; None without any: Folium fails on an empty one."""
    if not features:
        return None
    collection = {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "id": feature["code"],
                "properties": {"shade": feature["shade"], "card": feature["card"]},
                "geometry": orjson.loads(feature["shape"]),
            }
            for feature in features
        ],
    }
    return folium.GeoJson(collection, style_function=style, name=name, control=bool(name), zoom_on_click=False)


def _clusters(cases: Sequence[Any], words: Words) -> Any:
    """Return the cases as clusters; a marker is a circle in the colour of its deadline, grey when it has ended."""
    rows = [
        [
            row.lat,
            row.lng,
            ("fine", "half", "near", "over")[row.colour] if row.open else "ended",
            _card(
                f"{row.number} · {words.open if row.open else words.ended}",
                # Blotted before it is cut, or half a number would be no number any more.
                words.masked(row.title)[:60],
                words.masked(row.place_name),
                row.category,
            ),
        ]
        for row in cases
    ]
    callback = (
        "function (row) { return L.circleMarker([row[0], row[1]],"
        " {radius: 7, weight: 2, fillOpacity: 0.9, className: 'mark ' + row[2]}).bindPopup(row[3]); }"
    )
    made: Any = FastMarkerCluster
    return made(rows, callback=callback, name=words.clusters, show=False)


def _read(file: Path) -> Picture | None:
    try:
        found = orjson.loads(file.read_bytes())
        os.utime(file)
        return Picture(
            **found
            | {
                "styles": tuple(found["styles"]),
                "scripts": tuple(found["scripts"]),
                "towns": tuple(TownLoad(**line) for line in found["towns"]),
                "classes": tuple((low, high) for low, high in found["classes"]),
                "drawn_at": datetime.fromisoformat(found["drawn_at"]),
            }
        )
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError):
        # Written by another version of the program: drawn anew and written over.
        return None


def _write(file: Path, picture: Picture) -> None:
    """Keep a picture, whole or not at all, and drop the oldest of too many."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(f".{os.getpid()}.making")
    draft.write_bytes(orjson.dumps(asdict(picture)))
    draft.replace(file)
    kept = sorted(file.parent.glob("*.json"), key=lambda path: path.stat().st_mtime)
    for old in kept[:-_MOST_KEPT]:
        old.unlink(missing_ok=True)
