"""Which part is plugged in where: the district's rulebook, intake, notifier, each built once per process.

Everything here follows the district's data: when `district.revision` grows, the next use after a short while builds it
anew. Threads share what is built; nothing in it changes.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Generic, TypeVar

import shapely
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from api.live import LiveFeed, LogOnly
from core.actor import system
from core.db import snapshot
from core.errors import Invalid, Unavailable
from core.settings import settings
from dispatch.calendar import china_time
from dispatch.outbox import Notifier
from dispatch.rulebook import Rulebook, read_rulebook, revision
from grid.locator import load_locator
from grid.models import District
from hotline import learning
from hotline.gazetteer import load_gazetteer
from hotline.geocode import Geocoder
from hotline.hot import DEFAULT, rule_of
from hotline.hot_matters import Feed
from hotline.intake import Intake
from hotline.outward import together
from hotline.outward.adapters import CHANNELS, CHATS, Adapter
from hotline.outward.callback import CallBackTask
from hotline.outward.chat import Chat
from hotline.outward.mail import MailSettings, Smtp
from hotline.outward.pump import Pump
from hotline.outward.quiet import Quiet
from hotline.outward.router import Router
from hotline.outward.sink import Sink
from hotline.outward.sms import HttpSms, SmsSettings
from hotline.telephone.callbacks import Rules
from hotline.twins import TwinIndex
from hotline.weibo.answers import WeiboReply
from hotline.weibo.platform import Client as WeiboClient

#: How long a process trusts its copy before it asks for the revision again.
_TRUST_S = 2.0
#: What the twin index remembers over a restart.
_TWIN_DAYS, _TWIN_CASES = 30, 20_000

Made = TypeVar("Made")
_log = logging.getLogger(__name__)


def now() -> datetime:
    """Return the present, aware, in UTC: the one clock of the program, handed down as an argument everywhere."""
    return datetime.now(UTC)


def districts() -> list[str]:
    """Return the codes of the districts that this installation serves, in order; empty before the first load."""
    named = [code for code in settings().district.replace(",", " ").split() if code]
    if named:
        return named
    with snapshot(system("", "wiring")) as session:
        return list(session.scalars(select(District.district_code).order_by(District.district_code)))


def district() -> str:
    """Return the district that pages serve: the configured one, or the first that is loaded; raises Unavailable."""
    found = _chosen()
    if not found:
        raise Unavailable("No district is loaded; run `make demo` or `wangge load`.")
    return found


@cache
def _first() -> list[str]:
    # A list, so that an empty answer is not remembered.
    return []


def _chosen() -> str:
    known = _first()
    if not known:
        known.extend(districts())
    return known[0] if known else ""


@dataclass(slots=True)
class _Kept(Generic[Made]):
    revision: int
    checked: float
    made: Made


class _Follows(Generic[Made]):
    """A value that is made from a district's data and made anew when those change."""

    def __init__(self, make: Callable[[str], tuple[int, Made]]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._kept: dict[str, _Kept[Made]] = {}

    def get(self, code: str) -> Made:
        kept = self._kept.get(code)
        if kept is not None and time.monotonic() - kept.checked < _TRUST_S:
            return kept.made
        with self._lock:
            kept = self._kept.get(code)
            if kept is not None:
                if time.monotonic() - kept.checked < _TRUST_S:
                    return kept.made
                with snapshot(system(code, "wiring")) as session:
                    now_at = revision(session, code)
                kept.checked = time.monotonic()
                if now_at == kept.revision:
                    return kept.made
            at, made = self._make(code)
            self._kept[code] = _Kept(at, time.monotonic(), made)
            return made

    def forget(self) -> None:
        with self._lock:
            self._kept.clear()


def _make_rulebook(code: str) -> tuple[int, Rulebook]:
    with snapshot(system(code, "wiring")) as session:
        book = read_rulebook(session, code)
    return book.revision, book


def _make_intake(code: str) -> tuple[int, Intake]:
    with snapshot(system(code, "wiring")) as session:
        book = read_rulebook(session, code)
        today = china_time(now()).date()
        gazetteer = load_gazetteer(session, code, outside=book.settings.get("outside", ()), day=today)
        cells = load_locator(session, code)
        towns = {
            town: shapely.from_wkb(bytes(shape))
            for town, shape in session.execute(
                text(
                    "SELECT code, ST_AsBinary(geom) FROM area "
                    "WHERE district_code = :d AND level = 'town' AND geom IS NOT NULL"
                ),
                {"d": code},
            )
        }
        twins = _recall_twins(session, book)
        kinds = learning.present(session, code, own=model_file(), tree=learning.tree_of(book))
    made = Intake(
        book,
        places=Geocoder(gazetteer),
        kinds=kinds,
        cells=cells,
        twins=twins,
        towns=towns,
    )
    return book.revision, made


def _recall_twins(session: Session, book: Rulebook) -> TwinIndex:
    """Return a twin index filled with the recent cases, oldest first."""
    twins = TwinIndex()
    rows = session.execute(
        text(
            "SELECT id, CASE title WHEN '' THEN text ELSE title || '。' || text END, ST_X(geom), ST_Y(geom), "
            "reported_at, category_code, radius_m FROM cases "
            "WHERE district_code = :d AND received_at > :since ORDER BY received_at DESC LIMIT :n"
        ),
        {"d": book.district, "since": now() - timedelta(days=_TWIN_DAYS), "n": _TWIN_CASES},
    ).all()
    for row in reversed(rows):
        level1 = next(iter(book.category_path(row[5])), None)
        twins.add(str(row[0]), row[1], row[2], row[3], row[4], level1, radius_m=row[6] or 0.0)
    return twins


def _make_hot_feed(code: str) -> tuple[int, Feed]:
    book = rulebook(code)
    try:
        rule = rule_of(book.settings.get("hot"))
    except Invalid as error:
        _log.warning("district %s: %s The default rule is used.", code, error)
        rule = DEFAULT
    return book.revision, Feed(rule, level1=lambda category: next(iter(book.category_path(category)), None))


_books = _Follows(_make_rulebook)
_intakes = _Follows(_make_intake)
_feeds = _Follows(_make_hot_feed)


def rulebook(code: str = "") -> Rulebook:
    """Return the rulebook of a district, by default the one that pages serve."""
    return _books.get(code or district())


def intake(code: str = "") -> Intake:
    """Return the intake of a district, by default the one that pages serve; seconds at the first call."""
    return _intakes.get(code or district())


def hot_feed(code: str = "") -> Feed:
    """Return what finds hot matters among the new cases of a district; at its start it goes back over recent ones."""
    return _feeds.get(code or district())


def trained_model() -> Path:
    """Return where the classifier trained by this installation lies."""
    return settings().var / "models" / "classifier.npz"


def model_file() -> Path | None:
    """Return the trained classifier, or None where the shipped one has to do."""
    return trained_model() if trained_model().exists() else None


def labelled_messages() -> Path | None:
    """Return the district's labelled messages, which every training begins with, or None where there are none."""
    given = settings().data / "complaints" / "labelled_tokens_train.csv"
    return given if given.exists() else None


def sink_folder() -> Path:
    """Return where the sink keeps what would have gone out."""
    return settings().var / "sink"


@cache
def weibo_platform() -> WeiboClient | None:
    """Return the client of Weibo's open platform, or None without a token."""
    told = settings()
    token = told.weibo_token.get_secret_value()
    return WeiboClient(told.weibo_url, token, own_id=told.weibo_account) if token else None


@cache
def adapters() -> Mapping[str, Adapter]:
    """Return the ways out that this installation has, by channel; raises Invalid for settings that cannot be used."""
    told = settings()
    made: dict[str, Adapter] = {
        "callback": CallBackTask(clock=now, rules=lambda code: Rules.of(rulebook(code).settings))
    }
    if told.sink:
        made |= {name: Sink(name, sink_folder(), clock=now) for name in CHANNELS if name not in made}
        # The ledger of mentions is told all the same.
        return made | {"weibo": WeiboReply(None, clock=now, instead=made["weibo"])}
    if told.sms_url:
        sms = SmsSettings.read(told.sms_url, told.sms_key.get_secret_value(), told.sms_fields)
        made["sms"] = HttpSms(sms, clock=now)
    if told.mail_host:
        mail = MailSettings(
            told.mail_host,
            told.mail_port,
            told.mail_sender,
            told.mail_user,
            told.mail_password.get_secret_value(),
            told.mail_tls,
        )
        made["mail"] = Smtp(mail, clock=now)
    if (weibo := weibo_platform()) is not None:
        made["weibo"] = WeiboReply(weibo, clock=now)
    if told.chat:
        made |= {name: Chat(name) for name in CHATS}
    return made


@cache
def notifier() -> Notifier:
    """Return what takes outbox messages on: the live feed on Redis (else the log), and the deliveries of answers."""
    url = settings().broker_url
    feed: Notifier = LiveFeed(url) if url.startswith(("redis", "unix")) else LogOnly()
    return Router(
        feed, books=rulebook, channels=lambda: frozenset(adapters()), clock=now, address=settings().public_address
    )


@cache
def pump() -> Pump:
    """Return what sends the deliveries."""
    return Pump(
        adapters(),
        clock=now,
        quiet=lambda code: Quiet.of(rulebook(code).settings),
        window=lambda code: together.window(rulebook(code).settings),
    )


def forget() -> None:
    """Drop what this process has built; after a fork, and between tests."""
    _books.forget()
    _intakes.forget()
    _feeds.forget()
    _first.cache_clear()
    notifier.cache_clear()
    adapters.cache_clear()
    weibo_platform.cache_clear()
    pump.cache_clear()
