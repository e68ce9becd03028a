"""Service items as data, for everybody: the list, a sheet, its versions, and comparisons. Bounded; reads only."""

from datetime import date, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query

from api.deps import Now, Read
from api.pages.items import filter_of, one
from api.routes.documents import Model, Text
from dispatch.calendar import china_time
from dispatch.items import catalogue, lists
from dispatch.items.compare import across, compare
from dispatch.items.sheet import Sheet

router = APIRouter(prefix="/api/v1/items", tags=["items"])

_Number = Annotated[int, Query(ge=1, le=100_000)]


class ItemLine(Model):
    """An item in a list."""

    code: str
    name: str
    audience: str
    unit: str
    level: str
    done_at_once: bool
    legal_limit: str
    promised_limit: str
    version: int
    valid_from: date
    withdrawn_from: date | None


class ItemPage(Model):
    """A page of the items that hold today."""

    items: list[ItemLine]
    #: How many match, and how many there are at all.
    count: int
    total: int
    page: int
    pages: int


class ItemOut(ItemLine):
    """An item with its sheet: the eight disclosures, results and pick-up."""

    state: str
    source: str
    published_at: datetime
    #: Limits are written as 0, sd, 4wh, 5wd, 15nd or 24h; texts are Chinese.
    sheet: Sheet


class VersionLine(ItemLine):
    """A version of an item."""

    state: str
    source: str
    published_at: datetime


class DifferenceOut(Model):
    """One thing in which two sheets differ."""

    field: str
    key: str
    member: str
    one: Any
    other: Any


class Compared(Model):
    """Two versions of an item."""

    code: str
    before: int
    after: int
    differences: list[DifferenceOut]


class EntryOut(Model):
    """An entry of the three lists."""

    code: str
    kind: str
    title: str
    basis: str
    items: list[str]
    conditions: list[str]
    shares: dict[str, int]
    example: bool


def _line(line: catalogue.Line) -> dict[str, Any]:
    names = ("name", "audience", "level", "done_at_once", "legal_limit", "promised_limit", "version")
    days = ("valid_from", "withdrawn_from")
    return {name: getattr(line, name) for name in (*names, *days)} | {"code": line.item_code, "unit": line.unit_code}


@router.get("")
def index(
    session: Read,
    at: Now,
    *,
    q: Annotated[Text, Query(max_length=100)] = "",
    audience: Literal["", "person", "organisation", "both"] = "",
    unit: Annotated[Text, Query(max_length=40)] = "",
    level: Literal["", "district", "town", "community"] = "",
    once: bool = False,
    page: _Number = 1,
) -> ItemPage:
    """Return a page of the items that hold today, by code; `once`: one visit at most is needed."""
    given = {"q": q, "audience": audience, "unit": unit, "level": level, "once": "1" if once else ""}
    found = catalogue.listing(session, filter_of(given), day=china_time(at).date(), page=page)
    return ItemPage(
        items=[ItemLine(**_line(line)) for line in found.lines],
        count=found.count,
        total=found.total,
        page=found.page,
        pages=found.pages,
    )


@router.get("/lists")
def three_lists(session: Read, kind: Literal["", "negative", "permitted", "supervision"] = "") -> list[EntryOut]:
    """Return the entries of the negative, the permitted and the supervision list."""
    return [
        EntryOut(
            code=entry.code,
            kind=entry.kind,
            title=entry.title,
            basis=entry.basis,
            items=list(entry.item_codes),
            conditions=[one.words for one in entry.conditions],
            shares=dict(entry.shares or {}),
            example=entry.example,
        )
        for entry in lists.entries(session, kind=kind)
    ]


@router.get("/{code}")
def sheet(session: Read, at: Now, *, code: str, version: _Number | None = None) -> ItemOut:
    """Return the sheet of an item that holds today, or one of its versions."""
    today = china_time(at).date()
    found = one(session, code, version, today)
    lines = catalogue.history(session, found.item_code)
    states = dict(zip([line.version for line in lines], catalogue.states(lines, today), strict=True))
    return ItemOut(
        **_line(found),
        state=states.get(found.version, "replaced"),
        source=found.source,
        published_at=found.published_at,
        sheet=found.sheet,
    )


@router.get("/{code}/versions")
def versions(session: Read, at: Now, code: Text) -> list[VersionLine]:
    """Return the versions of an item, newest first."""
    lines = catalogue.history(session, code)
    return [
        VersionLine(**_line(line), state=state, source=line.source, published_at=line.published_at)
        for line, state in zip(lines, catalogue.states(lines, china_time(at).date()), strict=True)
    ]


@router.get("/{code}/compare")
def compared(session: Read, code: Text, before: _Number, after: _Number) -> Compared:
    """Return in what two versions of an item differ, materials matched by code; empty when they say the same."""
    left, right = catalogue.version(session, code, before), catalogue.version(session, code, after)
    return Compared(code=code, before=before, after=after, differences=_out(compare(left.sheet, right.sheet)))


@router.get("/{code}/towns")
def towns(session: Read, at: Now, code: Text) -> dict[str, list[DifferenceOut]]:
    """Return in what towns publish the item otherwise, by area code; windows and units aside. Empty: the same."""
    today = china_time(at).date()
    base = catalogue.current(session, code, today).sheet
    found = across(base, catalogue.town_sheets(session, code, today))
    return {area: _out(differences) for area, differences in found.items()}


def _out(differences: Any) -> list[DifferenceOut]:
    names = ("field", "key", "member", "one", "other")
    return [DifferenceOut(**{name: getattr(one, name) for name in names}) for one in differences]
