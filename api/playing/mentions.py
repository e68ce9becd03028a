"""Plays mentions on Weibo 演示提及: invented posts come in as from a file, and some are answered as units would.

Once for a district: the posts' ids are always the same, so that an interrupted run goes on where it stopped.
"""

import random
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import yaml
from sqlalchemy import select

from api.replay import closing_form
from core.actor import Actor, Role, system
from core.db import acting_as, transaction
from core.errors import Conflict, Forbidden, Invalid, NotFound
from dispatch.cases import act
from dispatch.guards import unit_of_level
from dispatch.models import Case
from dispatch.rulebook import Rulebook
from hotline.intake import Intake
from hotline.weibo import inbox
from hotline.weibo.models import Mention
from hotline.weibo.platform import Post

_FILE: Final = Path(__file__).with_name("weibo.yaml")
#: Between two posts, back from now.
_APART: Final = timedelta(minutes=17)


def play(intake: Intake, *, at: datetime, seed: int = 7) -> inbox.Taken:
    """Take the invented mentions in and answer some; return what was taken now. at: aware, the present."""
    book = intake.book
    told = yaml.safe_load(_FILE.read_text(encoding="utf-8"))["mentions"]
    with transaction(system(book.district, "demo")) as session:
        inbox.store(session, _posts(book, told, at=at, seed=seed), source="file", at=at)
    taken = inbox.Taken()
    while (some := inbox.take(intake, at=at)) is not None and some.all:
        taken += some
    for n, one in enumerate(told, start=1):
        if one.get("answer"):
            _answer(book, f"demo-{n}", one["answer"], at=at)
    return taken


def _posts(book: Rulebook, told: list[Mapping[str, Any]], *, at: datetime, seed: int) -> list[Post]:
    chance = random.Random(seed)  # noqa: S311  demo places, not secrets
    places = sorted(area.name for area in book.areas.values() if area.kind == "community") or [book.name]
    texts = [f"{one['text'].format(place=chance.choice(places))}（演示）" for one in told]
    posts = []
    for n, (one, text) in enumerate(zip(told, texts, strict=True), start=1):
        root = one.get("of")
        posts.append(
            Post(
                id=f"demo-{n}",
                text=text,
                posted_at=at - _APART * (len(told) - n + 1),
                author_id=f"demo-{one['author']}",
                author=one["author"],
                root_id=f"demo-{root}" if root else "",
                root_text=texts[root - 1] if root else "",
            )
        )
    return posts


def _answer(book: Rulebook, post_id: str, words: str, *, at: datetime) -> None:
    """Let the desk send a mention's case out, and its unit sign and answer; what is refused stays where it is."""
    try:
        with transaction(system(book.district, "demo")) as session:
            here = (Mention.district_code == book.district, Case.district_code == book.district)
            query = select(Case).join(Mention, Mention.case_id == Case.id).where(*here, Mention.post_id == post_id)
            case = session.scalars(query).one_or_none()
            if case is None or case.state not in ("received", "dispatched"):
                return
            unit = case.unit_code or unit_of_level(book, "town_office", case.town_code)
            unit = unit or unit_of_level(book, "centre", "") or next(iter(sorted(book.routing.units)))
            clerk = Actor(None, "演示经办", Role.UNIT, book.district, unit=unit)
            steps: list[tuple[Actor, str, dict[str, Any]]] = []
            if case.state == "received":
                desk = Actor(None, "演示话务员", Role.OPERATOR, book.district)
                steps.append((desk, "dispatch", {"unit": unit}))
            form = closing_form(book, case.kind, random.Random(post_id), answers=[f"{words}（演示）"])  # noqa: S311  as above
            steps += [(clerk, "sign", {}), (clerk, "reply", form)]
            for who, action, fields in steps:
                with acting_as(session, who):
                    act(session, book, case.id, action, expected_version=case.version, at=at, fields=fields)
                # The core writes past the objects in places.
                session.expire_all()
    except (Conflict, Forbidden, Invalid, NotFound):
        # The demo gives way to whoever was there first.
        return
