"""Times, spans, numbers and codes as people say them, in the language of the request; knows no page.

Times are shown in Asia/Shanghai; every filter that rounds puts the exact value in the title.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo

from markupsafe import Markup

from api.i18n import LANGUAGE, N_, say
from api.reasons import reason_words
from core.errors import Invalid
from dispatch.fields import FIELDS as ASKED
from dispatch.fields import PAUSE_REASONS
from dispatch.limits import Limit
from dispatch.process import Process, processes
from grid.duties import DUTIES

CHINA = ZoneInfo("Asia/Shanghai")
_DAYS_ZH = "一二三四五六日"
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAYS_EN = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

#: The four deadline states: css class, shape, word (FACES.md), by `cases.warned`.
DUE = (
    ("fine", "●", N_("On time")),
    ("half", "◐", N_("Half gone")),
    ("near", "▲", N_("Nearly due")),
    ("over", "■", N_("Overdue")),
)


class _Words(Mapping[str, str]):
    """Words by code: those written here, and for codes of the process tables without any, the table's own label."""

    def __init__(self, of: Callable[[Process], Iterable[tuple[str, str]]], written: Mapping[str, str]) -> None:
        self._of, self._written = of, written

    @cached_property
    def _all(self) -> Mapping[str, str]:
        # Read when first asked: the tables are not needed to start the program.
        named = {code: label for table in processes().values() for code, label in self._of(table)}
        return named | dict(self._written)

    def __getitem__(self, code: str) -> str:
        return self._written[code] if code in self._written else self._all[code]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)


