"""What forms ask 表单项: every field that a step of a process table may name, once, with its kind, words and check.

Pages draw their forms from this, the API documents it, and `dispatch.cases.act` checks with it; so all three refuse
the same things in the same words. Knows no case and no database.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from core.errors import Invalid
from dispatch.limits import Limit
from dispatch.words import N_

#: A long text of a person: an answer, a reason. Shorter ones have their own measure.
LONG, SHORT = 5000, 200
#: Photos that one step may name.
MOST_PHOTOS = 20
#: Units or materials that one step may name.
MOST_NAMED = 50

#: Why a unit returns a case or a share: code → words. The code stands in the log, so that returns are counted by it.
RETURN_REASONS: Mapping[str, str] = {
    "not_our_duty": N_("Not among our duties"),
    "not_our_area": N_("Not in our area"),
    "wrong_place": N_("The place is wrong"),
    "wrong_category": N_("The category is wrong"),
    "too_little": N_("Too little is known to act"),
    "duplicate": N_("The same matter is being handled already"),
}
#: The only reasons for which a clock may stand 挂起, and for how long at most.
PAUSE_REASONS: Mapping[str, str] = {
    "material": N_("Waiting for material of the applicant or caller"),
    "survey": N_("Survey or measurement"),
    "publicity": N_("Statutory publication period"),
    "expert_review": N_("Expert review, test or appraisal"),
    "hearing": N_("Hearing"),
    "third_party": N_("Opinion of a third party"),
}
LONGEST_PAUSE: Mapping[str, Limit] = {
    "material": Limit.parse("30nd"),
    "survey": Limit.parse("30nd"),
    "publicity": Limit.parse("30nd"),
    "expert_review": Limit.parse("60nd"),
    "hearing": Limit.parse("45nd"),
    "third_party": Limit.parse("30nd"),
}
SERVICES: Mapping[str, str] = {
    "110": N_("110 police"),
    "119": N_("119 fire brigade"),
    "120": N_("120 ambulance"),
    "122": N_("122 traffic accidents"),
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
    "utilities": N_("Utilities and extreme weather"),
    "ordinary": N_("Ordinary"),
}
YES_NO: Mapping[str, str] = {"yes": N_("Yes"), "no": N_("No")}
#: 答复类型: how a request for government information is answered (政府信息公开条例 arts. 14 to 16, 36).
REPLY_KINDS: Mapping[str, str] = {
    "granted": N_("Disclosed"),
    "partly": N_("Disclosed in part"),
    "already_public": N_("Public already; told where"),
    "later": N_("Will be published by the agency; told when"),
    "not_disclosed": N_("Not to be disclosed"),
    "not_held": N_("Not held by this authority"),
    "other_authority": N_("Held by another authority; told which"),
    "repeated": N_("Answered before; the request repeats itself"),
    "to_be_made": N_("Would have to be made or gathered first"),
    "not_information": N_("No request for information; told what it is instead"),
}
SATISFACTION: Mapping[str, str] = {
    "5": N_("Very satisfied"),
    "4": N_("Satisfied"),
    "3": N_("Fairly satisfied"),
    "2": N_("Not satisfied"),
    "1": N_("Very dissatisfied"),
}


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a form."""

    name: str
    #: text (one line), long, choice, unit, units, span (a typed limit), flag, photos, number (of a case), satisfaction,
    #: category, names (a list of codes), rows (a list of mappings), date, instant.
    kind: str
    #: English msgid.
    label: str
    #: Code → msgid, for choices.
    choices: Mapping[str, str] = field(default_factory=dict)
    #: English msgid of the line under the field; empty for none.
    help: str = ""
    #: Most characters of a text; for spans, the longest limit in days.
    most: int = LONG
    #: This field is needed too when that other one has one of these values.
    needed_if: tuple[str, tuple[str, ...]] | None = None
    #: Types of limit that a span may have.
    counts: tuple[str, ...] = ("wd",)


def _named(fields: Iterable[Field]) -> dict[str, Field]:
    return {one.name: one for one in fields}


