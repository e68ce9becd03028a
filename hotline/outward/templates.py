"""In which words something is said 模板: shipped lines, a district's own before them, filled in and cut to length.

Knows no table but `message_template` and sends nothing. Values are never trusted: one line, no control or bidirectional
characters, nothing that another system takes for a command.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from pathlib import Path
from string import Formatter
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.db import actor_of
from core.errors import Invalid
from dispatch.tables import parse_yaml, read_text
from dispatch.words import N_
from hotline.masking import mask
from hotline.outward.adapters import CHANNELS, CHATS
from hotline.outward.models import MessageTemplate

_SHIPPED = Path(__file__).with_name("messages.yaml")
#: What a line may name in braces.
NAMES: Final = (
    "number code address district unit category state answer reason due clock window starts moved".split()  # noqa: SIM905  read as one line
)
#: Names that only the person concerned may read: never where others read along.
_PRIVATE: Final = frozenset({"code"})
_PUBLIC: Final = ("weibo", "wecom", "dingtalk", "feishu")
#: Longest text of a channel in characters. A short message is cut by providers beyond some seven parts.
LONGEST: Final[Mapping[str, int]] = {
    "sms": 450,
    "mail": 20_000,
    "wecom": 2000,
    "dingtalk": 2000,
    "feishu": 2000,
    "weibo": 140,
    "callback": 2000,
}
_SUBJECT: Final = 120
#: Longest line that a district may write.
LONGEST_TEMPLATE: Final = 2000
#: A short message with Chinese letters holds 70 characters, each part of a longer one 67 (GSM 03.38, UCS-2).
_ONE_PART, _EACH_PART = 70, 67
_NOT_SHOWN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff0-\uffff]+")
#: Robots and posts read these as mentions and tags: the wide forms look the same and do nothing.
_HARMLESS = str.maketrans({"@": "＠", "<": "＜", ">": "＞", "#": "＃"})


@dataclass(frozen=True, slots=True)
class Template:
    """One line of the table."""

    topic: str
    channel: str
    category: str = ""
    state: str = ""
    subject: str = ""
    text: str = ""
    #: Who changed it in the district; empty for a shipped line.
    changed_by: str = ""

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What tells it from the others."""
        return self.topic, self.channel, self.category, self.state


@dataclass(frozen=True, slots=True)
class Rendered:
    """The words of one message."""

    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class Templates:
    """The lines that hold in a district, and whom each topic is for."""

    lines: Mapping[tuple[str, str, str, str], Template]
    audiences: Mapping[str, str]
    like: Mapping[str, str]

    def find(self, topic: str, channel: str, *, category: str = "", state: str = "") -> Template | None:
        """Return the most specific line, None where this is not said on this channel."""
        for words in (channel, self.like.get(channel, "")):
            found = self._find(topic, words, category, state)
            if found is not None:
                return replace(found, channel=channel) if found.text else None
        return None

    def _find(self, topic: str, channel: str, category: str, state: str) -> Template | None:
        for length in range(len(category), -1, -1):
            for of_state in (state, "") if state else ("",):
                found = self.lines.get((topic, channel, category[:length], of_state))
                if found is not None:
                    return found
        return None


@cache
def shipped() -> Templates:
    """Return the lines that come with the program."""
    (table,) = parse_yaml(read_text(_SHIPPED), file=_SHIPPED.name)
    lines = [Template(**{name: row.text(name) for name in row}) for row in table["templates"]]
    for line in lines:
        check(line)
    return Templates(
        {line.key: line for line in lines},
        {row["topic"]: row["audience"] for row in table["audiences"]},
        {row["channel"]: row["as"] for row in table["like"]},
    )


def read(session: Session) -> Templates:
    """Return the lines of the session's district: its own before the shipped ones. Reads."""
    own = session.scalars(
        select(MessageTemplate).where(MessageTemplate.district_code == actor_of(session).district).limit(2000)
    )
    lines = dict(shipped().lines)
    for row in own:
        line = Template(row.topic, row.channel, row.category, row.state, row.subject, row.text, row.changed_by)
        lines[line.key] = line
    return replace(shipped(), lines=lines)


