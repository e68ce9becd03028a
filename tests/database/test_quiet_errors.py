"""What goes wrong in the database is logged without the words and numbers of persons."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from core.actor import system
from core.db import transaction
from tests import tiny

pytestmark = pytest.mark.database

WORDS = "我的电话是13800138000"


def test_an_error_of_the_database_names_nothing_that_somebody_said(database: str) -> None:
    asked = text("SELECT 1 / (CASE WHEN :words = '' THEN 1 ELSE 0 END)")
    with pytest.raises(DBAPIError) as caught, transaction(system(tiny.DISTRICT, "tests")) as session:
        session.execute(asked, {"words": WORDS})
    assert "division by zero" in str(caught.value)
    assert "13800138000" not in str(caught.value), "logs are read by more people than cases are"
