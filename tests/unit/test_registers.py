"""Masks that show no more than they say, names that are found as people type them, codes of parts, and typed fields."""

import re
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.crypto import seal, unseal
from core.documents import born, card_check, is_card, masked, sex
from core.errors import Invalid
from core.ids import check_character
from grid.registers import entering, sealing
from grid.registers.parts import Rule
from grid.registers.permissions import DEFAULTS, HOLDERS

pytestmark = pytest.mark.unit

TODAY = date(2026, 11, 18)
_line = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=40)


@given(_line)
def test_a_masked_name_shows_its_first_character_and_no_other(name: str) -> None:
    shown = masked("name", name)
    assert shown[0] == name[0]
    assert set(shown[1:]) == {"*"}
    assert len(shown) <= 3


@given(_line)
def test_a_masked_telephone_shows_at_most_seven_digits_and_hides_four_or_all_but_four(phone: str) -> None:
    shown = masked("phone", phone)
    assert len(shown) == len(phone)
    kept = [i for i, sign in enumerate(shown) if sign != "*"]
    first = 3 if len(phone) >= 11 else 0
    last = 4 if len(phone) >= 7 else 0
    assert set(kept) <= {*range(first), *range(len(phone) - last, len(phone))}
    assert all(shown[i] == phone[i] for i in kept)


@given(_line)
def test_a_masked_number_hides_everything_but_its_ends(number: str) -> None:
    shown = masked("id_number", number)
    ends = (4, 4) if len(number) >= 18 else (1, 2) if len(number) >= 7 else (0, 0)
    middle = shown[ends[0] : len(number) - ends[1]]
    assert set(middle) <= {"*"}
    assert len(middle) == len(number) - sum(ends)
    # The day of birth stands in the middle of a card's number.
    assert len(number) < 18 or shown[6:14] == "*" * 8


def test_the_usual_forms() -> None:
    assert masked("phone", "13812341234") == "138****1234"
    assert masked("id_number", "440605199001011234") == "4406**********1234"
    assert masked("day", "1960-02-03") == "1960-**-**"
    assert masked("name", "张三") == "张*"
    assert masked("phone", "81812345") == "****2345"
    assert masked("other", "anything") == "******"
    assert masked("name", "") == ""


@given(st.dates(date(1900, 1, 1), date(2026, 1, 1)), st.integers(0, 999))
def test_an_identity_number_tells_day_of_birth_and_sex(day: date, n: int) -> None:
    body = f"990200{day:%Y%m%d}{n:03d}"
    number = body + card_check(body)
    assert is_card(number)
    assert born(number) == day
    assert sex(number) == ("m" if n % 2 else "f")


@given(st.text("赵钱孙李单曾欧阳修之", min_size=2, max_size=5))
def test_a_name_is_found_by_every_beginning_and_not_by_its_end(name: str) -> None:
    terms = sealing.name_terms(name)
    for n in range(2, min(len(name), 4) + 1):
        assert sealing.asked_term(name[:n]) in terms
    assert sealing.asked_term(name) in terms
    assert all(-(2**63) <= term < 2**63 for term in terms)


def test_surnames_are_read_as_surnames() -> None:
    assert sealing.asked_term("zenggong") in sealing.name_terms("曾巩")
    assert sealing.asked_term("sx") in sealing.name_terms("单雄")
    assert sealing.asked_term("买买提吐尔逊") in sealing.name_terms("买买提·吐尔逊")


@pytest.mark.parametrize("words", ["", "张", " 张 ", "·"])
def test_one_character_is_no_search(words: str) -> None:
    with pytest.raises(Invalid):
        sealing.asked_term(words)


def test_history_is_unreadable_without_its_salt() -> None:
    salt = sealing.new_salt()
    stored = sealing.history_sealed("搬走了", salt)
    assert sealing.history_unsealed(stored, salt) == "搬走了"
    with pytest.raises(Invalid):
        unseal(stored, context="register.history")
    with pytest.raises(Invalid):
        unseal(seal("x", context="register.history"), context="register.history", salt=salt)


