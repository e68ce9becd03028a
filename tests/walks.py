"""Random walks over the case core: people of every role, what they may fill in, and what has to hold afterwards.

A district of its own, so that sweeps and merges meet nobody else's cases. `pick` is any function that chooses from a
sequence: hypothesis draws with it, so that a failing walk shrinks, and the fault run gives it a seeded random number
generator. Everything here is invented.
"""

import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from itertools import groupby, pairwise
from typing import Any

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.actor import Actor, Role, citizen, system
from core.db import actor_of, pin_case, rows, snapshot, transaction
from core.errors import NotFound
from dispatch import limits
from dispatch.calendar import Notice, WorkCalendar
from dispatch.cases import Done, act, offered
from dispatch.fields import FIELDS, expand
from dispatch.limits import Limit
from dispatch.log import verify
from dispatch.models import RoutingRule
from dispatch.numbers import Numbers
from dispatch.opening import NewCase, Opened, Placed, open_now
from dispatch.process import Process, Step
from dispatch.rulebook import Rulebook, read_rulebook
from dispatch.worktime import WorkTime
from tests import builders

Pick = Callable[[Sequence[Any]], Any]

DISTRICT = "990300"
TOWN = "990300001"
COMMUNITY, OFFICE, CENTRE, STREETS, WATER = "W-C", "W-T", "W-Z", "W-D1", "W-D2"
UNITS = (COMMUNITY, OFFICE, CENTRE, STREETS, WATER)
#: Category → its unit; those that begin with 30 are checked on site before they are closed.
CATEGORIES = {"10": STREETS, "20": WATER, "30": COMMUNITY}
KINDS = ("complaint", "enquiry", "praise")
_LNG, _LAT = 113.1, 23.0
#: States in which a case waits on a desk, with or without a unit.
DESK = frozenset({"received", "disputed"})
#: Shares in these states still answer for the case.
ACTIVE = frozenset({"sent", "signed", "replied"})
#: Topics that follow no entry of the log: counts, and warnings before expiry.
_UNLOGGED = frozenset({"case.moved", "deadline.warned"})
#: What a unit may do to the clocks that measure it: action → clock names. Nothing else of its own may touch one.
OWN_CLOCKS: Mapping[str, frozenset[str]] = {
    "sign": frozenset({"sign"}),
    "reply": frozenset({"reply"}),
    "return": frozenset({"sign", "share_sign", "share_reply"}),
    "dispute": frozenset({"sign"}),
    "rise": frozenset({"sign", "share_sign", "share_reply"}),
    "share_sign": frozenset({"share_sign"}),
    "share_reply": frozenset({"share_sign", "share_reply"}),
    "share_return": frozenset({"share_sign", "share_reply"}),
    "supervise_reply": frozenset({"supervise"}),
    "resume": frozenset({"reply"}),
    "take_up": frozenset({"reply", "review"}),
}
#: The matter goes elsewhere with these: the unit's clocks that do not stop measure the next one.
_AWAY = frozenset({"return", "rise"})


def person(role: Role, name: str, unit: str = "", town: str = "") -> Actor:
    """Return one of the district's people; the same name is the same account every time."""
    key = uuid.uuid5(uuid.NAMESPACE_URL, f"wangge-walk:{name}")
    return Actor(key, name, role, DISTRICT, unit=unit, town=town)


PEOPLE: tuple[Actor, ...] = (
    person(Role.OPERATOR, "坐席甲"),
    person(Role.OPERATOR, "坐席乙"),
    person(Role.SUPERVISOR, "督查员"),
    person(Role.GRID_WORKER, "网格员", town=TOWN),
    person(Role.OFFICIAL, "区领导"),
    person(Role.ADMIN, "管理员"),
    citizen(DISTRICT),
    *(person(Role.UNIT, f"经办{code}", code) for code in UNITS),
    system(DISTRICT, "walk"),
)
OF_UNIT = {one.unit: one for one in PEOPLE if one.unit}
OF_ROLE: Mapping[Role, tuple[Actor, ...]] = {role: tuple(p for p in PEOPLE if p.role is role) for role in Role}
PROGRAM = system(DISTRICT, "tests")


