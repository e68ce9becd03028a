"""Messages to be replayed in order of time, from files of texts, joined to places where they have none.

Knows the files (`docs/formats.md`) and the synthetic join; does not take anything in: whoever plays calls the intake.
The join is synthetic: the real texts were written about other places, every page that shows them says so.
"""

import csv
import random
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson
from sqlalchemy import text
from sqlalchemy.orm import Session

from core.db import actor_of
from core.errors import Invalid
from dispatch.calendar import CHINA

#: Our name of a column → what files call it.
_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "id": ("id", "message_id", "编号"),
    "at": ("at", "created_at", "time", "时间"),
    "text": ("text", "content", "内容"),
    "title": ("title", "标题"),
    "channel": ("channel", "渠道"),
}
_CHANNELS: Final = ("hotline", "web", "weibo", "patrol", "window", "open311", "replay")
_MOST_BYTES: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Message:
    """One text to be replayed."""

    id: str
    #: Aware.
    at: datetime
    channel: str
    text: str
    title: str = ""
    #: What is known about it (`docs/formats.md`): status, lng, lat (EPSG:4490), cell, town, place, category, kind,
    #: duplicate_of …; a key that is missing or None is not known. None: nothing is known.
    truth: Mapping[str, Any] | None = None


def messages(path: Path) -> Iterator[Message]:
    """Yield the messages of a `.csv` or `.jsonl` file in order of time; times without a zone are China's.

    JSON lines are streamed and must be in order already; a CSV file is read whole and sorted. Raises Invalid with file
    and line for anything that is no message.
    """
    if not path.is_file():
        raise Invalid("The file {file} is missing.", file=path.name)
    kind = path.suffix.lower()
    if kind == ".csv":
        yield from _csv(path)
    elif kind in (".jsonl", ".ndjson"):
        yield from _lines(path)
    else:
        raise Invalid("{file} is neither .csv nor .jsonl.", file=path.name)


def _csv(path: Path) -> list[Message]:
    csv.field_size_limit(min(sys.maxsize, 10 * _MOST_BYTES))
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines, strict=True)
            found = [_message(row, path.name, reader.line_num) for row in reader]
    except UnicodeDecodeError as error:
        raise Invalid("{file} is not UTF-8 text.", file=path.name) from error
    except csv.Error as error:
        raise Invalid("{file} is not CSV.", file=path.name) from error
    if not found:
        raise Invalid("{file} does not hold a table.", file=path.name)
    return sorted(found, key=lambda one: (one.at, one.id))


def _lines(path: Path) -> Iterator[Message]:
    last: datetime | None = None
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise Invalid("{file}, line {line}: this is not JSON.", file=path.name, line=number) from error
            if not isinstance(row, dict):
                raise Invalid("{file}, line {line}: this is no message.", file=path.name, line=number)
            message = _message(row, path.name, number)
            if last is not None and message.at < last:
                raise Invalid(
                    "{file}, line {line}: the messages are not in order of time.", file=path.name, line=number
                )
            last = message.at
            yield message


def _message(row: Mapping[str, Any], file: str, line: int) -> Message:
    told = {ours: next((row[name] for name in names if row.get(name)), "") for ours, names in _NAMES.items()}
    if not told["id"] or not told["at"] or not (told["text"] or told["title"]):
        raise Invalid("{file}, line {line}: a message needs id, time and text.", file=file, line=line)
    try:
        at = datetime.fromisoformat(str(told["at"]).strip())
    except ValueError as error:
        raise Invalid(
            "{file}, line {line}: {value} is no time.", file=file, line=line, value=str(told["at"])[:40]
        ) from error
    truth = row.get("truth")
    return Message(
        id=str(told["id"]),
        at=at if at.tzinfo else at.replace(tzinfo=CHINA),
        channel=str(told["channel"]) if told["channel"] in _CHANNELS else "replay",
        text=str(told["text"] or told["title"]).strip(),
        title=str(told["title"]).strip(),
        truth=truth if isinstance(truth, dict) else None,
    )


class Spot(NamedTuple):
    """A place of the register that a text can be joined to."""

    town_code: str | None
    road: str
    house_no: str
    #: What stands there; empty where the register does not say.
    name: str
    #: EPSG:4490.
    lng: float
    lat: float
    #: Name of the town; empty where nobody looked it up.
    town: str = ""
    cell: str | None = None


