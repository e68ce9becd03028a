"""The sheet of a service item 办事指南 as frozen values.

A sheet is what the eight disclosures 八公开 publish (S0): name, legal basis, conditions, materials, procedure, limits,
fee and its basis, results and pick-up. Knows no database and no file; `parsing` makes sheets of rows.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from types import MappingProxyType
from typing import Any, Final, TypeVar

import orjson

from core.errors import Invalid
from dispatch.words import N_

AUDIENCES: Final = ("person", "organisation", "both")
LEVELS: Final = ("district", "town", "community")
#: 原件, 复印件, 原件及复印件, 共享获取: the last is fetched from a register and not asked of the applicant.
FORMS: Final = ("original", "copy", "original_and_copy", "shared")
UPLOADS: Final = ("jpeg", "png", "webp", "pdf")
CHANNELS: Final = ("window", "web", "home")
SURVEYS: Final = ("none", "single", "joint")
REVIEW_LEVELS: Final = ("city", "province")

Part = TypeVar("Part")


@dataclass(frozen=True, slots=True)
class Basis:
    """法定依据: a law or document and its article."""

    law: str
    article: str = ""


@dataclass(frozen=True, slots=True)
class Material:
    """申请材料: one thing that the applicant brings, or that is taken from a register."""

    code: str
    name: str
    #: original, copy, original_and_copy, or shared from a register 共享.
    form: str = "original"
    count: int = 1
    required: bool = True
    #: 容缺: the limit within which it may be handed in later; empty where it may not lag.
    lag: str = ""
    #: Register that a shared material is taken from.
    register: str = ""
    #: Name of the blank form 空白表格 that is filled in; empty for none.
    blank: str = ""
    note: str = ""
    #: File types taken on the web.
    uploads: tuple[str, ...] = UPLOADS

    @property
    def may_lag(self) -> bool:
        """Whether it may be missing at acceptance."""
        return bool(self.lag)


@dataclass(frozen=True, slots=True)
class Step:
    """办理流程: one step as the applicant sees it."""

    name: str
    #: Who does it, in words.
    by: str = ""
    #: Limit of the step, empty where it has none of its own.
    limit: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Waiver:
    """减免: who pays less, by how many percent, and why."""

    who: str
    percent: int
    basis: str


@dataclass(frozen=True, slots=True)
class Fee:
    """收费: what it costs, by which rule, and who is let off; a recorded fact, not a payment."""

    charged: bool = False
    #: Amount as written, with its unit: 每证 20 元.
    amount: str = ""
    basis: str = ""
    waivers: tuple[Waiver, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """办理结果: the document given out and how long it holds."""

    name: str
    validity: str = ""


@dataclass(frozen=True, slots=True)
class PickUp:
    """领取地点: a window, a terminal, or the post."""

    code: str
    name: str
    post: bool = False


@dataclass(frozen=True, slots=True)
class Parallel:
    """并联单位: a unit that works on the application at the same time, with its own task and limit."""

    unit: str
    task: str
    limit: str


@dataclass(frozen=True, slots=True)
class Review:
    """上级审核: a hand-over to the city or the province, with a clock of its own (S0 三级联审)."""

    level: str
    limit: str
    task: str = ""


@dataclass(frozen=True, slots=True)
class Reuse:
    """一表制: a field of the form that is filled from a register, with the applicant's consent."""

    field: str
    register: str


