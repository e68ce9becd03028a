"""What a worker's phone takes along for days without a line 离线包: bounded, without names, and only what changed.

A part is drawn whole and left out where it is what the phone has; cases are drawn one by one where their log went on.
"""

import base64
import binascii
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, Final
from zoneinfo import ZoneInfo

import orjson
from sqlalchemy.orm import Session

from api import wiring
from api.i18n import LANGUAGE, say
from api.pages.listing import category_words
from api.routes import field_tasks
from core.actor import Actor
from core.db import actor_of, snapshot
from core.errors import Forbidden
from dispatch import field_views
from dispatch.items import catalogue
from dispatch.rulebook import Rulebook
from grid import field_ground, patrols, training, visits
from grid.duties import DUTIES
from grid.patrols import Rules
from grid.registers import permissions
from grid.registers.fields import HOUSEHOLDS
from hotline.masking import mask

_CHINA: Final = ZoneInfo("Asia/Shanghai")
#: A cursor older than this begins anew: what was forgotten meanwhile cannot be told.
_OLD: Final = timedelta(days=14)
_RECENT: Final = timedelta(days=90)
_MOST_ITEMS, _MOST_HOMES = 60, 1500
#: Streets of one cell that are named as not passed, and spots of one of them.
_MOST_STREETS, _MOST_SPOTS = 12, 60


@dataclass(frozen=True, slots=True)
class _Cursor:
    """What the phone has: when it was drawn, in which language, for which cells, and a digest of every part."""

    at: datetime
    language: str
    cells: str
    parts: dict[str, str]

    def text(self) -> str:
        told = [self.at.timestamp(), self.language, self.cells, self.parts]
        return base64.urlsafe_b64encode(orjson.dumps(told)).decode().rstrip("=")


def _read_cursor(written: str, *, at: datetime) -> _Cursor | None:
    """Return what a phone says that it has; None for nothing, for nonsense and for too long ago."""
    try:
        told = orjson.loads(base64.urlsafe_b64decode(written[:2000] + "=" * (-len(written) % 4)))
        seconds, language, cells, parts = told
        found = _Cursor(datetime.fromtimestamp(float(seconds), UTC), str(language), str(cells), dict(parts))
    except (ValueError, TypeError, binascii.Error, OverflowError, OSError):
        return None
    return found if at - _OLD < found.at <= at + timedelta(minutes=1) else None


def bundle(actor: Actor, since: str, *, at: datetime) -> dict[str, Any]:
    """Return the bundle of an acting worker; since: the cursor of the one before, or empty. at: aware. Reads only."""
    book, before = wiring.rulebook(), _read_cursor(since, at=at)
    with snapshot(actor) as session:
        cells = field_ground.own_cells(session, at=at)
        mark = _digest([cells, book.revision])
        if before and (before.language != LANGUAGE.get() or before.cells != mark):
            before = None
        made: dict[str, Any] = {
            "server_time": at,
            "full": before is None,
            "worker": worker(actor, book),
            **_matters(session, book, cells, before, at=at),
        }
        parts: dict[str, str] = {}
        for name, draw in _PARTS.items():
            drawn = draw(session, book, cells, at)
            parts[name] = _digest(drawn)
            made[name] = None if before and before.parts.get(name) == parts[name] else drawn
    made["notices"] = []
    made["cursor"] = _Cursor(at, LANGUAGE.get(), mark, parts).text()
    return made


def worker(actor: Actor, book: Rulebook) -> dict[str, Any]:
    """Return who works."""
    town = book.areas.get(actor.town)
    return {"id": actor.id, "name": actor.name, "town": actor.town, "town_name": town.name if town else ""}


def _matters(
    session: Session, book: Rulebook, cells: list[str], before: _Cursor | None, *, at: datetime
) -> dict[str, Any]:
    found = field_views.around(session, cells)
    fresh: set[uuid.UUID] | None = None
    if before is not None:
        ids = [one.id for one in (*found.tasks, *found.near)]
        fresh = field_views.changed(session, ids, since=before.at)
    tasks = [one for one in found.tasks if fresh is None or one.id in fresh]
    near = [one for one in found.near if fresh is None or one.id in fresh]
    drawn = field_tasks.tasks(session, book, tasks, at=at)
    return {
        # Where nothing is on offer beyond a note, there is nothing to do.
        "tasks": drawn,
        "task_ids": [one.id for one in found.tasks],
        "tasks_more": found.tasks_more,
        "near": [field_tasks.near(book, one) for one in near],
        "near_ids": [one.id for one in found.near],
        "near_more": found.near_more,
    }


def _cells(session: Session, book: Rulebook, cells: list[str], at: datetime) -> Any:
    del book
    return field_ground.features(session, cells, at=at)


def _categories(session: Session, book: Rulebook, cells: list[str], at: datetime) -> Any:
    del cells
    used = Counter(code for code, _, _ in field_views.used_lately(session, since=at - _RECENT))
    parents = {node.parent for node in book.categories.values()}
    leaves = [node for code, node in sorted(book.categories.items()) if code not in parents]
    return [
        {
            "code": node.code,
            "name": node.name,
            "parent": node.parent,
            "path": category_words(book, node.code),
            "recent": used[node.code],
        }
        for node in sorted(leaves, key=lambda one: -used[one.code])
    ]


def _recent_near(session: Session, book: Rulebook, cells: list[str], at: datetime) -> Any:
    del book, cells
    found = field_views.used_lately(session, since=at - _RECENT)
    return [{"category": code, "lng": lng, "lat": lat} for code, lng, lat in found]