def make_district() -> Rulebook:
    """Write the district unless it is there, commit, and return its rulebook."""
    with transaction(PROGRAM) as session:
        builders.make_district(session, DISTRICT, name="漫游区", settings={"onsite": ["30"]}, revision=1)
        builders.make_cell(session, TOWN + "001001", district=DISTRICT)
        kinds = {COMMUNITY: ("community", TOWN + "001"), OFFICE: ("town_office", TOWN), CENTRE: ("centre", "")}
        for code in UNITS:
            kind, area = kinds.get(code, ("department", ""))
            builders.make_unit(session, code, district=DISTRICT, kind=kind, area_code=area)
        for code, unit in CATEGORIES.items():
            builders.make_category(session, code, district=DISTRICT)
            rule = {"id": f"r{code}", "category_code": code, "area_code": "", "unit_code": unit, "note": "虚构"}
            session.execute(insert(RoutingRule).values(district_code=DISTRICT, **rule).on_conflict_do_nothing())
    with snapshot(PROGRAM) as session:
        return read_rulebook(session, DISTRICT)


def with_holiday(book: Rulebook, days: Iterable[date]) -> Rulebook:
    """Return the rulebook as if a newer notice gave some more days off."""
    known = dict(book.work.calendar.notices)
    for year in {day.year for day in days}:
        old = known.get(year) or Notice(year, {}, frozenset(), "虚构通知")
        more = {day: "虚构节日" for day in days if day.year == year and day not in old.work}
        known[year] = replace(old, off={**old.off, **more}, source="虚构通知")
    return replace(book, work=WorkTime(WorkCalendar.from_notices(list(known.values()))))


_NUMBERS = Numbers(DISTRICT)


def open_case(book: Rulebook, *, at: datetime, category: str | None, kind: str = "complaint") -> Opened:
    """Bring a case in through the front door: with a category it goes to its unit, without one to the desk."""
    place = Placed(_LNG, _LAT, 30, 0.9, "试验大道", "geocoder", "CGCS2000", _LNG, _LAT, TOWN, TOWN + "001", None)
    new = NewCase(
        channel="web",
        text="漫游的诉求",
        reported_at=at,
        received_at=at,
        actor=citizen(DISTRICT),
        number=_NUMBERS.take(at),
        kind=kind,
        urgency="ordinary",
        category_code=category,
        category_confidence=0.9 if category else None,
        place=place,
        decision=book.routing.assign(category, (TOWN,), at) if category else None,
    )
    return open_now(book, new)


def put_away() -> None:
    """Take what a walk left out of the way of the next sweep."""
    with transaction(PROGRAM) as session:
        builders.put_away(session, DISTRICT)
        session.execute(
            text(
                "UPDATE deadline SET stopped_at = started_at, outcome = 'void', next_at = NULL, held_at = NULL "
                "WHERE district_code = :d AND stopped_at IS NULL"
            ),
            {"d": DISTRICT},
        )


# What somebody presses.

_CHOICES: Mapping[str, tuple[Any, ...]] = {
    "text": ("文件一号",),
    "long": ("说明",),
    "units": ([WATER], [STREETS], [COMMUNITY, OFFICE]),
    "span": ("1wd", "3wd", "2nd", "10nd"),
    "satisfaction": ("1", "2", "3", "4", "5"),
    "category": tuple(CATEGORIES),
}
_WRONG: tuple[Any, ...] = ("", "没有这个", "99wd", 17, ["x"], "x" * 6000)
_PLACE = {"lng": _LNG + 0.001, "lat": _LAT, "datum": "CGCS2000", "place_name": "试验大道二号"}


@dataclass(frozen=True, slots=True)
class Press:
    """One action that somebody is about to take."""

    case: uuid.UUID
    action: str
    actor: Actor
    fields: dict[str, Any]
    #: Nothing was left out and nothing is wrong on purpose.
    sound: bool


