"""The spreadsheet form of item sheets: which tables it has, how their columns are called, and what may stand in a cell.

One table holds the items, the others what an item has several of. Knows no file: `excel` reads and writes it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from dispatch.items.sheet import UPLOADS

_YES_NO: Final[Mapping[str, bool]] = {"是": True, "否": False, "true": True, "false": False}
#: Chinese word in a cell → value of the sheet.
_AUDIENCE: Final = {"自然人": "person", "法人": "organisation", "自然人和法人": "both"}
_LEVEL: Final = {"区": "district", "镇街": "town", "村居": "community"}
_FORM: Final = {"原件": "original", "复印件": "copy", "原件和复印件": "original_and_copy", "共享": "shared"}
_CHANNEL: Final = {"窗口": "window", "网上": "web", "上门": "home"}
_SURVEY: Final = {"不勘查": "none", "现场勘查": "single", "联合踏勘": "joint"}
_REVIEW: Final = {"市": "city", "省": "province"}


@dataclass(frozen=True, slots=True)
class Column:
    """One column: the member of the sheet that it fills, and its header."""

    key: str
    header: str
    #: text, whole, flag, day, choice, choices (separated by ；) or lines (one a line).
    kind: str = "text"
    #: Word in the cell → value, for choices.
    words: Mapping[str, str] = field(default_factory=dict)
    hint: str = ""

    @property
    def flags(self) -> Mapping[str, bool]:
        """The words of a yes-or-no column."""
        return _YES_NO


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the workbook."""

    #: Member of the item that its rows fill; `items` for the items themselves, `waivers` inside the fee.
    key: str
    name: str
    columns: tuple[Column, ...]


#: The column that says which item a row belongs to.
OWNER: Final = Column("item", "事项编码")
_LIMIT: Final = "0 即时、sd 当日、4wh 工作小时、5wd 工作日、15nd 自然日"

ITEMS: Final = Table(
    "items",
    "事项",
    (
        Column("code", "编码"),
        Column("name", "名称"),
        Column("audience", "服务对象", "choice", _AUDIENCE),
        Column("unit", "实施主体", hint="单位编码或者角色，如 civil_affairs"),
        Column("by_town", "按属地镇街", "flag"),
        Column("level", "受理层级", "choice", _LEVEL),
        Column("done_at_once", "即办件", "flag"),
        Column("legal_limit", "法定时限", hint=_LIMIT),
        Column("promised_limit", "承诺时限", hint=_LIMIT),
        Column("accept_limit", "受理时限", hint=_LIMIT),
        Column("deliver_limit", "送达时限", hint=_LIMIT),
        Column("conditions", "受理条件", "lines", hint="每行一条"),
        Column("survey", "勘查", "choice", _SURVEY),
        Column("channels", "办理渠道", "choices", _CHANNEL, hint="用；分开"),
        Column("agent", "可以代办", "flag"),
        Column("green_channel", "绿色通道", "lines", hint="每行一条"),
        Column("supervising", "监管部门", hint="单位编码或者角色；没有的不填"),
        Column("lists", "三单条目", "choices", hint="条目编码，用；分开"),
        Column("keywords", "别名", "choices", hint="用；分开"),
        Column("fee_charged", "是否收费", "flag"),
        Column("fee_amount", "收费标准"),
        Column("fee_basis", "收费依据"),
        Column("valid_from", "生效日期", "day", hint="如 2026-01-31；不填为导入当日"),
        Column("example", "示例", "flag"),
    ),
)
TABLES: Final = (
    ITEMS,
    Table("basis", "依据", (OWNER, Column("law", "法律法规"), Column("article", "条款"))),
    Table(
        "materials",
        "材料",
        (
            OWNER,
            Column("code", "材料编码"),
            Column("name", "材料名称"),
            Column("form", "形式", "choice", _FORM),
            Column("count", "份数", "whole"),
            Column("required", "必需", "flag"),
            Column("lag", "容缺期限", hint="不可容缺的不填；" + _LIMIT),
            Column("register", "共享来源", hint="形式为共享的填写"),
            Column("blank", "空白表格"),
            Column("note", "说明"),
            Column("uploads", "上传格式", "choices", {one: one for one in UPLOADS}, hint="用；分开"),
        ),
    ),
    Table(
        "steps",
        "流程",
        (
            OWNER,
            Column("name", "环节"),
            Column("by", "办理人"),
            Column("limit", "环节时限", hint=_LIMIT),
            Column("note", "说明"),
        ),
    ),
    Table(
        "waivers",
        "减免",
        (OWNER, Column("who", "减免对象"), Column("percent", "减免百分比", "whole"), Column("basis", "减免依据")),
    ),
    Table("results", "结果", (OWNER, Column("name", "结果名称"), Column("validity", "有效期"))),
    Table(
        "pick_ups",
        "领取",
        (OWNER, Column("code", "地点编码"), Column("name", "地点名称"), Column("post", "邮寄", "flag")),
    ),
    Table(
        "parallel",
        "并联",
        (OWNER, Column("unit", "并联单位"), Column("task", "任务"), Column("limit", "并联时限", hint=_LIMIT)),
    ),
    Table(
        "reviews",
        "上级审核",
        (
            OWNER,
            Column("level", "层级", "choice", _REVIEW),
            Column("limit", "审核时限", hint=_LIMIT),
            Column("task", "任务"),
        ),
    ),
    Table("reuse", "复用", (OWNER, Column("field", "字段"), Column("register", "来源"))),
)
#: A table that explains the others and is not read.
NOTES: Final = "说明"
