"""The one parser and checker of item sheets, whatever file their rows came from; gathers every fault with its place.

Rows come from `reading` (YAML) and `excel`. Knows no database.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, TypeVar

from core.errors import Invalid
from dispatch.items.sheet import (
    AUDIENCES,
    CHANNELS,
    FORMS,
    LEVELS,
    REVIEW_LEVELS,
    SURVEYS,
    UPLOADS,
    Basis,
    Fee,
    Material,
    Parallel,
    PickUp,
    Result,
    Reuse,
    Review,
    Sheet,
    Step,
    Waiver,
)
from dispatch.limits import Count, Limit
from dispatch.tables import Row

#: Longest name, sentence and list: more is a mistake, and pages stay bounded.
_NAME, _TEXT, _MOST = 100, 1000, 60

Part = TypeVar("Part")


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a row cannot be taken, and where it stands."""

    file: str
    line: int
    #: Empty when the whole row is at fault.
    column: str
    #: English template of the catalogue, filled by `params`.
    message: str
    params: Mapping[str, Any]

    @classmethod
    def of(cls, error: Invalid) -> "Fault":
        """Return the fault that an error of `Row` describes."""
        said = error.params
        line = said.get("line")
        where = str(said.get("file", "")), line if isinstance(line, int) else 0
        return cls(*where, str(said.get("column") or error.field or ""), error.message, said)

    @property
    def sentence(self) -> str:
        """The message in English, filled in."""
        return self.message.format_map(self.params)


class Faults(list[Fault]):
    """Gathers faults, so that everything wrong in a file is told at once."""

    def each(self, rows: Iterable[Row], read: Callable[[Row], Part]) -> tuple[Part, ...]:
        """Return what can be read of some rows; faults of the others are kept."""
        made: list[Part] = []
        for row in rows:
            try:
                made.append(read(row))
            except Invalid as error:
                self.append(Fault.of(error))
        return tuple(made)

    def check(self, row: Row, ask: Callable[[Row], Part], *, otherwise: Part) -> Part:
        """Return what `ask` reads of a row, or `otherwise` when it is at fault."""
        found = self.each([row], ask)
        return found[0] if found else otherwise


def parse(row: Row, faults: Faults, *, code_pattern: Any) -> Sheet | None:
    """Return the sheet of an item's row with its nested rows, None where it cannot be taken.

    row: members named as `Sheet` has them. faults: takes everything that is wrong with it, with file and line.
    code_pattern: a compiled pattern that codes of items match, data of the district.
    """
    before = len(faults)
    taken = {name: faults.each(_rows(row, name, faults), read) for name, read in _READ.items()}
    fee = faults.check(row, lambda one: _fee(one, faults), otherwise=Fee())
    sheet = faults.check(row, lambda one: _sheet(one, code_pattern, fee=fee, **taken), otherwise=None)
    if sheet is not None and len(faults) == before:
        faults.check(row, lambda one: _agrees(one, sheet), otherwise=None)
    return sheet if len(faults) == before else None


def checked(body: Mapping[str, Any], *, file: str) -> Sheet:
    """Return the sheet of a body that did not come from a publication; raises Invalid with the first fault."""
    faults = Faults()
    sheet = parse(_rowed(body, file), faults, code_pattern=re.compile(".+"))
    if sheet is None:
        raise Invalid(faults[0].message, field=faults[0].column or None, **faults[0].params)
    return sheet


def _rowed(body: Mapping[str, Any], file: str) -> Row:
    """Return JSON values as the parser takes them."""

    def turned(value: Any) -> Any:
        if isinstance(value, Mapping):
            return _rowed(value, file)
        return [turned(one) for one in value] if isinstance(value, list | tuple) else value

    row = Row(file, 1)
    row.update({name: turned(value) for name, value in body.items()})
    return row


def _rows(row: Row, name: str, faults: Faults) -> list[Row]:
    def listed(one: Row) -> list[Row]:
        found = one.rows(name)
        if len(found) > _MOST:
            one.reject("{file}, line {line}: {column} has more than {most} rows.", column=name, most=_MOST)
        return found

    return faults.check(row, listed, otherwise=[])


