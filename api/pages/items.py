"""The catalogue of service items 办事指南: search, the sheet with the eight disclosures, PDF, comparisons."""

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Query
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from api import item_words, pdf, security, wiring
from api.deps import Now, Read, here
from api.i18n import LANGUAGE
from api.pages import STATIC, environment, page
from core.errors import Invalid
from dispatch.calendar import china_time
from dispatch.items import catalogue, lists
from dispatch.items.catalogue import Version
from dispatch.items.compare import across, compare
from dispatch.items.sheet import AUDIENCES, LEVELS, NAMES

router = APIRouter(include_in_schema=False)

_LONGEST = 100
_Number = Annotated[int | None, Query(ge=1, le=100_000)]


@router.get("/items")
def index(request: Request, session: Read, at: Now) -> Response:
    """Show the items that hold today, narrowed by words, for whom, department, level, and whether once is enough."""
    given = {name: value.strip()[:_LONGEST] for name, value in request.query_params.items()}
    asked = filter_of(given)
    number = given.get("page", "1")
    wanted = int(number) if number.isascii() and number.isdigit() and len(number) < 6 else 1
    found = catalogue.listing(session, asked, day=china_time(at).date(), page=wanted)
    return page(
        request,
        "items/list.html",
        asked=asked,
        found=found,
        at=at,
        book=wiring.rulebook(),
        words=item_words,
        narrowed=bool(asked.audience or asked.unit or asked.level or asked.once or asked.search),
    )


def filter_of(given: dict[str, str]) -> catalogue.Filter:
    """Return the filter that an address asks for; raises Invalid for values that mean nothing."""
    if not security.is_clean(given.get("q", "") + given.get("unit", "")):
        raise Invalid("The text contains characters that cannot be read; type it again.", field="q")
    for name, known in (("audience", AUDIENCES), ("level", LEVELS)):
        if given.get(name) and given[name] not in known:
            raise Invalid("{value} is no choice for this filter.", field=name, value=given[name][:40])
    return catalogue.Filter(
        search=given.get("q", ""),
        audience=given.get("audience", ""),
        unit=given.get("unit", ""),
        level=given.get("level", ""),
        once=given.get("once", "") in ("1", "true", "on"),
    )


@router.get("/items/{code}.pdf")
def as_pdf(session: Read, at: Now, code: str, version: _Number = None) -> Response:
    """Return the sheet as a PDF for A4, with source, version, date and page numbers."""
    today = china_time(at).date()
    found = one(session, code, version, today)
    context = sheet_context(session, found, today)
    key = (here(), LANGUAGE.get(), today, found.digest, context["state"], found.version, context["entries_key"])

    def html() -> str:
        template = environment().get_template("items/print.html")
        return template.render({"lang": LANGUAGE.get(), "here": here(), "printed": today.isoformat(), **context})

    css = (STATIC / "items-print.css").read_text(encoding="utf-8")
    data = pdf.draw(key, html, css=css)
    name = f"{found.item_code}-v{found.version}.pdf"
    return Response(data, media_type="application/pdf", headers={"Content-Disposition": f'inline; filename="{name}"'})


@router.get("/items/{code}")
def sheet(request: Request, session: Read, at: Now, *, code: str, version: _Number = None) -> Response:
    """Show the sheet of an item: what holds today, or an older version by its number."""
    today = china_time(at).date()
    found = one(session, code, version, today)
    return page(request, "items/item.html", at=at, **sheet_context(session, found, today))


@router.get("/items/{code}/compare")
def compared(
    request: Request, session: Read, at: Now, *, code: str, before: _Number = None, after: _Number = None
) -> Response:
    """Show two versions side by side, by default the newest and the one before it, and what towns publish otherwise."""
    today = china_time(at).date()
    history = catalogue.history(session, code)
    newest = history[0].version
    right = catalogue.version(session, code, after or newest)
    left = catalogue.version(session, code, before or max(1, right.version - 1))
    held = "valid" in catalogue.states(history, today)
    towns = catalogue.town_sheets(session, code, today) if held else {}
    base = catalogue.current(session, code, today).sheet if towns else right.sheet
    return page(
        request,
        "items/compare.html",
        at=at,
        history=history,
        left=left,
        right=right,
        differences=compare(left.sheet, right.sheet),
        towns=across(base, towns),
        book=wiring.rulebook(),
        words=item_words,
        names=NAMES,
    )


def one(session: Session, code: str, number: int | None, day: date) -> Version:
    """Return the version asked for, else the one that holds on a day. Reads; raises NotFound."""
    if not security.is_clean(code):
        raise Invalid("The text contains characters that cannot be read; type it again.", field="code")
    return catalogue.version(session, code, number) if number else catalogue.current(session, code, day)


def sheet_context(session: Session, found: Version, day: date) -> dict[str, Any]:
    """Return what the templates of a sheet need. Reads."""
    history = catalogue.history(session, found.item_code)
    states = dict(zip([line.version for line in history], catalogue.states(history, day), strict=True))
    known = {entry.code: entry for entry in lists.entries(session, item=found.item_code)}
    entries = [known[code] for code in found.sheet.lists if code in known]
    return {
        "version": found,
        "sheet": found.sheet,
        "history": history,
        "states": states,
        "state": states.get(found.version, "replaced"),
        "state_words": catalogue.STATES,
        "list_names": lists.NAMES,
        "entries": entries,
        "entries_key": tuple((entry.code, entry.title, entry.basis) for entry in entries),
        "book": wiring.rulebook(),
        "words": item_words,
    }
