"""Spreadsheets of the registers 台账模板: columns of each, the empty one to fill in, rows read and faults marked.

Sheets are in Chinese, whatever language the pages are in: they travel between departments. Knows columns, words and how
a cell is written; whether a building is there is asked by `grid.registers.importing`.
"""

import csv
import io
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

import xlsxwriter

from core import documents, workbook
from core.errors import Invalid, WanggeError
from grid.registers import entering
from grid.registers.fields import REGISTERS
from grid.words import N_

#: Bytes of a file, rows, and characters of a cell.
LARGEST, MOST_ROWS, _CELL = 40 * 2**20, 200_000, 400
#: What a spreadsheet takes for a formula; in China the wide signs, too.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")
_UNSEEN: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u200b-\u200f\ufeff\ufffe\uffff]")
_DAY: Final = re.compile(r"(\d{4})[-/.年]?(\d{1,2})[-/.月]?(\d{1,2})日?(?:[ T].*)?")
#: The column that faults stand in, of a file that goes back; it is not read.
FAULTS: Final = "错误"
_PARTED: Final = re.compile(r"[、,，;；/|\s]+")
#: Says an English template, filled in, in the language of whoever reads it.
Say = Callable[..., str]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a sheet."""

    #: Field of the register, or one of key, place, cell, lng, lat, datum, estate, building, entrance.
    name: str
    heading: str
    note: str = ""
    #: Code → word that stands in the cell.
    words: Mapping[str, str] = field(default_factory=dict)
    needed: bool = False
    #: Other headings under which departments have it.
    aliases: tuple[str, ...] = ()
    width: int = 14


@dataclass(frozen=True, slots=True)
class Sheet:
    """One kind of list."""

    kind: str
    #: English msgid.
    label: str
    #: The table that its rows are about.
    register: str
    title: str
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a row cannot be taken, in one cell or, with an empty column, as a whole."""

    #: Index into `Table.rows`.
    at: int
    #: `Column.name`.
    column: str
    message: str
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Table:
    """A file as it was written."""

    sheet: Sheet
    header: tuple[str, ...]
    #: Row numbers as the spreadsheet counts, and the cells.
    rows: list[tuple[int, tuple[str, ...]]]
    #: `Column.name` → position.
    at: Mapping[str, int]

    def given(self, index: int) -> dict[str, str]:
        """Return what a row says, by our names; empty cells are left out."""
        cells = self.rows[index][1]
        return {name: cells[at] for name, at in self.at.items() if cells[at]}


_SEX: Final = {"m": "男", "f": "女"}
_RESIDENCE: Final = {"registered": "户籍人口", "separated": "人户分离", "floating": "流动人口", "abroad": "境外人员"}
_RELATION: Final = {
    "head": "户主", "spouse": "配偶", "child": "子女", "parent": "父母", "grandparent": "祖父母",
    "grandchild": "孙子女", "sibling": "兄弟姐妹", "relative": "其他亲属", "cotenant": "合租人", "other": "其他",
}  # fmt: skip
_CARE: Final = {
    "living_alone": "独居老人", "empty_nest": "空巢老人", "left_behind": "留守人员", "disabled": "残疾人",
    "low_income": "低保", "destitute": "特困", "lost_only_child": "失独家庭", "serious_illness": "重病",
    "preferential": "优抚对象",
}  # fmt: skip
_BUILDING: Final = {
    "residential": "住宅楼", "self_built": "自建房", "commercial": "商业楼", "factory": "厂房", "office": "办公楼",
    "mixed": "商住楼", "public": "公共建筑",
}  # fmt: skip
_USE: Final = {
    "lived": "自住", "let": "出租", "vacant": "空置", "shop": "商铺", "office": "办公", "workshop": "作坊",
    "store": "仓库", "public": "公共",
}  # fmt: skip
_ORGANISATION: Final = {
    "company": "企业", "sole_trader": "个体工商户", "institution": "事业单位", "authority": "机关",
    "society": "社会组织", "cooperative": "合作社", "other": "其他",
}  # fmt: skip
_DATUM: Final = {"CGCS2000": "CGCS2000", "WGS84": "WGS84", "GCJ02": "GCJ02", "BD09": "BD09"}
_PLACE: Final = Column(
    "place", "现住址", "小区楼栋单元房号，如：云安花园3栋2单元501室。楼栋须已在房屋台账中。", needed=True,
    aliases=("地址", "住址", "居住地址", "现居住地址", "家庭住址", "房屋地址"), width=34,
)  # fmt: skip
_POINT: Final = (
    Column("lng", "经度", "十进制度", width=12),
    Column("lat", "纬度", "十进制度", width=12),
    Column("datum", "坐标系", "经纬度所用坐标系；不填按 CGCS2000", words=_DATUM, width=12),
)
_KEY: Final = Column(
    "key", "编号", "本部门自己的编号；再次报送时据此认出同一行，可不填", aliases=("序列号", "档案编号")
)

