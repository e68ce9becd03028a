"""Attachments 附件: which photos belong to a case. Knows the table, not the bytes and not who asks for them.

A photo is only reached through its case: callers have read the case through `visible_to` before they ask here.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from core.db import actor_of, pin_case
from core.errors import Invalid, NotFound
from core.ids import new_id
from dispatch.models import Attachment

#: Photos of one case; more show nothing new.
MOST = 20
PURPOSES = ("report", "before", "after", "evidence")


@dataclass(frozen=True, slots=True)
class Stored:
    """A photo that lies in the store."""

    #: SHA-256 in hex of the stored bytes.
    sha256: str
    media_type: str
    width: int
    height: int


def attach(session: Session, case_id: uuid.UUID, photo: Stored, *, purpose: str, at: datetime) -> uuid.UUID:
    """Hang a stored photo on a case and return its id; the same photo a second time is the same attachment.

    The case was read by the caller, who commits. Raises Invalid for an unknown purpose and for too many photos.
    """
    if purpose not in PURPOSES:
        raise Invalid("There is no purpose {name} for a photo.", field="purpose", name=purpose[:20])
    here = actor_of(session).district
    pin_case(session, case_id)
    known = session.execute(
        select(Attachment.id, Attachment.sha256).where(Attachment.district_code == here, Attachment.case_id == case_id)
    ).all()
    for row in known:
        if row.sha256 == photo.sha256:
            found: uuid.UUID = row.id
            return found
    if len(known) >= MOST:
        raise Invalid("A case may have at most {n} photos.", field="photo", n=MOST)
    key = new_id()
    session.execute(
        insert(Attachment).values(
            district_code=here,
            id=key,
            case_id=case_id,
            purpose=purpose,
            sha256=photo.sha256,
            media_type=photo.media_type,
            width=photo.width,
            height=photo.height,
            created_at=at,
        )
    )
    return key


def stored(session: Session, case_id: uuid.UUID, attachment_id: uuid.UUID) -> Stored:
    """Return a photo of a case that the caller may see; raises NotFound. Reads; pins the case."""
    here = actor_of(session).district
    pin_case(session, case_id)
    row = session.execute(
        select(Attachment.sha256, Attachment.media_type, Attachment.width, Attachment.height).where(
            Attachment.district_code == here, Attachment.case_id == case_id, Attachment.id == attachment_id
        )
    ).one_or_none()
    if row is None:
        raise NotFound("This photo is not there.")
    return Stored(row.sha256, row.media_type, row.width, row.height)


def listed(session: Session, case_id: uuid.UUID) -> list[uuid.UUID]:
    """Return the ids of a case's photos in order; the caller has read the case. Reads; pins the case."""
    here = actor_of(session).district
    pin_case(session, case_id)
    query = select(Attachment.id).where(Attachment.district_code == here, Attachment.case_id == case_id)
    return list(session.scalars(query.order_by(Attachment.created_at, Attachment.id)))
