"""The clock and the pump: Celery tasks that relay the outbox, sweep deadlines and keep house.

The broker is a doorbell. Every task asks the database what there is to do, is safe to run twice and in two places, and
when the broker loses everything the next tick of the clock finds the work again.
"""

import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

from celery import Celery
from celery.schedules import crontab
from celery.signals import worker_process_init
from kombu.exceptions import OperationalError

from api import i18n, waiting, wiring
from core.actor import system
from core.db import forget_engines, snapshot, transaction
from core.errors import Conflict, Unavailable, WanggeError
from core.settings import settings
from dispatch import anchors, outbox, tallies
from dispatch import jobs as jobs_of
from dispatch.jobs import Progress, work
from dispatch.sweep import sweep as sweep_deadlines
from grid import appointing, changes, field_queue, patrol_looks, patrols, training
from grid.registers import importing as lists_of_registers
from grid.registers import unmasking
from hotline import learning
from hotline.desk import drafts, handling, importing
from hotline.open311 import forward
from hotline.open311 import requests as requests_of
from hotline.open311.client import Client as Open311Client
from hotline.outward.pump import prune as prune_deliveries
from hotline.telephone import callbacks, calls
from hotline.weibo import inbox, recheck
from hotline.weibo.fetch import fetch as fetch_mentions

_log = logging.getLogger(__name__)

#: Periods of the clock in seconds. A bell rung at every commit makes the relay faster than this.
_RELAY_S, _SEND_S, _SWEEP_S, _JOBS_S, _HOT_S, _NIGHTLY_S = 1.0, 2.0, 10.0, 3.0, 20.0, 24 * 3600.0
#: Changes of the grid hold from midnight of a day; their versions begin then, however late this looks.
_GRID_S = 60.0
#: Delivered messages are kept this long for who asks what was sent.
_KEEP_OUTBOX = timedelta(days=30)
#: What was sent stays readable this long: "I never got an answer" comes late.
_KEEP_DELIVERIES = timedelta(days=180)
#: Training takes a minute or two; one that takes longer than this hangs, and its job may be taken over.
_LEARN_S = 3600
#: A list of a hundred thousand residents takes a minute on a quiet machine; a larger one on a busy machine longer.
_LIST_S = 1800
#: How often mentions are looked for; the platform counts calls by the hour, so a new walk waits longer.
_WEIBO_S, _WALK = 15.0, timedelta(minutes=1)
#: One task works at most this long, then leaves the rest to the next tick.
_SLICE_S = 20.0
#: Cases that are looked at for hot matters in one transaction.
_HOT_CASES = 200

app = Celery("wangge", broker=settings().broker_url or None, set_as_current=True)
app.conf.update(
    task_ignore_result=True,
    task_acks_late=False,
    task_time_limit=120,
    task_soft_time_limit=100,
    worker_hijack_root_logger=False,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"socket_connect_timeout": 1, "socket_timeout": 5, "max_retries": 0},
    timezone="Asia/Shanghai",
    # A tick that waited longer than its period is dropped: the next one does its work.
    beat_schedule={
        "relay": {"task": "wangge.relay", "schedule": _RELAY_S, "options": {"expires": _RELAY_S}},
        "send": {"task": "wangge.send", "schedule": _SEND_S, "options": {"expires": _SEND_S}},
        "sweep": {"task": "wangge.sweep", "schedule": _SWEEP_S, "options": {"expires": _SWEEP_S}},
        "registers": {"task": "wangge.registers", "schedule": _JOBS_S, "options": {"expires": _JOBS_S}},
        "jobs": {"task": "wangge.jobs", "schedule": _JOBS_S, "options": {"expires": _JOBS_S}},
        "telephone": {"task": "wangge.telephone", "schedule": _SWEEP_S, "options": {"expires": _SWEEP_S}},
        "weibo": {"task": "wangge.weibo", "schedule": _WEIBO_S, "options": {"expires": _WEIBO_S}},
        "open311": {"task": "wangge.open311", "schedule": _SWEEP_S, "options": {"expires": _SWEEP_S}},
        "hot": {"task": "wangge.hot", "schedule": _HOT_S, "options": {"expires": _HOT_S}},
        "grid": {"task": "wangge.grid", "schedule": _GRID_S, "options": {"expires": _GRID_S}},
        "nightly": {"task": "wangge.nightly", "schedule": _NIGHTLY_S, "options": {"expires": 3600}},
        "learn": {"task": "wangge.learn", "schedule": crontab(hour="3", minute="20"), "options": {"expires": 3600}},
    },
)


@worker_process_init.connect  # type: ignore[untyped-decorator]  # celery ships no types
def _after_fork(**_: Any) -> None:
    forget_engines()
    wiring.forget()


