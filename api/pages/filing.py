"""The form of an application 申请表, for web, window and home alike: what it asks, what came back, with which files.

Files are stored when they arrive and travel on as signed tokens, so that a summary, a mistake or a reload never asks
for them twice. Draws nothing and opens nothing: `dispatch.items.application` does.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import orjson
from fastapi import Depends
from starlette.datastructures import UploadFile
from starlette.requests import Request

from api import security, uploads
from api.i18n import N_
from core.errors import Invalid, WanggeError
from dispatch.items.application import NewApplication
from dispatch.items.catalogue import Version
from dispatch.items.filed import Upload
from dispatch.items.identity import Agent, Applicant
from dispatch.items.lists import Condition, Entry
from dispatch.items.matter import AUTHORISATION
from dispatch.items.sheet import Material, Sheet

#: How long a file that was sent can still be named by its token: a form left open over a night.
KEPT_S = 24 * 3600
#: Values of one name, files of one form, and files of one material.
_MOST, _MOST_FILES, _MOST_EACH = 200, 30, 6
KEY = re.compile(r"[0-9A-Za-z_\-]{16,64}")
#: What nobody can apply without, as the form calls it.
_NEEDED: Mapping[str, str] = {
    "name": N_("Name"),
    "id_number": N_("Identity number or credit code"),
    "phone": N_("Telephone"),
}
_FALSE: Mapping[type, Any] = {bool: False, str: "", int: 0, float: 0.0}


@dataclass(slots=True)
class Posted:
    """What a form held: texts by name (the last of a name), all of a name, and files with their names."""

    texts: dict[str, str] = field(default_factory=dict)
    lists: dict[str, list[str]] = field(default_factory=dict)
    files: dict[str, list[tuple[str, bytes]]] = field(default_factory=dict)

    def text(self, name: str, *, most: int = 200) -> str:
        """Return a text, stripped and cut."""
        return self.texts.get(name, "").strip()[:most]


async def _posted(request: Request) -> Posted:
    """Return the fields of the form; async because reading one is. Files are read up to one byte over the limit."""
    made = Posted()
    if request.method != "POST":
        return made
    # Whoever reads a form closes it: its files lie on the disk.
    async with request.form() as given:
        for name, value in given.multi_items():
            if isinstance(value, str):
                made.texts[name] = value
                known = made.lists.setdefault(name, [])
                if len(known) < _MOST:
                    known.append(value)
            elif isinstance(value, UploadFile) and value.filename and sum(map(len, made.files.values())) < _MOST_FILES:
                data = await value.read(security.PHOTO_LIMIT + 1)
                made.files.setdefault(name, []).append((value.filename[:120], data))
    return made


#: What a form held; endpoints name it as the type of a parameter.
Form = Annotated[Posted, Depends(_posted)]


@dataclass(frozen=True, slots=True)
class Kept:
    """A file that was stored, and the token that names it in the form."""

    token: str
    upload: Upload

    @property
    def kilobytes(self) -> int:
        """Its size, at least 1."""
        return max(1, self.upload.size // 1024)


def keep(name: str, data: bytes) -> Kept:
    """Store a file and return its token; raises TooLarge and Unprovable as `api.uploads` does."""
    upload = uploads.keep(data, name)
    said = orjson.dumps([upload.sha256, upload.media_type, upload.size, upload.name]).decode()
    return Kept(security.sign_text("upload", said), upload)


def kept(token: str) -> Kept | None:
    """Return the file that a token names; None for a forged or stale one."""
    said = security.read_text("upload", token, KEPT_S)
    return Kept(token, Upload(*orjson.loads(said))) if said else None


def files_of(posted: Posted, materials: Iterable[Material]) -> dict[str, tuple[Kept, ...]]:
    """Return the files of each material: those that come with the form, stored, and those of its tokens."""
    found: dict[str, tuple[Kept, ...]] = {}
    for material in materials:
        named = [one for token in posted.lists.get(f"kept-{material.code}", ()) if (one := kept(token)) is not None]
        fresh = [keep(name, data) for name, data in posted.files.get(f"file-{material.code}", ())]
        every = tuple({one.upload.sha256: one for one in (*named, *fresh)}.values())
        if len(every) > _MOST_EACH:
            raise Invalid("At most {n} files for one material.", field=f"file-{material.code}", n=_MOST_EACH)
        if every:
            found[material.code] = every
    return found


@dataclass(frozen=True, slots=True)
class Question:
    """One thing that the three lists want to know of an application."""

    #: Name of the fact.
    name: str
    #: flag or number.
    kind: str
    #: In the words of the list; Chinese data.
    words: str
    #: What the fact is where the words hold, and where they do not.
    yes: Any = None
    no: Any = None


def questions(entries: Sequence[Entry]) -> tuple[Question, ...]:
    """Return what the applicant is asked for the negative and the permitted list, each fact once."""
    return asked_facts(tuple(one for entry in entries if entry.kind != "supervision" for one in entry.conditions))


def asked_facts(conditions: Iterable[Condition]) -> tuple[Question, ...]:
    """Return the questions that some conditions put, each fact once."""
    found: dict[str, Question] = {}
    for one in conditions:
        made = _question(one)
        if made is not None:
            found.setdefault(one.fact, made)
    return tuple(found.values())


def _question(one: Condition) -> Question | None:
    if one.relation in ("lt", "le", "gt", "ge"):
        return Question(one.fact, "number", one.words)
    if one.relation == "eq":
        no = (not one.value) if isinstance(one.value, bool) else _FALSE.get(type(one.value), "")
        return Question(one.fact, "flag", one.words, one.value, no)
    if one.relation == "in" and one.value:
        return Question(one.fact, "flag", one.words, one.value[0], "")
    # What only says what is not so cannot be asked as a yes or no; the window asks.
    return None


def facts_of(posted: Posted, asked: Iterable[Question]) -> dict[str, Any]:
    """Return the facts that were told; a question left open tells nothing. Raises Invalid for what is no number."""
    told: dict[str, Any] = {}
    for one in asked:
        said = posted.text(f"fact-{one.name}", most=20)
        if one.kind == "number" and said:
            try:
                told[one.name] = float(said)
            except ValueError as error:
                raise Invalid("{name} is not a number.", field=f"fact-{one.name}", name=one.words) from error
        elif said in ("yes", "no"):
            told[one.name] = one.yes if said == "yes" else one.no
    return told


def asked_for(sheet: Sheet, *, agent: bool) -> tuple[Material, ...]:
    """Return the materials that the applicant hands in; the others are fetched from registers.

    agent: with the authorisation of whoever acts for the applicant.
    """
    own = tuple(one for one in sheet.materials if one.form != "shared")
    return (*own, AUTHORISATION) if agent else own


def by_agent(posted: Posted, sheet: Sheet) -> bool:
    """Return whether somebody acts for the applicant."""
    return sheet.agent and posted.text("agent") == "yes"


def blamed(error: WanggeError | None) -> str:
    """Return the name that the form gives to the field that an error blames; empty for none."""
    field = (error.field or "") if error is not None else ""
    return {"pickup_place": "pickup", "agent": "agent_name"}.get(field, field)


def needs_town(sheet: Sheet) -> bool:
    """Return whether the place decides who takes it in or decides."""
    return sheet.by_town or sheet.level != "district"


def check(posted: Posted, sheet: Sheet, *, web: bool) -> None:
    """Raise Invalid, naming the field, where the form misses what nobody can do without."""
    for name, label in _NEEDED.items():
        if not posted.text(name):
            raise Invalid("{name} is needed.", field=name, name=label)
    if by_agent(posted, sheet) and not (posted.text("agent_name") and posted.text("agent_phone")):
        raise Invalid("Say who acts for the applicant, with a telephone.", field="agent_name")
    if needs_town(sheet) and not posted.text("town"):
        raise Invalid("Choose the town: it decides who takes it in.", field="town")
    if web and len(posted.lists.get("met", ())) < len(sheet.conditions):
        raise Invalid("Confirm every condition, or ask at the window first.", field="met")
    if len(sheet.pick_ups) > 1 and not posted.text("pickup"):
        raise Invalid("Choose where the result is fetched.", field="pickup")


def proof_of(posted: Posted) -> tuple[str, str] | None:
    """Return number and code of an earlier application, which a citizen shows to use its materials again."""
    number, code = posted.text("proof_number", most=30), posted.text("proof_code", most=10)
    return (number, code) if number and code else None


def new_application(
    posted: Posted,
    version: Version,
    *,
    channel: str,
    files: Mapping[str, tuple[Kept, ...]],
    facts: Mapping[str, Any],
    reuse: tuple[str, ...] = (),
) -> NewApplication:
    """Return the application that a form describes; `papers` names what was seen on paper at a window or a home."""
    sheet = version.sheet
    given = {code: tuple(one.upload for one in found) for code, found in files.items()}
    if channel != "web":
        given |= {code: () for code in posted.lists.get("paper", ()) if code not in given}
    agent = None
    if by_agent(posted, sheet):
        agent = Agent(posted.text("agent_name"), posted.text("agent_phone"))
    kind = posted.text("kind") or ("organisation" if sheet.audience == "organisation" else "person")
    places = [one.code for one in sheet.pick_ups]
    key = posted.text("key")
    return NewApplication(
        item=version.item_code,
        channel=channel,
        applicant=Applicant(kind, posted.text("name"), posted.text("phone"), posted.text("id_number")),
        seen=version.version,
        town=posted.text("town") or None,
        words=posted.text("words", most=2000),
        given=given,
        reuse=reuse,
        consent=posted.text("consent") == "yes",
        agent=agent,
        proof=proof_of(posted),
        pickup=posted.text("pickup") or (places[0] if places else ""),
        green=posted.text("green"),
        credit=posted.text("credit"),
        facts=facts,
        key=key if KEY.fullmatch(key) else None,
    )