#: What applications for service items and requests for information ask for.
_ITEM_FIELDS = (
    Field("materials", "names", N_("Materials handed in")),
    Field("wrong", "rows", N_("What is wrong with what was handed in"), help=N_("Each material with the reason.")),
    Field("owed", "names", N_("Materials that follow")),
    Field("commitment", "choice", N_("The applicant promises to hand them in"), YES_NO),
    Field("consent", "choice", N_("The applicant agrees that it is used again"), YES_NO),
    Field("facts", "rows", N_("Facts that the three lists ask for")),
    Field(
        "green",
        "choice",
        N_("Belongs to the green channel"),
        YES_NO,
        help=N_("What the applicant claimed is checked here; left empty it stays as claimed."),
    ),
    Field("where_to_turn", "text", N_("Where to turn instead"), most=500),
    Field("survey_at", "instant", N_("Date and time of the survey"), most=40),
    Field("survey_place", "text", N_("Meeting place"), most=SHORT),
    Field("survey_record", "long", N_("Record of the survey")),
    Field("survey_result", "choice", N_("Result of the survey"), {"pass": N_("Passed"), "fail": N_("Not passed")}),
    Field("level", "choice", N_("Level above"), {"city": N_("City"), "province": N_("Province")}),
    Field("reference", "text", N_("Number of the letter"), most=100),
    Field(
        "handover_decision",
        "choice",
        N_("Decision of the level above"),
        {"agreed": N_("Agreed"), "refused": N_("Refused"), "returned": N_("Returned without a decision")},
    ),
    Field("decision_number", "text", N_("Number of the decision"), most=100),
    Field("valid_until", "text", N_("Valid until"), most=40),
    Field("pickup_place", "text", N_("Where to fetch the result"), most=40),
    Field(
        "picked_up_by",
        "choice",
        N_("Handed to"),
        {
            "self": N_("The applicant"),
            "agent": N_("The agent"),
            "post": N_("The post"),
            "electronic": N_("Electronically"),
        },
    ),
    Field("fee_amount", "text", N_("Amount in yuan"), most=12),
    Field("waived", "text", N_("Let off, in percent"), most=3),
    Field("waiver", "text", N_("Why it is let off"), most=SHORT),
    Field("paid_reference", "text", N_("Number of the payment's receipt"), most=100),
    Field("unclear", "long", N_("What is unclear or missing"), most=1000),
    Field("wanted", "long", N_("What is asked for"), most=2000),
    Field("reply_kind", "choice", N_("Kind of the answer"), REPLY_KINDS),
)
FIELDS: Mapping[str, Field] = _named(
    (
        Field("reason", "long", N_("Reason")),
        Field("note", "long", N_("Note")),
        Field("unit", "unit", N_("Unit")),
        Field("new_unit", "unit", N_("The unit instead")),
        Field("suggested_unit", "unit", N_("Suggested unit")),
        Field("assist", "units", N_("Assisting units")),
        Field("task", "long", N_("Task"), most=1000, help=N_("What this unit shall do or say.")),
        Field("share", "choice", N_("Share"), {"assist": N_("Assisting"), "parallel": N_("Parallel approval")}),
        Field("needed", "choice", N_("Wait for this unit"), YES_NO),
        Field("opinion", "long", N_("Opinion")),
        Field("agrees", "choice", N_("Agrees"), YES_NO),
        Field("reason_code", "choice", N_("Reason"), RETURN_REASONS),
        Field(
            "legal_basis",
            "text",
            N_("Legal basis"),
            most=500,
            help=N_("Law, regulation or list of duties, with article."),
        ),
        Field("ruling", "long", N_("Decision"), most=1000),
        Field("answer", "long", N_("Answer to the citizen")),
        Field(
            "source", "text", N_("Answered from"), most=SHORT, help=N_("Article or rule, with its number and version.")
        ),
        Field(
            "truth",
            "choice",
            N_("Was it true?"),
            {
                "yes": N_("True"),
                "partly": N_("Partly true"),
                "no": N_("Not true"),
                "unknown": N_("Could not be found out"),
            },
        ),
        Field("duty", "choice", N_("Within our duty?"), {"yes": N_("Yes"), "partly": N_("Partly"), "no": N_("No")}),
        Field(
            "contacted",
            "choice",
            N_("Was the citizen contacted?"),
            {
                "yes": N_("Yes"),
                "unreachable": N_("Could not be reached"),
                "unwanted": N_("Did not want it"),
                "no": N_("No"),
            },
        ),
        Field(
            "solved",
            "choice",
            N_("Solved?"),
            {"yes": N_("Solved"), "partly": N_("Partly solved"), "no": N_("Not solved")},
        ),
        Field(
            "unsolved_reason",
            "choice",
            N_("Why not solved?"),
            {
                "policy": N_("The rules do not allow it"),
                "plan": N_("Planned for later"),
                "money": N_("No money for it yet"),
                "third_party": N_("Others have to act first"),
                "disputed": N_("People concerned do not agree"),
                "impossible": N_("Technically not possible"),
            },
            needed_if=("solved", ("partly", "no")),
        ),
        Field("photos", "photos", N_("Photos")),
        Field("done", "long", N_("What was done")),
        Field("checked", "choice", N_("Is it done?"), {"pass": N_("Done"), "fail": N_("Not done")}),
        Field("satisfaction", "satisfaction", N_("Satisfaction"), SATISFACTION),
        Field("service", "choice", N_("Service"), SERVICES),
        Field(
            "taken_by", "text", N_("Taken by"), most=SHORT, help=N_("Name or number of whoever took the call there.")
        ),
        Field("span", "span", N_("How long"), counts=("wd", "nd"), most=180),
        Field("pause_reason", "choice", N_("Why the clock may stand"), PAUSE_REASONS),
        Field(
            "document", "text", N_("Evidence"), most=500, help=N_("Document and its number, or what the photos show.")
        ),
        Field("demand", "long", N_("What is ordered"), most=1000),
        Field("supervise_answer", "long", N_("Answer to the order")),
        Field("main", "number", N_("Number of the main case")),
        Field("category", "category", N_("Category")),
        Field("kind", "choice", N_("Kind"), KINDS),
        Field("urgency", "choice", N_("Urgency"), URGENCIES),
        Field(
            "complex",
            "choice",
            N_("Complex matter"),
            YES_NO,
            help=N_("Gives the unit the long limit; only the centre says so."),
        ),
        Field("lng", "text", N_("Longitude"), most=40),
        Field("lat", "text", N_("Latitude"), most=40),
        Field("datum", "text", N_("Datum"), most=20),
        Field("place_name", "text", N_("Place"), most=SHORT),
        *_ITEM_FIELDS,
    )
)
#: What a step's `may: [place]` stands for in a form.
PLACE = ("lng", "lat", "datum", "place_name")
_NUMBER = re.compile(r"[0-9]{8}[0-9A-Za-z]{3,12}")


