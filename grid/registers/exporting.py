"""A list of a register as a spreadsheet 导出: what the list shows and no more, marked with who, when, why and a number.

Protected fields stay masked, whoever asks. The mark stands above, under every printed page and in every row, so that a
part that was cut out still tells where it came from. Bounded, and logged with its filter and count.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, Final

import xlsxwriter
from sqlalchemy.orm import Session

from core.db import actor_of
from core.errors import Forbidden, Invalid
from core.ids import check_character, new_id
from grid.registers import lists
from grid.registers.fields import REGISTERS, Register
from grid.registers.lists import Asked, Line
from grid.registers.permissions import Access
from grid.registers.record import log

#: Rows of one export. *Default*.
MOST: Final = 2000
_LEFT_OUT: Final = ("household_id", "merged_into", "room_id", "building_id", "head_id", "organisation_id")


@dataclass(frozen=True, slots=True)
class Exported:
    """A finished file."""

    #: Date and running number with a check character; stands in the log.
    number: str
    name: str
    body: bytes
    rows: int
    #: There were more rows than may be exported.
    cut: bool


def export(
    session: Session,
    access: Access,
    asked: Asked,
    *,
    why: str,
    at: datetime,
    today: date,
    say: Callable[[str], str],
    when: str,
) -> Exported:
    """Return a list as an xlsx file, after logging it. Writes; caller commits.

    why: what it is for, in words. say: translates; when: the time as the reader writes it. Raises Invalid without a
    purpose or without a row, Forbidden as `lists.listed`.
    """
    if len(why.strip()) < 4:
        raise Invalid("Say what the export is for: it is written down and printed on every page.", field="why")
    actor = actor_of(session)
    if actor.id is None:
        raise Forbidden("Your role may not open this.")
    listed = lists.listed(session, access, replace(asked, after=""), today=today, most=MOST)
    if not listed.lines:
        raise Invalid("There is nothing to export.", field="why")
    key = new_id()
    digits = f"{today:%Y%m%d}{key.int % 10**8:08d}"
    number = digits + check_character(digits)
    register = REGISTERS[asked.register]
    mark = f"{number} · {actor.name} · {when} · {why.strip()[:100]}"
    body = _written(register, listed.lines, mark, number, say)
    filters = {
        name: "set" if name in ("name", "number", "phone") else getattr(asked, name)
        for name in ("cell", "kind", "flag", "state", "name", "number", "phone")
        if getattr(asked, name)
    }
    cut = listed.more or listed.count > len(listed.lines)
    data = {"number": number, "rows": len(listed.lines), "filter": filters, "why": why.strip()[:200], "cut": cut}
    log(session, "export", asked.register, data, at=at)
    return Exported(number, f"{asked.register}-{number}.xlsx", body, len(listed.lines), cut)


def _written(register: Register, lines: tuple[Line, ...], mark: str, number: str, say: Callable[[str], str]) -> bytes:
    out = io.BytesIO()
    book = xlsxwriter.Workbook(out, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False})
    plain, head = book.add_format({"text_wrap": True, "valign": "top"}), book.add_format({"bold": True, "bottom": 1})
    loud = book.add_format({"bold": True, "font_color": "#B00020"})
    faint = book.add_format({"font_color": "#999999", "font_size": 8})
    sheet = book.add_worksheet(say(register.label)[:31])
    shown = {name for line in lines for name in line.fields}
    fields = [one for one in register.fields if one.name in shown and one.name not in _LEFT_OUT]
    sheet.write_string(0, 0, mark, loud)
    heads = [*(say(one.label) for one in fields), say("State"), say("Cell"), say("Place"), say("Mark")]
    for column, words in enumerate(heads):
        sheet.write_string(2, column, words, head)
        sheet.set_column(column, column, 18)
    for i, line in enumerate(lines, 3):
        values = [_words(line, one.name, register, say) for one in fields]
        values += [say(register.states[line.state]), line.cell or "", line.place]
        for column, value in enumerate(values):
            sheet.write_string(i, column, value, plain)
        sheet.write_string(i, len(values), number, faint)
    sheet.freeze_panes(3, 0)
    sheet.repeat_rows(0, 2)
    sheet.set_landscape()
    sheet.set_paper(9)
    sheet.fit_to_pages(1, 0)
    # An ampersand begins a code in headers and footers.
    footer = mark[:120].replace("&", "&&")
    sheet.set_header(f"&C{footer}"[:250])
    sheet.set_footer(f"&L{footer}&R&P / &N"[:250])
    book.set_properties({"comments": mark})
    book.close()
    return out.getvalue()


def _words(line: Line, name: str, register: Register, say: Callable[[str], str]) -> str:
    field, shown = register.field(name), line.fields.get(name)
    if shown is None or field is None or shown.value in ("", None):
        return ""
    value: Any = shown.value
    if field.kind == "flags":
        return say(", ").join(say(field.choices[one]) for one in value if one in field.choices)
    return say(field.choices[value]) if field.choices and value in field.choices else str(value)
