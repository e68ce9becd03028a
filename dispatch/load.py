"""`wangge load`: a district folder goes into the database in one transaction, or not at all.

Brings together what `grid` reads (areas, registers, units) and what `dispatch` owns: routing rules, limits, notices.
Every rule set is checked before anything is written; every refused row stands in the report.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import orjson
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from core.actor import system
from core.datums import Datum
from core.db import actor_of, snapshot, transaction
from core.errors import Invalid
from dispatch.calendar import Notice, OfficeHours, WorkCalendar, read_notice
from dispatch.jobs import queue
from dispatch.ladder import ladder_of
from dispatch.limits import Limit, LimitRule, LimitTable
from dispatch.recompute import running
from dispatch.rulebook import notices as notices_in_force
from dispatch.rules import Rule, Unit, problems
from grid.formats import CLOCKS, COLUMNS, REGISTERS, Folder, open_folder
from grid.ground import Ground, read_ground
from grid.load import Count, LoadReport, finish, last_digest, upsert_columns, write_district, write_ground
from grid.tabular import Rejects, Say, Table, english, read_table

#: A register of which more than this share is refused was read wrongly (swapped columns, wrong datum): load nothing.
_TOO_MANY: Final = 0.5
#: Columns of `cases` that name what a load may take away.
_NAMED_BY: Final = {"area": ("town_code", "community_code"), "category": ("category_code",)}


def load(
    folder: Path,
    *,
    at: datetime,
    datums: Mapping[str, str | Datum] | None = None,
    report_to: Path | None = None,
    say: Say = english,
    synthetic_join: bool | None = None,
    replace_notices: bool = False,
    bind: Engine | None = None,
) -> LoadReport:
    """Load a district folder (`docs/formats.md`) and return what became of each table.

    at: aware, kept as the time of the load. datums: file name → datum, wins over the manifest's. report_to: where
    refused rows are written as CSV, in the language of `say`. The same folder with the same options again changes
    nothing. replace_notices: take a notice that contradicts the one in force for its year. Where open deadlines may
    have to move, a background job is queued with the load (`dispatch.jobs`), in every district where a notice changed.
    Raises Invalid, changing nothing, when the folder, a boundary, a code, a unit, a rule, a limit or a notice cannot be
    taken, or more than half of a register; refused rows of registers are left out and reported.
    Transaction: its own; locks the district's row.
    """
    if at.tzinfo is None:
        raise Invalid("The time {moment} does not say its time zone.", moment=at.isoformat())
    opened = open_folder(folder, datums=datums, synthetic_join=synthetic_join)
    if opened.settings.get("office_hours"):
        OfficeHours.parse(str(opened.settings["office_hours"]))
    if opened.settings.get("ladder"):
        ladder_of(opened.settings["ladder"])
    with transaction(system(opened.code, "loader"), bind=bind) as session:
        if last_digest(session) == opened.digest:
            return LoadReport(opened.code, opened.name, changed=False, counts={})
    rejects = Rejects()
    ground = read_ground(opened, rejects)
    rules = _rules(ground, rejects)
    limits = _limits(ground, rejects)
    notices = _notices(opened, rejects)
    report = None
    if rejects and report_to is not None:
        rejects.write(report_to, say=say)
        report = report_to
    refused = _refuse(ground, rejects, report)
    with transaction(system(opened.code, "loader"), bind=bind) as session:
        counts = {"district": Count(1, 0, write_district(session, ground))}
        if last_digest(session) == opened.digest:
            # Somebody loaded the same folder while we read it.
            return LoadReport(opened.code, opened.name, changed=False, counts={})
        written = write_ground(session, ground, in_use=lambda table, codes: _in_use(session, table, codes), at=at)
        counts |= {
            name: Count(count.taken, refused.get(name, 0), count.changed, count.gone) for name, count in written.items()
        }
        counts["rules"] = _write_rules(session, rules)
        counts["limits"] = _write_limits(session, limits)
        years = _write_notices(session, notices, at=at, replace=replace_notices)
        counts["notices"] = Count(len(notices), 0, len(years))
        changed = finish(session, ground, counts=counts, at=at)
        _queue_recompute(session, counts, years, at=at)
    if years:
        _tell_others(opened.code, years, at=at, bind=bind)
    return LoadReport(opened.code, opened.name, changed, counts, tuple(rejects), report, tuple(years), _notes(ground))


def _refuse(ground: Ground, rejects: Rejects, report: Path | None) -> dict[str, int]:
    """Return the refused rows per register; raises Invalid for any other refused row and for half a register."""
    files = {ground.folder.sources[name].path.name: name for name in REGISTERS if name in ground.folder.sources}
    refused = dict.fromkeys(REGISTERS, 0)
    registers = {"places": ground.places, "addresses": ground.addresses}
    for one in rejects:
        if one.file not in files:
            raise Invalid(
                "Nothing was loaded: {file}, row {row}, {column}: {reason} ({count} faults in all; report: {report})",
                field=one.column or None,
                file=one.file,
                row=one.row,
                column=one.column or "-",
                reason=one.sentence,
                count=len(rejects),
                report=str(report or "-"),
            )
        refused[files[one.file]] += 1
    taken = {name: len(rows.table) for name, rows in registers.items() if rows is not None}
    taken |= {name: len(rows) for name, rows in ground.lines.items()}
    for name, count in taken.items():
        if refused[name] > _TOO_MANY * (count + refused[name]):
            file = ground.folder.sources[name].path.name
            raise Invalid(
                "Nothing was loaded: {refused} of {total} rows of {file} cannot be taken, first: {reason}",
                file=file,
                refused=refused[name],
                total=count + refused[name],
                reason=next(one.sentence for one in rejects if one.file == file),
            )
    return refused


def _table(folder: Folder, name: str, rejects: Rejects) -> Table | None:
    source = folder.sources.get(name)
    if source is None:
        return None
    columns = COLUMNS[name]
    return read_table(source.path, columns, rejects=rejects, mapping=source.columns, encoding=source.encoding)


def _category(ground: Ground, table: Table, i: int, rejects: Rejects) -> str:
    written = table["category"][i]
    found = ground.category_of(written)
    if found is None:
        rejects.add(
            table.file,
            int(table.rows[i]),
            column="category",
            reason="There is no category {code}.",
            value=written,
            code=written,
        )
    return found or ""


def _rules(ground: Ground, rejects: Rejects) -> list[Rule]:
    """Return the routing rules with names resolved to codes; whatever `dispatch.rules.problems` finds is refused."""
    table = _table(ground.folder, "rules", rejects)
    rules: list[Rule] = []
    if table is not None:
        towns = {
            name: code
            for code, name, level in zip(ground.areas.code, ground.areas.name, ground.areas.level, strict=True)
            if level == "town"
        }
        for i in range(len(table)):
            area = table["area"][i]
            rules.append(
                Rule(
                    id=table["id"][i],
                    unit=table["unit"][i],
                    category=_category(ground, table, i, rejects),
                    area=towns.get(area, area),
                    weekdays=table["weekdays"][i],
                    hours=table["hours"][i],
                    note=table["note"][i],
                    file=table.file,
                    line=int(table.rows[i]),
                )
            )
    units = ground.units
    known = [
        Unit(code, kind, area, deputy)
        for code, kind, area, deputy in zip(
            units["code"], units["kind"], units["area_code"], units["deputy_code"], strict=True
        )
    ]
    areas = [*ground.areas.code, *ground.cells.code]
    categories = [row.code for row in ground.categories]
    for problem in problems(rules, known, categories=categories, areas=areas):
        _reject(rejects, problem, file=table.file if table is not None else units.file)
    return rules


def _reject(rejects: Rejects, problem: Invalid, *, file: str) -> None:
    """Put a failure of a checker into the report, under its own file and line where it names them."""
    said = problem.params
    rejects.add(
        str(said.get("file") or file),
        int(said.get("line") or 0),
        column=problem.field or "",
        reason=problem.message,
        **{name: value for name, value in said.items() if name != "column"},
    )


def _limits(ground: Ground, rejects: Rejects) -> list[LimitRule]:
    table = _table(ground.folder, "limits", rejects)
    if table is None:
        return []
    limits: list[LimitRule] = []
    for i in range(len(table)):
        try:
            limit = Limit.parse(table["limit"][i])
        except Invalid as error:
            rejects.add(
                table.file,
                int(table.rows[i]),
                column="limit",
                reason=error.message,
                value=table["limit"][i],
                **error.params,
            )
            continue
        limits.append(
            LimitRule(
                table["clock"][i],
                limit,
                kind=table["kind"][i],
                urgency=table["urgency"][i],
                category=_category(ground, table, i, rejects),
                item=table["item"][i],
                id=table["id"][i] or f"{i + 1:03d}",
            )
        )
    try:
        clocks = LimitTable(limits).clocks
    except Invalid as error:
        _reject(rejects, error, file=table.file)
    else:
        for clock in CLOCKS:
            if clock not in clocks:
                rejects.add(table.file, 1, column="clock", reason="The clock {clock} has no limit.", clock=clock)
    return limits


def _notices(folder: Folder, rejects: Rejects) -> list[Notice]:
    notices: list[Notice] = []
    for path in folder.notices:
        try:
            notices.append(read_notice(path))
        except Invalid as error:
            _reject(rejects, error, file=path.name)
    try:
        chosen = WorkCalendar.from_notices(notices).notices
    except Invalid as error:
        _reject(rejects, error, file="notices")
        return []
    return list(chosen.values())


def _in_use(session: Session, table: str, codes: Sequence[str]) -> set[str]:
    """Return the codes among some that cases name."""
    found: set[str] = set()
    for column in _NAMED_BY[table] if codes else ():
        sql = text(
            "SELECT s.code FROM unnest(CAST(:codes AS text[])) AS s(code)"  # noqa: S608  the column is of our own list
            f" WHERE EXISTS (SELECT 1 FROM cases WHERE district_code = :d AND {column} = s.code)"
        )
        found.update(session.scalars(sql, {"d": actor_of(session).district, "codes": list(codes)}))
    return found


def _write_rules(session: Session, rules: Sequence[Rule]) -> Count:
    columns: dict[str, list[Any]] = {
        "id": [rule.id for rule in rules],
        "category_code": [rule.category for rule in rules],
        "area_code": [rule.area for rule in rules],
        "weekdays": [rule.weekdays for rule in rules],
        "hours": [rule.hours for rule in rules],
        "unit_code": [rule.unit for rule in rules],
        "note": [rule.note for rule in rules],
    }
    return upsert_columns(session, "routing_rule", key="id", columns=columns)


def _write_limits(session: Session, limits: Sequence[LimitRule]) -> Count:
    columns: dict[str, list[Any]] = {
        "id": [limit.id for limit in limits],
        "clock": [limit.clock for limit in limits],
        "kind": [limit.kind for limit in limits],
        "urgency": [limit.urgency for limit in limits],
        "category_code": [limit.category for limit in limits],
        "item": [limit.item for limit in limits],
        '"limit"': [str(limit.limit) for limit in limits],
    }
    return upsert_columns(session, "limit_rule", key="id", columns=columns)


def _queue_recompute(session: Session, counts: Mapping[str, Count], years: Sequence[int], *, at: datetime) -> None:
    """Ask for the open deadlines to be reckoned anew where notices, limits or settings changed and any runs."""
    why: dict[str, Any] = {"notices": list(years)} if years else {}
    if counts["limits"].changed or counts["limits"].gone:
        why["limits"] = True
    if counts["district"].changed:
        why["settings"] = True
    if why and running(session, actor_of(session).district):
        queue(session, "recompute", at=at, why=why)


def _tell_others(code: str, years: Sequence[int], *, at: datetime, bind: Engine | None) -> None:
    """Let the other districts here work by the nation's new notices: each has its own transaction, in order."""
    with snapshot(system("", "loader"), bind=bind) as session:
        others = session.scalars(text("SELECT district_code FROM district ORDER BY district_code")).all()
    for other in others:
        if other == code:
            continue
        with transaction(system(other, "loader"), bind=bind) as session:
            session.execute(text("UPDATE district SET revision = revision + 1 WHERE district_code = :d"), {"d": other})
            if running(session, other):
                queue(session, "recompute", at=at, why={"notices": list(years)})


