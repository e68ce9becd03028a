"""Personal data in free text, blotted out for public views: phones, identity numbers, cards, plates, accounts, e-mail.

Every blotted character becomes one `*`, so that a masked text keeps its length and masking it twice changes nothing.
It does not know names of persons: those cannot be told from other words safely, which is why complaint texts are not
public at all by default.
"""

import re
from typing import Final

from core.ids import is_checked

_DIGIT: Final = "0-9０-９"
#: Runs of digits in which people put blanks, dots and hyphens; 5 to 32 digits, with the X that ends identity numbers.
_RUN: Final = re.compile(rf"(?<![{_DIGIT}])\+?(?:[{_DIGIT}][ \t\u3000.\-－—]?){{6,31}}[{_DIGIT}xXｘＸ]")
_EMAIL: Final = re.compile(r"[A-Za-z0-9._%+\-]{1,64}@[A-Za-z0-9\-]{1,63}(?:\.[A-Za-z0-9\-]{1,63}){1,4}")
#: GA 36: province character, letter, then five (or six on new-energy vehicles) letters and digits, I and O unused.
_PLATE: Final = re.compile(
    "[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼使]\\s?[A-HJ-NP-Za-hj-np-z]\\s?[·•.\\-]?\\s?"
    "(?=[A-Za-z0-9]*[0-9])(?:[A-HJ-NP-Za-hj-np-z0-9]{4}[A-HJ-NP-Za-hj-np-z0-9挂学警港澳][0-9DFdf]?)(?![A-Za-z0-9])"
)
_MOBILE: Final = re.compile(r"(?:\+?0{0,2}86)?1[3-9]\d{9}")
_LANDLINE: Final = re.compile(r"0\d{2,3}[2-9]\d{6,7}|[48]00\d{7}")
_LOCAL: Final = re.compile(r"[2-9]\d{6,7}")
#: Words that make a seven or eight digit number a telephone and not a sum of money.
_PHONE_WORD: Final = re.compile(
    r"(?:电话|手机|联系|致电|座机|热线|号码|微信|加v|QQ|传真|tel|phone)[^0-9０-９]{0,8}$", re.IGNORECASE
)
#: Names of accounts 微信号, QQ号 right after the word; a group's or an official account's name is nobody's.
_ACCOUNT: Final = re.compile(
    r"(?:微信|微讯|[vV]信|[vV][xX]|[wW][xX]|[qQ]{2}|扣扣)(?:账?号码?)?(?:是|为)?[\s:：]{0,2}"
    rf"([A-Za-z][A-Za-z0-9_\-]{{5,19}}|[{_DIGIT}]{{5,12}}(?![{_DIGIT}元人年月日块个次名.]))"
)
#: A number told in pieces: "身份证前六位440605，后面是19900101…", with a word before it that says what it is.
_PIECE: Final = rf"[{_DIGIT}]{{3,14}}[xXｘＸ]?"
_PIECES: Final = re.compile(
    r"(?:身份证|证件|电话|手机|号码|卡号|账号|帐号)[^0-9０-９。；！？\n]{0,10}"
    rf"{_PIECE}(?:[，,、\s]{{0,2}}(?:后面|接着|然后|再|后[三四五六八]位|尾号|末[三四六]位|中间|最后|加上|前面)[^0-9０-９。；\n]{{0,4}}{_PIECE}){{1,4}}"
)
_GROUP: Final = re.compile(_PIECE)
#: Digits that pieces must have together before they are somebody's number.
_MIN_TOGETHER: Final = 10
#: A mobile number written as it is said: 幺三八…
_SPOKEN: Final = re.compile("[幺一][三四五六七八九][零〇幺一二三四五六七八九洞两]{9}(?![零〇幺一二三四五六七八九洞两])")
_DATE: Final = re.compile(r"(?:19|20)\d\d([-.])(?:0?[1-9]|1[0-2])\1(?:0?[1-9]|[12]\d|3[01])")
_CARD_WORD: Final = re.compile(r"(?:卡号?|账号|帐号|账户|帐户)[^0-9０-９]{0,6}$")
_SEPARATORS: Final = str.maketrans("", "", " \t\u3000.-－—+")
_WIDE: Final = str.maketrans("０１２３４５６７８９ｘＸ", "0123456789XX")
_BIRTH: Final = re.compile(r"\d{6}(?:18|19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dX]")
_OLD_BIRTH: Final = re.compile(r"\d{8}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}")


def mask(text: str) -> str:
    """Return the text with personal numbers as `*`, one for one; the length never changes.

    Idempotent. An identity number with a wrong check character is blotted too where it holds a date of birth: a
    person who mistypes one digit has shown the rest.
    """
    blotted = _EMAIL.sub(_blot, text)
    blotted = _PIECES.sub(_blot_pieces, blotted)
    blotted = _ACCOUNT.sub(_blot_account, blotted)
    blotted = _SPOKEN.sub(_blot, blotted)
    blotted = _RUN.sub(
        lambda found: (
            _blot(found)
            if _personal(found.group(), blotted[max(0, found.start() - 16) : found.start()])
            else found.group()
        ),
        blotted,
    )
    return _PLATE.sub(_blot, blotted)


def _blot(found: re.Match[str]) -> str:
    return "*" * len(found.group())


def _blot_account(found: re.Match[str]) -> str:
    return found.group()[: found.start(1) - found.start()] + "*" * len(found.group(1))


def _blot_pieces(found: re.Match[str]) -> str:
    groups = _GROUP.findall(found.group())
    return _GROUP.sub(_blot, found.group()) if sum(map(len, groups)) >= _MIN_TOGETHER else found.group()


def _personal(run: str, before: str) -> bool:
    """Return whether a run of digits is a number that belongs to a person."""
    if _DATE.fullmatch(run.strip()):
        return False
    number = run.translate(_WIDE).translate(_SEPARATORS).upper()
    if _MOBILE.fullmatch(number) or _LANDLINE.fullmatch(number):
        return True
    if is_identity(number) or _BIRTH.fullmatch(number) or (len(number) == 15 and _OLD_BIRTH.fullmatch(number)):
        return True
    # Cards have 16 to 19 digits; a shorter number that ends rightly by chance is mostly a contract's or a ticket's.
    if number.isdigit() and 12 <= len(number) <= 19:
        named, sound = bool(_CARD_WORD.search(before)), is_card(number)
        if (sound and named) or (len(number) >= 16 and (sound or named)):
            return True
    if _LOCAL.fullmatch(number):
        return bool(_PHONE_WORD.search(before))
    # Several numbers run together ("13800000000 13900000000"): a telephone inside is still one.
    return len(number) > 19 or bool(len(number) > 11 and _MOBILE.search(number) and not number.startswith(("19", "20")))


def is_identity(number: str) -> bool:
    """Return whether a string is an identity number 公民身份号码 with its right check character (GB 11643)."""
    return bool(_BIRTH.fullmatch(number)) and is_checked(number)


def is_card(number: str) -> bool:
    """Return whether a string of digits ends with its right Luhn digit, as bank cards do (ISO/IEC 7812)."""
    total = 0
    for place, digit in enumerate(reversed(number)):
        doubled = int(digit) * (1 + place % 2)
        total += doubled - 9 if doubled > 9 else doubled
    return total % 10 == 0
