"""Files of reports 批量导入: a spreadsheet comes in, each row becomes a report of channel `import`, once.

A row is known by its own id where the file has one, else by the file's SHA-256 and its number: the same file, or a file
that was half taken in, opens nothing twice. What cannot be taken is handed back with the reason. Reads CSV (UTF-8 with
or without BOM, GB18030) and Excel; formulas are text here and are never run.
"""

import csv
import io
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

import orjson
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core import workbook
from core.actor import Actor, Role, system
from core.crypto import seal, unseal
from core.db import actor_of, transaction
from core.errors import Conflict, Forbidden, Invalid, NotFound, Unavailable, WanggeError
from core.ids import new_id
from dispatch import models
from dispatch.calendar import CHINA
from dispatch.words import N_
from hotline.desk.models import ImportRow, ImportRun
from hotline.intake import Intake, Report

#: Bytes of a file, rows, and characters of a cell.
LARGEST, MOST_ROWS, _CELL = 20 * 2**20, 50_000, 20_000
#: Rows that one slice takes in.
SLICE: Final = 200
_CONTEXT: Final = "import"
#: Our name → what people head the column with, in lower case.
COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "text": ("text", "content", "description", "内容", "诉求内容", "投诉内容", "来电内容", "反映内容", "描述", "正文"),
    "title": ("title", "标题", "诉求标题", "主题"),
    "time": ("time", "date", "reported_at", "时间", "日期", "来电时间", "反映时间", "受理时间", "登记时间"),
    "name": ("name", "姓名", "来电人", "联系人", "反映人"),
    "phone": ("phone", "tel", "telephone", "电话", "联系电话", "来电号码", "手机", "手机号"),
    "id": ("id", "number", "编号", "工单编号", "工单号", "序列号"),
    "place": ("place", "address", "地点", "地址", "事发地点", "事发地址"),
    "lng": ("lng", "lon", "longitude", "经度"),
    "lat": ("lat", "latitude", "纬度"),
    "datum": ("datum", "坐标系"),
}
#: State → word for people.
STATES: Final[Mapping[str, str]] = {
    "waiting": N_("Queued"),
    "running": N_("Running"),
    "done": N_("Finished"),
    "cancelled": N_("Cancelled"),
    "failed": N_("Failed"),
}
_TIME: Final = re.compile(
    r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?(?:[ T]*(\d{1,2})[:：时](\d{1,2})分?(?:[:：](\d{1,2}))?\S*)?"
)
#: What a spreadsheet takes for a formula; in China the wide signs, too.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")
#: Characters that nobody typed and that no table keeps.
_UNSEEN: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class Sheet:
    """What a file holds: its header as written, and its rows with their numbers as a spreadsheet counts."""

    header: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an import is."""

    id: uuid.UUID
    name: str
    state: str
    total: int
    done: int
    taken: int
    repeated: int
    refused: int
    asked_name: str
    asked_at: datetime
    finished_at: datetime | None


def read(data: bytes) -> Sheet:
    """Return the table of a file; raises Invalid, naming `file`, for one too large, no table, or without texts."""
    if len(data) > LARGEST:
        raise Invalid("A file may have at most {n} MB.", field="file", n=LARGEST // 2**20)
    if not data.strip():
        raise Invalid("This file is empty.", field="file")
    packed = data[:4] in (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
    found = workbook.rows(data, most=MOST_ROWS + 20, cell=_CELL) if packed else _csv(data)
    raw = [[_cell(cell) for cell in row] for row in found]
    first = next((i for i, row in enumerate(raw) if _known(row) & {"text"}), None)
    if first is None or first > 10:
        raise Invalid("No column is called 内容 or text; its words must stand in the header.", field="file")
    header = tuple(raw[first])
    if len(_known(header)) != sum(_ours(cell) is not None for cell in header):
        raise Invalid("Two columns of the header mean the same.", field="file")
    width = len(header)
    rows = tuple(
        (number, tuple((row + [""] * width)[:width]))
        for number, row in enumerate(raw[first + 1 :], first + 2)
        if any(cell for cell in row)
    )
    if not rows:
        raise Invalid("The file has a header and no rows.", field="file")
    if len(rows) > MOST_ROWS:
        raise Invalid("A file may have at most {n} rows; divide it.", field="file", n=MOST_ROWS)
    return Sheet(header, rows)


def queue(session: Session, data: bytes, name: str, *, at: datetime) -> tuple[Progress, bool]:
    """Check a file and put it up for taking in; return how it stands and whether it was here before.

    Raises Forbidden, and Invalid as `read`. Writes; caller commits.
    """
    actor = _keeper(session)
    found = read(data)
    digest = sha256(data).hexdigest()
    same = select(ImportRun).where(ImportRun.district_code == actor.district, ImportRun.digest == digest)
    kept = seal(orjson.dumps({"header": found.header, "rows": found.rows}).decode(), context=_CONTEXT)
    before = session.scalar(same)
    if before is not None:
        if before.state == "cancelled":
            # It goes on where it was stopped.
            before.state, before.finished_at, before.sealed = "waiting", None, kept
            before.asked_by, before.asked_name = actor.id, actor.name
        return _progress(before), True
    run = ImportRun(
        district_code=actor.district,
        id=new_id(),
        digest=digest,
        name="".join(letter for letter in name if letter.isprintable())[-120:],
        state="waiting",
        total=len(found.rows),
        done=0,
        taken=0,
        repeated=0,
        refused=0,
        sealed=kept,
        asked_by=actor.id,
        asked_name=actor.name,
        asked_at=at,
    )
    try:
        with session.begin_nested():
            session.add(run)
    except IntegrityError:
        # The same file was put up at this very moment: pressed twice, or by two people.
        return _progress(session.scalars(same).one()), True
    return _progress(run), False


def work(intake: Intake, *, at: datetime, size: int = SLICE) -> Progress | None:
    """Take in the next rows of the oldest open import of the intake's district; None when there is nothing to do.

    The run's row lock is the lease. Cases are opened each in a transaction of its own, the progress is kept in one
    more: a worker that dies in between leaves rows that the next one finds taken already.
    """
    code = intake.book.district
    with transaction(system(code, "import")) as session:
        run = session.scalar(
            select(ImportRun)
            .where(ImportRun.district_code == code, ImportRun.finished_at.is_(None))
            .order_by(ImportRun.asked_at, ImportRun.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        if run is None or run.sealed is None:
            return None
        kept = orjson.loads(unseal(bytes(run.sealed), context=_CONTEXT))
        actor = Actor(run.asked_by, run.asked_name, Role.SUPERVISOR if run.asked_by else Role.SYSTEM, code)
        rows = kept["rows"][run.done : run.done + size]
        here = _here_before(session, code, [_source(kept["header"], row, run.digest, number) for number, row in rows])
        refused: list[dict[str, Any]] = []
        for number, row in rows:
            try:
                if _source(kept["header"], row, run.digest, number) in here:
                    run.done, run.repeated = run.done + 1, run.repeated + 1
                    continue
                report = report_of(kept["header"], row, digest=run.digest, number=number, at=run.asked_at)
                receipt = intake.receive(report, actor=actor, at=at)
            except Unavailable:
                # Not the row's fault: what was done before it is kept, and it is tried again.
                break
            except WanggeError as error:
                told = orjson.dumps(row).decode()
                refused.append(
                    {"district_code": code, "run_id": run.id, "row": number, "reason": error.message}
                    | {"params": {name: str(value)[:200] for name, value in error.params.items()}}
                    | {"sealed": seal(told, context=_CONTEXT)}
                )
            else:
                run.taken, run.repeated = run.taken + (not receipt.repeated), run.repeated + receipt.repeated
            run.done += 1
        run.refused += len(refused)
        run.state = "running"
        if refused:
            session.execute(insert(ImportRow), refused)
        if run.done >= run.total:
            run.state, run.finished_at = "done", at
            run.sealed = _header_only(kept["header"])
        session.flush()
        return _progress(run)


def cancel(session: Session, run_id: uuid.UUID, *, at: datetime) -> Progress:
    """Stop an import after the slice it is at; what was taken stays, and the same file given again goes on from there.

    Raises NotFound, Conflict. Writes.
    """
    run = _run(session, run_id, lock=True)
    if run.finished_at is not None:
        raise Conflict("The import is over already.")
    run.state, run.finished_at = "cancelled", at
    if run.sealed is not None:
        run.sealed = _header_only(orjson.loads(unseal(bytes(run.sealed), context=_CONTEXT))["header"])
    session.flush()
    return _progress(run)


def progress(session: Session, run_id: uuid.UUID) -> Progress:
    """Return how far an import is; raises NotFound. Reads only."""
    return _progress(_run(session, run_id))


def newest(session: Session, *, limit: int = 30) -> list[Progress]:
    """Return the newest imports of the district. Reads only."""
    here = ImportRun.district_code == _keeper(session).district
    query = select(ImportRun).where(here).order_by(ImportRun.asked_at.desc(), ImportRun.id).limit(limit)
    return [_progress(run) for run in session.scalars(query)]


def refusals(session: Session, run_id: uuid.UUID) -> Iterator[tuple[int, str, Mapping[str, Any], list[str]]]:
    """Yield number, reason, its parameters and the cells of each refused row; the first is the header, numbered 0."""
    run = _run(session, run_id)
    header = orjson.loads(unseal(bytes(run.sealed), context=_CONTEXT))["header"] if run.sealed else []
    yield 0, "", {}, list(header)
    here = (ImportRow.district_code == run.district_code, ImportRow.run_id == run_id)
    for row in session.scalars(select(ImportRow).where(*here).order_by(ImportRow.row)):
        yield row.row, row.reason, row.params, orjson.loads(unseal(bytes(row.sealed), context=_CONTEXT))


def as_csv(lines: Iterable[Sequence[str]]) -> bytes:
    """Return lines as CSV that a spreadsheet opens without running anything: UTF-8 with BOM, formulas as text."""
    out = io.StringIO()
    writer = csv.writer(out)
    for line in lines:
        writer.writerow(["'" + cell if cell.lstrip().startswith(_FORMULA) else cell for cell in line])
    return b"\xef\xbb\xbf" + out.getvalue().encode()


def report_of(header: Sequence[str], row: Sequence[str], *, digest: str, number: int, at: datetime) -> Report:
    """Return the report of one row; raises Invalid, naming the field. at: the time of a row that bears none."""
    given = _given(header, row)
    text, place = given.get("text", ""), given.get("place", "")[:200]
    spot: dict[str, Any] = {}
    if given.get("lng") or given.get("lat"):
        try:
            spot = {"lng": float(given.get("lng", "")), "lat": float(given.get("lat", ""))}
        except ValueError as error:
            raise Invalid("Longitude and latitude must be numbers in degrees.", field="lng") from error
        spot["datum"] = given.get("datum") or "WGS84"
    return Report(
        channel="import",
        text=f"{text}\n地点：{place}" if place and place not in text else text,
        title=given.get("title", ""),
        reported_at=_time(given.get("time", ""), at),
        source_id=_source(header, row, digest, number),
        name=given.get("name"),
        phone=given.get("phone"),
        **spot,
    )


def _given(header: Sequence[str], row: Sequence[str]) -> dict[str, str]:
    return {name: cell for head, cell in zip(header, row, strict=False) if (name := _ours(head)) and cell}


def _source(header: Sequence[str], row: Sequence[str], digest: str, number: int) -> str:
    """Return by what a row is known: its own id where it has one, else the file and its number."""
    own = _given(header, row).get("id", "")[:100]
    return f"own:{own}" if own else f"{digest[:32]}:{number}"


def _here_before(session: Session, code: str, sources: Sequence[str]) -> set[str]:
    """Return which rows became cases before: they are told apart without being understood once more."""
    taken = select(models.Report.source_id).where(
        models.Report.district_code == code, models.Report.channel == "import", models.Report.source_id.in_(sources)
    )
    return {source for source in session.scalars(taken) if source is not None}


def _header_only(header: Sequence[str]) -> bytes:
    """Return what is kept of a file that is over, sealed: the header, for the file of refused rows that goes back."""
    return seal(orjson.dumps({"header": header, "rows": []}).decode(), context=_CONTEXT)


def _time(written: str, at: datetime) -> datetime:
    """Return the time of a row; one without an offset is China's, whatever clock this machine goes by."""
    if not written:
        return at
    found = _TIME.fullmatch(written.strip())
    try:
        try:
            moment = datetime.fromisoformat(written.strip())
            return moment if moment.tzinfo else moment.replace(tzinfo=CHINA)
        except ValueError:
            if found is None:
                raise
        year, month, day, hour, minute, second = (int(part or 0) for part in found.groups())
        return datetime(year, month, day, hour, minute, second, tzinfo=CHINA)
    except (ValueError, OverflowError) as error:
        raise Invalid("{moment} is no time; write 2026-11-21 14:30.", field="time", moment=written[:40]) from error


