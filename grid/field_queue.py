"""The queue of a worker's phone 离线队列 as the server keeps it: receipts of actions, and photos that were sent ahead.

A receipt binds the phone's key to the content of the action, and holds what the phone was told, so that the same thing
sent again is the same thing. Knows no case and no photo's bytes. Rows belong to the account that acts.
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import orjson
from sqlalchemy import text
from sqlalchemy.orm import Session

from core.db import actor_of, rows

#: A phone may come back so much later and still be told what became of what it sent.
KEEP_RECEIPTS: Final = timedelta(days=180)
#: A photo that no action named by then was given up; one that was used is the case's.
KEEP_PHOTOS: Final = timedelta(days=40)
#: Photos of one account that no action has named yet.
MOST_WAITING: Final = 2000


@dataclass(frozen=True, slots=True)
class Receipt:
    """What is known of one action."""

    key: uuid.UUID
    #: SHA-256 of its content.
    digest: bytes
    #: begun, done or refused.
    state: str
    result: Mapping[str, Any]
    case_id: uuid.UUID | None
    case_version: int | None


@dataclass(frozen=True, slots=True)
class Moment:
    """When an action happened: by the phone's own clock, corrected, and by how much the clock was off."""

    phone_at: datetime | None
    happened_at: datetime
    offset_s: float


@dataclass(frozen=True, slots=True)
class Waiting:
    """A photo or voice note that was sent ahead."""

    #: SHA-256 in hex of the bytes as the phone had them.
    key: str
    kind: str
    #: SHA-256 in hex of the bytes as stored.
    sha256: str
    media_type: str
    size: int
    width: int
    height: int
    #: WGS84, as the photo itself said; None where it said nothing or was used already.
    lng: float | None
    lat: float | None


_COLUMNS = "key, digest, state, result, case_id, case_version"


def _own(session: Session) -> dict[str, Any]:
    actor = actor_of(session)
    return {"d": actor.district, "account": actor.id}


def begin(
    session: Session, actions: Sequence[tuple[uuid.UUID, bytes, str]], *, device: str, offset_s: float, at: datetime
) -> dict[uuid.UUID, Receipt]:
    """Bind keys to contents, (key, digest, kind) each, and return what is known of them now. Writes; caller commits.

    A key that is bound already stays bound to what it was: compare the digest.
    """
    if not actions:
        return {}
    keys = [key for key, _, _ in actions]
    session.execute(
        text(
            "INSERT INTO field_receipt"
            " (district_code, account_id, key, digest, kind, state, device, offset_s, received_at)"
            " SELECT :d, :account, a.key, a.digest, a.kind, 'begun', :device, :offset, :at"
            " FROM unnest(CAST(:keys AS uuid[]), CAST(:digests AS bytea[]), CAST(:kinds AS text[]))"
            " AS a(key, digest, kind) ON CONFLICT (district_code, account_id, key) DO NOTHING"
        ),
        {
            **_own(session),
            "keys": keys,
            "digests": [digest for _, digest, _ in actions],
            "kinds": [kind for _, _, kind in actions],
            "device": device,
            "offset": offset_s,
            "at": at,
        },
    )
    return known(session, keys)


def known(session: Session, keys: Iterable[uuid.UUID]) -> dict[uuid.UUID, Receipt]:
    """Return the acting account's receipts of some keys. Reads only."""
    found = rows(
        session,
        f"SELECT {_COLUMNS} FROM field_receipt WHERE district_code = :d AND account_id = :account"  # noqa: S608
        " AND key = ANY (:keys)",
        **_own(session),
        keys=list(keys),
    )
    return {row["key"]: _receipt(row) for row in found}


def hold(session: Session, key: uuid.UUID) -> Receipt:
    """Return one receipt, locked until the transaction ends: the same action sent twice at once waits for itself."""
    found = rows(
        session,
        f"SELECT {_COLUMNS} FROM field_receipt WHERE district_code = :d AND account_id = :account"  # noqa: S608
        " AND key = :key FOR UPDATE",
        **_own(session),
        key=key,
    )
    return _receipt(found[0])


