"""Times, spans, numbers and codes as people say them, in the language of the request; knows no page.

Times are shown in Asia/Shanghai; every filter that rounds puts the exact value in the title.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from markupsafe import Markup

from api.i18n import LANGUAGE, N_, say

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
#: State of a complaint (process table) → words for the resident and for the desk.
STATES: Mapping[str, str] = {
    "received": N_("Received"),
    "dispatched": N_("Dispatched"),
    "signed": N_("Being handled"),
    "replied": N_("Answered"),
    "closed": N_("Closed"),
    "refused": N_("Not taken"),
    "withdrawn": N_("Withdrawn"),
    "handed_over": N_("Handed to the emergency services"),
}
CLOCKS: Mapping[str, str] = {
    "dispatch": N_("to be dispatched"),
    "sign": N_("to be signed for"),
    "reply": N_("to be answered"),
    "callback": N_("to be called back"),
}
KINDS: Mapping[str, str] = {
    "complaint": N_("Complaint"),
    "help": N_("Request for help"),
    "enquiry": N_("Enquiry"),
    "suggestion": N_("Suggestion"),
    "praise": N_("Praise"),
}
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
ACTIONS: Mapping[str, str] = {
    "receive": N_("Received"),
    "correct": N_("Place, category or unit corrected"),
    "dispatch": N_("Sent to the responsible unit"),
    "redispatch": N_("Sent to another unit"),
    "return": N_("Returned by the unit"),
    "sign": N_("Signed for by the unit"),
    "reply": N_("Answered"),
    "callback": N_("Called back"),
    "close": N_("Closed"),
    "reopen": N_("Opened again"),
    "refuse": N_("Not taken"),
    "hand_over": N_("Handed to the emergency services"),
    "withdraw": N_("Withdrawn"),
    "note": N_("Note added"),
    "overdue": N_("Overdue"),
    "rate": N_("Rated by the resident"),
    "rework": N_("Not solved, sent back"),
    "add": N_("Added by the resident"),
}
#: Names of fields as forms and process tables have them.
FIELDS: Mapping[str, str] = {
    "answer": N_("Answer"),
    "category": N_("Category"),
    "kind": N_("Kind"),
    "legal_basis": N_("Legal basis"),
    "note": N_("Note"),
    "phone": N_("Telephone"),
    "place": N_("Place"),
    "reason": N_("Reason"),
    "reason_code": N_("Reason of the return"),
    "satisfaction": N_("Satisfaction"),
    "service": N_("Handed to"),
    "text": N_("Text"),
    "unit": N_("Unit"),
    "urgency": N_("Urgency"),
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
    "cell_kind": lambda code: named(code, CELL_KINDS),
}