@dataclass(frozen=True, slots=True)
class Shares:
    """How texts without a place are joined; what is left of 1 gets nothing and should not be located."""

    #: Road and house number, perhaps with what stands there.
    address: float = 0.50
    #: Name of a place.
    place: float = 0.25
    #: The town alone.
    town: float = 0.10


_ADDRESS: Final = (
    "地点：{town}{road}{no}号。",
    "我家住{town}{road}{no}号，",
    "事情就在{road}{no}号这里。",
    "位置是{town}{road}{no}号{name}。",
    "（地址：{district}{town}{road}{no}号）",
    "具体在{road}{no}号附近。",
)
_PLACE: Final = (
    "就在{name}旁边。",
    "地点在{town}{name}。",
    "我在{name}附近，",
    "位置：{name}对面。",
    "离{town}的{name}不远。",
)
_TOWN: Final = ("我是{town}的居民，", "事情发生在{town}。", "{town}这边，")
_SENTENCES: Final[Mapping[str, tuple[str, ...]]] = {"road": _ADDRESS, "place": _PLACE, "town": _TOWN, "none": ("",)}


def read_spots(session: Session) -> tuple[list[Spot], list[Spot]]:
    """Return the addresses and the named places of the actor's district that lie in a cell; reads only."""
    district = {"d": actor_of(session).district}
    sql = (
        "SELECT {t}.town_code, {columns}, {t}.name, ST_X({t}.geom), ST_Y({t}.geom), area.name, {t}.cell_code FROM {t}"
        " JOIN area ON area.district_code = {t}.district_code AND area.code = {t}.town_code"
        " WHERE {t}.district_code = :d AND area.district_code = :d AND {t}.cell_code IS NOT NULL ORDER BY {t}.key"
    )
    addresses = session.execute(text(sql.format(t="address", columns="address.road, address.house_no")), district)
    places = session.execute(text(sql.format(t="place", columns="'', ''")), district)
    return [Spot(*row) for row in addresses], [spot for spot in (Spot(*row) for row in places) if _spoken(spot.name)]


def _spoken(name: str) -> bool:
    """Whether people say this name: one or two characters say nothing, brackets belong to registers."""
    return 2 < len(name) <= 20 and "(" not in name and "（" not in name


def join_addresses(
    given: Iterable[Message],
    addresses: Sequence[Spot | tuple[Any, ...]],
    *,
    places: Sequence[Spot] = (),
    district: str = "",
    seed: int = 0,
    shares: Shares | None = None,
) -> Iterator[Message]:
    """Yield the messages with a sentence that places them in this district, and the truth of it.

    addresses, places: of `read_spots`; plain tuples in the order of `Spot` will do. district: its name with the city's
    before it, as people write it in full. Half of the messages get road and number, a quarter the name of a place, a
    tenth the town alone, the rest nothing (`Shares`). A message gets the same sentence in every run of a seed, whatever
    else is in the file. The join is synthetic. Raises Invalid when there is no address.
    """
    spots = [Spot(*row) for row in addresses]
    named = list(places) or [spot for spot in spots if _spoken(spot.name)]
    if not spots:
        raise Invalid("There are no addresses to join messages to.")
    share = shares or Shares()
    for message in given:
        chance = random.Random(f"{seed}/{message.id}")  # noqa: S311  places, not secrets
        way = chance.choices(
            ("road", "place", "town", "none"),
            weights=(share.address, share.place, share.town, 1 - share.address - share.place - share.town),
        )[0]
        spot = chance.choice(named if way == "place" and named else spots)
        if (way == "place" and not named) or (way == "town" and not spot.town):
            way = "road"
        words = chance.choice(_SENTENCES[way]).format(
            district=district, town=spot.town, road=spot.road, no=spot.house_no, name=spot.name
        )
        truth: dict[str, Any] = dict(message.truth or {}) | {"status": "unlocatable", "place": way}
        if way != "none":
            truth |= {"status": "located", "town": spot.town_code}
        if way in ("road", "place"):
            truth |= {"lng": spot.lng, "lat": spot.lat, "cell": spot.cell}
        # Half a sentence leads on into the text, a whole one may follow it.
        front = words.endswith("，") or chance.random() < 0.4
        joined = f"{words}{message.text}" if front else f"{message.text} {words}".strip()
        yield replace(message, text=joined, truth=truth)
