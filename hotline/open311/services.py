"""Services 服务: the leaves of the district's category tree, with the questions that a district asks beside them.

A question is an attribute of the standard. Knows how answers are checked and how they read; keeps no request.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from core.db import actor_of
from core.errors import Invalid, NotFound
from dispatch.rulebook import Rulebook
from dispatch.tables import Row, parse_yaml, read_text
from dispatch.words import N_
from hotline.open311 import times
from hotline.open311.models import Open311Service

#: What an answer may be, as the standard names it → longest answer in characters.
DATATYPES: Final[Mapping[str, int]] = {
    "string": 255,
    "number": 40,
    "datetime": 40,
    "text": 2000,
    "singlevaluelist": 100,
    "multivaluelist": 100,
}
_LISTS = ("singlevaluelist", "multivaluelist")
_CODE = re.compile(r"[0-9A-Za-z_\-]{1,40}")
_NUMBER = re.compile(r"[+\-]?\d{1,15}(?:\.\d{1,10})?")
_MOST_ATTRIBUTES, _MOST_VALUES = 50, 200
_DEMO = Path(__file__).with_name("demo.yaml")


@dataclass(frozen=True, slots=True)
class Attribute:
    """One question 补充问题."""

    code: str
    #: A key of `DATATYPES`.
    datatype: str
    question: str
    required: bool = False
    #: False: nothing is asked, the text is to be read.
    variable: bool = True
    #: How it is to be answered.
    help: str = ""
    #: Key → name, in order; of lists only.
    values: Mapping[str, str] = field(default_factory=dict)

    def kept(self) -> dict[str, Any]:
        """Return it as JSON for the table; values as pairs, because JSONB keeps no order of members."""
        return {
            "code": self.code,
            "datatype": self.datatype,
            "question": self.question,
            "required": self.required,
            "variable": self.variable,
            "help": self.help,
            "values": [[key, name] for key, name in self.values.items()],
        }

    def check(self, answers: Sequence[str]) -> None:
        """Raise Invalid for an answer that does not fit the question."""
        wrong = Invalid(N_("The answer to {code} cannot be taken."), field=f"attribute[{self.code}]", code=self.code)
        if len(answers) > (len(self.values) if self.datatype == "multivaluelist" else 1):
            raise wrong
        if len(set(answers)) != len(answers):
            raise wrong
        for answer in answers:
            if len(answer) > DATATYPES[self.datatype]:
                raise wrong
            if self.datatype == "number" and not _NUMBER.fullmatch(answer):
                raise wrong
            if self.datatype == "string" and "\n" in answer:
                raise wrong
            if self.datatype in _LISTS and answer not in self.values:
                raise wrong
            if self.datatype == "datetime":
                times.read(answer, field=f"attribute[{self.code}]")


@dataclass(frozen=True, slots=True)
class Service:
    """One kind of matter that can be reported."""

    code: str
    name: str
    #: The names above it, from the top.
    group: str
    description: str
    keywords: tuple[str, ...] = ()
    attributes: tuple[Attribute, ...] = ()

    def check(self, answers: Mapping[str, Sequence[str]]) -> None:
        """Raise Invalid for an answer to what was not asked, a wrong one, or a missing one that is required."""
        known = {one.code: one for one in self.attributes if one.variable}
        for code, given in answers.items():
            if code not in known:
                raise Invalid(N_("{code} is not asked for this service."), field="attribute", code=code[:40])
            known[code].check(given)
        for one in known.values():
            if one.required and not answers.get(one.code):
                raise Invalid(N_("{code} must be answered."), field=f"attribute[{one.code}]", code=one.code)

    def read_out(self, answers: Mapping[str, Sequence[str]]) -> list[str]:
        """Return questions and answers as lines that people read."""
        lines = []
        for one in self.attributes:
            given = [one.values.get(answer, answer) for answer in answers.get(one.code, ())]
            if given:
                lines.append(f"{one.question}：{'、'.join(given)}")
        return lines


def listed(session: Session, book: Rulebook) -> dict[str, Service]:
    """Return what is offered, by code, in the order of codes: categories without a lower level. Reads."""
    here = actor_of(session).district
    rows = {
        row.code: row for row in session.scalars(select(Open311Service).where(Open311Service.district_code == here))
    }
    parents = {node.parent for node in book.categories.values()}
    found = {}
    for code, node in sorted(book.categories.items()):
        row = rows.get(code)
        if code in parents or (row is not None and not row.offered):
            continue
        above = book.category_path(node.parent)
        found[code] = Service(
            code=code,
            name=node.name,
            group=" / ".join(above),
            description=row.description if row else "",
            keywords=tuple(row.keywords) if row and row.keywords else (*above, node.name),
            attributes=tuple(_attribute(one) for one in row.attributes) if row else (),
        )
    return found


def one_of(offered: Mapping[str, Service], code: str) -> Service:
    """Return a service by its code; raises NotFound."""
    if code not in offered:
        raise NotFound(N_("There is no service with this service_code."))
    return offered[code]


def _attribute(kept: Mapping[str, Any]) -> Attribute:
    return Attribute(**{**kept, "values": dict(kept["values"])})


def read(path: Path, book: Rulebook) -> list[Open311Service]:
    """Return the rows of a table of services (docs/formats.md); raises Invalid with the line at fault."""
    services = [row for document in parse_yaml(read_text(path), file=path.name) for row in document.rows("services")]
    if not services:
        raise Invalid(N_("{file} names no services."), file=path.name)
    return [_row(one, book) for one in services]


def _row(given: Row, book: Rulebook) -> Open311Service:
    given.only("code", "description", "keywords", "offered", "attributes")
    given.need("code")
    attributes = [_checked(one) for one in given.rows("attributes")]
    codes = [one.code for one in attributes]
    if len(set(codes)) != len(codes) or len(codes) > _MOST_ATTRIBUTES:
        given.reject(N_("{file}, line {line}: the codes of attributes must differ, and be 50 at most."))
    return Open311Service(
        district_code=book.district,
        code=book.checked_category(str(given["code"])),
        description=str(given.get("description") or "")[:500],
        keywords=[word[:50] for word in given.words("keywords")][:50],
        offered=given.get("offered") is not False,
        attributes=[one.kept() for one in attributes],
    )


def _checked(given: Row) -> Attribute:
    given.only("code", "datatype", "question", "required", "variable", "help", "values")
    given.need("code", "datatype", "question")
    values = given.rows("values")
    for value in values:
        value.only("key", "name")
        value.need("key", "name")
    made = Attribute(
        code=str(given["code"]),
        datatype=str(given["datatype"]),
        question=str(given["question"])[:300],
        required=given.get("required") is True,
        variable=given.get("variable") is not False,
        help=str(given.get("help") or "")[:300],
        values={str(value["key"])[:100]: str(value["name"])[:100] for value in values},
    )
    sound = _CODE.fullmatch(made.code) and made.datatype in DATATYPES and len(values) <= _MOST_VALUES
    if not sound or bool(values) != (made.datatype in _LISTS) or len(made.values) != len(values):
        given.reject(
            N_("{file}, line {line}: an attribute has a plain code, a datatype of the standard, and values if a list.")
        )
    return made


def keep(session: Session, rows: Iterable[Open311Service]) -> int:
    """Make the district's table be these rows; returns how many. Writes; caller commits."""
    here = actor_of(session).district
    session.execute(delete(Open311Service).where(Open311Service.district_code == here))
    made = list(rows)
    session.add_all(made)
    session.flush()
    return len(made)


def invent_once(session: Session, book: Rulebook) -> str:
    """Ask invented questions at the first service of a district that asks none; return its code, empty where it asks.

    Every kind of answer is among them. Writes; caller commits.
    """
    offered = listed(session, book)
    if not offered or any(one.attributes for one in offered.values()):
        return ""
    code = next(iter(offered))
    (template,) = parse_yaml(read_text(_DEMO), file=_DEMO.name)
    template["code"] = code
    session.merge(_row(template, book))
    session.flush()
    return code
