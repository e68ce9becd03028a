"""Articles 知识库 that enquiries are answered from: found by words and pinyin, kept in versions, reviewed in time.

A version is never changed: a case that was answered from one says for ever what the caller was told. Reads and writes
the tables `article` and `article_use`.
"""

import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import rjieba
import yaml
from pypinyin import Style, lazy_pinyin
from sqlalchemy import func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from core.actor import Role
from core.db import actor_of
from core.errors import Conflict, Forbidden, Invalid, NotFound
from dispatch import cases
from dispatch.calendar import china_time
from dispatch.fields import LONG
from dispatch.rulebook import Rulebook
from dispatch.sheet import facts
from hotline.desk.models import Article, ArticleUse

#: Articles that a list shows; more are found by searching.
MOST: Final = 50
#: Beside a call.
_BESIDE: Final = 3
_TITLE, _BODY, _KEYWORDS = 80, 6000, 200
#: Who may write; who may put a use down.
WRITERS: Final = (Role.SYSTEM, Role.SUPERVISOR, Role.ADMIN)
#: Words that every enquiry has.
_HOLLOW: Final = frozenset(
    [
        *(
            "怎么",
            "怎么办",
            "什么",
            "请问",
            "咨询",
            "想问",
            "一下",
            "如何",
            "需要",
            "哪里",
            "可以",
            "办理",
            "问题",
            "我们",
        ),
        *(
            "现在",
            "这个",
            "那个",
            "为什么",
            "多少",
            "是否",
            "没有",
            "他们",
            "知道",
            "哪些",
            "投诉",
            "反映",
            "要求",
            "希望",
        ),
    ]
)
_EXAMPLES: Final = Path(__file__).parent / "data" / "articles.yaml"
_WORD: Final = re.compile(r"[\w]+")
_ASCII: Final = re.compile(r"[a-z0-9]{2,40}")


@dataclass(frozen=True, slots=True)
class Found:
    """One version of an article, as it is shown."""

    no: int
    version: int
    current: bool
    title: str
    body: str
    category_code: str
    unit_code: str
    keywords: str
    valid_from: date
    valid_to: date | None
    review_on: date
    retired: bool
    example: bool
    edited_name: str
    edited_at: datetime

    def holds_on(self, at: datetime) -> bool:
        """Whether callers may be answered from it at a moment."""
        day = china_time(at).date()
        return (
            self.current
            and not self.retired
            and self.valid_from <= day
            and (self.valid_to is None or day <= self.valid_to)
        )

    def overdue(self, at: datetime) -> bool:
        """Whether somebody should have looked at it again."""
        return not self.retired and self.review_on < china_time(at).date()

    @property
    def parts(self) -> tuple[tuple[bool, tuple[str, ...]], ...]:
        """The body as paragraphs (False, lines) and lists (True, points)."""
        made: list[tuple[bool, tuple[str, ...]]] = []
        for block in re.split(r"\n\s*\n", self.body.strip()):
            lines = [line.strip() for line in block.splitlines() if line.strip()]
            points = [line.removeprefix("- ") for line in lines if line.startswith("- ")]
            plain = [line for line in lines if not line.startswith("- ")]
            if plain:
                made.append((False, tuple(plain)))
            if points:
                made.append((True, tuple(points)))
        return tuple(made)


@dataclass(frozen=True, slots=True)
class Written:
    """What an editor entered."""

    title: str
    body: str
    keywords: str = ""
    category_code: str = ""
    unit_code: str = ""
    valid_from: date | None = None
    valid_to: date | None = None
    review_on: date | None = None
    retired: bool = False
    example: bool = False


def search(session: Session, words: str, *, at: datetime, overdue: bool = False) -> list[Found]:
    """Return current articles by words, pinyin or initials, the best first; all of them without words. Reads only.

    overdue: those alone whose day of review has passed.
    """
    here = (Article.district_code == actor_of(session).district, Article.current)
    query = select(Article).where(*here)
    if overdue:
        query = query.where(Article.review_on < china_time(at).date(), Article.retired.is_(False))
    said = words.strip()[:100]
    if said.isdecimal():
        return _found(session, query.where(Article.no == min(int(said[:9]), 10**8)))
    asked = _query(said, weight="")
    if not asked:
        return _found(session, query.order_by(Article.review_on, Article.no).limit(MOST)) if not said else []
    rank = func.ts_rank(Article.terms, text("CAST(:asked AS tsquery)"))
    query = query.where(Article.terms.op("@@")(text("CAST(:asked AS tsquery)"))).params(asked=asked)
    return _found(session, query.order_by(Article.retired, rank.desc(), Article.no).limit(MOST))


