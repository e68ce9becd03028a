"""The supervisor's desk 督查: what waits for a ruling, how far expiries have climbed, and who records late.

Looks only; every line leads to the case, where the steps are. Filters live in the address.
"""

import csv
import io
from collections.abc import Iterable
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from api import wiring
from api.deps import Now, Read, require
from api.i18n import N_, say
from api.pages import page
from api.pages.listing import harmless, span_of
from api.wording import ACTIONS, exact, named, span_words
from core.actor import Actor, Role
from dispatch import honesty
from dispatch.rulebook import Rulebook

router = APIRouter(include_in_schema=False)

Supervisor = Annotated[Actor, Depends(require(Role.SUPERVISOR))]

#: Days that the lateness of records is shown over, where the address names none.
_DAYS = 30
#: Box → heading and what an empty one says.
BOXES = {
    "disputed": (N_("To arbitrate"), N_("No units disagree about a case.")),
    "pleas": (N_("Pleas to decide"), N_("No unit waits for an answer to a plea.")),
    "supervised": (N_("Supervised"), N_("No supervision is running.")),
    honesty.OVERDUE: (N_("Overdue by rung"), N_("No clock has run out.")),
}
#: Who was told last of an expiry.
RUNGS = {
    0: N_("nobody told yet"),
    1: N_("head of the unit"),
    2: N_("district centre"),
    3: N_("supervision"),
}
PLEAS = {"extension": N_("Extension"), "pause": N_("Pause"), "park": N_("Parking")}


def _rung(request: Request) -> int | None:
    written = request.query_params.get("rung", "")
    return int(written) if written in ("0", "1", "2", "3") else None


@router.get("/supervise")
def desk(request: Request, session: Read, actor: Supervisor, at: Now) -> Response:
    """Show the boxes with their counts, the cases of the chosen one, and lateness by unit."""
    del actor
    book, span = wiring.rulebook(), span_of(request, at, days=_DAYS)
    by_rung = honesty.by_rung(session, at=at)
    counts = honesty.counts(session) | {honesty.OVERDUE: sum(by_rung.values())}
    first = next((name for name in BOXES if counts[name]), "disputed")
    box, rung = request.query_params.get("box", "") or first, _rung(request)
    unit = request.query_params.get("late")
    late = honesty.late_entries(session, since=span.since, until=span.until, unit=unit) if unit is not None else ()
    return page(
        request,
        "supervise/desk.html",
        boxes=BOXES,
        counts=counts,
        box=box,
        rung=rung,
        rungs=RUNGS,
        by_rung=by_rung,
        pleas=PLEAS,
        listed=honesty.watched(session, box, at=at, rung=rung),
        most=honesty.MOST,
        span=span,
        units=honesty.late_by_unit(session, since=span.since, until=span.until),
        late_unit=unit,
        late=[(one, span_words(one.gap)) for one in late],
        unit_name=lambda code: book.unit_name(code) or say("No unit: operators, grid workers, the program"),
        span_words=span_words,
        allowance=int(book.settings.get("late_after_min", 30)),
        at=at,
    )


@router.get("/supervise/late.csv")
def late_csv(request: Request, session: Read, actor: Supervisor, at: Now) -> Response:
    """Answer the late entries of the span, of one unit or all, as a table that spreadsheets open."""
    del actor
    span = span_of(request, at, days=_DAYS)
    found = honesty.late_entries(
        session,
        since=span.since,
        until=span.until,
        unit=request.query_params.get("late"),
        limit=honesty.MOST_EXPORTED,
    )
    return Response(
        _table(wiring.rulebook(), found),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="late-{span.first}-{span.last}.csv"'},
    )


def _table(book: Rulebook, found: Iterable[honesty.LateEntry]) -> str:
    out = io.StringIO()
    # Spreadsheets take a file for UTF-8 only by its mark.
    out.write("\ufeff")
    writer = csv.writer(out)
    head = (N_("Number"), N_("Entry"), N_("Step"), N_("Who"), N_("Unit"), N_("Happened"), N_("Recorded"), N_("Minutes"))
    writer.writerow([say(word) for word in head])
    for one in found:
        minutes = int(one.gap.total_seconds()) // 60
        words = (named(one.action, ACTIONS), one.actor_name, book.unit_name(one.unit_code))
        times = (exact(one.happened_at), exact(one.recorded_at))
        writer.writerow([one.number, one.seq, *map(harmless, words), *times, minutes])
    return out.getvalue()
