"""Looking again after the first fetch 复核: a post that is open or was answered lately may be edited or deleted since.

One post at a time in the order in which they were seen, so many an hour that fetching and answering keep theirs; a
round that is done begins again after a while. What changed stands in the ledger; a deleted post ends the duty, not the
case.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Engine, and_, or_, select, tuple_
from sqlalchemy.orm import Session

from core.actor import system
from core.db import actor_of, transaction
from hotline.weibo.fetch import pause
from hotline.weibo.inbox import changed, gone, leased
from hotline.weibo.models import Mention, WeiboCursor
from hotline.weibo.platform import Gone, Halted, Platform

_log = logging.getLogger(__name__)

#: Posts looked at in an hour; the platform allows an account some hundred calls. *Default*, `weibo.check_an_hour`.
AN_HOUR: Final = 60
_MOST_AN_HOUR: Final = 3600
#: A new round begins so long after the end of the one before.
ROUND: Final = timedelta(minutes=30)
#: Older mentions are looked at no more; answered ones only so long after the answer.
OLDEST, ANSWERED = timedelta(days=90), timedelta(days=7)
_OPEN: Final = ("received", "held", "case", "joined")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Looked:
    """What one look came to."""

    #: same, edited or deleted; `halted` where the platform did not answer, `round` at the end of a round.
    found: str
    post_id: str = ""


def an_hour(settings: Mapping[str, Any]) -> int:
    """Return how many posts a district looks at in an hour, 0 for none; what cannot be read means the default."""
    told = settings.get("weibo")
    many = told.get("check_an_hour") if isinstance(told, Mapping) else None
    if not isinstance(many, int) or isinstance(many, bool) or not 0 <= many <= _MOST_AN_HOUR:
        return AN_HOUR
    return many


def look(
    district: str, platform: Platform, *, at: datetime, most: int = AN_HOUR, bind: Engine | None = None
) -> Looked | None:
    """Look at the next post and write down what changed; None while it is not time, or somebody else looks.

    most: posts in an hour. The row of the cursor is locked while the platform is asked, the mention is not.
    """
    if not most:
        return None
    with transaction(system(district, "weibo"), bind=bind) as session:
        cursor = leased(session, "check")
        if cursor is None or (cursor.next_at is not None and cursor.next_at > at) or _halted(session, at):
            return None
        next_one = _next(session, cursor, at=at)
        if next_one is None:
            cursor.since_id, cursor.low_id, cursor.next_at = 0, None, at + ROUND
            return Looked("round")
        post_id, seen_at = next_one
        try:
            found = _compare(session, platform, post_id, at=at)
        except Halted as halted:
            if halted.kind != "odd":
                # The same post first when it goes on.
                pause(cursor, halted, at=at)
                return Looked("halted", post_id)
            # One that cannot be read stops no other one.
            _log.warning("post %s of %s cannot be read: %s", post_id, district, halted.said)
            found = "halted"
        cursor.since_id, cursor.low_id = (seen_at - _EPOCH) // timedelta(microseconds=1), int(post_id)
        cursor.next_at, cursor.fetched_at = at + timedelta(hours=1) / most, at
        cursor.failure, cursor.failed_since, cursor.fails = None, None, 0
        return Looked(found, post_id)


def _halted(session: Session, at: datetime) -> bool:
    """Return whether fetching waits: the platform refuses us, whatever we ask."""
    fetching = session.get(WeiboCursor, (actor_of(session).district, "fetch"))
    return fetching is not None and fetching.next_at is not None and fetching.next_at > at


def _next(session: Session, cursor: WeiboCursor, *, at: datetime) -> tuple[str, datetime] | None:
    """Return id and time of the first post behind the cursor that is worth a look; None at the end."""
    behind = _EPOCH + timedelta(microseconds=cursor.since_id)
    query = (
        select(Mention.post_id, Mention.seen_at)
        .where(
            Mention.district_code == actor_of(session).district,
            Mention.seen_at >= max(behind, at - OLDEST),
            tuple_(Mention.seen_at, Mention.post_id) > tuple_(behind, str(cursor.low_id or 0)),
            # Ids of posts from files are not the platform's.
            Mention.source == "api",
            Mention.deleted_at.is_(None),
            or_(
                Mention.state.in_(_OPEN),
                and_(Mention.state == "replied", Mention.replied_at > at - ANSWERED),
            ),
        )
        .order_by(Mention.seen_at, Mention.post_id)
        .limit(1)
    )
    row = session.execute(query).first()
    return (row.post_id, row.seen_at) if row else None


def _compare(session: Session, platform: Platform, post_id: str, *, at: datetime) -> str:
    """Ask for a post and write down what changed about it; raises Halted. Writes."""
    try:
        post = platform.post(post_id)
    except Gone:
        post = None
    query = select(Mention).where(Mention.district_code == actor_of(session).district, Mention.post_id == post_id)
    row = session.scalars(query.with_for_update()).one()
    if post is None:
        gone(session, row, at=at)
        return "deleted"
    return "edited" if changed(session, row, post, at=at) else "same"
