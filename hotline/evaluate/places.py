"""Where is it: how often the geocoder's first answer is right, how sure it says it is, and when it says nothing.

Looked at while building: the building half of names and messages, and house numbers held out of `addresses.csv`.
Opened only at the end: the figure half, and `address_dev_test.csv`. The figures that count are the latter's; the
held-out house numbers are shown because they are more.
"""

import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np

from core.datums import distance_m
from grid.fiction import CITY, CODE, NAME, Fiction, build
from grid.fiction_folder import OUTSIDE
from hotline.evaluate import Figure, nanhai, place_spans
from hotline.evaluate.place_texts import Asker, Half, LngLat, Question, Row, apart, at_of
from hotline.fiction import Mix, complaints
from hotline.geocode import AreaEntry, Entry, Gazetteer, Geocoder, Match
from hotline.geocode.addresses import read_address
from hotline.geocode.calibration import believed
from hotline.intake import SURE_OF_PLACE

#: From here on an answer is dispatched without an operator, unless the district says otherwise.
CONFIDENT: Final = SURE_OF_PLACE
RIGHT_M: Final = 300
#: An answer to an offset must be nearer than the place that it starts from would be.
_OFFSET_M: Final = 100
Believe = Callable[[str, float], float]
_SYNTHETIC: Final = "names put into messages of another city: a synthetic join"


@dataclass(slots=True)
class Tally:
    """Shares over answers, or over keys where an answer carries a weight."""

    n: float = 0
    answered: float = 0
    right: float = 0
    town: float = 0
    confident: float = 0
    confident_wrong: float = 0
    failures: list[str] = field(default_factory=list)
    traps: list[str] = field(default_factory=list)

    def add(
        self,
        match: Match | None,
        error_m: float | None,
        *,
        weight: float = 1.0,
        limit_m: float = RIGHT_M,
        town: bool = False,
        key: str = "",
    ) -> None:
        """Count one answer; `error_m` is None where no place was given."""
        self.n += weight
        right = error_m is not None and error_m <= limit_m
        if not right:
            self.failures.append(key)
        if match is None or error_m is None:
            return
        self.answered += weight
        self.right += weight * right
        self.town += weight * town
        sure = match.confidence >= CONFIDENT
        self.confident += weight * sure
        if sure and error_m > max(RIGHT_M, match.radius_m):
            self.confident_wrong += weight
            self.traps.append(key)

    def figures(
        self, data: str, *, within: float | None = None, town: float | None = None, note: str = "", limit: int = RIGHT_M
    ) -> Iterator[Figure]:
        """Yield the shares; `within` and `town` are goals."""
        n = max(self.n, 1e-9)
        count, bad = round(self.n), tuple(self.failures)
        yield Figure(data, f"within {limit} m", count, self.right / n, within, note=note, failures=bad)
        if self.town:
            yield Figure(data, "town right", count, self.town / n, town)
        yield Figure(data, "answered at all", count, self.answered / n)
        yield Figure(data, f"answered with {CONFIDENT} and more", count, self.confident / n)
        yield Figure(
            data, "confident and wrong", count, self.confident_wrong / n, 0.03, "at most", failures=tuple(self.traps)
        )