def suggest(session: Session, kind: str, words: str, *, at: datetime) -> list[Found]:
    """Return articles that may answer a caller, the best first: more for an enquiry than for a complaint. Reads only.

    Only what holds today, and whose title or keywords the caller used.
    """
    asked = _query(words[:300], weight="A")
    if not asked or kind == "praise":
        return []
    day = china_time(at).date()
    rank = func.ts_rank(Article.terms, text("CAST(:asked AS tsquery)"))
    query = (
        select(Article)
        .where(Article.district_code == actor_of(session).district, Article.current, Article.retired.is_(False))
        .where(Article.valid_from <= day, (Article.valid_to.is_(None)) | (Article.valid_to >= day))
        .where(Article.terms.op("@@")(text("CAST(:asked AS tsquery)")))
        .params(asked=asked)
        .order_by(rank.desc(), Article.no)
        .limit(_BESIDE if kind == "enquiry" else 1)
    )
    return _found(session, query)


def version(session: Session, no: int, number: int) -> Found:
    """Return one version of an article; raises NotFound. Reads only."""
    key = (Article.district_code == actor_of(session).district, Article.no == no, Article.version == number)
    found = _found(session, select(Article).where(*key))
    if not found:
        raise NotFound("There is no such article.")
    return found[0]


def versions(session: Session, no: int) -> list[Found]:
    """Return the versions of an article, the newest first; raises NotFound. Reads only."""
    key = (Article.district_code == actor_of(session).district, Article.no == no)
    found = _found(session, select(Article).where(*key).order_by(Article.version.desc()).limit(MOST))
    if not found:
        raise NotFound("There is no such article.")
    return found


def count_overdue(session: Session, *, at: datetime) -> int:
    """Return how many articles should have been looked at again by now. Reads only."""
    here = (Article.district_code == actor_of(session).district, Article.current, Article.retired.is_(False))
    query = select(func.count()).select_from(Article).where(*here, Article.review_on < china_time(at).date())
    return session.scalar(query) or 0


def write(session: Session, book: Rulebook, written: Written, *, no: int = 0, seen: int = 0, at: datetime) -> Found:
    """Write an article, new or the next version of `no`, and return it.

    seen: the version that the editor saw. Raises Forbidden, Invalid by field, NotFound, and Conflict when somebody was
    faster. Writes; caller commits.
    """
    actor = actor_of(session)
    if actor.role not in WRITERS:
        raise Forbidden("Only supervisors write articles.")
    row = _checked(book, written, at=at)
    here = Article.district_code == actor.district
    # One writer at a time numbers and replaces: the lock goes with the transaction.
    session.execute(text("SELECT pg_advisory_xact_lock(hashtext('article:' || :d))"), {"d": actor.district})
    if no:
        newest = session.scalar(select(func.max(Article.version)).where(here, Article.no == no))
        if newest is None:
            raise NotFound("There is no such article.")
        if newest != seen:
            raise Conflict("Somebody changed the article meanwhile; compare and save again.")
        session.execute(update(Article).where(here, Article.no == no, Article.current).values(current=False))
    else:
        no = (session.scalar(select(func.max(Article.no)).where(here)) or 0) + 1
        newest = 0
    row |= {"district_code": actor.district, "no": no, "version": newest + 1, "current": True}
    row |= {"edited_name": actor.name, "edited_at": at}
    row["terms"] = text("CAST(:terms AS tsvector)").bindparams(terms=_terms(written))
    session.execute(insert(Article).values(row))
    return version(session, no, newest + 1)


def close_from(
    session: Session, book: Rulebook, case_id: uuid.UUID, no: int, number: int, *, version_of_case: int, at: datetime
) -> None:
    """Write down that a caller was answered from a version of an article, and close the case where words settle it.

    What needs a unit stays open, and the log says what the caller was told. Article and version stand in the log either
    way. Raises as `cases.act`. Writes; caller commits.
    """
    told = version(session, no, number)
    row = {"district_code": book.district, "case_id": case_id, "no": no, "version": number}
    row |= {"actor_name": actor_of(session).name, "at": at}
    session.execute(upsert(ArticleUse).values(row).on_conflict_do_nothing())
    source = source_of(told)
    offered = {step.action for step in cases.offered(session, book, case_id, at=at)}
    if "answer_now" in offered:
        # On the line: who reported it by telephone has heard it from whoever writes this down.
        fields = {"answer": told.body[:LONG], "source": source, "contacted": "yes"}
        cases.act(session, book, case_id, "answer_now", expected_version=version_of_case, at=at, fields=fields)
        return
    cases.act(session, book, case_id, "note", expected_version=version_of_case, at=at, fields={"note": source})


def source_of(article: Found) -> str:
    """Return how the log names a version of an article."""
    return f"{article.title}（知识库第{article.no}条第{article.version}版）"


