"""Many cases at once on the desk 批量处理: a preview, one result for each case, and the way back where there is one.

Every case is changed by the same step as alone, in a savepoint of its own: what can be done is, what cannot stays as it
was and says why. Sending out has no way back but the unit's own; categories and merges are taken back by one press.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from fastapi import APIRouter
from starlette.responses import Response

from api import security
from api.errors import sentence
from api.i18n import N_, say
from api.pages import casework, desk, page
from api.pages.entered import Entered
from api.pages.listing import category_words, choices, chosen_code
from core.errors import Conflict, Forbidden, Invalid, NotFound, WanggeError
from dispatch import cases, views
from dispatch.sheet import Facts, facts

router = APIRouter(include_in_schema=False)

#: Cases of one press.
MOST: Final = 100
#: What can be done to many, and the step that does it to each.
DOES: Final = {
    "dispatch": N_("Send each to the unit that the rules name"),
    "category": N_("Give all one category"),
    "merge": N_("Merge into one handling"),
}
_STEP: Final = {"dispatch": "dispatch", "category": "correct", "merge": "merge"}
_ASKED: Final = N_("Decided for many at once on the desk")


@dataclass(frozen=True, slots=True)
class Chosen:
    """A case as the list showed it."""

    number: str
    #: -1 where the list said nothing that could be read.
    version: int
    #: For the way back: the category before.
    before: str = ""

    @property
    def written(self) -> str:
        """Return it as a form carries it."""
        return ":".join((self.number, str(self.version), self.before))


@dataclass(frozen=True, slots=True)
class Line:
    """One case of a preview, or what became of it."""

    chosen: Chosen
    case: Facts | None
    #: What it gets: a unit, a category, the number of the main case.
    becomes: str = ""
    why: tuple[str, ...] = ()
    #: Why it is left out; empty where nothing speaks against it.
    problem: str = ""


def read(form: Entered) -> list[Chosen]:
    """Return the cases that a form names, each once; raises Invalid for none and for too many."""
    found: dict[str, Chosen] = {}
    for written in form.lists.get("case", []):
        number, _, rest = written.partition(":")
        version, _, before = rest.partition(":")
        plain = version.isascii() and version.isdigit() and len(version) < 10
        found.setdefault(number[:30], Chosen(number[:30], int(version) if plain else -1, before[:40]))
    if not found:
        raise Invalid("Choose at least one case.", field="case")
    if len(found) > MOST:
        raise Invalid("At most {n} cases can be changed at once.", field="case", n=MOST)
    return list(found.values())


@router.post("/desk/many")
def preview(work: desk.OperatorWork) -> Response:
    """Show what would become of each chosen case; nothing is changed yet."""
    do = work.form.get("do", "")
    if do not in DOES:
        raise Invalid("Choose what to do with them.", field="do")
    chosen = read(work.form)
    main = _main(work, chosen) if do == "merge" else None
    lines = [_line(work, do, one, main) for one in chosen]
    return _shown(work, do, lines, main=main)


@router.post("/desk/many/do")
def carry_out(work: desk.OperatorWork) -> Response:
    """Change each chosen case by itself, and show every result and what can be taken back."""
    do = work.form.get("do", "")
    if do not in DOES:
        raise Invalid("Choose what to do with them.", field="do")
    chosen = read(work.form)
    main = _main(work, chosen) if do == "merge" else None
    planned = [_line(work, do, one, main) for one in chosen if main is None or one.number != main.number]
    done = _each(planned, lambda line: _change(work, do, line, main))
    return _shown(work, do, done, main=main, told=True)


@router.post("/desk/many/undo")
def take_back(work: desk.OperatorWork) -> Response:
    """Give each case back its category, or take it out of the merge again, where nobody went on with it since."""
    do = work.form.get("do", "")
    if do not in ("category", "merge"):
        raise Invalid("Choose what to do with them.", field="do")
    planned = [_found(work, one) for one in read(work.form)]
    done = _each(planned, lambda line: _back(work, do, line))
    return _shown(work, do, done, told=True, back=True)


def _found(work: casework.Work, one: Chosen) -> Line:
    case_id = views.find_number(work.session, one.number.replace(" ", ""))
    if case_id is None:
        return Line(one, None, problem=say("There is no case with this number, or it is not yours to see."))
    case = facts(work.session, case_id)
    if one.version != case.version:
        return Line(one, case, problem=say(desk.CHANGED))
    return Line(one, case)


def _line(work: casework.Work, do: str, one: Chosen, main: Facts | None) -> Line:
    """Return what would become of a case; whatever the core would refuse is said beforehand where it can be known."""
    line = _found(work, one)
    case = line.case
    if case is None or line.problem or (main is not None and case.id == main.id):
        return line
    offered = {step.action for step in cases.offered(work.session, work.book, case.id, at=work.at)}
    if _STEP[do] not in offered:
        return Line(one, case, problem=say("This step is not on offer in its state."))
    try:
        becomes, why = _becomes(work, do, case, main)
    except WanggeError as error:
        return Line(one, case, problem=sentence(error))
    return Line(one, case, becomes, why)


def _becomes(work: casework.Work, do: str, case: Facts, main: Facts | None) -> tuple[str, tuple[str, ...]]:
    if do == "category":
        code = _category(work)
        if code == case.category_code:
            raise Invalid("It has this category already.", field="category")
        return category_words(work.book, code), ()
    if main is not None:
        if main.process != case.process:
            raise Invalid("Only cases of the same process can be merged.", field="main")
        return main.number, ()
    guessed = casework.guesses(work.book, case)
    if guessed.doubts and case.state == "received":
        # Who sends a case out has confirmed its place: that is not done in a heap.
        raise Invalid("Look at this one by itself: {doubts}", doubts=" ".join(guessed.doubts))
    proposed = desk.proposed_for(work.session, work.book, case, desk.Draft())
    if not proposed["proposed"]:
        raise Invalid("The rules name no unit: {problem}", problem=proposed["proposed_problem"])
    return proposed["proposed_name"], tuple(proposed["proposed_why"])


def _category(work: casework.Work) -> str:
    return chosen_code(choices(work.book).categories, work.form.get("category", ""), field="category")


def _main(work: casework.Work, chosen: Sequence[Chosen]) -> Facts:
    """Return the case that takes the others in: the one that was named, else the oldest; raises Invalid."""
    if len(chosen) < 2:
        raise Invalid("Choose at least two cases to merge.", field="case")
    named = work.form.get("main", "").partition(":")[0]
    found = [line.case for line in (_found(work, one) for one in chosen) if line.case is not None]
    if not found:
        raise NotFound("There is no case with this number, or it is not yours to see.")
    wanted = [case for case in found if case.number == named]
    return wanted[0] if wanted else min(found, key=lambda case: (case.received_at, case.number))


def _each(lines: Sequence[Line], change: Callable[[Line], Line]) -> list[Line]:
    """Change what can be, in the order of ids, so that two people who chose the same cases wait for each other once."""
    order = sorted(lines, key=lambda line: str(line.case.id) if line.case else "")
    done = {line.chosen.number: line if line.problem else change(line) for line in order}
    return [done[line.chosen.number] for line in lines]


def _change(work: casework.Work, do: str, line: Line, main: Facts | None) -> Line:
    case = line.case
    assert case is not None
    if do == "category":
        fields = {"category": _category(work)}
    elif main is not None:
        fields = {"main": main.number, "reason": say(_ASKED)}
    else:
        fields = {"unit": desk.proposed_for(work.session, work.book, case, desk.Draft())["proposed"]}
    return _acted(work, line, _STEP[do], fields)


def _back(work: casework.Work, do: str, line: Line) -> Line:
    if do == "merge":
        return _acted(work, line, "unmerge", {"reason": say("Taken back on the desk")})
    if line.chosen.before not in work.book.categories:
        return Line(line.chosen, line.case, problem=say("It had no category before; choose one in the case."))
    told = _acted(work, line, "correct", {"category": line.chosen.before})
    return Line(told.chosen, told.case, category_words(work.book, line.chosen.before), problem=told.problem)


def _acted(work: casework.Work, line: Line, action: str, fields: dict[str, str]) -> Line:
    case = line.case
    assert case is not None
    try:
        with work.session.begin_nested():
            done = cases.act(
                work.session,
                work.book,
                case.id,
                action,
                expected_version=line.chosen.version,
                at=work.at,
                fields=fields,
            )
    except (Conflict, Forbidden, Invalid, NotFound) as error:
        return Line(line.chosen, case, line.becomes, line.why, sentence(error))
    return Line(Chosen(case.number, done.version, case.category_code or ""), case, line.becomes, line.why)


def _shown(
    work: casework.Work,
    do: str,
    lines: Iterable[Line],
    *,
    main: Facts | None = None,
    told: bool = False,
    back: bool = False,
) -> Response:
    listed = list(lines)
    return page(
        work.request,
        "desk/many.html",
        do=do,
        does=DOES,
        lines=listed,
        good=[
            line for line in listed if not line.problem and (told or main is None or line.chosen.number != main.number)
        ],
        main=main,
        told=told,
        back=back,
        category=work.form.get("category", ""),
        home=security.local_path(f"/desk?{work.form.get('back', '')}"),
    )
