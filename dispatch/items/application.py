"""Opening an application 申请 or a request for information: checked against its sheet, written in one transaction.

Knows what has to be right before there is a case. What happens to it afterwards is `steps`, by the process tables. The
transaction is the program's own: neutral intake, so that nobody who is measured starts the clock.
"""

import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Engine, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.actor import Actor, Role, system
from core.crypto import seal
from core.db import transaction
from core.errors import Conflict, Forbidden, Invalid
from core.ids import new_id
from dispatch import deadlines
from dispatch.calendar import china_time
from dispatch.deadlines import Clock
from dispatch.items import catalogue, filed, lists
from dispatch.items.application_models import Application, ApplicationMaterial, InformationRequest
from dispatch.items.filed import Upload
from dispatch.items.identity import (
    CONTEXTS,
    Agent,
    Applicant,
    SealedApplicant,
    checked_name,
    checked_phone,
    sealed,
)
from dispatch.items.lists import Scalar, Verdict
from dispatch.items.matter import AUTHORISATION
from dispatch.items.sheet import Material, Sheet
from dispatch.log import Line, as_columns, genesis, late_after, link
from dispatch.models import Case, Entry, Outbox, Report
from dispatch.numbers import access_code, access_hash
from dispatch.rulebook import Rulebook

#: 行政许可法 art. 32: accepted, refused or told what is missing within five days.
LEGAL_ACCEPT = "5wd"
#: Who brings applications in, by channel.
_BRINGS: Mapping[str, frozenset[Role]] = {
    "window": frozenset({Role.OPERATOR}),
    "home": frozenset({Role.GRID_WORKER, Role.OPERATOR}),
    "web": frozenset({Role.CITIZEN}),
}
#: Longest words, and most fields of a form.
_LONGEST, _MOST_FIELDS = 5000, 60
HOW = ("paper", "electronic", "post", "inspect")


@dataclass(frozen=True, slots=True)
class NewApplication:
    """An application as somebody hands it in."""

    #: Code of the item.
    item: str
    #: window, web or home.
    channel: str
    applicant: Applicant
    #: Version of the sheet that the applicant saw; another one that holds meanwhile is refused.
    seen: int | None = None
    #: 9-digit code of the town where the applicant lives.
    town: str | None = None
    words: str = ""
    #: Code of a material → its files; none where the paper lies before an operator or grid worker.
    given: Mapping[str, tuple[Upload, ...]] = field(default_factory=dict)
    #: Codes of materials to be taken from earlier applications, the consent to it, and number and code of one.
    reuse: tuple[str, ...] = ()
    consent: bool = False
    proof: tuple[str, str] | None = None
    agent: Agent | None = None
    #: Code of the place where the result is fetched; the sheet's first where empty.
    pickup: str = ""
    #: 绿色通道: the group, in the sheet's words, that the applicant belongs to; empty for none.
    green: str = ""
    #: A to D; empty where unknown.
    credit: str = ""
    facts: Mapping[str, Scalar] = field(default_factory=dict)
    form: Mapping[str, Any] = field(default_factory=dict)
    #: Chosen by the sender: the same again is the same application.
    key: str | None = None