def _ours(head: str) -> str | None:
    said = head.strip().lower().strip("*：:")
    return next((name for name, heads in COLUMNS.items() if said in heads), None)


def _known(row: Sequence[str]) -> set[str]:
    return {name for cell in row if (name := _ours(cell))}


def _cell(written: str) -> str:
    """Return a cell as it was typed: without the apostrophe by which `as_csv` keeps a formula from being run."""
    plain = _UNSEEN.sub("", written)
    return plain[1:] if plain[:1] == "'" and plain[1:].lstrip().startswith(_FORMULA) else plain


def _csv(data: bytes) -> list[list[str]]:
    for encoding in ("utf-8-sig", "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "gb18030"):
        try:
            written = data.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    else:
        raise Invalid("This file is neither UTF-8 nor GBK text, and no spreadsheet.", field="file")
    if "\0" in written:
        raise Invalid("This file is neither UTF-8 nor GBK text, and no spreadsheet.", field="file")
    head = written.partition("\n")[0]
    parted = max(",\t;", key=head.count)
    try:
        return [[cell.strip()[:_CELL] for cell in row] for row in csv.reader(io.StringIO(written), delimiter=parted)]
    except csv.Error as error:
        raise Invalid("This file is no table: {said}", field="file", said=str(error)[:80]) from error


def _keeper(session: Session) -> Actor:
    """Return the session's actor; raises Forbidden for who does not look after the whole district, as files do not."""
    actor = actor_of(session)
    if actor.role not in (Role.SUPERVISOR, Role.SYSTEM) or actor.town:
        raise Forbidden("Only supervisors take files of reports in.")
    return actor


def _run(session: Session, run_id: uuid.UUID, *, lock: bool = False) -> ImportRun:
    query = select(ImportRun).where(ImportRun.district_code == _keeper(session).district, ImportRun.id == run_id)
    run = session.scalar(query.with_for_update() if lock else query)
    if run is None:
        raise NotFound("There is no such import.")
    return run


def _progress(run: ImportRun) -> Progress:
    return Progress(**{name: getattr(run, name) for name in Progress.__dataclass_fields__})
