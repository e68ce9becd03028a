"""Who is at which case 正在处理: a lease that the open page renews, and that runs out by itself when the page is gone.

It warns and never locks a case against work: what two people change at once is still settled by the case's version.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.db import actor_of
from core.errors import Forbidden, Invalid
from dispatch.models import Case
from hotline.desk.models import Handling

#: How long somebody is at a case after their page was last heard of, and how often the page speaks up.
LEASE: Final = timedelta(seconds=75)
BEAT_S: Final = 25
#: Names of handlers that a list is told.
_MOST: Final = 500


@dataclass(frozen=True, slots=True)
class Held:
    """Who is at a case."""

    mine: bool
    name: str
    since: datetime
    #: From whom it was taken over, and the word why.
    taken_from: str
    word: str


def hold(session: Session, case_id: uuid.UUID, *, at: datetime, word: str | None = None) -> Held:
    """Take a case in hand, or renew that; somebody else's stays theirs, unless `word` says why it is taken over.

    Raises Invalid for an empty word. Writes; caller commits.
    """
    actor = actor_of(session)
    if actor.id is None:
        raise Forbidden("Only somebody with an account handles cases.")
    key = (Handling.district_code == actor.district, Handling.case_id == case_id)
    now = session.scalar(select(Handling).where(*key).with_for_update())
    other = now is not None and now.account_id != actor.id and now.until > at
    if other and word is None:
        assert now is not None
        return Held(mine=False, name=now.name, since=now.since, taken_from=now.taken_from, word=now.word)
    said = (word or "").strip()[:200]
    if other and not said:
        raise Invalid("Say in a word why you take it over; your colleague reads it.", field="word")
    kept = now is not None and now.account_id == actor.id and now.until > at
    row = {
        "district_code": actor.district,
        "case_id": case_id,
        "account_id": actor.id,
        "name": actor.name,
        "since": now.since if kept and now else at,
        "until": at + LEASE,
        "taken_from": now.name if other and now else (now.taken_from if kept and now else ""),
        "word": said if other else (now.word if kept and now else ""),
    }
    made = insert(Handling).values(row)
    changed = {name: made.excluded[name] for name in row if name not in ("district_code", "case_id")}
    # Two who come to a free case at the same moment: the first stays.
    free = (Handling.account_id == actor.id) | (Handling.until <= at) if not other else Handling.case_id == case_id
    session.execute(made.on_conflict_do_update(index_elements=["district_code", "case_id"], set_=changed, where=free))
    stands = session.scalars(select(Handling).where(*key).execution_options(populate_existing=True)).one()
    return Held(stands.account_id == actor.id, stands.name, stands.since, stands.taken_from, stands.word)


def release(session: Session, case_id: uuid.UUID) -> None:
    """Let go of a case that is one's own. Writes; caller commits."""
    actor = actor_of(session)
    mine = (Handling.district_code == actor.district, Handling.account_id == actor.id)
    session.execute(delete(Handling).where(*mine, Handling.case_id == case_id))


def handlers(session: Session, *, at: datetime) -> Mapping[str, tuple[str, str]]:
    """Return account and name of whoever is at a case now, by the case's number, at most 500. Reads only."""
    here = actor_of(session).district
    same = (Case.district_code == Handling.district_code) & (Case.id == Handling.case_id)
    query = select(Case.number, Handling.account_id, Handling.name).join(Case, same)
    rows = session.execute(query.where(Handling.district_code == here, Handling.until > at).limit(_MOST))
    return {number: (str(account), name) for number, account, name in rows}


def prune(session: Session, district: str, *, at: datetime) -> None:
    """Drop leases that ran out, as the program. Writes; caller commits."""
    session.execute(delete(Handling).where(Handling.district_code == district, Handling.until < at - LEASE))