def settle(
    session: Session,
    key: uuid.UUID,
    state: str,
    result: Mapping[str, Any],
    *,
    moment: Moment | None,
    at: datetime,
    case_id: uuid.UUID | None = None,
    case_version: int | None = None,
) -> None:
    """Write down what became of an action, `done` or `refused`; what is done stays so. Writes; caller commits."""
    session.execute(
        text(
            "UPDATE field_receipt SET state = :state, result = CAST(:result AS jsonb), case_id = :case,"
            " case_version = :version, phone_at = :phone_at, happened_at = :happened,"
            " offset_s = coalesce(:offset, offset_s), done_at = :at"
            " WHERE district_code = :d AND account_id = :account AND key = :key AND state <> 'done'"
        ),
        {
            **_own(session),
            "key": key,
            "state": state,
            "result": orjson.dumps(result).decode(),
            "case": case_id,
            "version": case_version,
            "phone_at": moment.phone_at if moment else None,
            "happened": moment.happened_at if moment else None,
            "offset": moment.offset_s if moment else None,
            "at": at,
        },
    )


def _receipt(row: Mapping[str, Any]) -> Receipt:
    values = {name: row[name] for name in ("key", "state", "result", "case_id", "case_version")}
    return Receipt(digest=bytes(row["digest"]), **values)


# Photos that were sent ahead.

_PHOTO = "key, kind, sha256, media_type, size, width, height, lng, lat"


def put_photo(session: Session, photo: Waiting, *, at: datetime) -> None:
    """Note a stored photo under the phone's key; a second time changes nothing. Writes; caller commits."""
    values = {name: getattr(photo, name) for name in _PHOTO.split(", ")}
    session.execute(
        text(
            f"INSERT INTO field_photo (district_code, account_id, {_PHOTO}, put_at)"  # noqa: S608  this module's own words
            " VALUES (:d, :account, :key, :kind, :sha256, :media_type, :size, :width, :height, :lng, :lat, :at)"
            " ON CONFLICT (district_code, account_id, key) DO NOTHING"
        ),
        {**_own(session), **values, "at": at},
    )


def photos(session: Session, keys: Iterable[str]) -> dict[str, Waiting]:
    """Return the acting account's photos of some keys; what never came is left out. Reads only."""
    found = rows(
        session,
        f"SELECT {_PHOTO} FROM field_photo WHERE district_code = :d AND account_id = :account"  # noqa: S608
        " AND key = ANY (:keys)",
        **_own(session),
        keys=list(keys),
    )
    return {row["key"]: Waiting(**row) for row in found}


def waiting(session: Session) -> int:
    """Return how many photos of the acting account no action has named yet. Reads only."""
    sql = "SELECT count(*) FROM field_photo WHERE district_code = :d AND account_id = :account AND used_at IS NULL"
    return int(session.scalar(text(sql), _own(session)) or 0)


def use(session: Session, keys: Sequence[str], *, at: datetime) -> None:
    """Note that photos are an action's now; where they were taken is forgotten. Writes; caller commits."""
    if keys:
        session.execute(
            text(
                "UPDATE field_photo SET used_at = :at, lng = NULL, lat = NULL"
                " WHERE district_code = :d AND account_id = :account AND key = ANY (:keys) AND used_at IS NULL"
            ),
            {**_own(session), "keys": list(keys), "at": at},
        )


def prune(session: Session, *, at: datetime) -> int:
    """Forget old receipts and photos that were given up or used long ago; return how many photos.

    Writes, as the program; caller commits. The bytes that wait are `api.waiting`'s.
    """
    here = actor_of(session).district
    session.execute(
        text("DELETE FROM field_receipt WHERE district_code = :d AND received_at < :before"),
        {"d": here, "before": at - KEEP_RECEIPTS},
    )
    gone = session.execute(
        text("DELETE FROM field_photo WHERE district_code = :d AND put_at < :before RETURNING 1"),
        {"d": here, "before": at - KEEP_PHOTOS},
    )
    return len(gone.all())


def forget(session: Session, keys: Sequence[str]) -> None:
    """Forget photos of the acting account whose bytes are gone, so that they are asked for again. Writes."""
    session.execute(
        text("DELETE FROM field_photo WHERE district_code = :d AND account_id = :account AND key = ANY (:keys)"),
        {**_own(session), "keys": list(keys)},
    )
