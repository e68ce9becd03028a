"""Signing in and out: counts tries, checks the password outside any transaction, and sets the cookies."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import Response

from api import deps, security
from api.deps import Me
from api.errors import TooMany, sentence
from api.i18n import say
from api.pages import go, page, phone
from core.actor import Role, system
from core.db import snapshot, transaction
from grid import accounts

router = APIRouter(include_in_schema=False)

#: Where each role begins work.
HOME = {
    Role.OPERATOR: "/desk",
    Role.UNIT: "/unit",
    Role.OFFICIAL: "/map",
    Role.SUPERVISOR: "/desk",
    Role.GRID_WORKER: "/patrol",
    Role.ADMIN: "/accounts",
}


@router.get("/login")
def form(request: Request, next: str = "") -> Response:  # noqa: A002  the name that the address carries
    """Show the sign-in."""
    return page(request, "login.html", next=security.local_path(next) if next else "", login="", problem="")


@router.post("/login")
def sign_in(
    request: Request,
    login: Annotated[str, Form(max_length=200)] = "",
    password: Annotated[str, Form(max_length=1000)] = "",
    next: Annotated[str, Form(max_length=2000)] = "",  # noqa: A002
) -> Response:
    """Check login and password; go on to where the person wanted to go, else to the role's face."""
    try:
        signed = check(request, login, password)
    except TooMany as error:
        return page(request, "login.html", status=429, next=next, login=login[:40], problem=sentence(error))
    if signed is None:
        words = say("Login or password is wrong.")
        return page(request, "login.html", status=401, next=next, login=login[:40], problem=words)
    account_id, epoch, role = signed
    visit = security.new_visit()
    response = go(next or HOME.get(role, "/"))
    for cookie in security.session_cookies(security.sign_session(account_id, epoch, visit), visit):
        response.headers.append("set-cookie", cookie)
    return response


def check(request: Request, login: str, password: str) -> tuple[uuid.UUID, int, Role] | None:
    """Return id, epoch and role of an account whose password fits, None otherwise; raises TooMany."""
    code = deps.district()
    name = login.strip().lower()[:40]
    deps.throttle(request, "address", deps.address_of(request), most=accounts.ADDRESS_TRIES)
    deps.throttle(request, "login", name, most=accounts.LOGIN_TRIES)
    with snapshot(system(code, "sign-in")) as session:
        account = accounts.by_login(session, name, district=code) if security.is_clean(name) else None
        if account is not None:
            session.expunge(account)
    # Some 50 ms of arithmetic, with no transaction open.
    if not accounts.fits(account, password) or account is None:
        return None
    with transaction(system(code, "sign-in")) as session:
        accounts.forget_tries(session, "login", name, district=code)
    return account.id, account.session_epoch, Role(account.role)


@router.post("/logout")
def sign_out(request: Request, actor: Me) -> Response:
    """End this browser's session, and with it stand up from the telephone."""
    del request
    phone.stand_up(actor)
    response = go("/")
    for cookie in security.session_cookies(None, security.new_visit()):
        response.headers.append("set-cookie", cookie)
    return response