#: State of a case (process tables) → words for the resident and for the desk.
STATES: Mapping[str, str] = _Words(
    lambda table: ((s.name, s.label) for s in table.states.values()),
    {
        "received": N_("Received"),
        "dispatched": N_("Dispatched"),
        "signed": N_("Being handled"),
        "paused": N_("Paused"),
        "parked": N_("Parked"),
        "disputed": N_("With the arbiter"),
        "merged": N_("Handled with another case"),
        "replied": N_("Answered"),
        "closed": N_("Closed"),
        "refused": N_("Not taken"),
        "withdrawn": N_("Withdrawn"),
        "handed_over": N_("Handed to the emergency services"),
    },
)
#: A clock without words of its own is called by what it measures.
CLOCKS: Mapping[str, str] = _Words(
    lambda table: {**table.clocks, **table.sides}.items(),
    {
        "dispatch": N_("to be dispatched"),
        "sign": N_("to be signed for"),
        "reply": N_("to be answered"),
        "callback": N_("to be called back"),
        "arbitrate": N_("to be arbitrated"),
        "pause": N_("end of the pause"),
        "review": N_("to be looked at again"),
        "share_sign": N_("share to be signed for"),
        "share_reply": N_("share to be answered"),
        "plea": N_("request to be decided"),
        "cell": N_("to be settled by the grid worker"),
        "community": N_("to be settled by the community"),
        "town": N_("to be settled by the town"),
        "verify": N_("to be looked at on site"),
        "supervise": N_("supervision to be answered"),
        "accept": N_("to be accepted"),
        "decide": N_("to be decided"),
        "survey": N_("to be surveyed"),
        "deliver": N_("to be handed out"),
        "deem": N_("accepted by law unless something is told"),
        "supply": N_("to be completed by the applicant"),
        "debt": N_("materials to be handed in later"),
        "hand_up": N_("to be answered by the level above"),
        "denial": N_("refusal to be reviewed"),
        "register": N_("to be registered"),
        "answer": N_("to be answered"),
        "file": N_("to be filed"),
    },
)
#: Kind of a case; where a process has one of its own, it is called like the process.
KINDS: Mapping[str, str] = _Words(
    lambda table: ((kind, table.label) for kind in table.kinds),
    {
        "complaint": N_("Complaint"),
        "help": N_("Request for help"),
        "enquiry": N_("Enquiry"),
        "suggestion": N_("Suggestion"),
        "praise": N_("Praise"),
    },
)
URGENCIES: Mapping[str, str] = {
    "emergency": N_("Emergency"),
    "utilities": N_("Utilities or severe weather"),
    "ordinary": N_("Ordinary"),
}
ROLES: Mapping[str, str] = {
    "citizen": N_("Resident"),
    "operator": N_("Operator"),
    "unit": N_("Responsible unit"),
    "grid_worker": N_("Grid worker"),
    "official": N_("District official"),
    "supervisor": N_("Supervisor"),
    "admin": N_("Administrator"),
    "system": N_("System"),
}
#: What was done, for logs; an action without words of its own is called as on its button.
ACTIONS: Mapping[str, str] = _Words(
    lambda table: ((s.action, s.label) for s in table.steps),
    {
        "receive": N_("Came in"),
        "correct": N_("Place, category or unit corrected"),
        "dispatch": N_("Sent to the responsible unit"),
        "redispatch": N_("Sent to another unit"),
        "rise": N_("Passed to the next level"),
        "return": N_("Returned by the unit"),
        "sign": N_("Signed for by the unit"),
        "reply": N_("Answered"),
        "answer_now": N_("Answered on the spot"),
        "check": N_("Checked on site"),
        "callback": N_("Called back"),
        "close": N_("Closed"),
        "reopen": N_("Opened again"),
        "refuse": N_("Not taken"),
        "hand_over": N_("Handed to the emergency services"),
        "withdraw": N_("Withdrawn"),
        "note": N_("Note added"),
        "overdue": N_("Overdue"),
        "escalated": N_("Escalated"),
        "rate": N_("Rated by the resident"),
        "rework": N_("Not solved, sent back"),
        "add_unit": N_("Unit added"),
        "withdraw_unit": N_("Share taken back"),
        "replace_unit": N_("Unit replaced"),
        "share_sign": N_("Share signed for"),
        "share_reply": N_("Share answered"),
        "share_return": N_("Share returned"),
        "share_rework": N_("Unit asked again"),
        "extend_ask": N_("More time asked for"),
        "extend_grant": N_("More time granted"),
        "plea_refuse": N_("Request refused"),
        "pause_ask": N_("Pause asked for"),
        "pause_grant": N_("Paused"),
        "resume": N_("Taken up after the pause"),
        "park_ask": N_("Parking asked for"),
        "park_grant": N_("Parked"),
        "park_on": N_("Parked on"),
        "take_up": N_("Taken up again"),
        "supervise": N_("Supervision ordered"),
        "supervise_reply": N_("Supervision answered"),
        "supervise_again": N_("Answer to the supervision sent back"),
        "supervise_close": N_("Supervision closed"),
        "dispute": N_("Referred to the arbiter"),
        "arbitrate": N_("Decided by the arbiter"),
        "merge": N_("Merged into another case"),
        "follow": N_("Followed the main case"),
        "answer_merged": N_("Answered with the main case"),
        "unmerge": N_("Merge undone"),
    },
)
#: The same for the person concerned: what happened to the matter, without names of the house.
PLAIN: Mapping[str, str] = {
    "receive": N_("Your matter was received."),
    "dispatch": N_("It was sent to the responsible unit."),
    "redispatch": N_("It was sent to another unit, which is responsible."),
    "rise": N_("It was passed to a higher level."),
    "arbitrate": N_("It was decided which unit is responsible."),
    "sign": N_("The unit has it and is working on it."),
    "reply": N_("It was answered."),
    "callback": N_("You were asked whether you are satisfied, and the matter was closed."),
    "rework": N_("You were not satisfied; the unit handles it again."),
    "close": N_("It was closed."),
    "refuse": N_("It could not be taken; the reason was told to you."),
    "hand_over": N_("It was handed to police, fire brigade or ambulance."),
    "withdraw": N_("You took it back."),
    "reopen": N_("It is being handled again."),
    "rate": N_("You have rated it."),
    "extend_grant": N_("It takes longer: the unit was given more time."),
    "pause_grant": N_("It has to wait for something; the time stands until then."),
    "resume": N_("The waiting is over; work goes on."),
    "park_grant": N_("It cannot be solved now; it will be looked at again on a set day."),
    "park_on": N_("It was looked at again and still cannot be solved; there is a new day."),
    "take_up": N_("It can be solved now; work goes on."),
    "merge": N_("Others have reported the same; it is handled together, and you get your own answer."),
    "unmerge": N_("It is handled by itself again."),
    "answer_merged": N_("It was answered."),
    "answer_now": N_("It was answered at once."),
}
#: What a share of a unit is, and where it stands.
SHARES: Mapping[str, str] = {"lead": N_("Lead unit"), "assist": N_("Assisting"), "parallel": N_("Parallel approval")}
SHARE_STATES: Mapping[str, str] = {
    "sent": N_("Not signed yet"),
    "signed": N_("Signed"),
    "replied": N_("Answered"),
    "returned": N_("Returned"),
    "moved": N_("Moved on"),
    "done": N_("Done"),
}
PLEAS: Mapping[str, str] = {"extension": N_("Extension"), "pause": N_("Pause"), "park": N_("Parking")}
PLEA_STATES: Mapping[str, str] = {
    "asked": N_("Waits for a decision"),
    "granted": N_("Request granted"),
    "refused": N_("Request refused"),
    "lapsed": N_("Lapsed undecided"),
}
ORDER_STATES: Mapping[str, str] = {
    "issued": N_("Waits for the unit's answer"),
    "answered": N_("Answered, to be closed"),
    "closed": N_("Closed"),
    "lapsed": N_("Ended with the case"),
}
CHANNELS: Mapping[str, str] = {
    "hotline": N_("Hotline"),
    "web": N_("Web"),
    "weibo": N_("Weibo"),
    "patrol": N_("Patrol"),
    "window": N_("Window"),
    "open311": N_("Open311"),
    "replay": N_("Replayed"),
}
#: Why a clock stood; parking is no listed reason of its own.
PAUSES: Mapping[str, str] = {**PAUSE_REASONS, "park": N_("Parked")}
#: What the units of a limit are called when it is said how time is counted.
COUNTED: Mapping[str, str] = {
    "0": N_("at once"),
    "wh": N_("{n} working hours"),
    "wd": N_("{n} working days"),
    "nd": N_("{n} days"),
    "h": N_("{n} hours round the clock"),
    "sd": N_("the same day"),
}
#: The units alone, for fields with a number beside them.
_UNITS_OF_COUNT: Mapping[str, str] = {
    "wh": N_("working hours"),
    "wd": N_("working days"),
    "nd": N_("days"),
    "h": N_("hours"),
}
#: Names of fields as forms and process tables have them.
FIELDS: Mapping[str, str] = {name: field.label for name, field in ASKED.items()} | {
    "answer": N_("Answer"),
    "phone": N_("Telephone"),
    "place": N_("Place"),
    "reason_code": N_("Reason of the return"),
    "service": N_("Handed to"),
    "text": N_("Text"),
}
CELL_KINDS: Mapping[str, str] = {
    "residential": N_("Residential"),
    "commercial": N_("Commercial"),
    "industrial": N_("Industrial"),
    "mixed": N_("Mixed"),
}


