"""The lists of desk, unit and case pages: reads a filter from the page's address and gives it words. Draws nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from urllib.parse import urlencode

from starlette.requests import Request

from api.wording import CHINA
from core.errors import Invalid
from dispatch.rulebook import Node, Rulebook
from dispatch.views import Filter, Sort

#: Name in the address → member of the filter; short, because people read and share addresses.
_TEXTS = {
    "box": "box",
    "state": "states",
    "unit": "unit",
    "town": "town",
    "community": "community",
    "cell": "cell",
    "category": "category",
    "kind": "kind",
    "urgency": "urgency",
    "channel": "channel",
    "q": "search",
}
_LONGEST = 100


@dataclass(frozen=True, slots=True)
class Asked:
    """What a list page was asked for."""

    filter: Filter
    sort: Sort
    #: Where the page begins; empty at the top.
    after: str
    #: The filter and sort as a query string without the page, for links that come back to this list.
    query: str
    #: How many members of the filter are set besides the box and the search.
    narrowed: int


def asked(request: Request, *, box: str) -> Asked:
    """Return the filter in the address; raises Invalid, naming the parameter, for values that mean nothing.

    box: the list shown where the address names none.
    """
    given = {name: value.strip()[:_LONGEST] for name, value in request.query_params.items() if value.strip()}
    chosen: dict[str, object] = {
        member: given[name] for name, member in _TEXTS.items() if name in given and name != "state"
    }
    if "state" in given:
        chosen["states"] = tuple(given["state"].split(",")[:10])
    chosen.setdefault("box", box)
    if "colour" in given:
        if given["colour"] not in ("0", "1", "2", "3"):
            raise Invalid("The colour is a number from 0 to 3.", field="colour")
        chosen["colour"] = int(given["colour"])
    if "from" in given:
        chosen["received_from"] = _day(given["from"], "from")
    if "to" in given:
        # People mean the whole of the last day.
        chosen["received_to"] = _day(given["to"], "to", after=1)
    if "due" in given:
        chosen["due_before"] = _day(given["due"], "due", after=1)
    try:
        sort = Sort(given.get("sort", Sort.DUE))
    except ValueError as error:
        raise Invalid("The list can be sorted by due, newest or oldest.", field="sort") from error
    known = (*_TEXTS, "colour", "from", "to", "due", "sort")
    query = urlencode([(name, given[name]) for name in known if name in given])
    narrowed = sum(1 for name in known if name in given and name not in ("box", "q", "sort"))
    return Asked(Filter(**chosen), sort, given.get("after", ""), query, narrowed)  # type: ignore[arg-type]  # by member


@dataclass(frozen=True, slots=True)
class Span:
    """Days that figures are shown over, in China; the last one whole."""

    first: date
    last: date

    @property
    def since(self) -> datetime:
        """When the first day begins."""
        return datetime.combine(self.first, time(), CHINA)

    @property
    def until(self) -> datetime:
        """When the last day is over."""
        return datetime.combine(self.last + timedelta(days=1), time(), CHINA)


def span_of(request: Request, at: datetime, *, days: int) -> Span:
    """Return the span `from` to `to` in the address, by default so many days up to today; raises Invalid."""
    last = _date(request, "to") or end_of_day(at).date() - timedelta(days=1)
    first = _date(request, "from") or last - timedelta(days=days - 1)
    if first > last:
        raise Invalid("The first day lies after the last one.", field="from")
    return Span(first, last)


def _date(request: Request, name: str) -> date | None:
    written = request.query_params.get(name, "").strip()
    if not written:
        return None
    try:
        day = date.fromisoformat(written)
    except ValueError as error:
        raise Invalid("{day} is no date; write 2026-11-21.", field=name, day=written[:20]) from error
    if not date(2000, 1, 1) <= day <= date(2059, 12, 31):
        raise Invalid("{day} is no date; write 2026-11-21.", field=name, day=written[:20])
    return day


def harmless(text: str) -> str:
    """Return a cell of a table that spreadsheets open: what a stranger wrote is not taken for a formula."""
    return f"'{text}" if text.lstrip()[:1] in ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠") else text


def end_of_day(at: datetime) -> datetime:
    """Return midnight after a moment in China: until when something is due today."""
    today = at.astimezone(CHINA).date()
    return datetime.combine(date.fromordinal(today.toordinal() + 1), time(), CHINA)


def _day(written: str, field: str, *, after: int = 0) -> datetime:
    try:
        day = date.fromisoformat(written)
        return datetime.combine(date.fromordinal(day.toordinal() + after), time(), CHINA)
    except ValueError as error:
        raise Invalid("{day} is no date; write 2026-11-21.", field=field, day=written[:20]) from error


@dataclass(frozen=True, slots=True)
class Choice:
    """One value that a person may choose: the code that is stored and the words that are shown."""

    code: str
    words: str


@dataclass(frozen=True, slots=True)
class Choices:
    """What selects and type-ahead fields of the desk offer."""

    towns: tuple[Choice, ...]
    units: tuple[Choice, ...]
    categories: tuple[Choice, ...]
    #: Categories of the top level, for filters.
    tops: tuple[Choice, ...]


def choices(book: Rulebook) -> Choices:
    """Return the district's towns, units and categories, in the order of their codes; categories with their path."""
    return Choices(
        towns=tuple(Choice(n.code, n.name) for n in _sorted(book.areas) if n.kind == "town"),
        units=tuple(Choice(n.code, n.name) for n in _sorted(book.units)),
        categories=tuple(Choice(n.code, category_words(book, n.code)) for n in _sorted(book.categories)),
        tops=tuple(Choice(n.code, n.name) for n in _sorted(book.categories) if n.parent is None),
    )


def category_words(book: Rulebook, code: str | None) -> str:
    """Return a category with the levels above it: 市容环境 / 暴露垃圾."""
    return " / ".join(book.category_path(code))


def chosen_code(offered: tuple[Choice, ...], written: str, *, field: str) -> str:
    """Return the code that a person meant by typing a code, the whole words or words that only one choice has.

    Raises Invalid, naming the field, where nothing or more than one is meant.
    """
    said = written.strip()
    exact = [choice.code for choice in offered if said in (choice.code, choice.words)]
    # A name that stands on several levels means the deepest: whoever types it sees the leaf.
    leaf = [choice.code for choice in offered if choice.words.rpartition(" / ")[2] == said]
    within = [choice.code for choice in offered if said and said in choice.words]
    for found in (exact, leaf, within):
        if len(found) == 1:
            return found[0]
    if within:
        raise Invalid("{words} can mean several entries; choose one from the list.", field=field, words=said[:40])
    raise Invalid("{words} is not in the list; choose an entry from it.", field=field, words=said[:40])


def _sorted(nodes: Mapping[str, Node]) -> list[Node]:
    return [nodes[code] for code in sorted(nodes)]
