"""Rules of the registers: rights by duty, time of keeping, erasing and holds, codes of parts, and their log.

Administrators change them, supervisors read them and place holds; every change stands in the log.
"""

import uuid
from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Depends
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from api.deps import Now, Read, Write, require
from api.errors import sentence, status_of
from api.pages import go, page
from api.pages.entered import Form
from core.actor import Actor, Role, system
from core.db import transaction
from core.errors import Conflict, Forbidden, Invalid, NotFound, WanggeError
from grid.registers import parts, permissions, record, retention
from grid.registers.fields import REGISTERS
from grid.registers.parts import Rule
from grid.registers.permissions import ACTS, HOLDERS

router = APIRouter(include_in_schema=False)

Admin = Annotated[Actor, Depends(require(Role.ADMIN))]
Reader = Annotated[Actor, Depends(require(Role.ADMIN, Role.SUPERVISOR))]
#: Batches that one press erases; the rest waits for the next.
_MOST_BATCHES: Final = 40


@router.get("/registers/rules/rights")
def rights(request: Request, session: Read, actor: Reader, *, holder: str = "census") -> Response:
    """Show what one holder may with each register."""
    return _rights(request, session, actor, holder)


@router.post("/registers/rules/rights")
def grant(request: Request, session: Write, actor: Admin, at: Now, form: Form) -> Response:
    """Set what one holder may with one register."""
    holder, register = form.get("holder", ""), form.get("register", "")
    verbs = {verb: form.lists.get(verb, []) for verb in ("sees", "changes", "opens")}
    try:
        with session.begin_nested():
            permissions.grant(session, holder, register, verbs, at=at)
    except Invalid as error:
        return _rights(request, session, actor, holder, error=error)
    return go(f"/registers/rules/rights?holder={holder}&done=yes#{register}")


def _rights(
    request: Request, session: Session, actor: Actor, holder: str, *, error: WanggeError | None = None
) -> Response:
    if holder not in HOLDERS:
        raise NotFound("There is no line {name} in the table of rights.", name=holder[:40])
    return page(
        request,
        "registers/rights.html",
        status=status_of(error) if error else 200,
        problem=sentence(error) if error else "",
        holder=holder,
        holders=HOLDERS,
        granted=permissions.table(session).get(holder, {}),
        nothing=permissions.Grant(),
        registers=REGISTERS,
        acts=ACTS,
        may_change=actor.role is Role.ADMIN,
        done=request.query_params.get("done") == "yes",
    )


@router.get("/registers/rules/keeping")
def keeping(request: Request, session: Read, actor: Reader, at: Now) -> Response:
    """Show how long rows are kept, what would be erased today, and what is held."""
    return _keeping(request, session, actor, at=at)


@router.post("/registers/rules/keeping")
def keep(request: Request, session: Write, actor: Admin, at: Now, form: Form) -> Response:
    """Change the time of keeping of one register."""
    written = form.get("days", "").strip()
    try:
        with session.begin_nested():
            wanted = _days(written) if written else None
            retention.set_days(session, form.get("register", ""), wanted, why=form.get("why", ""), at=at)
    except Invalid as error:
        return _keeping(request, session, actor, at=at, error=error)
    return go("/registers/rules/keeping?done=kept")


def _days(written: str) -> int:
    """Return a number of days; raises Invalid."""
    if not (written.isascii() and written.isdigit() and len(written) < 7):
        raise Invalid("Between {least} days and 100 years.", field="days", least=retention.LEAST_DAYS)
    return int(written)


