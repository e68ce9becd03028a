"""What an application shows 申请件档案: sheet, materials with files, debts, surveys, fees, and what is known already.

Pages and API read it; it writes nothing but files that are handed in, and who opened sealed data.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from core.actor import Actor, Role, system
from core.crypto import unseal
from core.db import acting_as, actor_of, pin_case, rows
from core.errors import Forbidden, Invalid, NotFound
from core.ids import new_id
from dispatch.identity import MAY_OPEN, write
from dispatch.items import lists, matter
from dispatch.items.application_models import Application, Fee, Handover, InformationRequest, MaterialFile, Survey
from dispatch.items.identity import CONTEXTS, id_index
from dispatch.items.lists import Condition
from dispatch.items.sheet import Material, Sheet
from dispatch.models import Case
from dispatch.numbers import access_hash
from dispatch.process import process
from grid.models import District
from grid.openings import check_reason

#: Files of one material, and of one application.
MOST_FILES, MOST_OF_ALL = 10, 60
#: How long a material that was checked may be used again. *Default*; district setting `reuse_days`.
REUSE_DAYS: Final = 365
#: Types of file as the store names them → as sheets name them.
MEDIA: Final[Mapping[str, tuple[str, ...]]] = {
    "image/jpeg": ("jpeg", "png", "webp"),
    "application/pdf": ("pdf",),
}


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that lies in the store."""

    #: SHA-256 in hex of the stored bytes.
    sha256: str
    media_type: str
    #: Bytes.
    size: int
    #: As the sender called it.
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class File(Upload):
    """A file of a material."""

    id: uuid.UUID


@dataclass(frozen=True, slots=True)
class Held:
    """One material as it stands."""

    code: str
    name: str
    required: bool
    form: str
    may_lag: bool
    #: missing, given, shared, checked, rejected or owed.
    state: str
    given_at: datetime | None
    owed_until: datetime | None
    settled_at: datetime | None
    why: str
    #: It was taken from an earlier application.
    reused: bool
    files: tuple[File, ...]


@dataclass(frozen=True, slots=True)
class Filed:
    """One application in full."""

    application: Application
    sheet: Sheet
    materials: tuple[Held, ...]
    surveys: Sequence[Survey]
    fees: Sequence[Fee]
    handovers: Sequence[Handover]
    #: What the lists ask and nobody has told.
    questions: tuple[Condition, ...]

    @property
    def missing(self) -> tuple[Held, ...]:
        """Required materials that are not there."""
        return tuple(one for one in self.materials if one.required and one.state in matter.WANTING)

    @property
    def debts(self) -> tuple[Held, ...]:
        """Materials that are owed."""
        return tuple(one for one in self.materials if one.state == "owed")


@dataclass(frozen=True, slots=True)
class Offer:
    """A material of an earlier application that may be used again."""

    code: str
    name: str
    #: Number of that application, and when it was handed in.
    number: str
    given_at: datetime
    case_id: uuid.UUID


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of an applicant already 一表制."""

    offers: tuple[Offer, ...]
    #: Values of the form's fields as last given.
    form: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Line:
    """One open application in a list."""

    case_id: uuid.UUID
    number: str
    state: str
    version: int
    item_code: str
    title: str
    unit_code: str | None
    green: bool
    received_at: datetime
    due_at: datetime | None
    due_clock: str | None
    #: 0 green to 3 overdue.
    warned: int
    #: Materials that are owed.
    debts: int


def filed(session: Session, case_id: uuid.UUID) -> Filed:
    """Return the application of a case that the actor may see; raises NotFound. Reads; pins the case."""
    case = _case(session, case_id)
    found = matter.read(session, case)
    files: dict[str, list[File]] = {}
    kept = select(MaterialFile).where(*matter.of_case(case, MaterialFile))
    for row in session.scalars(kept.order_by(MaterialFile.created_at, MaterialFile.id)):
        file = File(sha256=row.sha256, media_type=row.media_type, size=row.size, name=row.name, id=row.id)
        files.setdefault(row.code, []).append(file)
    held = []
    for code, stands in found.materials.items():
        said = found.material(code)
        held.append(
            Held(
                code=code,
                name=said.name,
                required=said.required,
                form=said.form,
                may_lag=said.may_lag,
                state=stands.state,
                given_at=stands.given_at,
                owed_until=stands.owed_until,
                settled_at=stands.settled_at,
                why=stands.why,
                reused=stands.source_case_id is not None,
                files=tuple(files.get(code, ())),
            )
        )
    fees = session.scalars(select(Fee).where(*matter.of_case(case, Fee)).order_by(Fee.recorded_at, Fee.id)).all()
    asked = questions(session, found.application)
    return Filed(found.application, found.sheet, tuple(held), found.surveys, fees, found.handovers, asked)


def questions(session: Session, application: Application) -> tuple[Condition, ...]:
    """Return the conditions of the three lists whose fact is not known, the negative list's first. Reads."""
    verdict = lists.check(session, application.item_code, application.facts, credit=application.credit_class)
    permitted = verdict.permitted.unknown if verdict.permitted else ()
    return tuple(dict.fromkeys((*verdict.unknown, *permitted)))


