"""The program acts for somebody inside a transaction, and the rights end with the block, however it ends."""

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from core.actor import citizen, system
from core.db import acting_as, actor_of, transaction
from core.errors import Conflict
from tests import tiny

pytestmark = pytest.mark.database


def role_of(session: Session) -> tuple[str, str]:
    """Return who acts, as the program and as the row policies have it."""
    return actor_of(session).role.value, str(session.scalar(text("SELECT current_setting('wangge.role', true)")))


def test_rights_end_with_the_block_even_where_a_refusal_is_caught(district: tiny.Tiny) -> None:
    with transaction(citizen(tiny.DISTRICT)) as session:
        with acting_as(session, system(tiny.DISTRICT, "tests")):
            assert role_of(session) == ("system", "system")
        assert role_of(session) == ("citizen", "citizen")
        with pytest.raises(Conflict), acting_as(session, system(tiny.DISTRICT, "tests")):
            raise Conflict("The case is with another unit now.")
        assert role_of(session) == ("citizen", "citizen")
