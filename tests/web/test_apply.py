"""Applying on the web: form, files, summary, receipt; what is refused, and that nothing is lost or sent twice."""

import re
from datetime import UTC, datetime

import pytest
from starlette.testclient import TestClient

from tests import tiny
from tests.web import counters
from tests.web.conftest import csrf

pytestmark = pytest.mark.web
#: Old-age allowance; food permit, which the negative list speaks about.
ALLOWANCE, FOOD = "SL110001", "SL310003"


@pytest.fixture(scope="module", autouse=True)
def items(district: tiny.Tiny) -> None:
    counters.publish(datetime.now(UTC))


def send(client: TestClient, form: dict[str, object], code: str = ALLOWANCE) -> str:
    """Send an application and return its receipt page."""
    answer = client.post(f"/apply/{code}/send", data=form)
    assert answer.status_code == 303, re.findall(r'role="alert"[^>]*>(.*?)</div>', answer.text, re.DOTALL)
    receipt = client.get(answer.headers["location"])
    assert receipt.status_code == 200, receipt.text
    return receipt.text


def number_of(receipt: str) -> str:
    found = re.search(r'id="number">([^<]+)<', receipt)
    assert found
    return found[1].replace(" ", "")


def test_a_receipt_names_number_code_and_what_is_missing(client: TestClient) -> None:
    form = counters.fill(client, ALLOWANCE)
    receipt = send(client, form)
    assert len(number_of(receipt)) == 15
    assert re.search(r'id="code">\w{6}<', receipt)
    assert "还缺" in receipt
