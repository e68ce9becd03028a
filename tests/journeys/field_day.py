"""A district with a working day in it, for looking at every screen of the worker's phone. Everything here is invented."""

from datetime import UTC, datetime, timedelta

import shapely
from sqlalchemy.orm import Session

from core.datums import to_db
from core.db import transaction
from dispatch.items import catalogue
from dispatch.items.reading import default_files, read_yaml
from dispatch.items.roles import Units
from dispatch.rulebook import Node
from grid import visits
from grid.lines import GroundLine
from grid.visits import Plan
from tests import builders, registers, tiny

CELLS = (f"{tiny.WEST}001001", f"{tiny.WEST}001002")
#: Metres of a degree are not needed here: the cell is 0.01 degrees wide and so are its streets drawn.
_STREETS = ("滨湖路", "柳岸街", "荷花巷", "青石街", "渡口路", "望湖东路")


def furnish(at: datetime | None = None) -> None:
    """Put streets, duties, matters, visits, households and service items into the tiny district's west town."""
    now = at or datetime.now(UTC)
    with transaction(builders.program(tiny.DISTRICT)) as session:
        _streets(session)
        registers.give(session, CELLS, ("census", "security", "urban_management"), login="gridwest")
        _matters(session, now)
        _items(session, now)
    with transaction(registers.ADMIN) as session:
        for n in range(4):
            spot = (tiny.LNG + 0.003 + n * 0.0013, tiny.LAT + 0.0035)
            registers.resident(session, registers.room(session, spot, f"{n + 2}01"))
    with transaction(builders.program(tiny.DISTRICT)) as session:
        for n, (kind, hint) in enumerate(
            (("alone", "腿脚不便，敲门后请稍等"), ("safety", "上次燃气软管过期"), ("floating", ""))
        ):
            spot = (tiny.LNG + 0.004 + n * 0.001, tiny.LAT + 0.004)
            due = (now + timedelta(days=n + 1)).date()
            wanted = Plan(
                CELLS[0], kind, due, place=f"滨湖路{12 + n}号{n + 2}01室", hint=hint, lng=spot[0], lat=spot[1]
            )
            visits.plan(session, wanted, at=now)


def _streets(session: Session) -> None:
    for n, name in enumerate(_STREETS):
        along = n % 2 == 0
        off = 0.0015 + (n // 2) * 0.0033
        ends = ((0.0004, off), (0.0196, off)) if along else ((off, 0.0004), (off, 0.0096))
        line = shapely.LineString([(tiny.LNG + x, tiny.LAT + y) for x, y in ends])
        _line(session, f"road/{n}", "road", name, line, "tertiary" if n == 0 else "residential")
    pond = shapely.box(tiny.LNG + 0.0062, tiny.LAT + 0.0056, tiny.LNG + 0.0078, tiny.LAT + 0.0072)
    _line(session, "water/1", "water", "柳岸塘", pond.buffer(0.0003), "")
    estate = shapely.box(tiny.LNG + 0.0019, tiny.LAT + 0.0019, tiny.LNG + 0.0044, tiny.LAT + 0.0044)
    _line(session, "estate/1", "estate", "柳岸花园", estate, "")


def _line(session: Session, key: str, kind: str, name: str, shape: shapely.Geometry, rank: str) -> None:
    session.add(
        GroundLine(
            district_code=tiny.DISTRICT,
            key=key,
            kind=kind,
            name=name,
            rank=rank,
            geom=to_db(shape),
            source_datum="CGCS2000",
        )
    )


#: Words, category, state, and hours until the limit of the matters of the day.
_MATTERS = (
    ("滨湖路12号门口的井盖松动，车过时有响声。", "2002", "in_cell", 2.0),
    ("柳岸花园北门堆着建筑垃圾，挡住半边人行道。", "1001", "in_cell", 20.0),
    ("渡口路烧烤摊占道经营，晚上油烟大。", "1002", "in_cell", -3.0),
    ("青石街绿化带的垃圾已清走，等待核查。", "1001", "settled", 9.0),
    ("荷花巷口垃圾桶满溢。", "1001", "in_community", 30.0),
    ("望湖东路夜间施工噪声。", "3001", "in_town", 50.0),
)


def _matters(session: Session, now: datetime) -> None:
    for n, (text, category, state, hours) in enumerate(_MATTERS):
        lng, lat = tiny.LNG + 0.0022 + n * 0.0011, tiny.LAT + 0.0031 + (n * 7 % 5) * 0.0009
        if state == "in_community":
            # Beside where the phone stands: the same matter?
            lng, lat = tiny.LNG + 0.0037, tiny.LAT + 0.0038
        clock = {"in_cell": "cell", "settled": "verify", "in_community": "community", "in_town": "town"}[state]
        at = now - timedelta(hours=6)
        case = builders.make_case(
            session,
            district=tiny.DISTRICT,
            at=at,
            process="patrol",
            kind="event",
            channel="patrol",
            state=state,
            open=True,
            closed_at=None,
            due_at=now + timedelta(hours=hours),
            due_clock=clock,
            text=text,
            place_name=text.split("，", 1)[0][:6],
            category_code=category,
            lng=lng,
            lat=lat,
            town_code=tiny.WEST,
            community_code=CELLS[0][:12],
            cell_code=CELLS[0],
            unit=tiny.WEST_OFFICE if state == "settled" else None,
        )
        builders.make_deadline(session, case, clock, limit="8wh")


def _items(session: Session, now: datetime) -> None:
    made = {"C": "centre", "MZ": "department", "SJ": "department", "CG": "department", "T1": "town_office"}
    for code, kind in made.items():
        builders.make_unit(session, code, district=tiny.DISTRICT, kind=kind, name=f"试验单位{code}")
    units = Units({code: Node(code, f"试验单位{code}", None, kind) for code, kind in made.items()})
    catalogue.load(session, read_yaml(default_files()), units=units, at=now)