def expand(names: Iterable[str]) -> tuple[str, ...]:
    """Return field names with `place` spelt out as the fields it stands for."""
    return tuple(part for name in names for part in (PLACE if name == "place" else (name,)))


def is_empty(value: object) -> bool:
    """Return whether somebody left a field empty."""
    return value is None or value in ("", [], ()) or (isinstance(value, str) and not value.strip())


def check(given: Mapping[str, Any], *, needed: Iterable[str], known: Iterable[str], action: str) -> dict[str, Any]:
    """Return the filled fields of a form, stripped and checked; empty ones are left out.

    needed, known: names of fields, the needed among the known. Raises Invalid that names the field: not known to the
    action, missing, not listed, too long, not text.
    """
    allowed = set(expand(known))
    for name in given:
        if name not in allowed:
            raise Invalid("The action {action} has no field {name}.", field=name, action=action, name=name[:40])
    clean = {name: _checked(FIELDS[name], value) for name, value in given.items() if not is_empty(value)}
    for name in needed:
        if name not in clean:
            raise Invalid("{name} is needed.", field=name, name=FIELDS[name].label)
    for name in allowed - clean.keys():
        rule = FIELDS[name].needed_if
        if rule and clean.get(rule[0]) in rule[1]:
            raise Invalid("{name} is needed.", field=name, name=FIELDS[name].label)
    return clean


def _checked(asked: Field, value: Any) -> Any:
    if asked.kind in ("photos", "units", "names"):
        return _listed(asked, value)
    if asked.kind == "rows":
        return _rows(asked, value)
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise Invalid("{name} is too long or not text.", field=asked.name, name=asked.label)
    text = str(value).strip()
    if len(text) > asked.most or "\x00" in text:
        raise Invalid("{name} is too long or not text.", field=asked.name, name=asked.label)
    if asked.choices and text not in asked.choices:
        raise Invalid(
            "{value} is not among the choices of {name}.", field=asked.name, value=text[:40], name=asked.label
        )
    if asked.kind == "span":
        return _span(asked, text)
    if asked.kind == "number" and not _NUMBER.fullmatch(text.replace(" ", "")):
        raise Invalid("There is no case with the number {number}.", field=asked.name, number=text[:30])
    return text


def _span(asked: Field, text: str) -> str:
    try:
        limit = Limit.parse(text)
    except Invalid as error:
        raise Invalid(error.message, field=asked.name, **error.params) from error
    if limit.count.value not in asked.counts or limit.amount > asked.most:
        raise Invalid(
            "{name} is given in working days or days, at most {most}.",
            field=asked.name,
            name=asked.label,
            most=asked.most,
        )
    return str(limit)


def _listed(asked: Field, value: Any) -> list[str]:
    found = [value] if isinstance(value, str) else value
    most = MOST_PHOTOS if asked.kind == "photos" else MOST_NAMED
    if not isinstance(found, list) or not all(isinstance(one, str) and 0 < len(one) <= 64 for one in found):
        raise Invalid("{name} is a list.", field=asked.name, name=asked.label)
    if len(found) > most:
        raise Invalid("{name} has at most {n} entries.", field=asked.name, name=asked.label, n=most)
    return list(dict.fromkeys(found))


def _rows(asked: Field, value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise Invalid("{name} is a list.", field=asked.name, name=asked.label)
    if len(value) > MOST_NAMED:
        raise Invalid("{name} has at most {n} entries.", field=asked.name, name=asked.label, n=MOST_NAMED)
    for row in value:
        for key, part in row.items():
            plain = part is None or isinstance(part, str | int | float | bool)
            if not plain or len(str(key)) > 40 or len(str(part)) > LONG or "\x00" in str(part):
                raise Invalid("{name} is too long or not text.", field=asked.name, name=asked.label)
    return value