def check(line: Template) -> None:
    """Raise Invalid, naming the field, for a line that cannot be used."""
    if line.channel not in CHANNELS:
        raise Invalid(N_("There is no channel {name}."), field="channel", name=line.channel[:20])
    if not re.fullmatch(r"[a-z_]{1,30}\.[a-z_]{1,30}", line.topic):
        raise Invalid(N_("There is no message {name}."), field="topic", name=line.topic[:40])
    if not re.fullmatch(r"[0-9A-Za-z]{0,40}", line.category) or not re.fullmatch(r"[a-z_]{0,40}", line.state):
        raise Invalid(N_("This is no code."), field="category")
    if len(line.text) > LONGEST_TEMPLATE or len(line.subject) > _SUBJECT:
        raise Invalid(N_("The words are longer than {limit} characters."), field="text", limit=LONGEST_TEMPLATE)
    for field, written in (("subject", line.subject), ("text", line.text)):
        for name in _named(written, field):
            if name not in NAMES or (name in _PRIVATE and line.channel in _PUBLIC):
                raise Invalid(N_("The word {name} in braces is not known here."), field=field, name=name[:40])
    if "\n" in line.subject or "\r" in line.subject:
        raise Invalid(N_("A subject is one line."), field="subject")


def _named(written: str, field: str) -> list[str]:
    try:
        parts = list(Formatter().parse(written))
    except ValueError as error:
        raise Invalid(N_("The braces in these words do not match."), field=field) from error
    # `{number!r}`, `{a.b}` and `{n:>9999999}` reach into the program: only plain names are taken.
    named = []
    for _, name, spec, conversion in parts:
        if name is not None:
            named.append(name if not spec and not conversion else f"{name}:{spec}")
    return named


def render(line: Template, values: Mapping[str, str]) -> Rendered:
    """Return the words of a line, cut to what the channel takes; the answer is cut first, for it stands on the page.

    values: by NAMES; what is missing is empty. Raises Invalid for a line that cannot be used.
    """
    check(line)
    known = {name: plain(values.get(name, ""), line.channel) for name in NAMES}
    if line.channel in _PUBLIC:
        # Free words that a unit wrote; a resident's telephone in them is not for everybody.
        known["answer"] = mask(known["answer"])
    longest = LONGEST[line.channel]
    text = _fill(line.text, known)
    if len(text) > longest and "{answer}" in line.text:
        room = longest - len(_fill(line.text, known | {"answer": ""})) - 1
        text = _fill(line.text, known | {"answer": known["answer"][: max(0, room)] + "…"})
    if len(text) > longest:
        text = text[: longest - 1] + "…"
    return Rendered(_fill(line.subject, known)[:_SUBJECT], text.strip())


def plain(value: str, channel: str) -> str:
    """Return a value as one line without characters that are not seen, harmless to where it goes."""
    flat = " ".join(_NOT_SHOWN.sub(" ", value).split())
    return flat.translate(_HARMLESS) if channel in CHATS or channel == "weibo" else flat


def _fill(written: str, values: Mapping[str, str]) -> str:
    # Not str.format: what a value holds is never looked at again.
    return re.sub(r"\{(\w+)\}", lambda found: values.get(found[1], ""), written)


def parts(text: str) -> int:
    """Return how many short messages a text costs; characters outside the basic plane count twice."""
    length = len(text.encode("utf-16-le")) // 2
    return 1 if length <= _ONE_PART else -(-length // _EACH_PART)


def change(session: Session, line: Template, *, at: datetime) -> None:
    """Let a district say something in its own words; writes, caller commits. Raises Invalid."""
    check(line)
    if line.topic not in shipped().audiences:
        raise Invalid(N_("There is no message {name}."), field="topic", name=line.topic[:40])
    actor = actor_of(session)
    row = {
        "district_code": actor.district,
        "topic": line.topic,
        "channel": line.channel,
        "category": line.category,
        "state": line.state,
        "subject": line.subject,
        "text": line.text,
        "changed_at": at,
        "changed_by": actor.name,
    }
    made = insert(MessageTemplate).values(row)
    keys = ["district_code", "topic", "channel", "category", "state"]
    changed = {name: row[name] for name in ("subject", "text", "changed_at", "changed_by")}
    session.execute(made.on_conflict_do_update(index_elements=keys, set_=changed))


def reset(session: Session, key: Iterable[str]) -> None:
    """Go back to the shipped words of a line; writes, caller commits."""
    topic, channel, category, state = key
    session.execute(
        delete(MessageTemplate).where(
            MessageTemplate.district_code == actor_of(session).district,
            MessageTemplate.topic == topic,
            MessageTemplate.channel == channel,
            MessageTemplate.category == category,
            MessageTemplate.state == state,
        )
    )
