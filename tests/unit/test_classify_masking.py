"""Personal numbers in free text never reach a public view; ordinary numbers stay readable. All numbers are invented."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.ids import check_character
from hotline.masking import is_card, is_identity, mask


def _identity(body="440605199001011"):
    body = (body + "00")[:17]
    return body + check_character(body)


def _card(body="622202000000000"):
    return next(body + str(d) for d in range(10) if is_card(body + str(d)))


@pytest.mark.parametrize(
    "number",
    [
        "13800001234",
        "138 0000 1234",
        "138-0000-1234",
        "１３８００００１２３４",
        "+8613800001234",
        "0757-86200000",
        "075786200000",
        "4008001234",
        _identity(),
        _identity()[:-1] + "x",
        _card(),
        "440605900101001",
        "zhang.san_99@example.com.cn",
        "粤Y12345",
        "粤Y·12A45",
        "粤AD12345",
        "粤y 1a2b3",
    ],
)
def test_personal_numbers_are_blotted_wherever_they_stand(number):
    for text in (number, f"我的{number}，请联系", f"({number})", f"a{number}。"):
        masked = mask(text)
        assert len(masked) == len(text)
        assert number not in masked
        assert not any(c.isdigit() for c in masked), masked


@pytest.mark.parametrize(
    "text",
    [
        "翠湖花园12栋3单元1502房",
        "2019年12月30日17时06分",
        "2019-12-30 17:06:14",
        "罚款1200元，赔偿94256元",
        "共计15000000元的工程款",
        "河堤二路108号",
        "12345热线",
        "110 119 120",
        "面积89.56平方米",
        "文号：南府〔2020〕15号",
    ],
)
def test_ordinary_numbers_stay(text):
    assert mask(text) == text


def test_seven_digits_are_a_telephone_only_beside_a_word_that_says_so():
    assert mask("联系电话：86200000") == "联系电话：********"
    assert mask("花了86200000元") == "花了86200000元"


def test_two_numbers_run_together_are_both_blotted():
    assert not any(c.isdigit() for c in mask("13800001234 13900005678"))


@given(st.text("0123456789０１xX -.*元年月日号粤YA@a.b联系电话，", max_size=80))
def test_masking_keeps_the_length_and_changes_nothing_twice(text):
    once = mask(text)
    assert len(once) == len(text)
    assert mask(once) == once
    assert all(a in (b, "*") for a, b in zip(once, text, strict=True))


@given(st.text(max_size=60), st.integers(0, 10**8 - 1), st.text(max_size=60))
def test_a_mobile_number_never_survives(before, tail, after):
    number = f"138{tail:08d}"
    if before[-1:].isdigit() or after[:1].isdigit():
        before, after = before + "，", "，" + after
    assert number not in mask(before + number + after)


@given(st.integers(10**16, 10**17 - 1))
def test_the_check_character_decides_an_identity_number(body):
    number = str(body) + check_character(str(body))
    wrong = str(body) + "0123456789X"[("0123456789X".index(number[-1]) + 1) % 11]
    assert not is_identity(wrong)
