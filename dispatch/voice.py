"""Voice notes 语音记录 of a case: what a grid worker said instead of typing. Knows the table, not the bytes.

Kept as they came and never opened here. As with photos, a note is only reached through its case.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ForeignKeyConstraint, Index, insert, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from core.db import Base, actor_of, pin_case
from core.errors import Invalid, NotFound
from core.ids import new_id
from grid.models import Instant

#: Notes of one case; nobody listens to more.
MOST = 10


class VoiceNote(Base):
    """语音: sound that hangs on a case; the bytes lie in the store under their hash."""

    __tablename__ = "voice_note"
    __table_args__ = (
        ForeignKeyConstraint(["district_code", "case_id"], ["cases.district_code", "cases.id"]),
        Index("ix_voice_note_case", "district_code", "case_id"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    case_id: Mapped[uuid.UUID]
    sha256: Mapped[str]
    media_type: Mapped[str]
    #: Bytes.
    size: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(Instant)


@dataclass(frozen=True, slots=True)
class Spoken:
    """A voice note that lies in the store."""

    #: SHA-256 in hex of the bytes.
    sha256: str
    media_type: str
    size: int


def attach(session: Session, case_id: uuid.UUID, spoken: Spoken, *, at: datetime) -> uuid.UUID:
    """Hang a stored note on a case and return its id; the same bytes a second time are the same note.

    The case was read by the caller, who commits. Raises Invalid for too many notes.
    """
    here = actor_of(session).district
    pin_case(session, case_id)
    known = session.execute(
        select(VoiceNote.id, VoiceNote.sha256).where(VoiceNote.district_code == here, VoiceNote.case_id == case_id)
    ).all()
    for key, digest in known:
        if digest == spoken.sha256:
            return uuid.UUID(str(key))
    if len(known) >= MOST:
        raise Invalid("A case may have at most {n} voice notes.", field="voice", n=MOST)
    made = new_id()
    session.execute(
        insert(VoiceNote).values(
            district_code=here,
            id=made,
            case_id=case_id,
            sha256=spoken.sha256,
            media_type=spoken.media_type,
            size=spoken.size,
            created_at=at,
        )
    )
    return made


def listed(session: Session, case_id: uuid.UUID) -> list[uuid.UUID]:
    """Return the ids of a case's notes in order; the caller has read the case. Reads; pins the case."""
    here = actor_of(session).district
    pin_case(session, case_id)
    query = select(VoiceNote.id).where(VoiceNote.district_code == here, VoiceNote.case_id == case_id)
    return list(session.scalars(query.order_by(VoiceNote.created_at, VoiceNote.id)))


def stored(session: Session, case_id: uuid.UUID, note_id: uuid.UUID) -> Spoken:
    """Return a note of a case that the caller may see; raises NotFound. Reads; pins the case."""
    here = actor_of(session).district
    pin_case(session, case_id)
    row = session.execute(
        select(VoiceNote.sha256, VoiceNote.media_type, VoiceNote.size).where(
            VoiceNote.district_code == here, VoiceNote.case_id == case_id, VoiceNote.id == note_id
        )
    ).one_or_none()
    if row is None:
        raise NotFound("This voice note is not there.")
    return Spoken(*row)