@app.task(name="wangge.relay")  # type: ignore[untyped-decorator]
def relay() -> int:
    """Deliver what waits in the outbox of every district; return how many messages went out."""
    sent, end = 0, time.monotonic() + _SLICE_S
    for code in wiring.districts():
        while time.monotonic() < end:
            some = outbox.relay(code, wiring.notifier(), at=wiring.now())
            sent += some
            if not some:
                break
    return sent


@app.task(name="wangge.send")  # type: ignore[untyped-decorator]
def send() -> int:
    """Send the deliveries that are due, in every district; return how many went out."""
    sent, end = 0, time.monotonic() + _SLICE_S
    for code in wiring.districts():
        sent += wiring.pump().run(code, going=lambda: time.monotonic() < end).sent
    return sent


@app.task(name="wangge.sweep")  # type: ignore[untyped-decorator]
def sweep() -> int:
    """Fire every deadline that has come, in every district; return how many levels were reached."""
    fired, end = 0, time.monotonic() + _SLICE_S
    for code in wiring.districts():
        book = wiring.rulebook(code)
        while time.monotonic() < end:
            with transaction(system(code, "sweep")) as session:
                some = sweep_deadlines(session, book, at=wiring.now())
            fired += some
            if not some:
                break
    return fired


@app.task(name="wangge.jobs")  # type: ignore[untyped-decorator]
def jobs() -> int:
    """Work at the background jobs of every district, slice by slice; return how many slices were done."""
    slices, end = 0, time.monotonic() + _SLICE_S
    for code in wiring.districts():
        while time.monotonic() < end and one_slice(code) is not None:
            slices += 1
        while time.monotonic() < end and importing.work(wiring.intake(code), at=wiring.now()) is not None:
            slices += 1
    return slices


def one_slice(code: str) -> Progress | None:
    """Do one slice of a background job of a district in a transaction of its own; None when there is nothing to do."""
    book = wiring.rulebook(code)
    with transaction(system(code, "jobs")) as session:
        return work(session, book, at=wiring.now())


@app.task(name="wangge.registers", time_limit=_LIST_S, soft_time_limit=_LIST_S - 60)  # type: ignore[untyped-decorator]
def registers() -> int:
    """Take the departments' lists of every district in, one after the other; return how many were at hand."""
    taken = 0
    for code in wiring.districts():
        while lists_of_registers.work(code, clock=wiring.now, say=partial(i18n.say, language="zh")) is not None:
            taken += 1
    return taken


@app.task(name="wangge.telephone")  # type: ignore[untyped-decorator]
def telephone() -> int:
    """Put answered cases on the call-back list and end calls that nothing is heard of; return how many were put."""
    made = 0
    for code in wiring.districts():
        rules = callbacks.Rules.of(wiring.rulebook(code).settings)
        with transaction(system(code, "telephone")) as session:
            calls.end_lost(session, at=wiring.now())
            made += callbacks.gather(session, at=wiring.now(), rules=rules)
    return made


@app.task(name="wangge.hot")  # type: ignore[untyped-decorator]
def hot() -> int:
    """Look at the new cases of every district and announce the matters that have grown hot; return how many."""
    told, end = 0, time.monotonic() + _SLICE_S
    for code in wiring.districts():
        feed = wiring.hot_feed(code)
        while time.monotonic() < end:
            try:
                with transaction(system(code, "hot")) as session:
                    step = feed.step(session, at=wiring.now(), limit=_HOT_CASES)
            except Conflict:
                # Another worker announces the same matter at this moment; the next tick finds it there.
                break
            feed.settle()
            told += step.announced
            if step.taken < _HOT_CASES:
                break
    return told


@app.task(name="wangge.weibo")  # type: ignore[untyped-decorator]
def weibo() -> int:
    """Fetch the mentions of a while and take what is stored; return how many were taken."""
    end = time.monotonic() + _SLICE_S
    if not wiring.districts():
        return 0
    code, platform = wiring.district(), wiring.weibo_platform()
    taken = mentions_in(code, going=lambda: time.monotonic() < end).all
    most = recheck.an_hour(wiring.rulebook(code).settings) if platform is not None else 0
    while platform is not None and time.monotonic() < end:
        if recheck.look(code, platform, at=wiring.now(), most=most) is None:
            break
    return taken


