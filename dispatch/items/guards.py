"""Conditions of the steps of applications 前置条件, named by the process tables as those of `dispatch.guards` are."""

from collections.abc import Mapping

from sqlalchemy import select

from core.actor import Role
from core.errors import Conflict
from dispatch.calendar import china_time
from dispatch.guards import Guard, Look
from dispatch.items.matter import Matter, matter
from dispatch.items.sheet import Material
from dispatch.models import Entry


def names(materials: list[Material]) -> str:
    """Return the names of materials as one list for a message."""
    return "、".join(one.name for one in materials)


def _from_web(look: Look) -> None:
    if look.case.channel != "web":
        raise Conflict("Only applications from the web are looked at before the applicant comes.")


def _may_tell(look: Look) -> None:
    """One-time notice (行政许可法 art. 32): again only for what was handed in since."""
    found = matter(look)
    told_at = found.application.told_at
    later = any(row.given_at is not None and told_at and row.given_at > told_at for row in found.materials.values())
    if told_at is not None and not later:
        raise Conflict("Everything that is missing was told already, and may be told only once.")


def _complete(look: Look) -> None:
    missing = matter(look).missing
    if missing:
        raise Conflict("These materials are missing: {materials}.", materials=names(missing))


def _lagging(look: Look) -> None:
    missing = matter(look).missing
    if not missing:
        raise Conflict("Nothing is missing; it is accepted without gaps.")
    strict = [one for one in missing if not one.may_lag]
    if strict:
        raise Conflict("These materials may not follow later: {materials}.", materials=names(strict))


def _at_once_item(look: Look) -> None:
    if not matter(look).sheet.done_at_once:
        raise Conflict("This item is not done at once; a unit decides about it.")


def _no_survey_open(look: Look) -> None:
    if matter(look).open_survey is not None:
        raise Conflict("A survey is called already; move it instead.")


def _survey_open(look: Look) -> None:
    if matter(look).open_survey is None:
        raise Conflict("No survey is called.")


def _surveyed(look: Look) -> None:
    found = matter(look)
    if found.open_survey is not None:
        raise Conflict("The survey is not recorded yet.")
    if not found.surveyed:
        raise Conflict("The survey that the sheet asks for was not passed yet.")


def _owing(found: Matter) -> str:
    return names([found.material(row.code) for row in found.debts])


def _settled(look: Look) -> None:
    found = matter(look)
    if found.debts:
        raise Conflict(
            "These materials are still owed; nothing is decided before: {materials}.", materials=_owing(found)
        )
    against = [look.book.unit_name(code) for code in _against(look)]
    if against:
        raise Conflict(
            "{units} did not agree, and nothing is granted against a parallel unit: ask again, or refuse with reasons.",
            units="、".join(against),
        )


def _against(look: Look) -> list[str]:
    """Return the parallel units that are needed and whose last word was no 并联不同意.

    The lead, who wants to decide, cannot get rid of a no by taking the share back; the centre and the supervisor can.
    """
    needed = {one.unit_code for one in look.shares if one.share == "parallel" and one.needed}
    if not needed:
        return []
    entries = look.session.scalars(
        select(Entry)
        .where(
            Entry.district_code == look.case.district_code,
            Entry.case_id == look.case.id,
            Entry.action.in_(("share_reply", "withdraw_unit", "replace_unit")),
        )
        .order_by(Entry.seq)
    )
    said: dict[str, bool] = {}
    for entry in entries:
        if entry.action == "share_reply":
            said[str(entry.unit_code)] = entry.data.get("agrees") == "no"
        elif entry.actor_role != Role.UNIT.value:
            said.pop(str(entry.data.get("unit")), None)
    return [code for code, no in said.items() if no and code in needed]


def _settled_or_late(look: Look) -> None:
    found = matter(look)
    if not found.late_debts(look.at):
        day = max(china_time(row.owed_until).date() for row in found.debts if row.owed_until)
        raise Conflict(
            "These materials may still be handed in until {day}: {materials}.",
            day=day.isoformat(),
            materials=_owing(found),
        )


def _level_left(look: Look) -> None:
    if matter(look).next_review is None:
        raise Conflict("No level above has to agree any more.")


def _reviewed_above(look: Look) -> None:
    if matter(look).next_review is not None:
        raise Conflict("A level above the district has to agree first.")


def _must_be_granted(look: Look) -> None:
    if not matter(look).must_be_granted:
        raise Conflict("Not every condition of the permitted list is met, so no supervisor is asked.")


def _may_be_denied(look: Look) -> None:
    if matter(look).must_be_granted:
        raise Conflict("Every condition of the permitted list is met; only a supervisor may agree to a refusal.")


def _charged(look: Look) -> None:
    if not matter(look).sheet.fee.charged:
        raise Conflict("The sheet of this item charges no fee, so none may be asked for.")


GUARDS: Mapping[str, Guard] = {
    "from_web": _from_web,
    "may_tell": _may_tell,
    "complete": _complete,
    "lagging": _lagging,
    "at_once_item": _at_once_item,
    "no_survey_open": _no_survey_open,
    "survey_open": _survey_open,
    "surveyed": _surveyed,
    "settled": _settled,
    "settled_or_late": _settled_or_late,
    "level_left": _level_left,
    "reviewed_above": _reviewed_above,
    "must_be_granted": _must_be_granted,
    "may_be_denied": _may_be_denied,
    "charged": _charged,
}