def press(
    process: Process,
    facts: "Facts",
    pick: Pick,
    *,
    numbers: Sequence[str],
    buttons: Callable[[Actor], Sequence[str]],
    note: str = "",
) -> Press:
    """Choose an action on a case and who presses it, with a filled form.

    Mostly a button that the person is shown, now and then what the state's table has, seldom anything at all.
    buttons: the actions that the program offers to a person.
    """
    case, how = facts.case, pick(range(10))
    if how == 9:
        step = _steps(process, process.steps, pick)
        actor = PEOPLE[pick(range(len(PEOPLE)))]
    else:
        here = [step for step in process.steps if step.source == case["state"]]
        step = _steps(process, here, pick)
        actor = _who(step, facts, pick)
        if how < 7:
            shown = set(buttons(actor))
            offered = [step for step in here if step.action in shown]
            step = _steps(process, offered, pick) if offered else step
    fields, sound = fill(process, step, case["kind"], pick, facts=facts, numbers=numbers)
    if note:
        fields["note"] = note
    return Press(case["id"], step.action, actor, fields, sound)


#: What only says something, or begins again from the desk.
_SELDOM = frozenset({"note", "add", "rate", "correct", "return", "redispatch", "reopen"})


def _steps(process: Process, found: Sequence[Step], pick: Pick) -> Step:
    """Choose a step; the ends of a case seldom, and never what the program alone does in another case's wake."""
    named = {step.action: step for step in found if step.roles != {Role.SYSTEM}}
    often = [name for name, step in named.items() if name not in _SELDOM and not process.state(step.target).final]
    return named[pick((*often * 5, *named))]


def _who(step: Step, facts: "Facts", pick: Pick) -> Actor:
    role = Role(pick(sorted(role.value for role in step.roles)))
    if role is not Role.UNIT:
        return OF_ROLE[role][pick(range(len(OF_ROLE[role])))]
    shares = sorted({s["unit_code"] for s in facts.shares if s["state"] in ACTIVE and s["share"] != "lead"})
    if step.who == "share" and shares:
        return OF_UNIT[pick(shares)]
    lead = facts.case["unit_code"]
    return OF_UNIT[lead] if lead else OF_UNIT[pick(UNITS)]


def fill(
    process: Process, step: Step, kind: str, pick: Pick, *, facts: "Facts", numbers: Sequence[str]
) -> tuple[dict[str, Any], bool]:
    """Return a filled form of a step, and whether it is sound: now and then something is missing or wrong."""
    needed = {*process.needs(step, kind), *(("reason",) if step.reason_required else ())}
    known = (*process.fields(step, kind), *(("unit",) if step.action == "correct" else ()))
    filled: dict[str, Any] = {}
    for name in expand(known):
        if name in needed or (name not in _PLACE and name != "photos" and pick((False, False, True))):
            filled[name] = _value(name, step, facts, pick, numbers)
    if "lng" in expand(known) and pick((False, False, True)):
        filled |= _PLACE
    for name in known:
        rule = FIELDS[name].needed_if if name in FIELDS else None
        if rule and filled.get(rule[0]) in rule[1]:
            filled[name] = _value(name, step, facts, pick, numbers)
    if pick((False,) * 11 + (True,)) and filled:
        name = pick(tuple(filled))
        if pick((False, True)):
            del filled[name]
        else:
            filled[name] = pick(_WRONG)
        return filled, False
    return filled, True


def _value(name: str, step: Step, facts: "Facts", pick: Pick, numbers: Sequence[str]) -> Any:
    asked = FIELDS[name]
    if asked.kind == "unit":
        shares = [s["unit_code"] for s in facts.shares if s["state"] in ACTIVE and s["share"] != "lead"]
        if name == "unit" and step.action in ("withdraw_unit", "replace_unit", "share_rework") and shares:
            return pick(shares)
        return pick(UNITS)
    if asked.kind == "number":
        return pick(numbers)
    if asked.choices:
        return pick(tuple(asked.choices))
    return pick(_CHOICES[asked.kind])


def buttons(session: Session, book: Rulebook, case: uuid.UUID, *, at: datetime) -> list[str]:
    """Return the actions that the program offers to the session's actor; none for a case that they may not see."""
    if actor_of(session).role is Role.CITIZEN:
        pin_case(session, case)
    try:
        return [step.action for step in offered(session, book, case, at=at)]
    except NotFound:
        return []


