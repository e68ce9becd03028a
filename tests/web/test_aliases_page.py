"""What callers call a place: proposed on the call or beside a case, decided by a second person on a page of the desk."""

import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, text
from starlette.testclient import TestClient

from core.db import snapshot, transaction
from core.ids import new_id
from dispatch.models import Case
from hotline.aliases import Alias
from tests import builders, tiny

pytestmark = pytest.mark.web

SignIn = Callable[[str], TestClient]
SPOT = {"lng": "113.004000", "lat": "23.004000"}


@pytest.fixture(autouse=True)
def _no_names(_ground: None) -> None:
    """Begin without names that wait: rows of the table are never deleted."""
    with transaction(builders.program(tiny.DISTRICT)) as session:
        session.execute(
            text("UPDATE alias SET state = 'rejected', decided_by = :i, decided_at = :at WHERE state = 'waiting'"),
            {"i": new_id(), "at": datetime.now(UTC)},
        )
        BEFORE.update(session.scalars(select(Alias.id).where(Alias.district_code == tiny.DISTRICT)))


#: Names of the tests before.
BEFORE: set[uuid.UUID] = set()


def names() -> dict[str, tuple[str, str]]:
    """Return state and reason of the names that this test proposed."""
    with snapshot(builders.program(tiny.DISTRICT)) as session:
        rows = session.scalars(select(Alias).where(Alias.district_code == tiny.DISTRICT)).all()
        return {row.name: (row.state, row.reason) for row in rows if row.id not in BEFORE}


def address(page: str, what: str) -> str:
    found = re.search(rf'action="(/desk/aliases/[0-9a-f-]+/{what})"', page)
    assert found, page
    return found[1]


def test_a_name_needs_two_persons_and_the_proposer_is_not_asked(signed_in: SignIn) -> None:
    operator, supervisor = signed_in("operator"), signed_in("supervisor")
    made = operator.post("/desk/aliases", data=SPOT | {"name": "老粮仓", "reason": "居民都这么叫"})
    assert made.status_code == 303
    own = operator.get("/desk/aliases").text
    assert "老粮仓" in own
    assert "/confirm" not in own
    page = supervisor.get("/desk/aliases").text
    confirm = address(page, "confirm")
    refused = operator.post(confirm)
    assert refused.status_code == 403
    assert names()["老粮仓"][0] == "waiting"
    assert supervisor.post(confirm).status_code == 303
    assert names()["老粮仓"][0] == "confirmed"
    assert "老粮仓" in supervisor.get("/desk/aliases").text, "it stands among those decided last"
    assert supervisor.post(confirm).status_code == 409


def test_a_rejected_name_stays_with_its_reason(signed_in: SignIn) -> None:
    signed_in("operator").post("/desk/aliases", data=SPOT | {"name": "老戏台"})
    supervisor = signed_in("supervisor")
    reject = address(supervisor.get("/desk/aliases").text, "reject")
    assert supervisor.post(reject, data={"why": " "}).status_code == 422
    assert supervisor.post(reject, data={"why": "查无此地"}).status_code == 303
    assert names()["老戏台"] == ("rejected", "查无此地")
    assert "查无此地" in supervisor.get("/desk/aliases").text


def test_a_place_is_named_by_words_that_the_program_is_sure_of(signed_in: SignIn) -> None:
    operator = signed_in("operator")
    assert operator.post("/desk/aliases", data={"name": "老中学", "place": "望湖中学"}).status_code == 303
    refused = operator.post("/desk/aliases", data={"name": "老工厂", "place": "不知道在哪里的工厂"})
    assert refused.status_code == 422
    assert "老工厂" in refused.text
    assert set(names()) == {"老中学"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "仓"},
        {"name": "12345"},
        {"lng": "113.5", "lat": "23.5"},
        {"lng": "x", "lat": "y"},
        {"lng": "", "lat": ""},
        {"valid_from": "2027-02-01", "valid_to": "2027-01-01"},
        {"valid_to": "someday"},
    ],
)
def test_what_cannot_be_a_name_or_a_place_is_refused_and_kept_in_the_form(
    signed_in: SignIn, wrong: dict[str, str]
) -> None:
    refused = signed_in("operator").post("/desk/aliases", data=SPOT | {"name": "旧车站"} | wrong)
    assert refused.status_code == 422
    assert (SPOT | {"name": "旧车站"} | wrong)["name"] in refused.text
    assert names() == {}


def test_the_page_is_for_the_desk_and_reached_from_it(signed_in: SignIn) -> None:
    for login, status in (("operator", 200), ("supervisor", 200), ("streets", 403), ("official", 403), ("admin", 403)):
        client = signed_in(login)
        assert client.get("/desk/aliases").status_code == status, login
        if status == 403:
            assert client.post("/desk/aliases", data=SPOT | {"name": "老粮仓"}).status_code == 403
    signed_in("operator").post("/desk/aliases", data=SPOT | {"name": "<b>老码头</b>"})
    for page in ("/desk", "/desk/new"):
        assert 'href="/desk/aliases"' in signed_in("operator").get(page).text, page
    assert "<b>老码头" not in signed_in("supervisor").get("/desk/aliases").text


def test_the_place_of_a_case_is_named_from_its_page(signed_in: SignIn) -> None:
    with transaction(builders.program(tiny.DISTRICT)) as session:
        known = {"district": tiny.DISTRICT, "town_code": tiny.WEST, "lng": 113.004, "lat": 23.004}
        number = builders.make_case(session, at=datetime.now(UTC) - timedelta(hours=1), **known).number
    operator = signed_in("operator")
    assert f'href="/desk/aliases?case={number}"' in operator.get(f"/desk?case={number}").text
    form = operator.get(f"/desk/aliases?case={number}").text
    assert 'name="lng" value="113.004000"' in form
    assert f'value="{number}"' in form


def test_what_a_caller_calls_the_place_is_proposed_with_the_case(signed_in: SignIn) -> None:
    operator, called = signed_in("operator"), f"老{new_id().hex[-6:]}巷"
    form = {"text": f"滨湖路18号门口垃圾堆了三天（{called}）", "called": called}
    form |= {"place": "113.004000,23.004000,滨湖路18号", "do": "dispatch", "category": "1001"}
    assert operator.post("/desk/new", data=form | {"key": str(new_id())}).status_code == 303
    with snapshot(builders.program(tiny.DISTRICT)) as session:
        number = session.scalar(select(Case.number).where(Case.text == form["text"]))
    assert names() == {called: ("waiting", number)}
    again = form | {"text": form["text"] + "，第二次", "key": str(new_id())}
    assert operator.post("/desk/new", data=again).status_code == 303, "a name that waits already is no fault"
    wrong = form | {"text": form["text"] + "，第三次", "called": "仓", "key": str(new_id())}
    assert operator.post("/desk/new", data=wrong).status_code == 422
    with snapshot(builders.program(tiny.DISTRICT)) as session:
        assert session.scalar(select(Case.number).where(Case.text == wrong["text"])) is None