@router.post("/registers/rules/erase")
def erase(request: Request, session: Read, actor: Admin, at: Now, form: Form) -> Response:
    """Erase what the preview showed, batch by batch, each in a transaction of its own."""
    register = form.get("register", "")
    try:
        before = datetime.fromisoformat(form.get("before", ""))
    except ValueError as wrong:
        raise Invalid("Look at the preview again.", field="before") from wrong
    if before.tzinfo is None:
        raise Invalid("Look at the preview again.", field="before")
    if form.get("sure") != "yes":
        wanted = Invalid("Say that you have looked at the preview.", field="sure")
        return _keeping(request, session, actor, at=at, error=wanted)
    erased = 0
    try:
        for _ in range(_MOST_BATCHES):
            with transaction(system(actor.district, "registers")) as batch:
                done = retention.erase(batch, register, before=before, at=at, asked_by=actor.name)
            erased += done
            if done < retention.BATCH:
                break
    except (Conflict, Invalid) as error:
        return _keeping(request, session, actor, at=at, error=error)
    return go(f"/registers/rules/keeping?done=erased-{erased}")


@router.post("/registers/rules/hold")
def hold(request: Request, session: Write, actor: Reader, at: Now, form: Form) -> Response:
    """Forbid erasing one row or a whole register."""
    try:
        with session.begin_nested():
            subject = _subject(form.get("subject", ""))
            retention.hold(
                session,
                form.get("register", ""),
                subject,
                reason=form.get("reason", ""),
                document=form.get("document", ""),
                at=at,
            )
    except (Invalid, NotFound, Forbidden) as error:
        return _keeping(request, session, actor, at=at, error=error)
    return go("/registers/rules/keeping?done=held")


@router.post("/registers/rules/release")
def release(session: Write, actor: Reader, at: Now, form: Form) -> Response:
    """End a hold."""
    del actor
    found = _subject(form.get("hold", ""))
    if found is None:
        raise NotFound("There is no such hold.")
    retention.release(session, found, at=at)
    return go("/registers/rules/keeping?done=released")


def _subject(text: str) -> uuid.UUID | None:
    if not text.strip():
        return None
    try:
        return uuid.UUID(text.strip().rstrip("/").rpartition("/")[2])
    except ValueError as error:
        raise Invalid("Paste the address or number of the other entry.", field="subject") from error


def _keeping(
    request: Request, session: Session, actor: Actor, *, at: datetime, error: WanggeError | None = None
) -> Response:
    done = request.query_params.get("done", "")
    erased = done.removeprefix("erased-")
    return page(
        request,
        "registers/keeping.html",
        status=status_of(error) if error else 200,
        problem=sentence(error) if error else "",
        previews=retention.preview(session, at=at),
        holds=retention.holds(session),
        registers=REGISTERS,
        may_change=actor.role is Role.ADMIN,
        done=done.partition("-")[0],
        erased=int(erased) if erased.isdecimal() and len(erased) < 9 else 0,
    )


@router.get("/registers/rules/parts")
def part_rule(request: Request, session: Read, actor: Reader) -> Response:
    """Show how codes of parts look."""
    return _part_rule(request, parts.rule(session), actor)


@router.post("/registers/rules/parts")
def set_part_rule(request: Request, session: Write, actor: Admin, at: Now, form: Form) -> Response:
    """Change how codes of parts that come look; those that are there stay."""
    wanted = Rule(form.get("mask", "").strip().upper()[:24], form.get("check", ""))
    try:
        parts.set_rule(session, wanted, at=at)
    except Invalid as error:
        return _part_rule(request, wanted, actor, error=error)
    return go("/registers/rules/parts?done=yes")


def _part_rule(request: Request, rule: Rule, actor: Actor, *, error: WanggeError | None = None) -> Response:
    return page(
        request,
        "registers/part_codes.html",
        status=status_of(error) if error else 200,
        problem=sentence(error) if error else "",
        rule=rule,
        checks=parts.CHECKS,
        may_change=actor.role is Role.ADMIN,
        done=request.query_params.get("done") == "yes",
    )


@router.get("/registers/rules/log")
def the_log(request: Request, session: Read, actor: Reader) -> Response:
    """Show the newest exports, erasures, holds and changed rules."""
    del actor
    return page(
        request,
        "registers/log.html",
        lines=record.newest(session),
        kinds=record.KINDS,
        registers=REGISTERS,
        holders=HOLDERS,
    )