def take(book: Rulebook, one: Press, *, version: int, at: datetime) -> Done:
    """Do what somebody pressed, in a transaction of its own; raises as `dispatch.cases.act` does."""
    with transaction(one.actor) as session:
        if one.actor.role is Role.CITIZEN:
            # The caller's number and code were checked at the door.
            pin_case(session, one.case)
        return act(session, book, one.case, one.action, expected_version=version, at=at, fields=one.fields)


# What has to hold.


@dataclass(frozen=True, slots=True)
class Facts:
    """Every row of one case, as mappings."""

    case: Mapping[str, Any]
    entries: list[Mapping[str, Any]] = field(default_factory=list)
    shares: list[Mapping[str, Any]] = field(default_factory=list)
    clocks: list[Mapping[str, Any]] = field(default_factory=list)
    pauses: list[Mapping[str, Any]] = field(default_factory=list)
    pleas: list[Mapping[str, Any]] = field(default_factory=list)
    orders: list[Mapping[str, Any]] = field(default_factory=list)
    changes: list[Mapping[str, Any]] = field(default_factory=list)
    outbox: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def running(self) -> list[Mapping[str, Any]]:
        """The clocks that were not stopped, those that stand among them."""
        return [clock for clock in self.clocks if clock["stopped_at"] is None]


_TABLES = {
    "entries": ("entry", "case_id, seq"),
    "shares": ("assignment", "case_id, created_at, id"),
    "clocks": ("deadline", "case_id, started_at, id"),
    "pauses": ("pause", "case_id, started_at, id"),
    "pleas": ("plea", "case_id, asked_at, id"),
    "orders": ("supervision", "case_id, issued_at, id"),
    "changes": ("deadline_change", "case_id, changed_at, id"),
    "outbox": ("outbox", "case_id, id"),
}


def look(session: Session, ids: Sequence[uuid.UUID], *, only: Iterable[str] = _TABLES) -> dict[uuid.UUID, Facts]:
    """Return every row of some cases, in the order of the ids; nine reads whatever their number.

    only: the members of Facts to fill.
    """
    known = {"d": DISTRICT, "ids": list(ids)}
    cases = rows(session, "SELECT * FROM cases WHERE district_code = :d AND id = ANY (:ids)", **known)
    found = {case["id"]: Facts(case) for case in cases}
    for name in only:
        table, order = _TABLES[name]
        sql = f"SELECT * FROM {table} WHERE district_code = :d AND case_id = ANY (:ids) ORDER BY {order}"
        for key, group in groupby(rows(session, sql, **known), key=lambda row: row["case_id"]):
            getattr(found[key], name).extend(group)
    return {key: found[key] for key in ids}


def problems(facts: Facts, book: Rulebook) -> list[str]:
    """Return what does not hold of one case, in English sentences; empty where all is well."""
    process = book.process(facts.case["process"], facts.case["process_version"])
    found = [
        *_log(facts),
        *_owner(facts, process),
        *_clocks(facts, process, book),
        *_pauses(facts),
        *_asked(facts),
        *_shares(facts),
        *_told(facts, process),
    ]
    return [f"{facts.case['number']} ({facts.case['state']}): {one}" for one in found]


