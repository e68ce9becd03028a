"""Kept counts: whatever happens to cases, they sum to the truth."""

import math
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import shapely
from sqlalchemy import text, update
from sqlalchemy.orm import Session

from core.actor import Actor, Role, system
from core.datums import to_db
from core.db import transaction
from core.errors import Forbidden, Invalid
from core.ids import new_id
from dispatch import tallies
from dispatch.models import Case, Outbox
from tests.builders import DISTRICT, NOW, actor, make_case

Place = dict[str, Any]


def _pixel(lng: float, lat: float, zoom: int) -> tuple[int, int]:
    n = 2**zoom
    return int((lng + 180) / 360 * n), int((1 - math.asinh(math.tan(math.radians(lat))) / math.pi) / 2 * n)


class _World:
    """Cases as they are in the table, and the events that made them so."""

    def __init__(self, session: Session, seed: int) -> None:
        self.session = session
        self.dice = random.Random(seed)
        self.cases: dict[Any, tuple[Place, bool]] = {}
        self.events: list[tuple[str, Place]] = []

    def place(self, day: str) -> Place:
        somewhere = self.dice.random() > 0.2
        return {
            "lng": self.dice.uniform(112.9, 113.2) if somewhere else None,
            "lat": self.dice.uniform(22.8, 23.3) if somewhere else None,
            "cell": f"99010000100100{self.dice.randint(1, 3)}" if somewhere else None,
            "category": self.dice.choice(["10", "1001", None]),
            "day": day,
        }

    def step(self) -> None:
        key = self.dice.choice(list(self.cases)) if self.cases and self.dice.random() > 0.4 else None
        if key is None:
            at = NOW - timedelta(hours=self.dice.randint(0, 96))
            place = self.place((at + timedelta(hours=8)).date().isoformat())
            case = make_case(
                self.session, at=at, lng=place["lng"], lat=place["lat"] or 23.0,
                cell_code=place["cell"], category_code=place["category"],
            )  # fmt: skip
            self.cases[case.id] = (place, True)
            self.tell("case.opened", place)
            return
        place, is_open = self.cases[key]
        if self.dice.random() < 0.5:
            moved = self.place(place["day"])
            self.write(key, moved, is_open)
            self.tell("case.moved", {"old": place, "new": moved, "closed": not is_open})
        else:
            self.write(key, place, not is_open)
            self.tell("case.closed" if is_open else "case.reopened", place)

    def write(self, key: Any, place: Place, is_open: bool) -> None:
        self.cases[key] = (place, is_open)
        shape = to_db(shapely.Point(place["lng"], place["lat"])) if place["lng"] is not None else None
        self.session.execute(
            update(Case)
            .where(Case.district_code == DISTRICT, Case.id == key)
            .values(geom=shape, cell_code=place["cell"], category_code=place["category"], open=is_open)
        )

    def tell(self, topic: str, payload: Place) -> None:
        self.events.append((topic, payload))

    def truth(self) -> tuple[Counter[Any], Counter[Any]]:
        heat: Counter[Any] = Counter()
        days: Counter[Any] = Counter()
        for place, is_open in self.cases.values():
            if place["lng"] is not None:
                heat.update((zoom, *_pixel(place["lng"], place["lat"], zoom)) for zoom in tallies.ZOOMS)
            key = (place["day"], place["cell"] or "", place["category"] or "")
            days[(*key, "opened")] += 1
            days[(*key, "closed")] += not is_open
        return +heat, +days


def _kept(session: Session, district: str = DISTRICT) -> tuple[Counter[Any], Counter[Any]]:
    bound = {"d": district}
    heat = Counter(
        {
            (row.zoom, row.x, row.y): row.cases
            for row in session.execute(text("SELECT * FROM heat WHERE district_code = :d AND cases <> 0"), bound)
        }
    )
    days: Counter[Any] = Counter()
    for row in session.execute(text("SELECT * FROM tally WHERE district_code = :d"), bound):
        key = (row.day.isoformat(), row.cell_code, row.category_code)
        days.update({(*key, "opened"): row.opened, (*key, "closed"): row.closed})
    assert all(n >= 0 for n in (*heat.values(), *days.values()))
    return heat, +days


@pytest.mark.parametrize("seed", range(6))
def test_counts_sum_to_the_truth_after_any_sequence(session: Session, seed: int) -> None:
    world = _World(session, seed)
    for _ in range(60):
        world.step()
        if world.dice.random() < 0.2:
            assert tallies.roll(session, world.events) == len(world.events)
            world.events = []
    tallies.roll(session, world.events)
    assert _kept(session) == world.truth()


