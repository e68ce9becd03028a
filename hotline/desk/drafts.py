"""Drafts 草稿 of the desk: every change of a form is kept, sealed, for its own account, until the form is sent.

A draft is found under the key that its form was given; the browser counts its changes, and an older one that arrives
late never replaces a newer one.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import orjson
from sqlalchemy import ColumnElement, delete, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.crypto import seal, unseal
from core.db import actor_of
from core.errors import Forbidden, Invalid, NotFound
from core.ids import new_id
from hotline.desk.models import Draft

#: Fields of a call that are kept; what else a form holds is not the person's words.
FIELDS: Final = (
    *("text", "phone", "name", "category", "place", "kind", "urgency", "to", "unit", "note", "call"),
    *("service", "taken_by", "hand_reason", "refuse_reason"),
    *("answer", "source", "called"),
)
#: Drafts that one person is shown, the newest first; older ones are thrown away by `prune`.
MOST: Final = 20
#: How long an unsent draft is kept.
KEPT: Final = timedelta(days=7)
#: The revision that is answered for a call that was recorded: above any that a browser counts to.
SENT: Final = 2**31
_RECORDED: Final = text(
    "SELECT EXISTS (SELECT 1 FROM report WHERE district_code = :d AND channel = 'hotline' AND idempotency_key = :key)"
)
_CONTEXT: Final = "draft"
_LONGEST_KEY, _LARGEST = 64, 64_000


@dataclass(frozen=True, slots=True)
class Unsent:
    """One draft, opened for its own account."""

    key: str
    fields: Mapping[str, str]
    revision: int
    saved_at: datetime

    @property
    def words(self) -> str:
        """The beginning of the text, to recognise it by."""
        return " ".join(self.fields.get("text", "").split())[:40]


def save(session: Session, key: str, fields: Mapping[str, str], *, revision: int, at: datetime) -> int:
    """Keep what a form holds now and return the revision that is kept: a newer one where that came first.

    Raises Invalid for a key or an amount of text that no form has, Forbidden without an account. Writes; the
    caller commits.
    """
    mine = _account(session)
    if not 8 <= len(key) <= _LONGEST_KEY or not 0 < revision < 2**31:
        raise Invalid("This draft has no usable key.", field="key")
    kept = {name: fields[name] for name in FIELDS if fields.get(name)}
    plain = orjson.dumps(kept).decode()
    if len(plain) > _LARGEST:
        raise Invalid("The draft is too long to be kept; shorten the text.", field="text")
    if session.scalar(_RECORDED.bindparams(d=actor_of(session).district, key=key)):
        # It arrived after its own call: the case has the words.
        drop(session, key)
        return SENT
    row = {
        "district_code": actor_of(session).district,
        "id": new_id(),
        "account_id": mine,
        "key": key,
        "sealed": seal(plain, context=_CONTEXT),
        "revision": revision,
        "saved_at": at,
    }
    made = insert(Draft).values(row)
    session.execute(
        made.on_conflict_do_update(
            index_elements=["district_code", "account_id", "key"],
            set_={name: made.excluded[name] for name in ("sealed", "revision", "saved_at")},
            where=Draft.revision < made.excluded.revision,
        )
    )
    return session.scalar(select(Draft.revision).where(*_own(session), Draft.key == key)) or revision


def mine(session: Session) -> list[Unsent]:
    """Return the newest drafts of the session's account. Reads only."""
    query = select(Draft).where(*_own(session)).order_by(Draft.saved_at.desc(), Draft.id).limit(MOST)
    return [_opened(row) for row in session.scalars(query)]


def read(session: Session, key: str) -> Unsent:
    """Return one own draft; raises NotFound. Reads only."""
    row = session.scalar(select(Draft).where(*_own(session), Draft.key == key))
    if row is None:
        raise NotFound("There is no such draft; it was sent or thrown away.")
    return _opened(row)


def drop(session: Session, key: str) -> None:
    """Throw an own draft away, because it was sent or is not wanted; none is no fault. Writes; caller commits."""
    session.execute(delete(Draft).where(*_own(session), Draft.key == key))


def prune(session: Session, district: str, *, at: datetime) -> int:
    """Throw away what nobody sent for long, as the program; return how many. Writes; caller commits."""
    old = delete(Draft).where(Draft.district_code == district, Draft.saved_at < at - KEPT).returning(Draft.id)
    return len(session.scalars(old).all())


def _account(session: Session) -> uuid.UUID:
    found = actor_of(session).id
    if found is None:
        raise Forbidden("Only somebody with an account has drafts.")
    return found


def _own(session: Session) -> tuple[ColumnElement[bool], ...]:
    return Draft.district_code == actor_of(session).district, Draft.account_id == _account(session)


def _opened(row: Draft) -> Unsent:
    fields = orjson.loads(unseal(bytes(row.sealed), context=_CONTEXT))
    return Unsent(row.key, fields, row.revision, row.saved_at)