def _log(facts: Facts) -> Iterator[str]:
    case, entries = facts.case, facts.entries
    broken = verify(DISTRICT, case["id"], entries, head=case["head_hash"])
    if broken:
        yield f"the log breaks at {broken.seq}: {broken.what}"
    if [e["seq"] for e in entries] != list(range(1, case["entries"] + 1)):
        yield "the log has a gap or another length than the case says"
    for before, after in pairwise(entries):
        if before["recorded_at"] > after["recorded_at"]:
            yield f"recorded times run backwards at {after['seq']}"
        if after["state_before"] != before["state_after"]:
            yield f"entry {after['seq']} begins in {after['state_before']}, not in {before['state_after']}"
    if entries and entries[-1]["state_after"] != case["state"]:
        yield f"the log ends in {entries[-1]['state_after']}"
    if sum(e["action"] == "return" for e in entries) != case["returns"]:
        yield f"{case['returns']} returns are counted, the log has another number"
    rungs = Counter(
        (e["data"]["clock"], e["data"]["unit"], e["data"]["due_at"], e["data"]["rung"])
        for e in entries
        if e["action"] in ("overdue", "escalated")
    )
    # Two shares of one step are due at the same moment, each with its own announcement; and an expiry that a newer
    # notice took back comes again when that notice is taken back.
    names = {clock["id"]: clock["clock"] for clock in facts.clocks}
    begun = {clock["id"]: clock["due_at"] for clock in facts.clocks}
    begun |= {change["deadline_id"]: change["old_due_at"] for change in reversed(facts.changes)}
    due = Counter((names[key], at) for key, at in begun.items())
    due += Counter((names[change["deadline_id"]], change["new_due_at"]) for change in facts.changes)
    for (clock, unit, due_at, rung), times in rungs.items():
        if times > max(due[clock, datetime.fromisoformat(due_at)], 1):
            yield f"the expiry of {clock} of {unit} at {due_at} was told {rung} {times} times"


def _owner(facts: Facts, process: Process) -> Iterator[str]:
    case = facts.case
    state = process.state(case["state"])
    if case["open"] != state.open:
        yield "open does not follow the state"
    if case["open"] != (case["closed_at"] is None):
        yield "closed_at does not follow open"
    if case["state"] == "received" and case["unit_code"]:
        yield "a case on the desk is with a unit"
    if state.open and state.name not in DESK | {"merged"} and not case["unit_code"]:
        yield "nobody has the open case"
    if (case["state"] == "merged") != (case["merged_into"] is not None):
        yield "merged_into does not follow the state"
    if case["unit_code"] and case["unit_code"] not in case["unit_codes"]:
        yield "the unit may not look at its own case"


def _clocks(facts: Facts, process: Process, book: Rulebook) -> Iterator[str]:
    case, running = facts.case, facts.running
    own = [c for c in running if c["clock"] in process.clocks]
    if process.state(case["state"]).final:
        yield from (f"{c['clock']} runs in a case at rest" for c in running)
    elif all(c["held_at"] for c in own):
        yield "an open case has no clock of its own that runs"
    twice = Counter((c["clock"], c["assignment_id"]) for c in running)
    yield from (f"{clock} runs {n} times" for (clock, _), n in twice.items() if n > 1)
    pauses: dict[Any, list[Mapping[str, Any]]] = {}
    for pause in facts.pauses:
        pauses.setdefault(pause["deadline_id"], []).append(pause)
    for clock in facts.clocks:
        yield from _clock(clock, pauses.get(clock["id"], []), book)
    showing = [c for c in running if c["held_at"] is None or c["due_at"] <= c["held_at"]]
    nearest = min(showing, key=lambda c: (c["due_at"], c["id"]), default=None)
    told = (nearest["due_at"], nearest["clock"], nearest["fired"]) if nearest else (None, None, 0)
    if (case["due_at"], case["due_clock"], case["warned"]) != told:
        yield f"the case shows {case['due_clock']} {case['due_at']} {case['warned']}, the nearest clock is {told}"


def _clock(clock: Mapping[str, Any], pauses: Sequence[Mapping[str, Any]], book: Rulebook) -> Iterator[str]:
    name, stopped, held = clock["clock"], clock["stopped_at"], clock["held_at"]
    ended = [(p["started_at"], p["ended_at"]) for p in pauses if p["ended_at"] is not None]
    if stopped is None:
        extra = [Limit.parse(span) for span in clock["extra"]]
        start, limit = clock["started_at"], Limit.parse(clock["limit"])
        due = limits.due(start, limit, work=book.work, pauses=ended, extra=extra)
        if (due.at, due.provisional) != (clock["due_at"], clock["provisional"]):
            yield f"{name} is due {clock['due_at']}, its limit comes to {due.at}"
    elif clock["outcome"] != "void":
        # A clock that stood is judged by the moment from which it did.
        judged = next((start for start, end in ended if end == stopped), stopped)
        if clock["outcome"] != ("met" if judged <= clock["due_at"] else "missed"):
            yield f"{name} is {clock['outcome']}, stopped {stopped}, due {clock['due_at']}"
    if clock["next_at"] is not None and (stopped is not None or held is not None):
        yield f"{name} does not run and still has something to announce"
    if stopped is None and held is None and clock["next_at"] is None and clock["fired"] < 3:
        yield f"{name} runs and will never be announced"
    if stopped is not None and stopped < clock["started_at"]:
        yield f"{name} stopped before it started"
    if (held is not None) != any(p["ended_at"] is None for p in pauses):
        yield f"{name} stands without a pause, or runs in one"