SHEETS: Final[Mapping[str, Sheet]] = {
    one.kind: one
    for one in (
        Sheet("residents", N_("Residents"), "resident", "人口信息", (
            _KEY,
            Column("name", "姓名", needed=True, aliases=("居民姓名", "人员姓名")),
            Column("sex", "性别", words=_SEX, width=8),
            Column("id_number", "身份证号", "18 位公民身份号码，或护照、通行证号", width=22,
                   aliases=("公民身份号码", "身份证号码", "证件号码", "身份证")),
            Column("birth_date", "出生日期", "如 1990-01-31", aliases=("出生年月日", "生日")),
            Column("phone", "联系电话", aliases=("电话", "手机", "手机号", "手机号码")),
            Column("residence", "人口类型", words=_RESIDENCE),
            Column("home_area", "户籍地", "省市县；本地户籍可不填", aliases=("户籍地址",), width=20),
            Column("permit_until", "居住证有效期", "流动人口填写，如 2027-06-30"),
            Column("relation", "与户主关系", words=_RELATION),
            Column("care", "关爱类别", "可填多项，用顿号分开", words=_CARE, width=18),
            _PLACE,
            Column("cell", "网格编码", "15 位；填写时核对住址是否在该网格内", width=18),
        )),
        Sheet("rooms", N_("Buildings and rooms"), "room", "房屋信息", (
            Column("estate", "小区", needed=False, width=18, aliases=("小区名称",)),
            Column("building", "楼栋", "如 3栋", needed=True, aliases=("楼栋号", "栋号", "楼号")),
            Column("address", "门牌地址", "路名和门牌号，如：滨湖路18号", width=24),
            Column("kind", "楼栋类型", words=_BUILDING),
            Column("floors", "楼层数"),
            Column("entrance", "单元", "没有单元的楼可不填", width=8, aliases=("单元号",)),
            Column("number", "房号", needed=True, width=10, aliases=("室号", "房间号")),
            Column("floor", "所在楼层", width=10),
            Column("use", "用途", words=_USE),
            Column("area_m2", "面积", "平方米", width=10),
            *_POINT,
        )),
        Sheet("organisations", N_("Organisations"), "organisation", "单位信息", (
            Column("name", "单位名称", needed=True, width=28, aliases=("名称", "企业名称")),
            Column("credit_code", "统一社会信用代码", "18 位", width=22, aliases=("信用代码",)),
            Column("kind", "类型", words=_ORGANISATION, needed=True),
            Column("trade", "行业", width=18),
            Column("address", "地址", width=30, aliases=("经营地址", "注册地址")),
            Column("contact", "负责人", aliases=("法定代表人", "经营者")),
            Column("phone", "联系电话", aliases=("电话",)),
            Column("employees", "从业人数"),
            *_POINT,
        )),
        Sheet("tenancies", N_("Rented rooms"), "tenancy", "出租屋信息", (
            _PLACE,
            Column("landlord_name", "房东姓名", needed=True, aliases=("出租人",)),
            Column("landlord_phone", "房东电话"),
            Column("lease_from", "起租日期", needed=True),
            Column("lease_to", "到期日期"),
            Column("filed_number", "备案号", width=18),
            Column("most_people", "最多居住人数"),
            Column("checked_on", "消防检查日期"),
        )),
        Sheet("parts", N_("City parts"), "part", "部件信息", (
            Column("code", "部件编码", needed=True, width=20, aliases=("编码", "标识码")),
            Column("name", "名称", needed=True, width=18),
            Column("unit_code", "主管单位代码"),
            Column("installed_on", "安装日期"),
            Column("note", "备注", width=24),
            *_POINT,
        )),
    )
}  # fmt: skip


