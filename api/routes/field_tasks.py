"""One case as a phone takes it along: facts, the steps on offer with their fields, the last lines of its log.

Steps come from `dispatch.cases.offered`, which reads the process table and its guards; fields are drawn by the same
code as on every desk. Numbers of persons in texts are blotted: a phone can be lost.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from api.i18n import say
from api.pages import steps
from api.pages.listing import category_words
from dispatch import cases, field_views
from dispatch.field_views import Hanging, Line, Matter
from dispatch.fields import FIELDS, PLACE
from dispatch.process import Process, Step
from dispatch.rulebook import Rulebook
from hotline.masking import mask

_MOST_TEXT = 600
#: What of an entry a phone shows: words that somebody wrote.
_WORDS = ("note", "reason", "done", "answer", "opinion", "demand", "service")


def tasks(session: Session, book: Rulebook, matters: Sequence[Matter], *, at: datetime) -> list[dict[str, Any]]:
    """Return cases of the acting worker with what may be done on each now. Reads only; bounded by the caller."""
    hung = field_views.hanging(session, [one.id for one in matters])
    return [_task(session, book, one, hung[one.id], at=at) for one in matters]


def _task(session: Session, book: Rulebook, one: Matter, hung: Hanging, *, at: datetime) -> dict[str, Any]:
    table = book.process(one.process, one.process_version)
    offered = cases.offered(session, book, one.id, at=at)
    return _facts(book, one) | {
        "version": one.version,
        "process": one.process,
        "kind": one.kind,
        "text": mask(one.text)[:_MOST_TEXT],
        "urgency": one.urgency,
        "radius_m": one.radius_m,
        "cell": one.cell,
        "today_cell": one.today_cell,
        "due_at": one.due_at,
        "due_clock": one.due_clock,
        "duty": one.duty,
        "steps": _steps(book, table, one.kind, offered),
        "log": [_line(table, line) for line in hung.lines],
        "photos": [f"/photos/{one.id}/{photo}" for photo in hung.photos],
        "voices": [f"/api/v1/field/voices/{one.id}/{voice}" for voice in hung.voices],
    }


def near(book: Rulebook, one: Matter) -> dict[str, Any]:
    """Return an open matter that is no task: enough to say that it is the same, and nobody's words."""
    return _facts(book, one) | {"title": "", "version": one.version, "note": True}


def _facts(book: Rulebook, one: Matter) -> dict[str, Any]:
    state = book.process(one.process, one.process_version).state(one.state)
    return {
        "id": one.id,
        "number": one.number,
        "state": one.state,
        "state_label": say(state.label),
        "title": mask(one.title),
        "category": one.category,
        "category_name": category_words(book, one.category or None),
        "place_name": one.place_name,
        "lng": one.lng,
        "lat": one.lat,
        "received_at": one.received_at,
    }


def _steps(book: Rulebook, table: Process, kind: str, offered: Iterable[Step]) -> list[dict[str, Any]]:
    found = list(offered)
    main = next((step.action for action in steps.FORWARD for step in found if step.action == action), "")
    return [_step(book, table, kind, step, main=step.action == main) for step in found]


def _step(book: Rulebook, table: Process, kind: str, step: Step, *, main: bool) -> dict[str, Any]:
    needed = (*table.needs(step, kind), *(("reason",) if step.reason_required else ()))
    names = [name for name in table.fields(step, kind) if name not in PLACE and name != "place"]
    return {
        "action": step.action,
        "label": say(step.label),
        "term": step.term,
        "meaning": say(step.meaning),
        "danger": step.action in steps.GRAVE,
        "main": main,
        "place": "place" in table.fields(step, kind),
        "fields": [_field(book, step, name, needed=name in needed) for name in names if name in FIELDS],
        "photos": list(steps.PURPOSES.get(step.action, ("evidence",))) if "photos" in names else [],
    }


def _field(book: Rulebook, step: Step, name: str, *, needed: bool) -> dict[str, Any]:
    drawn = steps.ask(book, FIELDS[name], needed=needed, step=step)
    return {
        "name": drawn.name,
        "kind": drawn.kind,
        "label": drawn.label,
        "help": drawn.help,
        "needed": drawn.needed,
        "most": drawn.most,
        "choices": [{"code": one.code, "words": one.words} for one in drawn.choices],
        "needed_if": {drawn.when[0]: list(drawn.when[1])} if drawn.when else {},
    }


def _line(table: Process, line: Line) -> dict[str, Any]:
    label = next((step.label for step in table.steps if step.action == line.action), "")
    return {
        "action": say(label) if label else line.action,
        "by": line.by,
        "happened_at": line.happened_at,
        "recorded_at": line.recorded_at,
        "late": line.late,
        "text": mask(_words(line.data))[:200],
    }


def _words(data: Mapping[str, Any]) -> str:
    return " · ".join(str(data[name]) for name in _WORDS if isinstance(data.get(name), str))