def mentions_in(code: str, *, going: Callable[[], bool], every: timedelta = _WALK) -> inbox.Taken:
    """Fetch and take mentions of a district in turns until none are left or `going` says stop; return what was taken.

    What is fetched is kept before anything is made of it: a flood waits in the table and not in memory.
    """
    platform, own, done, fetching = wiring.weibo_platform(), settings().weibo_account, inbox.Taken(), True
    while going():
        page = None
        if platform is not None and fetching:
            page = fetch_mentions(code, platform, at=wiring.now(), own_id=own, every=every)
        fetching = page is not None and not page.done
        with snapshot(system(code, "weibo")) as session:
            left = inbox.waiting(session)
        taken = None
        if left:
            public = settings().public_address
            taken = inbox.take(wiring.intake(code), at=wiring.now(), platform=platform, address=public)
        if taken is not None:
            done += taken
        if not fetching and (taken is None or not taken.all):
            break
    return done


@app.task(name="wangge.open311")  # type: ignore[untyped-decorator]
def open311() -> int:
    """Take in requests that were answered with a token, and go on with what was forwarded; return how many of both."""
    done, end = 0, time.monotonic() + _SLICE_S
    for code in wiring.districts():
        done += requests_of.take_waiting(code, partial(wiring.intake, code), at=wiring.now())
        done += forward.run(
            partial(wiring.rulebook, code),
            code,
            clock=wiring.now,
            connect=Open311Client,
            going=lambda: time.monotonic() < end,
        )
    return done


@app.task(name="wangge.grid")  # type: ignore[untyped-decorator]
def grid() -> int:
    """Apply the changes of the grid whose day has come, in every district; return how many were applied or refused."""
    done = 0
    for code in wiring.districts():
        with transaction(system(code, "grid")) as session:
            done += len(changes.apply_due(session, at=wiring.now()))
    return done


@app.task(name="wangge.nightly")  # type: ignore[untyped-decorator]
def nightly() -> None:
    """Anchor the days that are over, count the kept figures anew and drop what was delivered long ago."""
    for code in wiring.districts():
        with transaction(system(code, "nightly")) as session:
            tallies.rebuild(session)
            patrol_looks.erase(session, rules=patrols.Rules.of(wiring.rulebook(code).settings), at=wiring.now())
            field_queue.prune(session, at=wiring.now())
            appointing.tell_of_ends(session, at=wiring.now())
            training.remind(session, at=wiring.now())
            unmasking.sweep_slips(session, at=wiring.now())
            drafts.prune(session, code, at=wiring.now())
            handling.prune(session, code, at=wiring.now())
        anchors.make_missing(code, at=wiring.now())
        while outbox.prune(code, before=wiring.now() - _KEEP_OUTBOX):
            pass
        while prune_deliveries(code, before=wiring.now() - _KEEP_DELIVERIES):
            pass
        waiting.sweep(before=wiring.now() - waiting.KEEP)
        while requests_of.prune(code, before=wiring.now() - requests_of.remembered(wiring.rulebook(code).settings)):
            pass


@app.task(name="wangge.learn", time_limit=_LEARN_S, soft_time_limit=_LEARN_S - 60)  # type: ignore[untyped-decorator]
def learn() -> None:
    """Learn from what operators corrected, in every district, and take a model into use where it is better."""
    for code in wiring.districts():
        learn_in(code)


def learn_in(code: str) -> learning.Made | None:
    """Train one candidate for a district, shown among the background jobs; None when somebody is at it already."""
    keeper = system(code, "learning")
    with transaction(keeper) as session:
        jobs_of.queue(session, "learn", at=wiring.now(), why={"nightly": True})
    with transaction(keeper) as session:
        job = jobs_of.begin(session, "learn", at=wiring.now(), stale=timedelta(seconds=_LEARN_S))
    if job is None:
        return None
    made, error = None, None
    try:
        made = learning.learn(code, at=wiring.now(), labelled=wiring.labelled_messages(), own=wiring.model_file())
    except WanggeError as caught:
        _log.warning("nothing was learnt in %s: %s", code, caught)
        error = caught
    with transaction(keeper) as session:
        chosen = made is not None and made.verdict == "better"
        jobs_of.end(session, job, at=wiring.now(), moved=int(chosen), error=error)
    return made


class _Bell:
    """Rings for the relay, at most once in a short while, and never lets a broken broker disturb the caller."""

    _QUIET_S = 0.03

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending = False

    def ring(self) -> None:
        """Ask for a relay soon; returns at once."""
        with self._lock:
            if self._pending:
                return
            self._pending = True
        timer = threading.Timer(self._QUIET_S, self._send)
        timer.daemon = True
        timer.start()

    def _send(self) -> None:
        with self._lock:
            self._pending = False
        try:
            app.send_task("wangge.relay", expires=5)
        except (OperationalError, OSError, Unavailable) as error:
            # The clock will find the work; losing the bell only makes it later.
            _log.warning("the broker did not hear the bell: %s", error)


bell = _Bell()