@dataclass(frozen=True, slots=True)
class NewRequest:
    """A request for government information as somebody hands it in (政府信息公开条例 art. 29)."""

    applicant: Applicant
    wanted: str
    #: paper, electronic, post or inspect.
    how: str
    #: window or web.
    channel: str
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the applicant gets."""

    case_id: uuid.UUID
    number: str
    #: Opens the applicant's own view.
    access_code: str
    state: str
    due_at: datetime | None
    due_clock: str | None
    title: str
    #: Code and name of each required material that is not there yet.
    missing: tuple[tuple[str, str], ...] = ()
    #: The same submission was here before; this is its receipt again.
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class _Opening:
    """What the rows of a new case have in common."""

    book: Rulebook
    process: str
    actor: Actor
    at: datetime
    number: str
    channel: str
    title: str
    text: str
    who: SealedApplicant
    key: str | None
    town: str | None = None
    #: For the log.
    told: Mapping[str, Any] = field(default_factory=dict)
    clocks: tuple[Clock, ...] = ()


def open_application(
    book: Rulebook, new: NewApplication, *, actor: Actor, at: datetime, number: str, bind: Engine | None = None
) -> Receipt:
    """Open a case for an application and return its receipt; the same key again answers with the same receipt.

    at: aware, the system's clock: neutral intake. number: the next of `dispatch.numbers.Numbers`.
    Raises Invalid that names the field, Forbidden, and Conflict where the item was withdrawn or its sheet replaced, or
    the negative list forbids it, with the entry's title and basis. Writes all or nothing, and commits.
    """
    if actor.role not in _BRINGS.get(new.channel, frozenset()):
        raise Forbidden("You may not take in applications this way.")
    who = sealed(new.applicant)
    agent = _sealed_agent(new.agent)

    def write(session: Session) -> Receipt:
        version = catalogue.applicable(session, new.item, china_time(at).date(), seen=new.seen)
        sheet = version.sheet
        _check(book, new, sheet)
        verdict = lists.check(session, new.item, new.facts, credit=new.credit)
        if verdict.negative is not None:
            raise Conflict(
                "The negative list forbids it: {title} ({basis}).",
                entry=verdict.negative.code,
                title=verdict.negative.title,
                basis=verdict.negative.basis,
            )
        opening = _Opening(
            book,
            "service_item",
            actor,
            at,
            number,
            new.channel,
            sheet.name,
            new.words.strip() or sheet.name,
            who,
            new.key,
            town=new.town or actor.town or None,
            told={"channel": new.channel, "item": new.item, "version": version.version, "green": new.green or None},
            clocks=_clocks(book, sheet, at=at),
        )
        case = _write_case(session, opening)
        application = Application(
            district_code=book.district,
            case_id=case.id,
            item_code=new.item,
            item_version=version.version,
            applicant_kind=new.applicant.kind,
            id_sealed=who.id_sealed,
            id_index=who.id_index,
            agent_name_sealed=agent[0],
            agent_phone_sealed=agent[1],
            pickup_place=new.pickup or sheet.pick_ups[0].code,
            green=bool(new.green),
            green_why=new.green,
            consent=new.consent,
            credit_class=new.credit,
            facts=dict(new.facts),
            verdict=kept_verdict(verdict),
            form=dict(new.form),
        )
        session.add(application)
        missing = _write_materials(session, case, new, sheet, actor=actor, at=at)
        return _receipt(case, missing)

    return _opened(book, new.key, write, bind=bind)


def open_request(
    book: Rulebook, new: NewRequest, *, actor: Actor, at: datetime, number: str, bind: Engine | None = None
) -> Receipt:
    """Open a case for a request for government information and return its receipt, once for each key.

    As `open_application`; raises Invalid that names the field, and Forbidden.
    """
    if actor.role not in _BRINGS.get(new.channel, frozenset()):
        raise Forbidden("You may not take in applications this way.")
    who = sealed(new.applicant)
    wanted = new.wanted.strip()
    if len(wanted) < 4 or len(wanted) > 2000 or "\x00" in wanted:
        raise Invalid("Say what information you ask for, in 4 to 2000 characters.", field="wanted")
    if new.how not in HOW:
        raise Invalid("Say how you want to get the information.", field="how")

    def write(session: Session) -> Receipt:
        clock = book.clock("register", unit=None, kind="information", urgency="ordinary", category="", start=at)
        told = {"channel": new.channel, "how": new.how}
        opening = _Opening(
            book, "information", actor, at, number, new.channel, wanted[:60], wanted, who, new.key, None, told, (clock,)
        )
        case = _write_case(session, opening)
        session.add(
            InformationRequest(
                district_code=book.district,
                case_id=case.id,
                applicant_kind=new.applicant.kind,
                id_sealed=who.id_sealed,
                id_index=who.id_index,
                wanted=wanted,
                how=new.how,
                counts_from=at,
            )
        )
        return _receipt(case, ())

    return _opened(book, new.key, write, bind=bind)


def kept_verdict(verdict: Verdict) -> dict[str, Any]:
    """Return what is kept of what the three lists say: the entries as shown, and the share of after-checks."""
    permitted = verdict.permitted.entry if verdict.permitted else None
    found = {
        "negative": _entry(verdict.negative),
        "permitted": _entry(permitted),
        "must_be_granted": verdict.must_be_granted,
        "supervision": _entry(verdict.supervision),
        "credit": verdict.credit,
        "share_percent": verdict.share_percent,
        "unknown": [asdict(one) for one in verdict.unknown],
    }
    plain: dict[str, Any] = orjson.loads(orjson.dumps(found))
    return plain


def _entry(entry: lists.Entry | None) -> dict[str, str] | None:
    return {"code": entry.code, "title": entry.title, "basis": entry.basis} if entry else None


def _sealed_agent(agent: Agent | None) -> tuple[bytes | None, bytes | None]:
    if agent is None:
        return None, None
    name = checked_name(agent.name, field="agent_name")
    phone = checked_phone(agent.phone, field="agent_phone")
    return seal(name, context=CONTEXTS["agent_name"]), seal(phone, context=CONTEXTS["agent_phone"])


def _check(book: Rulebook, new: NewApplication, sheet: Sheet) -> None:
    """Refuse what does not fit the sheet."""
    if new.channel not in sheet.channels:
        raise Invalid("{name} cannot be applied for this way.", field="channel", name=sheet.name)
    if sheet.audience not in ("both", new.applicant.kind):
        raise Invalid("{name} is not for applicants of this kind.", field="kind", name=sheet.name)
    if new.town is not None and book.areas.get(new.town) is None:
        raise Invalid("There is no town {code}.", field="town", code=new.town[:12])
    if sheet.by_town and not new.town:
        raise Invalid("Say in which town the applicant lives; its office decides.", field="town")
    if new.agent is not None and not sheet.agent:
        raise Invalid("Nobody else may apply for this item.", field="agent")
    if new.agent is not None and AUTHORISATION.code not in new.given:
        raise Invalid("An agent needs the applicant's authorisation.", field="agent")
    checked_pickup(sheet, new.pickup or sheet.pick_ups[0].code)
    if new.green and new.green not in sheet.green_channel:
        raise Invalid("The green channel of this item is not for: {group}.", field="green", group=new.green[:40])
    if new.reuse and not new.consent:
        raise Invalid("Materials are used again only with the applicant's consent.", field="consent")
    for value in (new.words, new.key or ""):
        if len(value) > _LONGEST or "\x00" in value:
            raise Invalid("The text is longer than {limit} characters; please say it shorter.", limit=_LONGEST)
    if len(orjson.dumps(dict(new.form))) > 20_000 or len(new.form) > _MOST_FIELDS or len(new.facts) > _MOST_FIELDS:
        raise Invalid("The form has more fields than it can have.", field="form")
    for code, files in new.given.items():
        material = _material(sheet, code, agent=new.agent is not None)
        if len(files) > filed.MOST_FILES:
            raise Invalid("A material has at most {n} files.", field="file", n=filed.MOST_FILES)
        for file in files:
            filed.check_upload(material, file)


def _material(sheet: Sheet, code: str, *, agent: bool) -> Material:
    found = AUTHORISATION if agent and code == AUTHORISATION.code else sheet.material(code)
    if found is None:
        raise Invalid("The sheet asks for no material {code}.", field="materials", code=code[:40])
    return found


def checked_pickup(sheet: Sheet, code: str) -> str:
    """Return the code of a place where the sheet's result may be fetched; raises Invalid."""
    if code not in {one.code for one in sheet.pick_ups}:
        raise Invalid("The result of this item cannot be fetched there.", field="pickup_place")
    return code