def _sheet(row: Row, pattern: Any, **parts: Any) -> Sheet:
    row.only(*(one.name for one in fields(Sheet)), "valid_from")
    row.need("code", "name", "unit", "legal_limit", "promised_limit")
    code = _short(row, "code")
    if not pattern.fullmatch(code):
        row.reject("{file}, line {line}: {code} does not have the form of an item code.", column="code", code=code)
    at_once = row.flag("done_at_once", otherwise=False)
    return Sheet(
        code=code,
        name=_short(row, "name"),
        audience=_choice(row, "audience", AUDIENCES, otherwise="person"),
        unit=_short(row, "unit"),
        level=_choice(row, "level", LEVELS, otherwise="community"),
        legal_limit=_limit(row, "legal_limit"),
        promised_limit=_limit(row, "promised_limit"),
        accept_limit=_limit(row, "accept_limit", otherwise="0" if at_once else "1wd"),
        deliver_limit=_limit(row, "deliver_limit", otherwise="0" if at_once else "1wd"),
        by_town=row.flag("by_town", otherwise=False),
        done_at_once=at_once,
        conditions=_sentences(row, "conditions"),
        survey=_choice(row, "survey", SURVEYS, otherwise="none"),
        green_channel=_sentences(row, "green_channel"),
        channels=_choices(row, "channels", CHANNELS, otherwise=("window",)),
        agent=row.flag("agent", otherwise=True),
        supervising=_short(row, "supervising"),
        lists=_sentences(row, "lists"),
        keywords=_sentences(row, "keywords"),
        example=row.flag("example", otherwise=False),
        **parts,
    )


def _agrees(row: Row, sheet: Sheet) -> None:
    """Refuse a sheet whose parts contradict each other."""
    if not surely_within(Limit.parse(sheet.promised_limit), Limit.parse(sheet.legal_limit)):
        row.reject(
            "{file}, line {line}: the promised limit {promised} is longer than the legal one, {legal}, or may be.",
            column="promised_limit",
            promised=sheet.promised_limit,
            legal=sheet.legal_limit,
        )
    if sheet.done_at_once and Limit.parse(sheet.promised_limit).count not in (Count.AT_ONCE, Count.SAME_DAY):
        row.reject(
            "{file}, line {line}: an item done at once promises 0 or sd, not {promised}.",
            column="promised_limit",
            promised=sheet.promised_limit,
        )
    if sheet.done_at_once and (sheet.parallel or sheet.reviews or sheet.survey != "none"):
        row.reject("{file}, line {line}: an item done at once has no survey, parallel units or reviews.")
    if sheet.joint_survey and not sheet.parallel:
        row.reject("{file}, line {line}: a joint survey needs parallel units.", column="survey")
    _need_parts(row, sheet)
    for column, codes in (
        ("materials", [one.code for one in sheet.materials]),
        ("pick_ups", [one.code for one in sheet.pick_ups]),
        ("parallel", [one.unit for one in sheet.parallel]),
        ("reviews", [one.level for one in sheet.reviews]),
    ):
        twice = next((code for code in codes if codes.count(code) > 1), None)
        if twice is not None:
            row.reject("{file}, line {line}: {column} names {code} twice.", column=column, code=twice)
    if sheet.unit in {one.unit for one in sheet.parallel}:
        row.reject("{file}, line {line}: the competent unit stands among the parallel ones.", column="parallel")


def _need_parts(row: Row, sheet: Sheet) -> None:
    """Refuse a sheet that leaves out what the eight disclosures ask for."""
    for column in ("basis", "conditions", "steps", "results", "pick_ups"):
        if not getattr(sheet, column):
            row.reject("{file}, line {line}: {column} is missing.", column=column)


def surely_within(short: Limit, long: Limit) -> bool:
    """Return whether a limit can never end later than another that starts at the same moment.

    Working days and natural days are compared by the calendar's extremes: N working days take at least N days, and at
    most seven for every five with nine more for the longest holiday. What cannot be known counts as longer.
    """
    if short.count is long.count:
        return short.amount <= long.amount
    return _days(short)[1] <= _days(long)[0]


def _days(limit: Limit) -> tuple[float, float]:
    """Return how many natural days a limit takes at least and at most."""
    match limit.count:
        case Count.AT_ONCE:
            return 0, 0
        case Count.CLOCK_HOURS:
            return limit.amount / 24, limit.amount / 24
        case Count.NATURAL_DAYS:
            # A last day that is not worked moves on.
            return limit.amount, limit.amount + 9
        case Count.SAME_DAY:
            # Taken by the clock of the window, so it is over before any whole day is.
            return 0, 0.9
        case Count.WORKING_HOURS | Count.WORKING_DAYS:
            days = limit.amount / (8 if limit.count is Count.WORKING_HOURS else 1)
            if days < 1:
                return 0, 0.9
            return days, days * 7 / 5 + 9


def _basis(row: Row) -> Basis:
    row.only("law", "article")
    row.need("law")
    return Basis(_short(row, "law", most=200), _short(row, "article", most=200))


def _material(row: Row) -> Material:
    row.only(*(one.name for one in fields(Material)))
    row.need("code", "name")
    form = _choice(row, "form", FORMS, otherwise="original")
    register = _short(row, "register")
    if (form == "shared") != bool(register):
        row.reject("{file}, line {line}: a shared material, and no other, names its register.", column="register")
    count = row.whole("count")
    count = 1 if count is None else count
    if not 0 < count < 100:
        row.reject("{file}, line {line}: {column} must be between 1 and 99.", column="count")
    return Material(
        code=_short(row, "code", most=40),
        name=_short(row, "name"),
        form=form,
        count=count,
        required=row.flag("required", otherwise=True),
        lag=_limit(row, "lag", otherwise=""),
        register=register,
        blank=_short(row, "blank"),
        note=_short(row, "note", most=_TEXT),
        uploads=_choices(row, "uploads", UPLOADS, otherwise=UPLOADS),
    )


