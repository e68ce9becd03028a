"""Draws the process tables: a Mermaid state diagram and the matrix of who may do what where.

`python -m dispatch.diagram` writes `docs/processes.md`; a test fails when the page is older than the tables.
"""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from core.actor import Role
from dispatch.limits import LimitRule, read_limits
from dispatch.process import FOLDER, Process, Step, processes

PAGE = Path(__file__).resolve().parent.parent / "docs" / "processes.md"


def mermaid(process: Process) -> str:
    """Return the state diagram; actions that change no state stay out, since they would hide the way of a case."""
    lines = ["stateDiagram-v2", f"    [*] --> {process.initial}"]
    lines += [f'    state "{state.term} {state.label}" as {state.name}' for state in process.states.values()]
    arrows: dict[tuple[str, str], list[str]] = {}
    for step in process.steps:
        if step.moves:
            arrows.setdefault((step.source, step.target), []).append(step.term)
    lines += [f"    {source} --> {target}: {' / '.join(terms)}" for (source, target), terms in arrows.items()]
    lines += [f"    {state.name} --> [*]" for state in process.states.values() if state.final]
    return "\n".join(lines)


def matrix(process: Process) -> str:
    """Return the permission matrix as a Markdown table: rows are actions, columns states, cells roles."""
    names = list(process.states)
    lines = [_row(["action", *(f"{process.states[name].term} {name}" for name in names)])]
    lines.append(_row(["---"] * (len(names) + 1)))
    steps = {(step.action, step.source): step for step in process.steps}
    for action in process.actions:
        cells = [_roles(steps[action, name].roles) if (action, name) in steps else "" for name in names]
        lines.append(_row([f"`{action}`", *cells]))
    return "\n".join(lines)


def document(found: Iterable[Process], limits: Iterable[LimitRule]) -> str:
    """Return the whole page in Markdown, ending with a line feed."""
    parts = [
        "# Process tables",
        (
            "Generated from `dispatch/processes/` by `python -m dispatch.diagram`; do not edit. Buttons, API and"
            " permission checks read the same tables."
        ),
        (
            "“Only if” names conditions of `dispatch/guards.py`; “share” names what the unit's share does, an action of"
            " the process `assignment`. Where an action differs by state, ` / ` stands between the ways."
        ),
    ]
    for process in found:
        parts += [
            f"## {process.label} `{process.name}` version {process.version}",
            f"For cases of the kind {', '.join(process.kinds)}. Only looking on: {_roles(process.observers)}.",
            f"```mermaid\n{mermaid(process)}\n```",
            "### States",
            _table(
                ["state", "term", "kind", "meaning"],
                [[f"`{s.name}`", s.term, "open" if s.open else "at rest", s.meaning] for s in process.states.values()],
            ),
            "### Who may do what, and where",
            matrix(process),
            "### Actions",
            _table(
                ["action", "term", "leads to", "needs", "only if", "clocks", "share", "tells", "meaning"],
                [_action(process, action) for action in process.actions],
            ),
        ]
        parts += _forms(process) + _clocks_of(process)
    parts += [
        "## Default limits",
        (
            "The most specific row of a clock wins: category, then urgency, then kind. Units: wh working hours,"
            " wd working days, nd natural days, h clock hours, sd same day, 0 at once."
        ),
        _table(
            ["clock", "for", "limit"],
            [
                [f"`{r.clock}`", ", ".join(filter(None, (r.category, r.urgency, r.kind))) or "all others", str(r.limit)]
                for r in limits
            ],
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _action(process: Process, action: str) -> list[str]:
    """Return one action's row; where its steps differ by state, each way of doing it stands once."""
    steps = [step for step in process.steps if step.action == action]
    first = steps[0]
    targets = dict.fromkeys(step.target if step.moves else "stays" for step in steps)

    def each(told: Callable[[Step], str]) -> str:
        return " / ".join(dict.fromkeys(filter(None, map(told, steps))))

    return [
        f"`{action}`",
        f"{first.term} {first.label}",
        ", ".join(targets),
        each(_needs),
        each(lambda step: ", ".join(step.guards)),
        each(_clocks),
        each(_share),
        each(lambda step: ", ".join(step.emits)),
        first.meaning,
    ]


def _needs(step: Step) -> str:
    needs = [*step.needs, *(["reason"] if step.reason_required else [])]
    if step.cap is not None:
        needs.append(f"at most {step.cap} times")
    needs += [f"{role.value} at most {most} times" for role, most in step.caps.items()]
    if step.within is not None:
        needs.append(f"within {step.within.words.format(count=step.within.amount)}")
    return ", ".join(needs)


def _clocks(step: Step) -> str:
    words = [f"stops {', '.join(step.stops)} ({step.outcome})"] if step.stops else []
    if step.starts:
        words.append(f"starts {', '.join(step.starts)}")
    if step.holds:
        words.append(f"holds {', '.join(step.holds)}")
    if step.resumes:
        words.append(f"resumes {', '.join(step.resumes)}")
    return "; ".join(words)


def _share(step: Step) -> str:
    """Return which unit may take the step where that is not the lead, and what its share does."""
    who = {"share": "by a unit with a share", "any": "by any unit that had a share"}.get(step.who, "")
    return "; ".join(filter(None, (who, f"`{step.part}`" if step.part else "")))


def _forms(process: Process) -> list[str]:
    if not process.forms:
        return []
    rows = [
        [f"`{action}`", kind, ", ".join(names) or "nothing more"]
        for action, kinds in process.forms.items()
        for kind, names in kinds.items()
    ]
    return [
        "### Forms",
        "Asked besides what the action needs, by the kind of the case.",
        _table(["action", "kind", "asks"], rows),
    ]


def _clocks_of(process: Process) -> list[str]:
    if not process.clocks:
        return []
    known = {**process.clocks, **process.sides}
    rows = [
        [
            f"`{name}`",
            "beside the case" if name in process.sides else "the case's own",
            "the lead unit" if name in process.unit_clocks else "",
            f"`{process.expiry[name]}`" if name in process.expiry else "",
            meaning,
        ]
        for name, meaning in known.items()
    ]
    return [
        "### Clocks",
        f"Started when a case is opened: {', '.join(process.starts)}.",
        _table(["clock", "kind", "measures", "at its end the program does", "runs"], rows),
    ]


def _roles(roles: Iterable[Role]) -> str:
    chosen = set(roles)
    return ", ".join(role.value for role in Role if role in chosen)


def _table(header: list[str], rows: list[list[str]]) -> str:
    return "\n".join([_row(header), _row(["---"] * len(header)), *map(_row, rows)])


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def page() -> str:
    """Return the page of the tables as they are now."""
    return document(processes().values(), read_limits(FOLDER / "limits.yaml"))


def main() -> None:
    """Write `docs/processes.md`."""
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE.name} written\n")


if __name__ == "__main__":
    main()