def _clocks(book: Rulebook, sheet: Sheet, *, at: datetime) -> tuple[Clock, ...]:
    """Return the clocks of a new application: the sheet's limit to accept it, and the law's."""

    def clock(name: str, limit: str | None, legal: str | None) -> Clock:
        return book.clock(
            name,
            unit=None,
            kind="application",
            urgency="ordinary",
            category="",
            item=sheet.code,
            start=at,
            limit=limit,
            legal=legal,
        )

    return clock("accept", sheet.accept_limit or None, LEGAL_ACCEPT), clock("deem", None, None)


def _write_case(session: Session, new: _Opening) -> Case:
    """Write the case with its report, first log entry, clocks and outbox message. Writes; caller commits."""
    book, at, key = new.book, new.at, new_id()
    table = book.process(new.process)
    due = deadlines.nearest(new.clocks)
    line = Line("receive", new.actor, at, at, None, table.initial, dict(new.told), late_after(book.settings))
    columns = as_columns(1, line)
    first = genesis(book.district, key)
    head = link(first, columns)
    case = Case(
        district_code=book.district,
        id=key,
        number=new.number,
        process=table.name,
        process_version=table.version,
        state=table.initial,
        version=1,
        open=True,
        kind=table.kinds[0],
        channel=new.channel,
        urgency="ordinary",
        title=new.title,
        text=new.text,
        town_code=new.town,
        unit_codes=[],
        reported_at=at,
        received_at=at,
        due_at=due.due_at if due else None,
        due_clock=due.name if due else None,
        # Lists read these of the case itself: parts of it are read with a case that is pinned.
        suggestions=dict(new.told),
        access_hash=access_hash(new.number, access_code(new.number)),
        entries=1,
        head_hash=head,
    )
    session.add(case)
    session.flush()
    keys = {"district_code": book.district, "case_id": key}
    session.execute(insert(Entry), [columns | keys | {"prev_hash": first, "hash": head}])
    session.execute(
        insert(Report).values(
            **keys,
            id=new_id(),
            channel=new.channel,
            idempotency_key=new.key,
            text=new.text,
            received_at=at,
            name_sealed=new.who.reporter.name,
            phone_sealed=new.who.reporter.phone,
            phone_index=new.who.reporter.phone_index,
        )
    )
    deadlines.Running(session, book.district, key).start(new.clocks)
    told = {"lng": None, "lat": None, "cell": None, "category": None, "day": china_time(at).date().isoformat()}
    told |= {"number": new.number, "state": table.initial, "urgency": "ordinary"}
    session.execute(insert(Outbox).values(**keys, id=new_id(), topic="case.opened", payload=told, created_at=at))
    return case