def _step(row: Row) -> Step:
    row.only("name", "by", "limit", "note")
    row.need("name")
    limit = _limit(row, "limit", otherwise="")
    return Step(_short(row, "name"), _short(row, "by"), limit, _short(row, "note", most=_TEXT))


def _waiver(row: Row) -> Waiver:
    row.only("who", "percent", "basis")
    row.need("who", "percent", "basis")
    percent = row.whole("percent") or 0
    if not 0 < percent <= 100:
        row.reject("{file}, line {line}: {column} must be between 1 and 100.", column="percent")
    return Waiver(_short(row, "who", most=200), percent, _short(row, "basis", most=200))


def _fee(row: Row, faults: Faults) -> Fee:
    fee = row.get("fee")
    if fee is None:
        return Fee()
    if not isinstance(fee, Row):
        row.reject("{file}, line {line}: {column} must be a row of its own.", column="fee")
    fee.only("charged", "amount", "basis", "waivers")
    charged = fee.flag("charged", otherwise=True)
    if charged:
        # S0: a fee without its basis may not be asked for.
        fee.need("amount", "basis")
    waivers = faults.each(_rows(fee, "waivers", faults), _waiver)
    return Fee(charged, _short(fee, "amount", most=200), _short(fee, "basis", most=200), waivers)


def _result(row: Row) -> Result:
    row.only("name", "validity")
    row.need("name")
    return Result(_short(row, "name"), _short(row, "validity"))


def _pick_up(row: Row) -> PickUp:
    row.only("code", "name", "post")
    row.need("code", "name")
    return PickUp(_short(row, "code", most=40), _short(row, "name"), row.flag("post", otherwise=False))


def _parallel(row: Row) -> Parallel:
    row.only("unit", "task", "limit")
    row.need("unit", "task", "limit")
    return Parallel(_short(row, "unit", most=40), _short(row, "task", most=200), _limit(row, "limit"))


def _review(row: Row) -> Review:
    row.only("level", "limit", "task")
    row.need("level", "limit")
    level = _choice(row, "level", REVIEW_LEVELS, otherwise="")
    return Review(level, _limit(row, "limit"), _short(row, "task", most=200))


def _reuse(row: Row) -> Reuse:
    row.only("field", "register")
    row.need("field", "register")
    return Reuse(_short(row, "field"), _short(row, "register"))


_READ: Final[Mapping[str, Callable[[Row], Any]]] = {
    "basis": _basis,
    "materials": _material,
    "steps": _step,
    "results": _result,
    "pick_ups": _pick_up,
    "parallel": _parallel,
    "reviews": _review,
    "reuse": _reuse,
}


def _short(row: Row, column: str, *, most: int = _NAME) -> str:
    """Return a text of one line that people can read, of bounded length; numbers stand for themselves."""
    found = row.get(column)
    text = str(found) if isinstance(found, int) and not isinstance(found, bool) else row.text(column)
    text = text.strip()
    if len(text) > most:
        row.reject("{file}, line {line}: {column} is longer than {most} characters.", column=column, most=most)
    if not text.isprintable():
        row.reject("{file}, line {line}: {column} holds characters that cannot be read.", column=column)
    return text


def _sentences(row: Row, column: str) -> tuple[str, ...]:
    words = row.words(column)
    if len(words) > _MOST:
        row.reject("{file}, line {line}: {column} has more than {most} rows.", column=column, most=_MOST)
    for word in words:
        if len(word) > _TEXT:
            row.reject("{file}, line {line}: {column} is longer than {most} characters.", column=column, most=_TEXT)
        if not word.isprintable():
            row.reject("{file}, line {line}: {column} holds characters that cannot be read.", column=column)
    return words


def _choice(row: Row, column: str, known: tuple[str, ...], *, otherwise: str) -> str:
    found = _short(row, column) or otherwise
    if found not in known:
        row.reject("{file}, line {line}: {column} must be one of {known}.", column=column, known=", ".join(known))
    return found


def _choices(row: Row, column: str, known: tuple[str, ...], *, otherwise: tuple[str, ...]) -> tuple[str, ...]:
    found = row.words(column) or otherwise
    if not set(found) <= set(known) or len(set(found)) != len(found):
        row.reject("{file}, line {line}: {column} must be one of {known}.", column=column, known=", ".join(known))
    return found


def _limit(row: Row, column: str, *, otherwise: str = "") -> str:
    written = _short(row, column) or otherwise
    if not written:
        return ""
    try:
        return str(Limit.parse(written))
    except Invalid:
        row.reject("{file}, line {line}: {limit} is no limit.", column=column, limit=written)
