"""The catalogue of service items of a district: its versions, which one holds on a day, publishing and withdrawing.

A version is never changed: a correction is a new version, and a case keeps the one that it began under. Only the system
and the administrator write (row policies say so, too). Days are days in China.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

import orjson
from sqlalchemy import text
from sqlalchemy.orm import Session

from core.actor import Role
from core.db import actor_of, rows
from core.errors import Conflict, Forbidden, Invalid, NotFound
from dispatch.calendar import china_time
from dispatch.items.parsing import checked
from dispatch.items.reading import MOST_ITEMS, Override, Read
from dispatch.items.roles import Units, Warned
from dispatch.items.sheet import Sheet, digest
from dispatch.words import N_

#: Items on one page of a list.
PAGE: Final = 30
#: Versions of an item that are listed.
_MOST_VERSIONS: Final = 200
_COLUMNS: Final = (
    "item_code, version, valid_from, withdrawn_from, name, audience, unit_code, level, done_at_once, source,"
    " published_at, published_by, body->>'legal_limit' AS legal_limit, body->>'promised_limit' AS promised_limit"
)


@dataclass(frozen=True, slots=True)
class Line:
    """One version in a list, without its body."""

    item_code: str
    version: int
    valid_from: date
    withdrawn_from: date | None
    name: str
    audience: str
    unit_code: str
    level: str
    done_at_once: bool
    source: str
    published_at: datetime
    published_by: str
    #: As `dispatch.limits.Limit` reads them.
    legal_limit: str
    promised_limit: str


@dataclass(frozen=True, slots=True)
class Version(Line):
    """One published version with its sheet."""

    sheet: Sheet
    digest: str


@dataclass(frozen=True, slots=True)
class Filter:
    """What a list of current items is narrowed by; empty members narrow nothing."""

    search: str = ""
    #: person or organisation; an item for both is found under either.
    audience: str = ""
    unit: str = ""
    level: str = ""
    #: 最多跑一次: done at once, on the web, at home or posted.
    once: bool = False


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of the current items."""

    lines: Sequence[Line]
    #: How many match, and how many there are at all.
    count: int
    total: int
    page: int
    pages: int
    #: Codes of the units that have items, for the filter.
    units: Sequence[str]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What became of a load."""

    published: Sequence[str]
    unchanged: int
    overrides: int
    warned: Sequence[Warned]


#: The items that hold on a day. The latest version of each is found by its narrow columns first, bodies stay unread.
_HELD: Final = (
    "WITH latest AS (SELECT DISTINCT ON (item_code) district_code, item_code, version, withdrawn_from FROM item_version"
    " WHERE district_code = :d AND valid_from <= :day ORDER BY item_code, valid_from DESC, version DESC),"
    " held AS (SELECT v.* FROM latest JOIN item_version v ON v.district_code = :d"
    " AND v.district_code = latest.district_code AND v.item_code = latest.item_code AND v.version = latest.version"
    " WHERE latest.withdrawn_from IS NULL OR latest.withdrawn_from > :day)"
)


def listing(session: Session, asked: Filter, *, day: date, page: int = 1) -> Listing:
    """Return a page of the items that hold on a day, by code. Reads; bounded by `PAGE`.

    Every word of the search must stand in an item's code, name, keywords, laws or materials.
    """
    words = asked.search.split()[:8]
    given: dict[str, Any] = {"d": actor_of(session).district, "day": day}
    clauses = []
    for i, word in enumerate(words):
        clauses.append(f"search ILIKE :w{i}")
        given[f"w{i}"] = f"%{_escaped(word)}%"
    if asked.audience:
        clauses.append("audience IN (:audience, 'both')")
        given["audience"] = asked.audience
    for column, value in (("unit_code", asked.unit), ("level", asked.level)):
        if value:
            clauses.append(f"{column} = :{column}")
            given[column] = value
    if asked.once:
        clauses.append(
            "(done_at_once OR body->'channels' ?| ARRAY['web', 'home'] OR body @> '{\"pick_ups\": [{\"post\": true}]}')"
        )
    where = " AND ".join(clauses) or "true"
    totals = rows(
        session,
        f"{_HELD} SELECT count(*) AS total, count(*) FILTER (WHERE {where}) AS matching,"  # noqa: S608  as above
        " coalesce(array_agg(DISTINCT unit_code ORDER BY unit_code), '{}') AS units FROM held",
        **given,
    )[0]
    pages = max(1, -(-totals["matching"] // PAGE))
    page = min(max(page, 1), pages)
    found = rows(
        session,
        f"{_HELD} SELECT {_COLUMNS} FROM held WHERE {where} ORDER BY item_code LIMIT :n OFFSET :skip",  # noqa: S608
        **given,
        n=PAGE,
        skip=(page - 1) * PAGE,
    )
    lines = [Line(**row) for row in found]
    return Listing(lines, totals["matching"], totals["total"], page, pages, [code for code in totals["units"] if code])


def _escaped(word: str) -> str:
    return word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def current(session: Session, code: str, day: date) -> Version:
    """Return the version of an item that holds on a day. Reads; raises NotFound where none does."""
    latest = _one(session, code, "AND valid_from <= :day ORDER BY valid_from DESC, version DESC", day=day)
    if latest is None or _withdrawn(latest, day):
        raise NotFound("There is no service item with the code {code}.", field="code", code=code[:40])
    return latest


def version(session: Session, code: str, number: int) -> Version:
    """Return one version of an item, whether it holds or not: what a case began under. Reads; raises NotFound."""
    found = _one(session, code, "AND version = :number", number=number)
    if found is None:
        raise NotFound("The item {code} has no version {version}.", field="version", code=code[:40], version=number)
    return found


def history(session: Session, code: str) -> list[Line]:
    """Return the versions of an item, newest first, without their sheets. Reads; raises NotFound."""
    found = rows(
        session,
        f"SELECT {_COLUMNS} FROM item_version WHERE district_code = :d AND item_code = :code"  # noqa: S608  constants
        " ORDER BY version DESC LIMIT :n",
        d=actor_of(session).district,
        code=code,
        n=_MOST_VERSIONS,
    )
    if not found:
        raise NotFound("There is no service item with the code {code}.", field="code", code=code[:40])
    return [Line(**row) for row in found]


def every(session: Session, day: date) -> list[Version]:
    """Return all items that hold on a day with their sheets, by code: for exports. Reads; bounded by `MOST_ITEMS`."""
    found = rows(
        session,
        f"{_HELD} SELECT {_COLUMNS}, body, digest FROM held"  # noqa: S608  constants
        " ORDER BY item_code LIMIT :n",
        d=actor_of(session).district,
        day=day,
        n=MOST_ITEMS,
    )
    return [_version(row) for row in found]


def applicable(session: Session, code: str, day: date, *, seen: int | None = None) -> Version:
    """Return the version that an application on a day begins under. Reads.

    seen: the version whose sheet the applicant had before them. Raises NotFound for an unknown item; Conflict, in words
    for the applicant, where the item does not hold yet, was withdrawn, or `seen` was replaced meanwhile.
    """
    latest = _one(session, code, "AND valid_from <= :day ORDER BY valid_from DESC, version DESC", day=day)
    if latest is None:
        first = history(session, code)[-1]
        raise Conflict("{name} can be applied for from {day} on.", name=first.name, day=first.valid_from.isoformat())
    if latest.withdrawn_from is not None and latest.withdrawn_from <= day:
        raise Conflict(
            "{name} was withdrawn on {day}; nobody can apply for it any more.",
            name=latest.name,
            day=latest.withdrawn_from.isoformat(),
        )
    if seen is not None and seen != latest.version:
        version(session, code, seen)
        raise Conflict(
            "The sheet of {name} was replaced on {day}: read version {version} and begin again.",
            name=latest.name,
            day=latest.valid_from.isoformat(),
            version=latest.version,
        )
    return latest


def publish(
    session: Session, sheet: Sheet, *, at: datetime, valid_from: date | None = None, source: str
) -> Version | None:
    """Publish a sheet as the item's next version and return it; None where the newest version says the same already.

    at: aware. valid_from: a day in China, by default today; only an item's first version may hold from a day that is
    past, and none from before the version it follows.
    Raises Invalid for such a day, Forbidden for other roles, Conflict where somebody published at the same moment.
    Writes; caller commits.
    """
    _may_keep(session)
    today = china_time(at).date()
    start = valid_from or today
    newest = _one(session, sheet.code, "ORDER BY version DESC")
    if newest is not None:
        if newest.digest == digest(sheet) and newest.withdrawn_from is None:
            return None
        if start < max(today, newest.valid_from):
            raise Invalid(
                "A new version of {code} may hold from {day} on, not from before.",
                field="valid_from",
                code=sheet.code,
                day=max(today, newest.valid_from).isoformat(),
            )
    number = newest.version + 1 if newest else 1
    made = {
        "d": actor_of(session).district,
        "code": sheet.code,
        "version": number,
        "valid_from": start,
        "name": sheet.name,
        "audience": sheet.audience,
        "unit": sheet.unit,
        "level": sheet.level,
        "at_once": sheet.done_at_once,
        "search": _search(sheet),
        "body": orjson.dumps(sheet.body()).decode(),
        "digest": digest(sheet),
        "source": source,
        "at": at,
        "by": actor_of(session).name,
    }
    session.execute(
        text("INSERT INTO item (district_code, code, created_at) VALUES (:d, :code, :at) ON CONFLICT DO NOTHING"), made
    )
    written = session.scalar(
        text(
            "INSERT INTO item_version (district_code, item_code, version, valid_from, name, audience, unit_code, level,"
            " done_at_once, search, body, digest, source, published_at, published_by) VALUES (:d, :code, :version,"
            " :valid_from, :name, :audience, :unit, :level, :at_once, :search, CAST(:body AS jsonb), :digest, :source,"
            " :at, :by) ON CONFLICT DO NOTHING RETURNING version"
        ),
        made,
    )
    if written is None:
        raise Conflict("Somebody else changed this at the same moment; load it again.")
    return version(session, sheet.code, number)


def withdraw(session: Session, code: str, day: date, *, at: datetime) -> int:
    """Withdraw an item from a day on, with the versions that would follow; return how many versions that concerns.

    Cases that began before keep their version. Raises NotFound, Invalid for a day that is past, Conflict where it is
    withdrawn already, Forbidden for other roles. Writes; caller commits.
    """
    _may_keep(session)
    if day < china_time(at).date():
        raise Invalid("An item cannot be withdrawn from a day that is past.", field="day")
    history(session, code)
    found = session.execute(
        text(
            "UPDATE item_version SET withdrawn_from = GREATEST(:day, valid_from) WHERE district_code = :d"
            " AND item_code = :code AND withdrawn_from IS NULL AND version >= coalesce((SELECT v.version"
            " FROM item_version v WHERE v.district_code = :d AND v.item_code = :code AND v.valid_from <= :day"
            " ORDER BY v.valid_from DESC, v.version DESC LIMIT 1), 0) RETURNING version"
        ),
        {"d": actor_of(session).district, "code": code, "day": day},
    ).all()
    if not found:
        raise Conflict("The item {code} is withdrawn already.", code=code)
    return len(found)


def load(session: Session, read: Read, *, units: Units, at: datetime, skip_bad: bool = False) -> Loaded:
    """Publish every sheet that was read and differs from what holds, and record what towns publish otherwise.

    skip_bad: leave out what is at fault; otherwise one fault refuses all with Invalid. A sheet whose day is past is
    valid from that day where the item is new, else from today. Items that no file names stay as they are, and so do
    withdrawn ones of which the file says nothing new.
    Writes; caller commits.
    """
    if read.faults and not skip_bad:
        first = read.faults[0]
        raise Invalid(
            "Nothing was loaded: {reason} ({count} faults in all)", reason=first.sentence, count=len(read.faults)
        )
    today = china_time(at).date()
    known = _newest(session, [one.sheet.code for one in read.given])
    published: list[str] = []
    warned: list[Warned] = []
    for given in read.given:
        sheet, words = units.settle(given.sheet)
        warned += words
        before = known.get(sheet.code)
        start = given.valid_from or today
        if before is not None:
            if before["withdrawn_from"] and before["digest"] == digest(sheet):
                message = N_("{item} was withdrawn on {day} and stays so: the file says nothing new of it.")
                warned.append(Warned(message, {"item": sheet.code, "day": before["withdrawn_from"].isoformat()}))
                continue
            start = max(start, today, before["valid_from"])
        if publish(session, sheet, at=at, valid_from=start, source=given.source):
            published.append(sheet.code)
    for override in read.overrides:
        _record(session, override, at=at)
    return Loaded(published, len(read.given) - len(published), len(read.overrides), warned)


def _newest(session: Session, codes: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """Return from when the newest version of each known item holds, until when, and what it says."""
    found = rows(
        session,
        "SELECT DISTINCT ON (item_code) item_code, valid_from, withdrawn_from, digest FROM item_version"
        " WHERE district_code = :d AND item_code = ANY (:codes) ORDER BY item_code, version DESC",
        d=actor_of(session).district,
        codes=list(codes),
    )
    return {row["item_code"]: row for row in found}


def _record(session: Session, override: Override, *, at: datetime) -> None:
    """Keep what a town publishes otherwise; refused where it would make no sheet."""
    _may_keep(session)
    day = china_time(at).date()
    body = {**current(session, override.item_code, day).sheet.body(), **override.fields}
    checked(body, file=override.source)
    session.execute(
        text(
            "INSERT INTO item_override (district_code, item_code, area_code, fields, source, recorded_at) VALUES"
            " (:d, :code, :area, CAST(:fields AS jsonb), :source, :at)"
            " ON CONFLICT (district_code, item_code, area_code) DO UPDATE SET fields = EXCLUDED.fields,"
            " source = EXCLUDED.source, recorded_at = EXCLUDED.recorded_at"
        ),
        {
            "d": actor_of(session).district,
            "code": override.item_code,
            "area": override.area_code,
            "fields": orjson.dumps(override.fields).decode(),
            "source": override.source,
            "at": at,
        },
    )


def laid_over(sheet: Sheet, fields: Mapping[str, Any]) -> Sheet:
    """Return a sheet with some members replaced, as a town publishes it."""
    return Sheet.of({**sheet.body(), **fields})


def town_sheets(session: Session, code: str, day: date) -> dict[str, Sheet]:
    """Return the sheets that towns and communities publish otherwise than the district, by area code. Reads."""
    base = current(session, code, day).sheet
    found = rows(
        session,
        "SELECT area_code, fields FROM item_override WHERE district_code = :d AND item_code = :code"
        " ORDER BY area_code LIMIT 500",
        d=actor_of(session).district,
        code=code,
    )
    return {row["area_code"]: laid_over(base, row["fields"]) for row in found}


def _one(session: Session, code: str, rest: str, **given: Any) -> Version | None:
    found = rows(
        session,
        f"SELECT {_COLUMNS}, body, digest FROM item_version WHERE district_code = :d AND item_code = :code {rest}"  # noqa: S608
        " LIMIT 1",
        d=actor_of(session).district,
        code=code,
        **given,
    )
    return _version(found[0]) if found else None


def _version(found: Mapping[str, Any]) -> Version:
    row = dict(found)
    return Version(sheet=Sheet.of(row.pop("body")), **row)


def _withdrawn(line: Line, day: date) -> bool:
    return line.withdrawn_from is not None and line.withdrawn_from <= day


def _may_keep(session: Session) -> None:
    if actor_of(session).role not in (Role.SYSTEM, Role.ADMIN):
        raise Forbidden("Only the administrator may change the catalogue of service items.")


def _search(sheet: Sheet) -> str:
    words = [sheet.code, sheet.name, *sheet.keywords]
    words += [one.law for one in sheet.basis] + [one.name for one in sheet.materials]
    return " ".join(words)


def states(lines: Sequence[Line], day: date) -> list[str]:
    """Return for each version of one item, newest first, what it is on a day: a key of `STATES`."""
    found: list[str] = []
    reached = False
    for line in lines:
        if line.valid_from > day:
            found.append("coming")
        elif reached:
            found.append("replaced")
        else:
            reached = True
            found.append("withdrawn" if _withdrawn(line, day) else "valid")
    return found


#: What the states of a version are called.
STATES: Final[Mapping[str, str]] = {
    "coming": N_("will hold"),
    "valid": N_("holds"),
    "withdrawn": N_("withdrawn"),
    "replaced": N_("replaced"),
}