def template(kind: str, *, cells: Sequence[tuple[str, str]] = ()) -> bytes:
    """Return an empty workbook of a kind: headings, notes, lists to choose from, one sheet of codes.

    cells: codes of the district's cells with the name of their community, for the sheet of codes.
    """
    return _written(_sheet(kind), [], {}, cells=cells, header=None, say=None)


def marked(table: Table, faults: Iterable[Fault], *, say: Say) -> bytes:
    """Return the very rows that came with a column 错误 and the cells at fault in colour; texts stay texts."""
    by_row: dict[int, list[Fault]] = {}
    for one in faults:
        by_row.setdefault(one.at, []).append(one)
    return _written(table.sheet, table.rows, by_row, cells=(), header=table, say=say)


def filled(kind: str, rows: Iterable[Sequence[str]]) -> bytes:
    """Return a workbook of a kind with rows in the order of its columns; for invented lists and tests."""
    sheet = _sheet(kind)
    numbered = [(number, tuple(row)) for number, row in enumerate(rows, 2)]
    return _written(sheet, numbered, {}, cells=(), header=None, say=None)


def read(data: bytes, kind: str) -> Table:
    """Return the table of an Excel or CSV file; raises Invalid, naming `file`."""
    sheet = _sheet(kind)
    if len(data) > LARGEST:
        raise Invalid("A file may have at most {n} MB.", field="file", n=LARGEST // 2**20)
    if not data.strip():
        raise Invalid("This file is empty.", field="file")
    packed = data[:4] in (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
    raw = workbook.rows(data, most=MOST_ROWS + 20, cell=_CELL) if packed else _csv(data)
    clean = [[_cell(cell) for cell in row] for row in raw]
    needed = [one for one in sheet.columns if one.needed]
    first = next((i for i, row in enumerate(clean[:10]) if {c.name for c in needed} <= _named(sheet, row).keys()), None)
    if first is None:
        names = "、".join(one.heading for one in needed)
        raise Invalid("The header lacks a needed column: {names}.", field="file", names=names)
    header = tuple(clean[first])
    at = _named(sheet, header)
    width = len(header)
    rows = [
        (number, tuple((row + [""] * width)[:width]))
        for number, row in enumerate(clean[first + 1 :], first + 2)
        if any(row[place] for place in at.values() if place < len(row))
    ]
    if not rows:
        raise Invalid("The file has a header and no rows.", field="file")
    if len(rows) > MOST_ROWS:
        raise Invalid("A file may have at most {n} rows; divide it.", field="file", n=MOST_ROWS)
    return Table(sheet, header, rows, at)


def checked(
    table: Table, index: int, *, today: date, doubtful: bool = False
) -> tuple[dict[str, Any], dict[str, str], list[Fault]]:
    """Return a row's plain values of its register, what else it says (place, cell, point, key), and its faults.

    A field at fault is left out of the values. doubtful: an identity number that fails its check is no fault but left
    out, and so are a day of birth and a sex that a right number contradicts.
    """
    register = REGISTERS[table.sheet.register]
    texts: dict[str, Any] = {}
    besides: dict[str, str] = {}
    faults: list[Fault] = []
    given = table.given(index)
    for column in table.sheet.columns:
        text = given.get(column.name, "")
        if not text:
            if column.needed:
                faults.append(Fault(index, column.name, N_("The value is missing.")))
            continue
        try:
            value = _value(column, text)
        except Invalid as error:
            faults.append(Fault(index, column.name, error.message, error.params))
            continue
        asked = register.field(column.name)
        if asked is None or not asked.form:
            besides[column.name] = str(value)
        else:
            texts[column.name] = value
    if doubtful and texts.get("id_number") and not _is_number(texts["id_number"]):
        del texts["id_number"]
    plain = _plain(register.name, texts, index, faults, today)
    if register.name == "resident":
        _agree(plain, index, faults, doubtful=doubtful)
    return plain, besides, faults


def _plain(register: str, texts: dict[str, Any], index: int, faults: list[Fault], today: date) -> dict[str, Any]:
    """Return checked values; only where one is at fault, each is asked by itself, so that all faults are told."""
    try:
        return entering.checked(register, texts, today=today, partial=True)
    except WanggeError:
        plain: dict[str, Any] = {}
        for name, value in texts.items():
            try:
                plain |= entering.checked(register, {name: value}, today=today, partial=True)
            except WanggeError as error:
                faults.append(Fault(index, name, error.message, error.params))
        return plain


def _agree(plain: dict[str, Any], index: int, faults: list[Fault], *, doubtful: bool) -> None:
    """Fill day of birth and sex from the identity number, and note what does not agree with it."""
    if doubtful and documents.is_card(plain.get("id_number", "")):
        plain.pop("birth_date", None)
        plain.pop("sex", None)
    try:
        entering.agree(plain)
    except Invalid as error:
        faults.append(Fault(index, error.field or "", error.message, error.params))


def _is_number(text: str) -> bool:
    number = documents.plain(text)
    return documents.is_card(number) or documents.is_other_document(number)


def number_of(raw: str) -> str:
    """Return an identity number as it is compared, right or not."""
    return documents.plain(unicodedata.normalize("NFKC", raw))


def _value(column: Column, text: str) -> Any:
    plain = unicodedata.normalize("NFKC", text).strip()
    if column.words:
        codes = {word: code for code, word in column.words.items()} | {code: code for code in column.words}
        codes |= {word.removesuffix("人口"): code for code, word in column.words.items()}
        if column.name == "care":
            return [_code(codes, one) for one in _PARTED.split(plain) if one]
        return _code(codes, plain)
    if column.name in _DAYS:
        return _day(plain)
    return plain


_DAYS: Final = frozenset({"birth_date", "permit_until", "lease_from", "lease_to", "checked_on", "installed_on"})


def _code(codes: Mapping[str, str], word: str) -> str:
    found = codes.get(word)
    if found is None:
        raise Invalid("{value} is not in the list of codes.", value=word[:40])
    return found


def _day(text: str) -> str:
    found = _DAY.fullmatch(text)
    try:
        return (
            date(*(int(part) for part in found.groups())).isoformat() if found else date.fromisoformat(text).isoformat()
        )
    except ValueError as error:
        raise Invalid("{day} is no date; write 2026-11-21.", day=text[:20]) from error


def _sheet(kind: str) -> Sheet:
    found = SHEETS.get(kind)
    if found is None:
        raise Invalid("There is no list of the kind {kind}.", field="kind", kind=kind[:40])
    return found


def _named(sheet: Sheet, row: Sequence[str]) -> dict[str, int]:
    heads = {head: one.name for one in sheet.columns for head in (one.heading, one.name, *one.aliases)}
    found: dict[str, int] = {}
    for at, cell in enumerate(row):
        name = heads.get(cell.strip().strip("*：: "))
        if name is not None and name in found:
            raise Invalid("Two columns of the header mean the same.", field="file")
        if name is not None:
            found[name] = at
    return found


def _cell(written: str) -> str:
    plain = _UNSEEN.sub("", written).strip()
    return plain[1:] if plain[:1] == "'" and plain[1:].lstrip().startswith(_FORMULA) else plain


def _csv(data: bytes) -> list[list[str]]:
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            written = data.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    else:
        raise Invalid("This file is neither UTF-8 nor GBK text, and no spreadsheet.", field="file")
    if "\0" in written:
        raise Invalid("This file is neither UTF-8 nor GBK text, and no spreadsheet.", field="file")
    parted = max(",\t;", key=written.partition("\n")[0].count)
    try:
        return [[cell.strip()[:_CELL] for cell in row] for row in csv.reader(io.StringIO(written), delimiter=parted)]
    except csv.Error as error:
        raise Invalid("This file is no table: {said}", field="file", said=str(error)[:80]) from error


def _written(
    sheet: Sheet,
    rows: Sequence[tuple[int, tuple[str, ...]]],
    faults: Mapping[int, Sequence[Fault]],
    *,
    cells: Sequence[tuple[str, str]],
    header: Table | None,
    say: Say | None,
) -> bytes:
    out = io.BytesIO()
    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    book = xlsxwriter.Workbook(out, options)
    plain = book.add_format({"num_format": "@"})
    bold = book.add_format({"bold": True, "bg_color": "#E8EEF5", "border": 1, "num_format": "@"})
    needed = book.add_format({"bold": True, "bg_color": "#F9E7C8", "border": 1, "num_format": "@"})
    wrong = book.add_format({"bg_color": "#F8CBAD", "num_format": "@"})
    page = book.add_worksheet(sheet.title)
    # A file that goes back keeps its own columns; the column of faults of an earlier round is written anew.
    kept = [at for at, head in enumerate(header.header) if head != FAULTS] if header else []
    heads = [header.header[at] for at in kept] if header else [one.heading for one in sheet.columns]
    place = {name: kept.index(at) for name, at in header.at.items()} if header else {}
    by_heading = {one.heading: one for one in sheet.columns} | {
        one.heading: next(c for c in sheet.columns if c.name == name)
        for name, at in (header.at.items() if header else ())
        for one in [Column(name, header.header[at] if header else "")]
    }
    for at, head in enumerate(heads):
        known = by_heading.get(head)
        page.write_string(0, at, head, needed if known and known.needed else bold)
        page.set_column(at, at, known.width if known else 14, plain)
        if known and known.note:
            page.write_comment(0, at, known.note)
        if known and known.words and known.name != "care":
            words = list(known.words.values())
            page.data_validation(1, at, MOST_ROWS, at, {"validate": "list", "source": words, "error_type": "warning"})
    if header:
        page.write_string(0, len(heads), FAULTS, needed)
        page.set_column(len(heads), len(heads), 60, plain)
    page.freeze_panes(1, 0)
    for line, (_, row) in enumerate(rows, 1):
        found = faults.get(line - 1, ())
        bad = {place[one.column] for one in found if one.column in place}
        for at, source in enumerate(kept or range(len(row))):
            if row[source] or at in bad:
                page.write_string(line, at, row[source], wrong if at in bad else plain)
        if found and say is not None:
            words = [f"{_heading(sheet, one.column)}{say(one.message, **_said(say, one.params))}" for one in found]
            page.write_string(line, len(heads), "；".join(words), wrong)
    _codes(book, sheet, cells, bold)
    book.close()
    return out.getvalue()


def _said(say: Say, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters of a fault; the label of a field is said in the reader's language."""
    labels = {one.label for register in REGISTERS.values() for one in register.fields}
    return {name: say(value) if value in labels else value for name, value in params.items()}


def _heading(sheet: Sheet, name: str) -> str:
    return next((f"{one.heading}：" for one in sheet.columns if one.name == name), "")


def _codes(book: Any, sheet: Sheet, cells: Sequence[tuple[str, str]], bold: Any) -> None:
    """Write the sheet 代码表: the words of each column with a list, and the cells."""
    lists = [(one.heading, list(one.words.values())) for one in sheet.columns if one.words]
    if cells:
        lists += [("网格编码", [code for code, _ in cells]), ("所属社区", [name for _, name in cells])]
    if not lists:
        return
    page = book.add_worksheet("代码表")
    for at, (heading, words) in enumerate(lists):
        page.set_column(at, at, 18)
        page.write_string(0, at, heading, bold)
        for line, word in enumerate(words, 1):
            page.write_string(line, at, word)