@dataclass(frozen=True, slots=True)
class Sheet:
    """One version's content. Texts are Chinese data; limits are written as `dispatch.limits.Limit` reads them."""

    code: str
    name: str
    #: person 自然人, organisation 法人, or both.
    audience: str
    #: Code of the competent unit 实施主体; before a load a role such as `civil_affairs`, see `data/roles.yaml`.
    unit: str
    #: Level of the area whose window takes it in: district, town or community.
    level: str
    legal_limit: str
    promised_limit: str
    #: Within what it is accepted or refused, and within what the result is ready to be fetched.
    accept_limit: str
    deliver_limit: str
    #: True where the town office of the applicant's place decides; `unit` then stands in where there is none.
    by_town: bool = False
    #: 即办件; otherwise 承诺件.
    done_at_once: bool = False
    basis: tuple[Basis, ...] = ()
    conditions: tuple[str, ...] = ()
    materials: tuple[Material, ...] = ()
    steps: tuple[Step, ...] = ()
    fee: Fee = Fee()
    results: tuple[Result, ...] = ()
    pick_ups: tuple[PickUp, ...] = ()
    parallel: tuple[Parallel, ...] = ()
    reviews: tuple[Review, ...] = ()
    #: none, single 现场勘查, or joint 联合踏勘 by the lead and the parallel units.
    survey: str = "none"
    #: 绿色通道: whom it is handled first for.
    green_channel: tuple[str, ...] = ()
    reuse: tuple[Reuse, ...] = ()
    #: window, web, home (a grid worker comes 上门代办).
    channels: tuple[str, ...] = ("window",)
    #: 代办: another person may apply for the applicant.
    agent: bool = True
    #: 审管分离 (S1): unit that the result is pushed to; empty for none.
    supervising: str = ""
    #: Codes of entries of the three lists that bear on it.
    lists: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    #: Compiled as an example: every page says so.
    example: bool = False

    @property
    def joint_survey(self) -> bool:
        """Whether the units survey together."""
        return self.survey == "joint"

    @property
    def three_level(self) -> bool:
        """Whether the city or the province has to agree."""
        return bool(self.reviews)

    @property
    def once_only(self) -> bool:
        """最多跑一次: whether nobody has to come twice: done at once, on the web, at home, or posted."""
        return self.done_at_once or bool({"web", "home"} & set(self.channels)) or any(p.post for p in self.pick_ups)

    @property
    def limits(self) -> Mapping[str, str]:
        """The promised limit of each clock: accept, decide, deliver."""
        return MappingProxyType(
            {"accept": self.accept_limit, "decide": self.promised_limit, "deliver": self.deliver_limit}
        )

    def material(self, code: str) -> Material | None:
        """Return the material of a code, None where the sheet has none."""
        return next((one for one in self.materials if one.code == code), None)

    def body(self) -> dict[str, Any]:
        """Return the sheet as plain JSON values."""
        plain: dict[str, Any] = orjson.loads(orjson.dumps(asdict(self)))
        return plain

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> "Sheet":
        """Return the sheet of a body that `body` made; raises Invalid where it is none."""
        try:
            known = {one.name for one in fields(cls)}
            given = {name: value for name, value in body.items() if name in known}
            for name, kind in _PARTS.items():
                given[name] = tuple(_made(kind, row) for row in given.get(name, ()))
            fee = dict(given.get("fee") or {})
            fee["waivers"] = tuple(_made(Waiver, row) for row in fee.get("waivers", ()))
            given["fee"] = Fee(**fee)
            return _made(cls, given)
        except (TypeError, AttributeError, ValueError) as error:
            raise Invalid("A stored item sheet cannot be read.") from error


#: Lists of rows in a sheet and what each row is.
_PARTS: Final[Mapping[str, type[Any]]] = {
    "basis": Basis,
    "materials": Material,
    "steps": Step,
    "results": Result,
    "pick_ups": PickUp,
    "parallel": Parallel,
    "reviews": Review,
    "reuse": Reuse,
}


def _made(kind: type[Part], row: Mapping[str, Any]) -> Part:
    """Return a value of a frozen class, lists of JSON made tuples again."""
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in row.items()})


def digest(sheet: Sheet) -> str:
    """Return the SHA-256 of a sheet's body: equal for equal sheets."""
    return hashlib.sha256(orjson.dumps(sheet.body(), option=orjson.OPT_SORT_KEYS)).hexdigest()


#: What the members of a sheet are called, for comparisons and messages.
NAMES: Final[Mapping[str, str]] = {
    "code": N_("Item code"),
    "name": N_("Name of the item"),
    "audience": N_("For whom"),
    "unit": N_("Competent unit"),
    "by_town": N_("The town office decides"),
    "level": N_("Where it is taken in"),
    "done_at_once": N_("Done at once"),
    "legal_limit": N_("Legal limit"),
    "promised_limit": N_("Promised limit"),
    "accept_limit": N_("Limit of acceptance"),
    "deliver_limit": N_("Limit of delivery"),
    "basis": N_("Legal basis"),
    "conditions": N_("Conditions"),
    "materials": N_("Materials"),
    "steps": N_("Procedure"),
    "fee": N_("Fee"),
    "results": N_("Results"),
    "pick_ups": N_("Where to fetch the result"),
    "parallel": N_("Units that work at the same time"),
    "reviews": N_("Reviews above the district"),
    "survey": N_("Survey"),
    "green_channel": N_("Green channel"),
    "reuse": N_("Filled from registers"),
    "channels": N_("Ways to apply"),
    "agent": N_("Somebody else may apply"),
    "supervising": N_("Supervising unit"),
    "lists": N_("Entries of the three lists"),
    "keywords": N_("Other words for it"),
    "example": N_("Example"),
}
