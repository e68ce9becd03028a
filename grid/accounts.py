"""Accounts 账号: who may sign in, with which password, and how often somebody may try. Knows no cookie and no page.

Passwords are argon2id. Tries are counted per login and per network address under a blind index, so that the table
names nobody. Checking a password takes some 50 ms of CPU on purpose: do it outside a transaction.
"""

import re
import secrets
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

from pwdlib import PasswordHash
from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from core.actor import Actor, Role
from core.crypto import blind_index
from core.errors import Conflict, Invalid, NotFound
from core.ids import new_id
from grid.models import Account, Throttle, Unit

#: Tries within `WINDOW` before one has to wait: of one login, and of one address (an office shares one).
LOGIN_TRIES = 8
ADDRESS_TRIES = 60
WINDOW = timedelta(minutes=10)
MIN_PASSWORD = 8
_LOGIN = re.compile(r"[0-9a-z][0-9a-z._\-]{1,39}")


@dataclass(frozen=True, slots=True)
class NewAccount:
    """What an administrator says about a new account."""

    login: str
    password: str
    role: Role
    name: str
    #: 9-digit code that narrows the view to one town; empty for the whole district.
    town: str = ""
    #: Code of the unit; needed for the role `unit`.
    unit: str = ""


@cache
def _hasher() -> PasswordHash:
    return PasswordHash.recommended()


@cache
def _nobody() -> str:
    """Return a hash that no password fits: an unknown login takes as long as a known one."""
    return _hasher().hash(secrets.token_hex(16))


def hash_password(password: str) -> str:
    """Return the argon2id hash of a password; raises Invalid for one that is too short or too long."""
    if not MIN_PASSWORD <= len(password) <= 200:
        raise Invalid("A password has at least {n} characters.", field="password", n=MIN_PASSWORD)
    return _hasher().hash(password)


def fits(account: Account | None, password: str) -> bool:
    """Return whether a password is the account's; False for no or a closed account, after the same time."""
    known = account is not None and account.active
    right = _hasher().verify(password[:200], account.password_hash if account is not None and known else _nobody())
    return right and known


def add(session: Session, new: NewAccount, *, district: str, at: datetime) -> uuid.UUID:
    """Write a new account and return its id; writes, caller commits (as administrator or system).

    Raises Invalid for a login, role, town or unit that cannot be, Conflict for a login that is taken.
    """
    login = new.login.strip().lower()
    if not _LOGIN.fullmatch(login):
        raise Invalid("A login has 2 to 40 letters a–z, digits, dots, dashes or underscores.", field="login")
    if new.role is Role.SYSTEM:
        raise Invalid("The role {name} cannot be given to a person.", field="role", name=new.role.value)
    if new.role is Role.UNIT and not new.unit:
        raise Invalid("An account of a unit names its unit.", field="unit")
    if new.role is Role.GRID_WORKER and not new.town:
        raise Invalid("An account of a grid worker names its town.", field="town")
    if new.unit and session.get(Unit, (district, new.unit)) is None:
        raise Invalid("The unit {code} is not known.", field="unit", code=new.unit[:40])
    if by_login(session, login, district=district) is not None:
        raise Conflict("The login {login} is taken.", field="login", login=login)
    account = Account(
        district_code=district,
        id=new_id(),
        login=login,
        password_hash=hash_password(new.password),
        role=new.role.value,
        name=new.name.strip()[:60] or login,
        town_code=new.town,
        unit_code=new.unit or None,
        created_at=at,
    )
    session.add(account)
    session.flush()
    return account.id


def by_login(session: Session, login: str, *, district: str) -> Account | None:
    """Return the account of a login, closed ones too; reads, as system."""
    query = select(Account).where(Account.district_code == district, Account.login == login.strip().lower()[:40])
    return session.scalars(query).one_or_none()


def listed(session: Session, *, district: str) -> list[Account]:
    """Return every account of a district that the session's actor sees, by role and login; reads."""
    chosen = select(Account).where(Account.district_code == district).order_by(Account.role, Account.login)
    return list(session.scalars(chosen))


def actor(session: Session, account_id: uuid.UUID, epoch: int, *, district: str) -> Actor | None:
    """Return who acts for an account whose sessions were not ended since `epoch`; None otherwise. Reads."""
    query = select(
        Account.name, Account.role, Account.town_code, Account.unit_code, Account.session_epoch, Account.active
    ).where(Account.district_code == district, Account.id == account_id)
    row = session.execute(query).one_or_none()
    if row is None or not row.active or row.session_epoch != epoch:
        return None
    return Actor(
        id=account_id,
        name=row.name,
        role=Role(row.role),
        district=district,
        town=row.town_code,
        unit=row.unit_code or "",
    )


def end_sessions(session: Session, account_id: uuid.UUID, *, district: str) -> None:
    """End every session and token of an account; writes, caller commits (as system). Raises NotFound."""
    done = session.execute(
        update(Account)
        .where(Account.district_code == district, Account.id == account_id)
        .values(session_epoch=Account.session_epoch + 1)
        .returning(Account.id)
    )
    if done.one_or_none() is None:
        raise NotFound("This account does not exist.")


def set_password(session: Session, login: str, password: str, *, district: str) -> None:
    """Give an account a new password and end its sessions; writes, caller commits. Raises NotFound and Invalid."""
    account = by_login(session, login, district=district)
    if account is None:
        raise NotFound("This account does not exist.")
    account.password_hash = hash_password(password)
    session.flush()
    end_sessions(session, account.id, district=district)


def count_try(session: Session, what: str, value: str, *, most: int, district: str, at: datetime) -> int:
    """Count one try and return the seconds to wait: 0 while fewer than `most` were counted in the window.

    what: the kind of thing counted (`login`, `address`, `lookup`), `value` the thing. Writes, as system; the caller
    commits whatever comes of the try, otherwise a refused try would not be counted.
    """
    row = session.execute(
        text(
            "INSERT INTO throttle AS t (district_code, key, tries, window_ends) VALUES (:d, :key, 1, :ends)"
            " ON CONFLICT (district_code, key) DO UPDATE SET"
            " tries = CASE WHEN t.window_ends <= :at THEN 1 ELSE t.tries + 1 END,"
            " window_ends = CASE WHEN t.window_ends <= :at THEN :ends ELSE t.window_ends END"
            " RETURNING tries, window_ends"
        ),
        {"d": district, "key": _key(what, value), "at": at, "ends": at + WINDOW},
    ).one()
    return 0 if row.tries <= most else max(1, int((row.window_ends - at).total_seconds()))


def forget_tries(session: Session, what: str, value: str, *, district: str) -> None:
    """Forget the tries of one thing, after the right password; writes, as system."""
    session.execute(
        text("DELETE FROM throttle WHERE district_code = :d AND key = :key"),
        {"d": district, "key": _key(what, value)},
    )


def sweep_tries(session: Session, *, district: str, at: datetime) -> int:
    """Delete counters whose window is over and return how many; writes, as system; for the nightly run."""
    query = text("DELETE FROM throttle WHERE district_code = :d AND window_ends <= :at RETURNING 1")
    return len(session.execute(query, {"d": district, "at": at}).all())


def _key(what: str, value: str) -> bytes:
    return blind_index(f"{what}\x1f{value}", context=Throttle.__tablename__)