def _write_materials(
    session: Session, case: Case, new: NewApplication, sheet: Sheet, *, actor: Actor, at: datetime
) -> tuple[tuple[str, str], ...]:
    """Write one row for each material of the sheet as it stands now; return what is missing. Writes."""
    again = _reused(session, new, sheet, actor=actor, at=at)
    wanted = [*sheet.materials, *([AUTHORISATION] if new.agent else [])]
    missing = []
    for material in wanted:
        files = new.given.get(material.code)
        # A citizen cannot lay paper before anybody: what has no file has not been handed in.
        given = files is not None and (bool(files) or new.channel != "web")
        offer = again.get(material.code) if not given else None
        state = "shared" if material.form == "shared" else "given" if given or offer else "missing"
        session.add(
            ApplicationMaterial(
                district_code=case.district_code,
                id=new_id(),
                case_id=case.id,
                code=material.code,
                state=state,
                given_at=at if state == "given" else None,
                source_case_id=offer.case_id if offer else None,
            )
        )
        for file in files or ():
            filed.write_file(session, case, material.code, file, at=at)
        if offer:
            filed.copy_files(session, case, offer, at=at)
        if state == "missing" and material.required:
            missing.append((material.code, material.name))
    session.flush()
    return tuple(missing)


def _reused(
    session: Session, new: NewApplication, sheet: Sheet, *, actor: Actor, at: datetime
) -> dict[str, filed.Offer]:
    """Return the earlier materials that the applicant wants used again; raises Invalid for one that is not there."""
    if not new.reuse:
        return {}
    found = filed.known(session, new.applicant.id_number, sheet, at=at, proof=new.proof, actor=actor)
    offers = {offer.code: offer for offer in found.offers}
    for code in new.reuse:
        if code not in offers:
            raise Invalid(
                "There is no earlier material {code} that could be used again.", field="reuse", code=code[:40]
            )
    return {code: offers[code] for code in new.reuse}


def _opened(book: Rulebook, key: str | None, write: Any, *, bind: Engine | None) -> Receipt:
    """Write a new case in the program's name, unless the same submission was here before."""
    program = system(book.district, "intake")
    try:
        with transaction(program, bind=bind) as session:
            earlier = _earlier(session, book, key)
            if earlier is not None:
                return earlier
            found: Receipt = write(session)
            return found
    except IntegrityError:
        # Two presses at once: the other one was first.
        with transaction(program, bind=bind) as session:
            earlier = _earlier(session, book, key)
            if earlier is None:
                raise
            return earlier


def _earlier(session: Session, book: Rulebook, key: str | None) -> Receipt | None:
    if not key:
        return None
    same = (Report.district_code == Case.district_code) & (Report.case_id == Case.id)
    case = session.scalar(
        select(Case).join(Report, same).where(Case.district_code == book.district, Report.idempotency_key == key)
    )
    if case is None:
        return None
    missing: tuple[tuple[str, str], ...] = ()
    if case.process == "service_item":
        missing = tuple((one.code, one.name) for one in filed.filed(session, case.id).missing)
    return _receipt(case, missing, repeated=True)


def _receipt(case: Case, missing: tuple[tuple[str, str], ...], *, repeated: bool = False) -> Receipt:
    return Receipt(
        case.id,
        case.number,
        access_code(case.number),
        case.state,
        case.due_at,
        case.due_clock,
        case.title,
        missing,
        repeated,
    )
