"""Fetching mentions 轮询: walks from the newest post down to the last one known; a page and its mark go together.

A walk that is interrupted, by a kill, a rate limit or an outage, goes on where it stood; what came in above it
meanwhile is fetched by the next walk. Holds one page in memory, however many wait.
"""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from core.actor import system
from core.db import actor_of, transaction
from hotline.weibo.inbox import Stored, leased, store
from hotline.weibo.models import Mention, WeiboCursor
from hotline.weibo.platform import MAX_COUNT, Halted, Platform, Post, back, id_at

_log = logging.getLogger(__name__)

#: Posts that the platform showed late, after newer ones, are looked for so far behind the last one known.
OVERLAP: Final = timedelta(minutes=10)
#: How far the platform's clock may be ahead of ours.
_AHEAD: Final = timedelta(days=1)
#: How far back the very first walk goes.
FIRST: Final = timedelta(days=1)
#: How long nothing is asked after a failure: by kind, doubled with each failure of an outage.
_TOKEN_WAIT, _RATE_WAIT = timedelta(minutes=10), timedelta(hours=1)
_FIRST_WAIT, _LONGEST_WAIT = timedelta(seconds=15), timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Fetched:
    """What one page came to."""

    stored: Stored
    #: The walk is at its end: nothing is left to fetch now.
    done: bool
    #: token, rate, down or odd where the platform halted; empty where it answered.
    halted: str = ""


def fetch(
    district: str,
    platform: Platform,
    *,
    at: datetime,
    own_id: str = "",
    every: timedelta = timedelta(),
    bind: Engine | None = None,
) -> Fetched | None:
    """Fetch the next page and keep it; None while another process does, or until a pause is over.

    every: a new walk begins so long after the last page at the earliest, for the platform counts calls by the hour.

    The page, and how far that brings the walk, are committed together: whoever dies before lost nothing, whoever dies
    after repeats nothing. The row of the cursor stays locked while the platform is asked.
    """
    with transaction(system(district, "weibo"), bind=bind) as session:
        cursor = leased(session, "fetch")
        if cursor is None or (cursor.next_at is not None and cursor.next_at > at):
            return None
        rested = cursor.low_id is not None or cursor.fetched_at is None or at - cursor.fetched_at >= every
        if not rested:
            return None
        try:
            return _page(session, cursor, platform, at=at, own_id=own_id)
        except Halted as halted:
            pause(cursor, halted, at=at)
            _log.warning("mentions of %s: %s (%s)", district, halted.kind, halted.said)
            return Fetched(Stored(), done=True, halted=halted.kind)


def _page(session: Session, cursor: WeiboCursor, platform: Platform, *, at: datetime, own_id: str) -> Fetched:
    if not cursor.since_id:
        # An account that is put in today does not make cases of last year.
        cursor.since_id = id_at(at - FIRST)
    floor = back(cursor.since_id, OVERLAP)
    page = platform.mentions(since_id=floor, max_id=cursor.low_id or 0, count=MAX_COUNT)
    if page.broken:
        _log.warning("%d entries of a page of mentions name no id", page.broken)
    # A page from a stale cache holds what is above the mark; it is no news, and no end either.
    fits = [
        post for post in page.posts if int(post.id) > floor and (not cursor.low_id or int(post.id) <= cursor.low_id)
    ]
    if page.posts and not fits:
        raise Halted(kind="odd", said="the same page again")
    ids = [int(post.id) for post in fits]
    known_before = _known(session, fits)
    stored = store(session, fits, source="api", at=at, own_id=own_id)
    # An id of the future is kept and moves no mark: behind such a mark every real post would lie unseen for good.
    last = id_at(at + _AHEAD)
    real = [one for one in ids if one <= last]
    if ids:
        cursor.top_id = max(cursor.top_id or 0, cursor.since_id, *real)
        cursor.low_id = min(*ids, last + 1) - 1
    # A page that lies wholly behind the last post known, and brings nothing, ends the look behind.
    behind = bool(real) and max(real) <= cursor.since_id and known_before == len(ids)
    done = not ids or behind or cursor.low_id is None or cursor.low_id <= floor
    if done:
        cursor.since_id = max(cursor.since_id, cursor.top_id or 0)
        cursor.top_id = cursor.low_id = None
    cursor.fetched_at, cursor.next_at, cursor.failure, cursor.failed_since, cursor.fails = at, None, None, None, 0
    session.flush()
    return Fetched(stored, done)


def _known(session: Session, posts: list[Post]) -> int:
    ids = [post.id for post in posts]
    query = select(Mention.post_id).where(Mention.district_code == actor_of(session).district, Mention.post_id.in_(ids))
    return len(session.scalars(query).all()) if ids else 0


def pause(cursor: WeiboCursor, halted: Halted, *, at: datetime) -> None:
    """Let a part of the channel rest after the platform halted, and say why. Writes; caller commits."""
    if halted.kind == "token":
        wait = _TOKEN_WAIT
    elif halted.kind == "rate":
        wait = halted.wait or _RATE_WAIT
    else:
        wait = min(_FIRST_WAIT * 2 ** min(cursor.fails, 10), _LONGEST_WAIT)
    cursor.fails += 1
    cursor.failure = f"{halted.kind}: {halted.said}"[:300]
    cursor.failed_since = cursor.failed_since or at
    cursor.next_at = at + wait