#: Parameters of errors that are codes: parameter → words.
CODES: Mapping[str, Mapping[str, str]] = {
    "action": ACTIONS,
    "clock": CLOCKS,
    "field": FIELDS,
    "name": FIELDS,
    "role": ROLES,
    "state": STATES,
}


def named(code: str | None, words: Mapping[str, str]) -> str:
    """Return the word for a code of the database, or the code itself where there is none."""
    return say(words.get(code or "", code or ""))


def exact(moment: datetime) -> str:
    """Return the full local time: `2026-11-21 14:30:05`."""
    return moment.astimezone(CHINA).strftime("%Y-%m-%d %H:%M:%S")


def day_words(moment: datetime, *, now: datetime) -> str:
    """Return the day as people say it: 今天, 明天, 昨天, 11月21日 周六; the year where it is another one."""
    local, today = moment.astimezone(CHINA), now.astimezone(CHINA).date()
    near = {0: N_("today"), 1: N_("tomorrow"), -1: N_("yesterday")}.get((local.date() - today).days)
    if near:
        return say(near)
    if LANGUAGE.get() == "zh":
        year = f"{local.year}年" if local.year != today.year else ""
        return f"{year}{local.month}月{local.day}日 周{_DAYS_ZH[local.weekday()]}"
    year = f" {local.year}" if local.year != today.year else ""
    return f"{_DAYS_EN[local.weekday()]} {local.day} {_MONTHS[local.month - 1]}{year}"


def date_words(moment: datetime, language: str) -> str:
    """Return a date as letters have it: 2026年11月21日."""
    local = moment.astimezone(CHINA)
    if language == "zh":
        return f"{local.year}年{local.month}月{local.day}日"
    return f"{local.day} {_MONTHS[local.month - 1]} {local.year}"


def limit_words(written: str) -> str:
    """Return a typed limit for people: 5 个工作日, 4 个工作小时; as it is where it is none."""
    try:
        limit = Limit.parse(written)
    except Invalid:
        return written
    return say(COUNTED[limit.count.value], n=limit.amount)


