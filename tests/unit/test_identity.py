"""Numbers of identity documents: the check characters of the two standards, and nothing that only looks like one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.documents import card_check, credit_check
from core.errors import Invalid
from dispatch.items.identity import Applicant, checked_id, id_index, sealed

pytestmark = pytest.mark.unit

#: The example of GB 11643 itself.
STANDARD = "11010519491231002X"


def test_the_standards_own_example_is_right() -> None:
    assert checked_id("person", "110105 19491231 002x") == STANDARD


@given(st.integers(0, 16), st.integers(1, 9))
def test_one_wrong_digit_is_always_found(place: int, more: int) -> None:
    wrong = STANDARD[:place] + str((int(STANDARD[place]) + more) % 10) + STANDARD[place + 1 :]
    assert card_check(wrong[:17]) != wrong[17]
    with pytest.raises(Invalid):
        checked_id("person", wrong)


@given(st.text("0123456789ABCDEFGHJKLMNPQRTUWXY", min_size=17, max_size=17), st.integers(0, 16))
def test_one_wrong_letter_of_a_credit_code_is_always_found(body: str, place: int) -> None:
    code = body + credit_check(body)
    assert checked_id("organisation", code.lower()) == code
    other = "1" if code[place] != "1" else "2"
    with pytest.raises(Invalid):
        checked_id("organisation", code[:place] + other + code[place + 1 :])


def test_the_usual_example_of_a_credit_code_fits() -> None:
    # The example that explanations of GB 32100 work through.
    assert credit_check("91350100M000100Y4") == "3"


@pytest.mark.parametrize("number", ["", "123", "990200198013010011", "99020019800230101X", "一二三", "E1", "A" * 30])
def test_what_is_no_number_is_refused(number: str) -> None:
    with pytest.raises(Invalid) as caught:
        checked_id("person", number)
    assert caught.value.field == "id_number"


def test_passports_are_taken_as_they_are() -> None:
    assert checked_id("person", "E 1234 5678") == "E12345678"


def test_the_index_is_the_same_however_it_was_typed() -> None:
    assert id_index("11010519491231002x") == id_index("110105-19491231-002X")
    assert id_index(STANDARD) != id_index(STANDARD[:-1] + "1")


@pytest.mark.parametrize(
    ("field", "change"),
    [("kind", {"kind": "ghost"}), ("name", {"name": "  "}), ("name", {"name": "x" * 51}), ("phone", {"phone": "abc"})],
)
def test_an_applicant_without_a_name_or_telephone_is_refused(field: str, change: dict[str, str]) -> None:
    known = {"kind": "person", "name": "虚构", "phone": "13800138000", "id_number": STANDARD} | change
    with pytest.raises(Invalid) as caught:
        sealed(Applicant(**known))
    assert caught.value.field == field