@pytest.mark.parametrize("seed", range(3))
def test_rebuilding_leaves_out_what_the_relay_will_still_add(session: Session, seed: int) -> None:
    world = _World(session, seed)
    for _ in range(40):
        world.step()
    half = len(world.events) // 2
    tallies.roll(session, world.events[:half])
    for topic, payload in world.events[half:]:
        session.add(Outbox(district_code=DISTRICT, id=new_id(), topic=topic, payload=payload, created_at=NOW))
    session.flush()
    before = _kept(session)
    session.execute(text("UPDATE heat SET cases = cases + 7 WHERE district_code = :d"), {"d": DISTRICT})
    tallies.rebuild(session)
    assert _kept(session) == before
    tallies.roll(session, world.events[half:])
    assert _kept(session) == world.truth()


def test_each_raster_holds_every_placed_case(session: Session) -> None:
    world = _World(session, 11)
    for _ in range(30):
        world.step()
    tallies.roll(session, world.events)
    placed = sum(place["lng"] is not None for place, _ in world.cases.values())
    heat, _ = _kept(session)
    for zoom in tallies.ZOOMS:
        assert sum(n for (z, _, _), n in heat.items() if z == zoom) == placed


def test_topics_that_count_nothing_are_passed_over(session: Session) -> None:
    assert tallies.roll(session, [("unit.assigned", {"unit": "U1"}), ("case.closed.notice", {})]) == 0
    assert _kept(session) == (Counter(), Counter())


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("case.opened", {"lng": 113.0, "lat": None, "cell": None, "category": None, "day": "2026-11-18"}),
        ("case.opened", {"lng": "113", "lat": 23.0, "cell": None, "category": None, "day": "2026-11-18"}),
        ("case.opened", {"lng": 113.0, "lat": 23.0, "cell": None, "category": None}),
        ("case.closed", {"cell": "1", "category": "1", "day": "yesterday"}),
        ("case.moved", {"old": {"day": "2026-11-18"}}),
    ],
)
def test_a_broken_event_is_refused_before_anything_is_counted(session: Session, topic: str, payload: Place) -> None:
    good = ("case.opened", {"lng": 113.0, "lat": 23.0, "cell": "1", "category": "1", "day": "2026-11-18"})
    with pytest.raises(Invalid):
        tallies.roll(session, [good, (topic, payload)])
    assert _kept(session) == (Counter(), Counter())


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.OFFICIAL, Role.UNIT, Role.CITIZEN, Role.ADMIN])
def test_only_the_program_keeps_counts(as_actor: Callable[[Actor], Session], role: Role) -> None:
    session = as_actor(actor(role))
    with pytest.raises(Forbidden):
        tallies.roll(session, [])
    with pytest.raises(Forbidden):
        tallies.rebuild(session)


@pytest.fixture
def own_district(database: str) -> Iterator[str]:
    """Count in a district of its own, committed, and clear it away."""
    code = "990177"
    yield code
    with transaction(system(code, "tests")) as session:
        session.execute(text("DELETE FROM heat WHERE district_code = :d"), {"d": code})
        session.execute(text("DELETE FROM tally WHERE district_code = :d"), {"d": code})


def test_relays_that_count_the_same_pixels_at_once_neither_deadlock_nor_lose(own_district: str) -> None:
    faults: list[BaseException] = []
    day = datetime(2026, 11, 18, tzinfo=UTC).date().isoformat()
    rows = [
        ("case.opened", {"lng": 113 + i / 1000, "lat": 23.0, "cell": str(i), "category": "1", "day": day})
        for i in range(40)
    ]

    def relay(seed: int) -> None:
        dice = random.Random(seed)
        try:
            for _ in range(15):
                shuffled = dice.sample(rows, len(rows))
                with transaction(system(own_district, "relay")) as session:
                    tallies.roll(session, shuffled[:25])
                    tallies.roll(session, [("case.closed", shuffled[0][1])])
        except BaseException as fault:  # noqa: BLE001  handed to the test's own thread
            faults.append(fault)

    threads = [threading.Thread(target=relay, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    with transaction(system(own_district, "tests")) as session:
        heat, days = _kept(session, own_district)
    assert sum(n for (zoom, *_), n in heat.items() if zoom == 20) == 3 * 15 * 25
    assert sum(n for key, n in days.items() if key[-1] == "closed") == 3 * 15