def used(session: Session, case_id: uuid.UUID) -> list[tuple[int, int, str]]:
    """Return number, version and title of what a case was answered from. Reads only."""
    facts(session, case_id)
    here = ArticleUse.district_code == actor_of(session).district
    same = (
        (Article.district_code == ArticleUse.district_code)
        & (Article.no == ArticleUse.no)
        & (Article.version == ArticleUse.version)
    )
    query = select(ArticleUse.no, ArticleUse.version, Article.title).join(Article, same)
    rows = session.execute(query.where(here, ArticleUse.case_id == case_id).limit(MOST))
    return [(no, number, title) for no, number, title in rows]


def take_examples(session: Session, book: Rulebook, *, at: datetime) -> int:
    """Write the shipped examples where the district has no article yet, and return how many. Writes; caller commits."""
    # Two who press at once write them once: the lock goes with the transaction.
    session.execute(text("SELECT pg_advisory_xact_lock(hashtext('article:' || :d))"), {"d": book.district})
    if session.scalar(select(Article.no).where(Article.district_code == book.district).limit(1)):
        return 0
    rows: list[Mapping[str, Any]] = yaml.safe_load(_EXAMPLES.read_text(encoding="utf-8"))
    day = china_time(at).date()
    for row in rows:
        review = date(day.year + 1, day.month, min(day.day, 28))
        made = Written(row["title"], row["body"], row["keywords"], valid_from=day, review_on=review, example=True)
        write(session, book, made, at=at)
    return len(rows)


def _checked(book: Rulebook, written: Written, *, at: datetime) -> dict[str, Any]:
    title, body = " ".join(written.title.split()), written.body.strip()
    if not title or len(title) > _TITLE:
        raise Invalid("A title has 1 to {most} characters.", field="title", most=_TITLE)
    if not body or len(body) > _BODY:
        raise Invalid("The text has 1 to {most} characters.", field="body", most=_BODY)
    if len(written.keywords) > _KEYWORDS:
        raise Invalid("The keywords have at most {most} characters.", field="keywords", most=_KEYWORDS)
    day = china_time(at).date()
    begins = written.valid_from or day
    if written.valid_to is not None and written.valid_to < begins:
        raise Invalid("The last day lies before the first.", field="valid_to")
    if written.review_on is None:
        raise Invalid("Say by when somebody looks at it again.", field="review_on")
    if written.category_code:
        book.checked_category(written.category_code)
    if written.unit_code:
        book.checked_unit(written.unit_code)
    return {
        "title": title,
        "body": body,
        "keywords": " ".join(written.keywords.replace("、", " ").replace("，", " ").split()),
        "category_code": written.category_code,
        "unit_code": written.unit_code,
        "valid_from": begins,
        "valid_to": written.valid_to,
        "review_on": written.review_on,
        "retired": written.retired,
        "example": written.example,
    }


def _found(session: Session, query: Any) -> list[Found]:
    names = Found.__dataclass_fields__
    return [Found(**{name: getattr(row, name) for name in names}) for row in session.scalars(query)]


def _split(written: str) -> Iterable[str]:
    return (word.lower() for word in rjieba.cut(written) if _WORD.fullmatch(word))


@lru_cache(maxsize=4096)
def _sounds(word: str) -> tuple[str, ...]:
    if word.isascii():
        return ()
    whole = "".join(lazy_pinyin(word))
    first = "".join(lazy_pinyin(word, style=Style.FIRST_LETTER))
    return tuple(sound for sound in (whole, first) if _ASCII.fullmatch(sound))


def _terms(written: Written) -> str:
    """Return an article's words as a tsvector's text: A for title and keywords with their pinyin, D for the body."""
    weighed: dict[str, str] = {}
    named = [written.title, *written.keywords.replace("、", " ").split()]
    for phrase in named:
        for word in (*_split(phrase), *([phrase.lower()] if len(phrase) <= 12 and _WORD.fullmatch(phrase) else [])):
            weighed[word] = "A"
            for sound in _sounds(word) if len(word) > 1 else ():
                weighed[f"/{sound}"] = "A"
    for word in _split(written.body):
        weighed.setdefault(word, "D")
    return " ".join(f"{_quoted(word)}:1{weight}" for word, weight in weighed.items())


def _query(words: str, *, weight: str) -> str:
    """Return the words as a tsquery's text, joined by or; empty where nothing is to be looked for."""
    made = {word for word in _split(words) if len(word) > 1 and word not in _HOLLOW}
    if not made and weight == "":
        made = set(_split(words))
    asked = [f"{_quoted(word)}:{weight}" if weight else _quoted(word) for word in sorted(made)]
    if weight == "":
        asked += [f"{_quoted('/' + sound)}:*" for sound in _ASCII.findall(words.lower().replace("'", ""))]
    return " | ".join(asked)


def _quoted(word: str) -> str:
    return "'" + word.replace("\\", "\\\\").replace("'", "''") + "'"