def unit_of_count(count: str) -> str:
    """Return the unit of a typed limit alone: 工作日 for wd."""
    return say(_UNITS_OF_COUNT.get(count, count))


def moment_words(moment: datetime, *, now: datetime) -> str:
    """Return day and time: 今天 14:30."""
    return f"{day_words(moment, now=now)} {moment.astimezone(CHINA):%H:%M}"


def span_words(span: timedelta) -> str:
    """Return a length of time in its two largest units: 3 小时 20 分, 2 天 4 小时; natural, not working time."""
    minutes = max(0, int(span.total_seconds()) // 60)
    days, rest = divmod(minutes, 1440)
    hours, minutes = divmod(rest, 60)
    if days:
        return say("{days} d {hours} h", days=days, hours=hours) if hours else say("{days} d", days=days)
    if hours:
        return (
            say("{hours} h {minutes} min", hours=hours, minutes=minutes) if minutes else say("{hours} h", hours=hours)
        )
    return say("{minutes} min", minutes=minutes)


def left_words(due: datetime, *, now: datetime) -> str:
    """Return what is left until a limit, or by how much it is over."""
    if due >= now:
        return say("{span} left", span=span_words(due - now))
    return say("over by {span}", span=span_words(now - due))


def when(moment: datetime | None) -> Markup:
    """Filter: a `<time>` as people say it, exact in the title; a dash for None."""
    if moment is None:
        return Markup("—")
    stamp, now = moment.astimezone(UTC).isoformat(), datetime.now(UTC)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        stamp, exact(moment), moment_words(moment, now=now)
    )


def left(due: datetime | None) -> Markup:
    """Filter: a `<time>` saying what is left until a limit, exact in the title; a dash for None."""
    if due is None:
        return Markup("—")
    stamp, now = due.astimezone(UTC).isoformat(), datetime.now(UTC)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(stamp, exact(due), left_words(due, now=now))


def due_badge(due: datetime | None, warned: int = 0) -> Markup:
    """Filter on a due time: the state of a limit by colour, shape and word, and what is left.

    warned: 0 to 3 as in `cases.warned`; a limit that is over is shown so even before the sweep has said it.
    """
    if due is None:
        return Markup('<span class="due none">{}</span>').format(say("No limit running"))
    if due < datetime.now(UTC):
        warned = 3
    css, shape, word = DUE[min(max(warned, 0), 3)]
    return Markup(
        '<span class="due {}"><span aria-hidden="true">{}</span> {} <span class="left">{}</span></span>'
    ).format(css, shape, say(word), left(due))


def number_words(value: float | None, digits: int = 0) -> str:
    """Filter: 12,093; a dash for None."""
    return "—" if value is None else f"{value:,.{digits}f}"


def metres_words(value: float | None) -> str:
    """Filter: 约 350 米, 约 1.2 公里; rounded as far as anybody can rely on it."""
    if value is None:
        return "—"
    if value < 1000:
        return say("about {n} m", n=max(5, round(value / 5) * 5))
    return say("about {n} km", n=f"{value / 1000:.1f}")


def grouped(number: str) -> str:
    """Filter: a case number in groups that can be read aloud: 20261121 0042 7."""
    return f"{number[:8]} {number[8:-1]} {number[-1:]}" if len(number) > 9 else number


FILTERS = {
    "when": when,
    "left": left,
    "due": due_badge,
    "number": number_words,
    "metres": metres_words,
    "grouped": grouped,
    "state": lambda code: named(code, STATES),
    "clock": lambda code: named(code, CLOCKS),
    "kind": lambda code: named(code, KINDS),
    "urgency": lambda code: named(code, URGENCIES),
    "role": lambda code: named(code, ROLES),
    "action": lambda code: named(code, ACTIONS),
    "plain": lambda code: named(code, PLAIN),
    "share": lambda code: named(code, SHARES),
    "share_state": lambda code: named(code, SHARE_STATES),
    "plea": lambda code: named(code, PLEAS),
    "plea_state": lambda code: named(code, PLEA_STATES),
    "order_state": lambda code: named(code, ORDER_STATES),
    "pause_reason": lambda code: named(code, PAUSES),
    "channel": lambda code: named(code, CHANNELS),
    "limit": limit_words,
    "cell_kind": lambda code: named(code, CELL_KINDS),
    "reason": reason_words,
    "duty": lambda code: named(code, DUTIES),
}