def _pauses(facts: Facts) -> Iterator[str]:
    by_clock = sorted(facts.pauses, key=lambda p: (str(p["deadline_id"]), p["started_at"], p["ended_at"] is None))
    for before, after in pairwise(by_clock):
        later = before["ended_at"] is None or before["ended_at"] > after["started_at"]
        if before["deadline_id"] == after["deadline_id"] and later:
            yield "two pauses of one clock overlap"
    starts = {clock["id"]: clock["started_at"] for clock in facts.clocks}
    for pause in facts.pauses:
        if pause["started_at"] < starts[pause["deadline_id"]]:
            yield "a pause began before its clock"


def _asked(facts: Facts) -> Iterator[str]:
    case, names = facts.case, [clock["clock"] for clock in facts.running]
    asked = [plea["kind"] for plea in facts.pleas if plea["state"] == "asked"]
    if asked != ([case["plea"]] if case["plea"] else []):
        yield f"the case shows the plea {case['plea']}, asked are {asked}"
    if ("plea" in names) != bool(case["plea"]):
        yield "the clock of a plea runs without one, or a plea without its clock"
    orders = [order for order in facts.orders if order["state"] in ("issued", "answered")]
    if len(orders) != int(case["supervised"]):
        yield f"supervised is {case['supervised']} with {len(orders)} orders"
    if ("supervise" in names) != any(order["state"] == "issued" for order in orders):
        yield "the clock of a supervision runs without one, or one that waits has no clock"
    for order in orders:
        if order["state"] == "issued" and case["unit_code"] and order["unit_code"] != case["unit_code"]:
            yield "the supervision waits for a unit that does not have the case"


def _shares(facts: Facts) -> Iterator[str]:
    case = facts.case
    active = [share for share in facts.shares if share["state"] in ACTIVE]
    leads = [share["unit_code"] for share in active if share["share"] == "lead"]
    if len(leads) > 1:
        yield f"{leads} are all lead"
    if case["state"] in ("dispatched", "signed", "paused", "parked") and leads != [case["unit_code"]]:
        yield f"the case is with {case['unit_code']}, the lead's shares are of {leads}"
    beside = Counter(share["unit_code"] for share in active if share["share"] != "lead")
    yield from (f"{unit} has {n} shares" for unit, n in beside.items() if n > 1)
    if not case["open"] and active:
        yield f"{len(active)} shares are active in a case at rest"
    for share in facts.shares:
        if (share["ended_at"] is not None) != (share["state"] not in ACTIVE):
            yield f"the share of {share['unit_code']} is {share['state']}, ended {share['ended_at']}"
    states = {share["id"]: share["state"] for share in facts.shares if share["share"] != "lead"}
    waits = {"share_sign": ("sent",), "share_reply": ("sent", "signed")}
    clocks = {(clock["clock"], clock["assignment_id"]) for clock in facts.running if clock["clock"] in waits}
    for name, key in clocks:
        if states.get(key) not in waits[name]:
            yield f"{name} runs for a share that is {states.get(key)}"
    for key, state in states.items():
        for name, waiting in waits.items():
            if state in waiting and (name, key) not in clocks:
                yield f"a share is {state} and {name} does not run"


