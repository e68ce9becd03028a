"""Short messages of one case to one number that come close together 合并短信: one message says what several would have.

Each keeps its own row. The first one carries the others along; their rows name it, so that a second try sends the very
same words under the very same key, whatever was written meanwhile.
"""

import re
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.db import actor_of
from hotline.outward.templates import LONGEST

#: Messages of one case to one number within this time go out as one; *default*.
WINDOW: Final = timedelta(seconds=60)
_LONGEST_WINDOW_S: Final = 3600
#: What providers demand at the beginning of a message: who speaks.
_SIGNATURE: Final = re.compile(r"【[^】]{1,40}】")
#: What the row of a message that goes along is marked with, before the key of the one that carries it.
MARK: Final = "with:"

_LAST = text(
    "SELECT max(created_at) FROM delivery WHERE district_code = :d AND case_id = :case AND recipient = :to "
    "AND channel = 'sms' AND NOT urgent AND created_at > :since"
)
#: With a mark: those that went along at an earlier try. Without: those that were never tried.
_ALONG = text(
    "SELECT id, text_sealed, receipt FROM delivery WHERE district_code = :d AND case_id = :case AND recipient = :to "
    "AND channel = 'sms' AND state IN ('waiting', 'held') AND NOT urgent AND id > :head "
    "AND CASE WHEN :first THEN tries = 0 AND created_at <= :until ELSE receipt = :mark END "
    "ORDER BY id LIMIT 20 FOR UPDATE SKIP LOCKED"
)


def window(settings: Mapping[str, Any]) -> timedelta:
    """Return the window of a district's settings, `{"sms_together_s": 60}`; 0 sends each message for itself.

    What cannot be read means the default.
    """
    seconds = settings.get("sms_together_s")
    if not isinstance(seconds, int) or isinstance(seconds, bool) or not 0 <= seconds <= _LONGEST_WINDOW_S:
        return WINDOW
    return timedelta(seconds=seconds)


def not_before(session: Session, case_id: uuid.UUID, to: bytes, *, at: datetime, within: timedelta) -> datetime:
    """Return when a new short message of a case may go out: at once, or when the window of the one before is over.

    to: blind index of the number. Reads.
    """
    if not within:
        return at
    last = session.scalar(_LAST, {"d": actor_of(session).district, "case": case_id, "to": to, "since": at - within})
    return max(at, last + within) if last is not None else at


def along(
    session: Session,
    *,
    head: uuid.UUID,
    case_id: uuid.UUID,
    to: bytes,
    first: bool,
    until: datetime,
) -> list[tuple[uuid.UUID, bytes]]:
    """Return id and sealed text of the messages that go out with one, oldest first; locks their rows.

    first: nothing was tried yet, so that whatever was written up to `until` may go along; else those that did before.
    """
    given = {"d": actor_of(session).district, "case": case_id, "to": to, "head": head}
    rows = session.execute(_ALONG, given | {"first": first, "until": until, "mark": f"{MARK}{head}"})
    return [(row.id, bytes(row.text_sealed)) for row in rows]


def joined(texts: Sequence[str]) -> tuple[str, int]:
    """Return the words of one message made of several, and how many of them fit into it, at least one.

    The signature at the beginning is said once.
    """
    said, many = texts[0], 1
    signed = _SIGNATURE.match(said)
    for words in texts[1:]:
        more = words.removeprefix(signed[0]) if signed else words
        if len(said) + len(more) > LONGEST["sms"]:
            break
        said, many = said + more, many + 1
    return said, many