def request(session: Session, case_id: uuid.UUID) -> InformationRequest:
    """Return the request for information of a case that the actor may see; raises NotFound. Reads; pins the case."""
    case = _case(session, case_id)
    found = session.scalar(select(InformationRequest).where(*matter.of_case(case, InformationRequest)))
    if found is None:
        raise NotFound("This case is no request for information.")
    return found


def attach(session: Session, case_id: uuid.UUID, code: str, upload: Upload, *, at: datetime) -> uuid.UUID:
    """Hang a stored file on a material of an open application and return its id; the same file again is the same.

    The material counts as handed in with the action `hand_in` or `supply`. Raises NotFound, Invalid for a type that
    the sheet does not take and for too many files. Writes; caller commits; pins the case.
    """
    case = _case(session, case_id)
    found = matter.read(session, case)
    check_upload(found.material(code), upload)
    known = session.scalars(select(MaterialFile).where(*matter.of_case(case, MaterialFile))).all()
    mine = [one for one in known if one.code == code]
    same = next((one for one in mine if one.sha256 == upload.sha256), None)
    if same is not None:
        return same.id
    if len(mine) >= MOST_FILES or len(known) >= MOST_OF_ALL:
        raise Invalid("A material has at most {n} files.", field="file", n=MOST_FILES)
    return write_file(session, case, code, upload, at=at)


def check_upload(material: Material, upload: Upload) -> None:
    """Raise Invalid where a material is not taken as a file of this type."""
    if not set(MEDIA.get(upload.media_type, ())) & set(material.uploads):
        raise Invalid(
            "{material} is not taken as a file of this type; taken are: {types}.",
            field="file",
            material=material.name,
            types=", ".join(material.uploads),
        )


def write_file(session: Session, case: Case, code: str, upload: Upload, *, at: datetime) -> uuid.UUID:
    """Write the row of a stored file. Writes; caller commits."""
    key = new_id()
    session.execute(
        insert(MaterialFile).values(
            district_code=case.district_code,
            id=key,
            case_id=case.id,
            code=code,
            sha256=upload.sha256,
            media_type=upload.media_type,
            size=upload.size,
            name=upload.name[:200],
            created_at=at,
        )
    )
    return key


def copy_files(session: Session, case: Case, offer: Offer, *, at: datetime) -> None:
    """Let the files of an earlier material belong to this application, too. Writes as the program; caller commits."""
    with acting_as(session, system(case.district_code, "reuse")):
        found = session.scalars(
            select(MaterialFile).where(
                MaterialFile.district_code == case.district_code,
                MaterialFile.case_id == offer.case_id,
                MaterialFile.code == offer.code,
            )
        ).all()
        for row in found[:MOST_FILES]:
            write_file(session, case, offer.code, Upload(row.sha256, row.media_type, row.size, row.name), at=at)


def file_of(session: Session, case_id: uuid.UUID, file_id: uuid.UUID) -> Upload:
    """Return a file of an application that the actor may see; raises NotFound. Reads; pins the case."""
    case = _case(session, case_id)
    row = session.scalar(select(MaterialFile).where(*matter.of_case(case, MaterialFile), MaterialFile.id == file_id))
    if row is None:
        raise NotFound("This file is not there.")
    return Upload(row.sha256, row.media_type, row.size, row.name)


def known(
    session: Session,
    id_number: str,
    item: Sheet,
    *,
    at: datetime,
    proof: tuple[str, str] | None = None,
    actor: Actor | None = None,
) -> Known:
    """Return what an applicant handed in before that an item asks for, and the form as last filled 一表制 (S4).

    proof: number and code of an earlier application; a citizen has to show one, so that nobody learns of another's
    applications by their identity number. actor: who asks, where it is not the session's. Raises Forbidden. Reads as
    the program.
    """
    actor = actor or actor_of(session)
    index = id_index(id_number)
    wanted = {one.code: one for one in item.materials}
    with acting_as(session, system(actor.district, "reuse")):
        since = _since(session, actor.district, at)
        found = rows(session, _EARLIER, d=actor.district, i=index, since=since, codes=list(wanted))
        form = rows(session, _FORM, d=actor.district, i=index, item=item.code)
        proved = actor.role is not Role.CITIZEN or _proved(session, actor.district, index, proof)
    # Outside the program's scope, which an error would leave open.
    if not proved:
        raise Forbidden("Show the number and code of an earlier application to use its materials again.")
    return Known(_offers(found, wanted), form[0]["form"] if form else {})