def _told(facts: Facts, process: Process) -> Iterator[str]:
    """Check that the outbox holds exactly what the log says was told, in the log's order."""
    topics = [row["topic"] for row in facts.outbox if row["topic"] not in _UNLOGGED]
    wanted = [list(_topics(entry, process)) for entry in facts.entries]
    if len(facts.entries) > 1 and facts.entries[1]["actor_name"] == "dispatcher":
        wanted[:2] = [["case.opened", "unit.assigned"]]
    place = 0
    for number, group in enumerate(wanted, start=1):
        there = topics[place : place + len(group)]
        if Counter(there) != Counter(group):
            yield f"for step {number} the outbox has {there}, not {group}"
            return
        place += len(group)
    if topics[place:]:
        yield f"the outbox has {topics[place:]} that no entry tells of"


def _topics(entry: Mapping[str, Any], process: Process) -> Iterator[str]:
    if entry["action"] == "receive":
        yield "case.opened"
    elif entry["action"] in ("overdue", "escalated"):
        yield f"deadline.{entry['action']}"
    else:
        for topic in process.step_for(entry["action"], entry["state_before"]).emits:
            # One for each unit that the dispatch named.
            many = entry["action"] == "dispatch" and topic == "share.assigned"
            yield from [topic] * (len(entry["data"].get("assist", ())) if many else 1)
        before, after = process.state(entry["state_before"]).open, process.state(entry["state_after"]).open
        if before != after:
            yield "case.closed" if before else "case.reopened"


def bundle_problems(found: Mapping[uuid.UUID, Facts]) -> list[str]:
    """Return what does not hold between cases: a merged case has a main case that is open and not merged itself."""
    wrong = []
    for facts in found.values():
        main = found.get(facts.case["merged_into"])
        if facts.case["merged_into"] is None:
            continue
        if main is None:
            wrong.append(f"{facts.case['number']} is merged into a case that is not there")
        elif main.case["merged_into"] is not None or not main.case["open"]:
            wrong.append(f"{facts.case['number']} is merged into {main.case['number']}, which is {main.case['state']}")
        elif main.case["unit_code"] != facts.case["unit_code"]:
            wrong.append(f"{facts.case['number']} measures another unit than {main.case['number']}")
    return wrong


def drifted(before: Facts, after: Facts, one: Press | None = None) -> list[str]:
    """Return what one step changed that no step may: history, starting points, and the actor's own clocks.

    one: what was done; None for the program's sweep and recompute.
    """
    wrong = []
    if after.entries[: len(before.entries)] != before.entries:
        wrong.append("earlier entries of the log changed")
    if after.case["version"] < before.case["version"]:
        wrong.append("the version went back")
    if not {change["id"] for change in before.changes} <= {change["id"] for change in after.changes}:
        wrong.append("a diff of a deadline is gone")
    later = {clock["id"]: clock for clock in after.clocks}
    for clock in before.clocks:
        now = later.get(clock["id"])
        if now is None:
            wrong.append(f"the clock {clock['clock']} is gone")
            continue
        if now["started_at"] != clock["started_at"]:
            wrong.append(f"the start of {clock['clock']} moved")
        if clock["stopped_at"] is not None and now != clock:
            wrong.append(f"the stopped clock {clock['clock']} changed")
        if one is not None and one.actor.role is Role.UNIT and clock["unit_code"] == one.actor.unit:
            wrong += _meddled(clock, now, one)
    return wrong


def _meddled(clock: Mapping[str, Any], now: Mapping[str, Any], one: Press) -> Iterator[str]:
    """Say where a unit touched a clock that measures it, other than the table lets it."""
    name, may = clock["clock"], OWN_CLOCKS.get(one.action, frozenset())
    watched = ("stopped_at", "held_at", "due_at", "limit", "extra")
    if any(now[column] != clock[column] for column in watched) and name not in may:
        yield f"{one.actor.unit} moved its own clock {name} by {one.action}"
    if now["unit_code"] != clock["unit_code"] and one.action not in _AWAY:
        yield f"{one.actor.unit} gave its clock {name} away by {one.action}"
    if now["due_at"] != clock["due_at"] and clock["held_at"] is None:
        yield f"{one.actor.unit} changed when its clock {name} is due by {one.action}"