def _plan(session: Session, book: Rulebook, cells: list[str], at: datetime) -> Any:
    return [
        {
            "cell": one.covered.cell,
            "last_patrol": one.covered.last_at,
            "due_on": one.due_on,
            "coverage": {"share": one.covered.share, "km": round(one.length_m / 1000, 2), "by": one.by},
            "missing": [
                {"name": name, "m": metres, "spots": spots[:_MOST_SPOTS]}
                for name, metres, spots in one.missing[:_MOST_STREETS]
            ],
        }
        for one in patrols.plan(session, cells[:60], at=at, rules=Rules.of(book.settings))
    ]


def _visits(session: Session, book: Rulebook, cells: list[str], at: datetime) -> Any:
    del book
    return [
        {
            "id": one.id,
            "kind": one.kind,
            "kind_label": say(visits.KINDS[one.kind].label),
            "household": one.household_id,
            "address": one.place,
            "who": "",
            "cell": one.cell,
            "lng": one.lng,
            "lat": one.lat,
            "due_on": one.due_on,
            "hint": mask(one.hint),
        }
        for one in visits.due(session, cells, today=at.astimezone(_CHINA).date())
    ]


def _visit_kinds(session: Session, book: Rulebook, cells: list[str], at: datetime) -> Any:
    del session, book, cells, at
    return {
        "results": [{"code": code, "words": say(words)} for code, words in visits.RESULTS.items()],
        "kinds": [
            {"kind": name, "label": say(kind.label), "fields": [_question(one) for one in kind.questions]}
            for name, kind in visits.KINDS.items()
        ],
    }


def _question(one: visits.Question) -> dict[str, Any]:
    return {
        "name": one.name,
        "kind": one.kind,
        "label": say(one.label),
        "help": "",
        "needed": one.needed,
        "most": 2000,
        "choices": [{"code": code, "words": say(words)} for code, words in (one.choices or {}).items()],
        "needed_if": {},
    }


def _households(session: Session, book: Rulebook, cells: list[str], at: datetime) -> Any:
    del book
    try:
        access = permissions.access(session, at=at)
    except Forbidden:
        return []
    seen = [cell for cell in cells if access.rights("household", cell).sees]
    found = visits.homes(session, seen, most=_MOST_HOMES) if seen else []
    met = visits.last_visits(session, [one.id for one in found])
    return [
        {
            "id": one.id,
            "address": one.building,
            "room": one.room,
            "who": "",
            "kind": one.kind,
            "kind_label": say(HOUSEHOLDS[one.kind]) if one.kind in HOUSEHOLDS else one.kind,
            "cell": one.cell,
            "lng": one.lng,
            "lat": one.lat,
            "last_visit": met.get(one.id),
        }
        for one in found
    ]


def _cards(session: Session, book: Rulebook, cells: list[str], at: datetime) -> Any:
    del book, cells, at
    return [
        {"id": card.id, "duty": duty, "title": _in(card.title), "text": _in(card.text), "starter": bank.starter}
        for duty, bank in training.banks(session).items()
        for card in bank.cards
    ]


def _quizzes(session: Session, book: Rulebook, cells: list[str], at: datetime) -> Any:
    """Return the next paper of every duty; which answers are right never leaves the server."""
    del book, cells, at
    return [
        {
            "duty": paper.duty,
            "label": say(DUTIES[paper.duty]),
            "number": paper.number,
            "digest": paper.digest,
            "questions": [
                {
                    "id": question.id,
                    "ask": _in(question.ask),
                    "many": len(question.right) > 1,
                    "options": [
                        {"letter": letter, "words": _in(question.options["abcdefgh".index(letter)])} for letter in order
                    ],
                }
                for question, order in paper.questions
            ],
        }
        for paper in training.papers(session)
    ]


def _certificates(session: Session, book: Rulebook, cells: list[str], at: datetime) -> Any:
    """Return the worker's own certificates, the one of each duty that holds longest, ended ones too."""
    del book, cells
    me = actor_of(session).id
    found = training.certificates(session, [me], at=at) if me else []
    return [{"duty": one.duty, "number": one.number, "expires_at": one.expires_at} for one in found]


def _items(session: Session, book: Rulebook, cells: list[str], at: datetime) -> Any:
    del book, cells
    held = catalogue.every(session, at.astimezone(_CHINA).date())
    return [
        {
            "code": one.item_code,
            "version": one.version,
            "title": one.sheet.name,
            "audience": one.sheet.audience,
            "materials": [
                {"code": paper.code, "name": paper.name, "required": paper.required, "form": paper.form}
                for paper in one.sheet.materials
                if paper.form != "shared"
            ],
            "conditions": list(one.sheet.conditions),
            "agent": one.sheet.agent,
            "pick_ups": [{"code": place.code, "name": place.name} for place in one.sheet.pick_ups],
            "promised": one.sheet.promised_limit,
        }
        for one in held
        if "home" in one.sheet.channels
    ][:_MOST_ITEMS]


def _in(words: Any) -> str:
    return str(words.en if LANGUAGE.get() == "en" else words.zh)


_PARTS: Final[dict[str, Callable[[Session, Rulebook, list[str], datetime], Any]]] = {
    "cells": _cells,
    "categories": _categories,
    "recent_near": _recent_near,
    "plan": _plan,
    "visits": _visits,
    "visit_kinds": _visit_kinds,
    "households": _households,
    "cards": _cards,
    "quizzes": _quizzes,
    "certificates": _certificates,
    "items": _items,
}


def _digest(drawn: Any) -> str:
    return blake2b(orjson.dumps(drawn, default=str), digest_size=6).hexdigest()