def earlier(session: Session, application: Application, item: Sheet, *, at: datetime) -> tuple[Offer, ...]:
    """Return what the applicant of an open application handed in before with others. Reads as the program.

    Whoever may read the application knows whose it is: the code was shown, or the papers were.
    """
    here = application.district_code
    wanted = {one.code: one for one in item.materials}
    with acting_as(session, system(here, "reuse")):
        since = _since(session, here, at)
        found = rows(session, _EARLIER, d=here, i=application.id_index, since=since, codes=list(wanted))
    return _offers([row for row in found if row["id"] != application.case_id], wanted)


def _since(session: Session, district: str, at: datetime) -> datetime:
    """Return from when on materials may be used again, by the district's setting."""
    settings = session.scalar(select(District.settings).where(District.district_code == district)) or {}
    days = settings.get("reuse_days", REUSE_DAYS)
    return at - timedelta(days=days if isinstance(days, int) and 0 <= days <= 3650 else REUSE_DAYS)


def _offers(found: Sequence[Mapping[str, Any]], wanted: Mapping[str, Material]) -> tuple[Offer, ...]:
    return tuple(
        Offer(row["code"], wanted[row["code"]].name, row["number"], row["given_at"], row["id"]) for row in found
    )


#: The newest material of each code that a window checked, of the same identity number.
_EARLIER = (
    "SELECT DISTINCT ON (m.code) m.code, c.number, m.given_at, c.id FROM application AS a"
    " JOIN cases AS c ON c.district_code = a.district_code AND c.id = a.case_id"
    " JOIN application_material AS m ON m.district_code = a.district_code AND m.case_id = a.case_id"
    " WHERE a.district_code = :d AND a.id_index = :i AND m.state = 'checked' AND m.given_at >= :since"
    " AND m.code = ANY (:codes) ORDER BY m.code, m.given_at DESC"
)
_FORM = (
    "SELECT a.form FROM application AS a JOIN cases AS c ON c.district_code = a.district_code AND c.id = a.case_id"
    " WHERE a.district_code = :d AND a.id_index = :i AND a.item_code = :item ORDER BY c.received_at DESC LIMIT 1"
)
_PROOF = (
    "SELECT 1 FROM application AS a JOIN cases AS c ON c.district_code = a.district_code AND c.id = a.case_id"
    " WHERE a.district_code = :d AND a.id_index = :i AND c.number = :number AND c.access_hash = :hash"
)


def _proved(session: Session, district: str, index: bytes, proof: tuple[str, str] | None) -> bool:
    if proof is None:
        return False
    number = proof[0].replace(" ", "").upper()
    return bool(rows(session, _PROOF, d=district, i=index, number=number, hash=access_hash(number, proof[1])))


def queue(session: Session, *, limit: int = 50) -> list[Line]:
    """Return the open applications that the actor sees: the green channel first, then by time left. Reads; bounded.

    Debts are counted for roles that see the parts of every case; for others they are 0 until the case is opened.
    """
    open_states = [state.name for state in process("service_item").states.values() if state.open]
    found = rows(
        session,
        "SELECT c.id AS case_id, c.number, c.state, c.version, c.suggestions->>'item' AS item_code, c.title,"
        " c.unit_code, coalesce(c.suggestions->>'green', '') <> '' AS green, c.received_at, c.due_at, c.due_clock,"
        " c.warned, (SELECT count(*) FROM application_material AS m"
        "  WHERE m.district_code = c.district_code AND m.case_id = c.id AND m.state = 'owed') AS debts"
        " FROM cases AS c WHERE c.district_code = :d AND c.open AND c.state = ANY (:states)"
        " AND c.process = 'service_item' ORDER BY green DESC, c.due_at NULLS LAST, c.id LIMIT :n",
        d=actor_of(session).district,
        states=open_states,
        n=max(1, min(limit, 200)),
    )
    return [Line(**row) for row in found]


def disclose(session: Session, case_id: uuid.UUID, field: str, *, reason: str, at: datetime) -> str:
    """Open a sealed field of an application with a reason, and keep who looked and why; return its text.

    field: a key of `identity.CONTEXTS`. Raises Forbidden, Invalid without a reason, NotFound.
    Writes; caller commits; pins the case.
    """
    actor = actor_of(session)
    if actor.role not in MAY_OPEN:
        raise Forbidden("Your role may not open personal data.")
    if field not in CONTEXTS:
        raise Invalid("There is no protected field {name}.", field="field", name=field[:20])
    check_reason("", reason)
    case = _case(session, case_id)
    asked = case.process == "information"
    row = request(session, case_id) if asked else matter.read(session, case).application
    secret = getattr(row, "id_sealed" if field == "id_number" else f"{field}_sealed", None)
    if secret is None:
        raise NotFound("Nothing was given here.")
    write(session, case.id, field, why="", reason=reason, at=at)
    return unseal(secret, context=CONTEXTS[field])


def _case(session: Session, case_id: uuid.UUID) -> Case:
    """Return a case that the actor may see, and pin it; raises NotFound."""
    found = session.scalar(select(Case).where(Case.district_code == actor_of(session).district, Case.id == case_id))
    if found is None:
        raise NotFound("There is no such case.")
    pin_case(session, found.id)
    return found