def figures(data: Path, *, quick: bool) -> Iterator[Figure]:
    """Yield the figures of this part; quick takes a tenth of the questions."""
    count = 150 if quick else 1500
    if not (data / "nanhai" / "pois.csv").exists():
        yield Figure("nanhai", "not measured", 0, 0.0, note=f"{data / 'nanhai'} is absent")
    else:
        told: list[tuple[float, bool]] = []
        geocoder = Geocoder(nanhai.gazetteer())
        yield from house_number_figures(geocoder, quick=quick)
        yield from _name_figures(geocoder, "figure", count, told)
        yield from _relation_figures(geocoder, "figure", count // 2, told)
        yield from _abstaining_figures(geocoder, "figure", count, told)
        yield from _fiction_figures(count, told)
        yield from calibration(told)
    yield from place_spans.figures(data, quick=quick)


def judge(geocoder: Geocoder, text: str, row: Row) -> tuple[Match | None, float | None]:
    """Return the first match finer than an area and how far off it is."""
    answer = geocoder.locate(text)
    if not answer.matches or answer.matches[0].kind in ("town", "community"):
        return None, None
    match = answer.matches[0]
    return match, metres(match, at_of(row))


def metres(match: Match, truth: LngLat) -> float:
    """Return how far a match is from a point in WGS84, which is EPSG:4490 to a metre."""
    return float(distance_m((match.lng, match.lat), truth)[0])


def held_out(seed: int, share: float) -> tuple[list[Row], Callable[[Row], bool]]:
    """Return address rows whose keys are held out, and what says of a row that it may stay in the gazetteer."""
    rows = nanhai.rows_of("nanhai/addresses.csv")
    keys = sorted({row["addr_key"] for row in rows})
    chosen = set(random.Random(seed).sample(keys, int(len(keys) * share)))
    held = [row for row in rows if row["addr_key"] in chosen]
    ids = {row["poi_id"] for row in held}
    written = {row["road"][-6:] + row["house_no"] + "号" for row in held}
    return held, lambda row: row["poi_id"] not in ids and not any(form in row["address"] for form in written)


#: Three ways to write a registered address.
WAYS: Final[dict[str, Callable[[Row], str]]] = {
    "as registered": lambda row: row["full_address"],
    "road and number": lambda row: row["addr_key"],
    "without the town, in a sentence": lambda row: f"{row['road']}{row['house_no']}号有人乱倒垃圾",
}


def house_numbers(geocoder: Geocoder, rows: Sequence[Row], ask: Callable[[Row], str]) -> tuple[Tally, Tally]:
    """Return the tallies per address key: of every key, and of those on roads of which a number is known."""
    towns = {area.name: area.code for area in geocoder.gazetteer.areas if area.level == "town"}
    by_key: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_key[row["addr_key"]].append(row)
    everything, known = Tally(), Tally()
    for key, found in by_key.items():
        name = geocoder.gazetteer.names.get(found[0]["road"])
        town = towns.get(found[0]["town_by_polygon"], "")
        is_known = name is not None and any(road.known and town in road.towns for road in name.roads)
        for row in found:
            match, error = judge(geocoder, ask(row), row)
            share = 1 / len(found)
            in_town = match is not None and match.town_code == town
            everything.add(match, error, weight=share, town=in_town, key=key)
            if is_known:
                known.add(match, error, weight=share, town=in_town, key=key)
    return everything, known


def house_number_figures(geocoder: Geocoder, *, quick: bool) -> Iterator[Figure]:
    """Yield how house numbers that the register does not hold are placed, per address key."""
    held: list[tuple[Geocoder, list[Row]]] = []
    for seed in (1,) if quick else (1, 2, 3):
        rows, keep = held_out(seed, 0.12)
        held.append((Geocoder(nanhai.gazetteer(keep)), rows))
    sets = {
        "nanhai/address_dev_test.csv": [(geocoder, nanhai.rows_of("nanhai/address_dev_test.csv"))],
        "nanhai/addresses.csv, 12 % of keys held out": held,
    }
    for data, asked in sets.items():
        goal = 0.75 if "dev_test" in data else None
        for way, ask in WAYS.items():
            everything, known = Tally(), Tally()
            for one, rows in asked:
                for total, part in zip((everything, known), house_numbers(one, rows, ask), strict=True):
                    _join(total, part)
            yield from known.figures(f"{data}, road known, {way}", within=goal, note="per addr_key")
            yield Figure(f"{data}, every key, {way}", f"within {RIGHT_M} m", round(everything.n), _share(everything))


def _join(total: Tally, part: Tally) -> None:
    for name in ("n", "answered", "right", "town", "confident", "confident_wrong"):
        setattr(total, name, getattr(total, name) + getattr(part, name))
    total.failures += dict.fromkeys(part.failures)
    total.traps += dict.fromkeys(part.traps)


def _share(tally: Tally) -> float:
    return tally.right / max(tally.n, 1e-9)


def put(
    geocoder: Geocoder, questions: Iterable[Question], told: list[tuple[float, bool]], *, limit_m: float = RIGHT_M
) -> dict[str, Tally]:
    """Return a tally for each trait of the questions; of a stretch the line's ends are asked for.

    told: filled with (confidence, right) of every answer given, where right is within 300 m or the radius.
    """
    towns = {area.code: area.name for area in geocoder.gazetteer.areas if area.level == "town"}
    tallies: dict[str, Tally] = {}
    for one in questions:
        answer = geocoder.locate(one.text)
        match = answer.matches[0] if answer.matches else None
        error = error_of(match, one) if match is not None else None
        if match is not None and error is not None:
            told.append((match.confidence, error <= max(RIGHT_M, match.radius_m)))
        town = match is not None and one.town == towns.get(match.town_code)
        tallies.setdefault(one.trait, Tally()).add(
            match if error is not None else None, error, limit_m=limit_m, town=town, key=one.id
        )
    return tallies


def error_of(match: Match, question: Question) -> float | None:
    """Return how far off a match is, of a stretch its worse end; None for an area and where there is no place."""
    if question.at is None or match.kind in ("town", "community"):
        return None
    return _line_error(match, question.at, question.end) if question.end else metres(match, question.at)


def _line_error(match: Match, start: LngLat, end: LngLat) -> float:
    """Return how far the worse end of a match's line is from its true end; infinite for a point."""
    if len(match.line) < 2:
        return float("inf")
    first, last = match.line[0], match.line[-1]
    ways = ((first, last), (last, first))
    return min(max(apart(one, start), apart(two, end)) for one, two in ways)


def _name_figures(geocoder: Geocoder, half: Half, count: int, told: list[tuple[float, bool]]) -> Iterator[Figure]:
    asker = Asker(half)
    whole = put(geocoder, asker.telling(count), told)["telling"]
    yield from whole.figures("pois.csv in messages, names of one place", within=0.92, town=0.97, note=_SYNTHETIC)
    every = put(geocoder, asker.named(count), told)["named"]
    yield from every.figures("pois.csv in messages, all names", within=0.92, town=0.97, note="chains and toilets too")
    unknown = put(lacking(asker, count), asker.unregistered(count), told)["unregistered"]
    yield from unknown.figures(
        "pois.csv in messages, names that the register lacks", note="neighbours may tell of them"
    )
    damaged = put(geocoder, asker.damaged(count), told)
    total = Tally()
    for tally in damaged.values():
        _join(total, tally)
    yield from total.figures("pois.csv in messages, damaged names", within=0.80, note="one slip, six kinds in turn")
    for kind, tally in sorted(damaged.items()):
        yield Figure("pois.csv in messages", kind, round(tally.n), _share(tally), failures=tuple(tally.failures))
    for questions in (asker.traditional(count // 2), asker.cantonese(count // 2)):
        for trait, tally in put(geocoder, questions, told).items():
            yield Figure(
                "pois.csv in messages", trait, round(tally.n), _share(tally), 0.92, failures=tuple(tally.failures)
            )


def lacking(asker: Asker, count: int, *, believe: Believe = believed) -> Geocoder:
    """Return a geocoder whose register lacks the places that `asker.unregistered` asks for."""
    ids = {row["poi_id"] for row in asker.missing(count)}
    return Geocoder(nanhai.gazetteer(lambda row: row["poi_id"] not in ids), believe=believe)


def _relation_figures(geocoder: Geocoder, half: Half, count: int, told: list[tuple[float, bool]]) -> Iterator[Figure]:
    asker = Asker(half)
    sets = {
        "beside": (asker.nearby(count), RIGHT_M),
        "offset": (asker.offsets(count), _OFFSET_M),
        "between": (asker.between(count), RIGHT_M),
        "stretch": (asker.stretches(count), RIGHT_M),
        "two places": (asker.two_places(count), RIGHT_M),
    }
    for trait, (questions, limit) in sets.items():
        for tally in put(geocoder, questions, told, limit_m=limit).values():
            label = f"{trait}, {'both ends of the line ' if trait == 'stretch' else ''}within {limit} m"
            yield Figure("pois.csv in messages", label, round(tally.n), _share(tally), failures=tuple(tally.failures))
            yield Figure(
                "pois.csv in messages",
                f"{trait}, confident and wrong",
                round(tally.n),
                tally.confident_wrong / max(tally.n, 1),
                0.03,
                "at most",
                failures=tuple(tally.traps),
            )
    without, pairs = junctions_held_out(half)
    for tally in put(without, asker.crossings(pairs[:count]), told).values():
        yield from tally.figures("junctions held out of pois.csv", note="told from addresses near both roads")


def junctions_held_out(
    half: Half, *, believe: Believe = believed
) -> tuple[Geocoder, list[tuple[str, str, Row, LngLat]]]:
    """Return a geocoder without a third of the known junctions of a half, and these: two roads, a row, WGS84."""
    nothing = re.compile("(?!)")
    prefix = re.compile(r"^(?:南海区)?(?:..(?:街道|镇))?")
    found: dict[tuple[str, str], list[tuple[Row, LngLat]]] = defaultdict(list)
    for row in nanhai.rows_of("nanhai/pois.csv"):
        reading = read_address(prefix.sub("", row["address"]), nothing)
        if reading.junction and row["address"]:
            lng, lat = at_of(row)
            east, north = reading.offset
            one, two = sorted(reading.junction)
            found[one, two].append((row, (lng - east / 102_500, lat - north / 111_320)))
    pairs = sorted(pair for pair, rows in found.items() if len(rows) > 1)
    random.Random(half).shuffle(pairs)
    chosen = pairs[: len(pairs) // 3]
    ids = {row["poi_id"] for pair in chosen for row, _ in found[pair]}
    geocoder = Geocoder(nanhai.gazetteer(lambda row: row["poi_id"] not in ids), believe=believe)
    asked = []
    for one, two in chosen:
        rows = found[one, two]
        spot = (median(at[0] for _, at in rows), median(at[1] for _, at in rows))
        if max(apart(spot, at) for _, at in rows) < RIGHT_M:
            asked.append((one, two, rows[0][0], spot))
    return geocoder, asked


def _abstaining_figures(geocoder: Geocoder, half: Half, count: int, told: list[tuple[float, bool]]) -> Iterator[Figure]:
    asker = Asker(half)
    sets = {
        "messages of another city as they are": asker.as_they_are(count),
        "messages without its scrambled names": asker.nowhere(count),
        "address_parsing/dev.jsonl in messages": asker.elsewhere(count // 2),
        "another district with a road of here": asker.next_door(count // 2),
    }
    for data, questions in sets.items():
        n = right = sure = 0
        wrong: list[str] = []
        for one in questions:
            answer = geocoder.locate(one.text)
            n += 1
            # What is not placed is not sent astray; to be called elsewhere it must be said to be elsewhere.
            fine = (
                answer.status != "located"
                if one.status == "unlocatable" or data.startswith("messages")
                else (answer.status == one.status)
            )
            right += fine
            if not fine:
                wrong.append(one.id)
            if answer.matches:
                if answer.matches[0].kind not in ("town", "community"):
                    told.append((answer.matches[0].confidence, False))
                sure += answer.matches[0].confidence >= CONFIDENT
        trait = "not placed here" if data.startswith("messages") else "said to be outside"
        yield Figure(data, trait, n, right / max(n, 1), 0.90, failures=tuple(wrong))
        yield Figure(data, "confident and wrong", n, sure / max(n, 1), 0.03, "at most")


def fiction_gazetteer(fiction: Fiction) -> Gazetteer:
    """Return the gazetteer of a fictional district."""
    doors, places = fiction.doors, fiction.places
    entries = [
        Entry(
            kind="place",
            name=name,
            lng=lng,
            lat=lat,
            town_code=fiction.cell_code[cell][:9],
            community_code=fiction.cell_code[cell][:12],
            address=f"{fiction.roads[doors.road[door]]}{doors.number[door]}号",
            category=kind,
        )
        for name, kind, door, cell, (lng, lat) in zip(
            places.name,
            places.type_path,
            places.door.tolist(),
            places.cell.tolist(),
            places.lng_lat.tolist(),
            strict=True,
        )
    ]
    entries += [
        Entry(
            kind="address",
            name="",
            lng=float(doors.lng_lat[i][0]),
            lat=float(doors.lng_lat[i][1]),
            town_code=fiction.cell_code[doors.cell[i]][:9],
            community_code=fiction.cell_code[doors.cell[i]][:12],
            road=fiction.roads[doors.road[i]],
            house_no=str(doors.number[i]),
        )
        for i in doors.known.nonzero()[0].tolist()
    ]
    areas = [
        AreaEntry(level="town", code=code, name=name, polygon=shape)
        for code, name, shape in zip(fiction.town_code, fiction.towns, _shapes(fiction.town_shape), strict=True)
    ]
    areas += [
        AreaEntry(level="community", code=code, name=name, polygon=shape)
        for code, name, shape in zip(
            fiction.community_code, fiction.communities, _shapes(fiction.community_shape), strict=True
        )
    ]
    return Gazetteer(entries, areas, district=NAME, city=CITY, outside=OUTSIDE)


def _shapes(written: Sequence[object]) -> list[object]:
    """Return geometries of what the fiction holds as geometry or as GeoJSON text."""
    import shapely

    return [one if isinstance(one, shapely.Geometry) else shapely.from_geojson(one) for one in written]


def _fiction_figures(count: int, told: list[tuple[float, bool]]) -> Iterator[Figure]:
    """Yield the generated district: every way to name a place, whole and damaged."""
    fiction = build(seed=77, households=60_000)
    geocoder = Geocoder(fiction_gazetteer(fiction))
    mix = Mix(duplicates=0.0, damaged=0.35, nowhere=0.1, outside=0.1)
    texts = complaints(fiction, count=4 * count, start=date(2026, 1, 5), days=60, seed=78, mix=mix)
    tallies: dict[str, Tally] = defaultdict(Tally)
    shunned: dict[str, list[bool]] = defaultdict(list)
    for one in islice(texts, 4 * count):
        truth = one["truth"]
        answer = geocoder.locate(one["text"])
        match = answer.matches[0] if answer.matches else None
        if truth["status"] != "located":
            shunned[truth["status"]].append(answer.status == truth["status"])
            if match is not None and match.kind not in ("town", "community"):
                told.append((match.confidence, False))
            continue
        if truth["lng"] is None:
            area = truth["place"]
            right = match is not None and match.kind == area and match.town_code == truth["town"]
            shunned[f"{area} alone"].append(right)
            continue
        error = metres(match, (truth["lng"], truth["lat"])) if match is not None else None
        if match is not None and error is not None and match.kind not in ("town", "community"):
            told.append((match.confidence, error <= max(RIGHT_M, match.radius_m)))
        town = match is not None and truth["town"] in (None, match.town_code)
        kind = "damaged" if truth["damaged"] else "whole"
        tallies[kind].add(match, error, town=town, key=one["id"])
        if kind == "whole":
            tallies[f"whole, {truth['place']}"].add(match, error, town=town, key=one["id"])
    data = f"generated district {CODE}, seeds 77 and 78"
    yield from tallies.pop("whole").figures(f"{data}, whole", within=0.92, town=0.97)
    yield from tallies.pop("damaged").figures(f"{data}, damaged", within=0.80)
    for kind, tally in sorted(tallies.items()):
        yield Figure(data, kind, round(tally.n), _share(tally), failures=tuple(tally.failures))
    for status, verdicts in sorted(shunned.items()):
        yield Figure(data, f"{status} recognised", len(verdicts), sum(verdicts) / len(verdicts), 0.90)


def calibration(told: Sequence[tuple[float, bool]]) -> Iterator[Figure]:
    """Yield how often answers were right, by how sure they were said to be; said 0.85 to 0.95 should be 0.9.

    Right is within 300 m or the radius. The error is the mean distance of said and right, weighted by answers.
    """
    said = np.array([confidence for confidence, _ in told])
    right = np.array([verdict for _, verdict in told], dtype=float)
    tenth = np.minimum((said * 10).astype(int), 9)
    off = 0.0
    for at in range(10):
        mine = tenth == at
        if mine.sum() >= 5:
            off += abs(said[mine].mean() - right[mine].mean()) * mine.sum() / len(said)
            label = f"said {at / 10:.1f} to {(at + 1) / 10:.1f} (mean {said[mine].mean():.2f}), right"
            yield Figure("calibration, all answers above", label, int(mine.sum()), float(right[mine].mean()))
    yield Figure("calibration, all answers above", "mean error of the confidence", len(said), off, 0.05, "at most")