def _check_notice(notice: Notice, held: Notice | None, *, replace: bool) -> None:
    """Raise Invalid for a notice that contradicts the one in force for its year, unless it says that it replaces it."""
    if held is None or replace or notice.version > held.version:
        return
    days = sorted((notice.off.keys() ^ held.off.keys()) | (notice.work ^ held.work))
    if days:
        raise Invalid(
            "The notice for {year} ({source}) contradicts the one in force ({held}), first on {day}. Nothing was"
            " loaded; if it replaces that one, say so with --replace or a higher version.",
            field="notices",
            year=notice.year,
            source=notice.source,
            held=held.source,
            day=days[0].isoformat(),
        )


def _write_notices(session: Session, notices: Sequence[Notice], *, at: datetime, replace: bool) -> list[int]:
    """Write the notices that are new or differ and return their years; the table is the nation's.

    Raises Invalid for one that contradicts what is in force, and where two years' notices contradict each other.
    """
    held = {notice.year: notice for notice in notices_in_force(session)}
    for notice in notices:
        _check_notice(notice, held.get(notice.year), replace=replace)
    # A day that one year's notice gives off and its neighbour's works is found here.
    WorkCalendar.from_notices((held | {notice.year: notice for notice in notices}).values())
    years: list[int] = []
    for notice in sorted(notices, key=lambda one: one.year):
        off = {day.isoformat(): name for day, name in sorted(notice.off.items())}
        work = dict.fromkeys(sorted(day.isoformat() for day in notice.work), "")
        days = orjson.dumps([off, list(work)])
        values = {
            "year": notice.year,
            "source": notice.source,
            "version": notice.version,
            "digest": hashlib.sha256(days).hexdigest(),
            "off": orjson.dumps(off).decode(),
            "work": orjson.dumps(work).decode(),
            "at": at,
        }
        sql = text(
            "INSERT INTO calendar_notice (year, source, version, digest, off, work, loaded_at)"
            " VALUES (:year, :source, :version, :digest, CAST(:off AS jsonb), CAST(:work AS jsonb), :at)"
            " ON CONFLICT (year) DO UPDATE SET source = EXCLUDED.source, version = EXCLUDED.version,"
            " digest = EXCLUDED.digest, off = EXCLUDED.off, work = EXCLUDED.work, loaded_at = EXCLUDED.loaded_at"
            " WHERE calendar_notice.digest <> EXCLUDED.digest"
            " RETURNING year"
        )
        if session.scalar(sql, values) is not None:
            years.append(notice.year)
    return years


def _notes(ground: Ground) -> tuple[tuple[str, Mapping[str, Any]], ...]:
    """Return what a person should know about a load that went through."""
    notes: list[tuple[str, Mapping[str, Any]]] = []
    bare = sum(shape is None for shape in ground.areas.geom)
    if bare:
        notes.append(("{count} communities have no known whereabouts and no cells.", {"count": bare}))
    if ground.cells.derived:
        notes.append(("The cells were derived: no authority drew them.", {}))
    for name, rows in (("places", ground.places), ("addresses", ground.addresses)):
        lost = sum(code is None for code in rows.town_code) if rows else 0
        if lost:
            notes.append(("{count} {table} lie in no town.", {"count": lost, "table": name}))
    return tuple(notes)
