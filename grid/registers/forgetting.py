"""What departments said of somebody who is erased 清除: it goes with the entry, for no salt makes it unreadable."""

import uuid
from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.db import actor_of

#: Doubts and conflicts of the subject, and of any row that is about it; the rows at last.
_STATEMENTS = (
    (
        "DELETE FROM field_conflict WHERE district_code = :d AND (subject_id = ANY (:ids) OR source_row_id IN ("
        "SELECT s.id FROM source_row s WHERE s.district_code = :d AND s.subject_id = ANY (:ids)))"
    ),
    (
        "DELETE FROM link_doubt WHERE district_code = :d AND (other_id = ANY (:ids) OR source_row_id IN ("
        "SELECT s.id FROM source_row s WHERE s.district_code = :d AND s.subject_id = ANY (:ids)))"
    ),
    "DELETE FROM source_row WHERE district_code = :d AND subject_id = ANY (:ids)",
)


def forget(session: Session, subjects: Sequence[uuid.UUID]) -> None:
    """Delete rows of departments' lists about entries that are being erased. Writes, as the program; caller commits."""
    values = {"d": actor_of(session).district, "ids": list(subjects)}
    for statement in _STATEMENTS:
        session.execute(text(statement), values)
