"""The knowledge base 知识库: looking an answer up, and keeping the articles true.

Operators search, supervisors write; an article that nobody looked at in time stands at the top of the list.
"""

from datetime import date, datetime
from typing import Annotated, Final

from fastapi import APIRouter, Depends
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from api import wiring
from api.deps import Now, Read, Write, require
from api.errors import sentence, status_of
from api.pages import go, page
from api.pages.entered import Form
from api.pages.listing import choices, chosen_code
from core.actor import Actor, Role
from core.errors import Conflict, Invalid, WanggeError
from dispatch.calendar import china_time
from dispatch.rulebook import Rulebook
from hotline.desk import articles
from hotline.desk.articles import Found, Written

router = APIRouter(include_in_schema=False)

Staff = Annotated[Actor, Depends(require(Role.OPERATOR, Role.SUPERVISOR, Role.ADMIN))]
Writer = Annotated[Actor, Depends(require(Role.SUPERVISOR, Role.ADMIN))]
_REVIEW_DAYS: Final = 180


@router.get("/knowledge")
def search(request: Request, session: Read, actor: Staff, at: Now, *, q: str = "", overdue: str = "") -> Response:
    """Find articles by words, pinyin, initials or number."""
    return page(
        request,
        "knowledge/list.html",
        rows=articles.search(session, q, at=at, overdue=overdue == "yes"),
        q=q[:100],
        only_overdue=overdue == "yes",
        late=articles.count_overdue(session, at=at),
        writes=actor.role in articles.WRITERS,
        at=at,
    )


@router.get("/knowledge/new")
def new(request: Request, session: Read, actor: Writer, at: Now) -> Response:
    """Show the empty form."""
    del actor
    review = date.fromordinal(china_time(at).date().toordinal() + _REVIEW_DAYS)
    given = {"valid_from": china_time(at).date().isoformat(), "review_on": review.isoformat()}
    return _form(request, session, given, article=None)


@router.post("/knowledge/examples")
def examples(session: Write, actor: Writer, at: Now) -> Response:
    """Take the shipped examples where there is no article yet."""
    del actor
    articles.take_examples(session, wiring.rulebook(), at=at)
    return go("/knowledge")


@router.get("/knowledge/{no}")
def one(request: Request, session: Read, actor: Staff, at: Now, *, no: int, version: int = 0) -> Response:
    """Show one article, in the newest version or in an older one."""
    found = articles.versions(session, min(no, 10**8))
    shown = next((row for row in found if row.version == version), found[0])
    return page(
        request,
        "knowledge/article.html",
        article=shown,
        versions=found,
        book=wiring.rulebook(),
        writes=actor.role in articles.WRITERS,
        at=at,
    )


@router.get("/knowledge/{no}/edit")
def edit(request: Request, session: Read, actor: Writer, no: int) -> Response:
    """Show the form with the newest version."""
    del actor
    article = articles.versions(session, min(no, 10**8))[0]
    book = wiring.rulebook()
    given = {
        "title": article.title,
        "body": article.body,
        "keywords": article.keywords,
        "category": " / ".join(book.category_path(article.category_code)),
        "unit": book.unit_name(article.unit_code) if article.unit_code else "",
        "valid_from": article.valid_from.isoformat(),
        "valid_to": article.valid_to.isoformat() if article.valid_to else "",
        "review_on": article.review_on.isoformat(),
        "retired": "yes" if article.retired else "",
        "seen": str(article.version),
    }
    return _form(request, session, given, article=article)


@router.post("/knowledge/new")
def add(request: Request, session: Write, actor: Writer, at: Now, entered: Form) -> Response:
    """Write a new article."""
    del actor
    return _save(request, session, dict(entered), no=0, at=at)


@router.post("/knowledge/{no}")
def change(request: Request, session: Write, actor: Writer, at: Now, *, no: int, entered: Form) -> Response:
    """Write the next version of an article."""
    del actor
    return _save(request, session, dict(entered), no=min(no, 10**8), at=at)


def _save(request: Request, session: Session, entered: dict[str, str], *, no: int, at: datetime) -> Response:
    book = wiring.rulebook()
    seen = entered.get("seen", "")
    try:
        with session.begin_nested():
            written = _written(book, entered)
            number = int(seen) if seen.isdecimal() and len(seen) < 8 else 0
            made = articles.write(session, book, written, no=no, seen=number, at=at)
    except (Conflict, Invalid) as error:
        article = articles.versions(session, no)[0] if no else None
        return _form(request, session, entered, article=article, error=error)
    return go(f"/knowledge/{made.no}")


def _written(book: Rulebook, entered: dict[str, str]) -> Written:
    category, unit = entered.get("category", "").strip(), entered.get("unit", "").strip()
    offered = choices(book)
    return Written(
        title=entered.get("title", ""),
        body=entered.get("body", ""),
        keywords=entered.get("keywords", ""),
        category_code=chosen_code(offered.categories, category, field="category") if category else "",
        unit_code=chosen_code(offered.units, unit, field="unit") if unit else "",
        valid_from=_day(entered, "valid_from"),
        valid_to=_day(entered, "valid_to"),
        review_on=_day(entered, "review_on"),
        retired=entered.get("retired") == "yes",
    )


def _day(entered: dict[str, str], name: str) -> date | None:
    written = entered.get(name, "").strip()
    try:
        return date.fromisoformat(written) if written else None
    except ValueError as error:
        raise Invalid("{day} is no date; write 2026-11-21.", field=name, day=written[:20]) from error


def _form(
    request: Request,
    session: Session,
    entered: dict[str, str],
    *,
    article: Found | None,
    error: WanggeError | None = None,
) -> Response:
    del session
    return page(
        request,
        "knowledge/form.html",
        status=status_of(error) if error else 200,
        entered=entered,
        article=article,
        problem=sentence(error) if error else "",
        field=(error.field or "") if error else "",
        choices=choices(wiring.rulebook()),
    )