@pytest.mark.parametrize(
    ("rule", "code", "class_code"),
    [
        (Rule(), "9902000101000001", "0101"),
        (Rule("LLSS-NNNNNN"), "0203-000007", "0203"),
        (Rule("AAAAAALLSSNNNNNC", "mod11-2"), "990200010100012" + check_character("990200010100012"), "0101"),
        (Rule("LLSSNNNNNNC", "luhn"), "79927398713", "7992"),
    ],
)
def test_code_of_a_part_is_cut_as_the_pattern_says(rule: Rule, code: str, class_code: str) -> None:
    rule.check_self()
    assert rule.class_of(code, district="990200") == class_code
    place = rule.mask.rindex("N")
    for wrong in (code[:-1], code + "0", code[:place] + "x" + code[place + 1 :]):
        with pytest.raises(Invalid):
            rule.class_of(wrong, district="990200")
    if "A" in rule.mask:
        with pytest.raises(Invalid):
            rule.class_of(code, district="440605")


@given(st.integers(0, 14), st.integers(1, 9))
def test_one_wrong_digit_of_a_checked_code_is_found(place: int, more: int) -> None:
    body = "990200010100012"
    wrong = body[:place] + str((int(body[place]) + more) % 10) + body[place + 1 :]
    with pytest.raises(Invalid):
        Rule("LLSSNNNNNNNNNNNC", "mod11-2").class_of(wrong + check_character(body), district="990200")


@pytest.mark.parametrize(
    "rule", [Rule("x"), Rule("AAANNNNNNNLL"), Rule("LLSSNNNNC"), Rule("LLSSNNNN", "luhn"), Rule("LLCNNNNN", "luhn")]
)
def test_pattern_that_cannot_be_is_refused(rule: Rule) -> None:
    with pytest.raises(Invalid):
        rule.check_self()


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("name", {"name": ""}),
        ("name", {"name": "x" * 51}),
        ("name", {"name": "张\u0007"}),
        ("residence", {"residence": "nowhere"}),
        ("birth_date", {"birth_date": "2027-01-01"}),
        ("birth_date", {"birth_date": "31.12.1990"}),
        ("phone", {"phone": "call me"}),
        ("care", {"care": ["rich"]}),
        ("salt", {"salt": "x"}),
        ("household_id", {"household_id": "x"}),
        ("sex", {"id_number": "11010519491231002X", "sex": "m"}),
    ],
)
def test_what_a_form_may_not_say_is_refused_by_field(field: str, given: dict[str, object]) -> None:
    with pytest.raises(Invalid) as caught:
        entering.checked("resident", {"name": "张三", "residence": "registered"} | given, today=TODAY)
    assert caught.value.field == field


def test_no_role_is_given_special_data_and_market_duties_see_no_person() -> None:
    for holder in HOLDERS:
        seen = DEFAULTS.get(holder, {}).get("resident")
        if holder.startswith("role:"):
            assert seen is None or "care" not in seen.sees
        if holder in ("market", "urban_management", "safety"):
            assert seen is None
    assert {holder for holder in HOLDERS if "care" in getattr(DEFAULTS[holder].get("resident"), "sees", ())} == {
        "civil_affairs"
    }
    assert "births" in DEFAULTS["family_planning"]["resident"].sees


def test_every_grant_shows_what_it_changes_and_opens_only_what_is_protected() -> None:
    from grid.registers.fields import REGISTERS

    for holder, granted in DEFAULTS.items():
        for register, grant in granted.items():
            assert grant.changes | grant.opens <= grant.sees, (holder, register)
            assert grant.opens <= set(REGISTERS[register].protected), (holder, register)
    assert re.fullmatch(r"[a-z_:]+", "".join(sorted(HOLDERS)))
