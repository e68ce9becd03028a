"""The tables are sound, and every cell of role × state × action is what the table says: no more, no less."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.actor import Role
from core.errors import Conflict, Forbidden, Invalid, NotFound
from dispatch import diagram, fields
from dispatch.limits import Limit, default_limits
from dispatch.process import (
    FOLDER,
    parse_processes,
    permit,
    problems,
    process,
    processes,
    read_processes,
    running,
)

#: The first version alone: short enough to break in every way.
TEXT = (FOLDER / "complaint.yaml").read_text().partition("\n---\n")[0]
COMPLAINT = process("complaint", 1)

# Who may do what where, written a second time by hand: a slip in the table must not pass because the tests read it too.
MAY = {
    "operator": {
        "received": "correct dispatch refuse hand_over withdraw note",
        "dispatched": "correct redispatch hand_over withdraw note",
        "signed": "correct redispatch hand_over withdraw note",
        "replied": "callback rework close withdraw note",
        "closed": "rate reopen note",
        "refused": "reopen note",
        "withdrawn": "reopen note",
        "handed_over": "note",
    },
    "unit": {
        "dispatched": "return sign note",
        "signed": "return reply note",
    }
    | dict.fromkeys(("received", "replied", "closed", "refused", "withdrawn", "handed_over"), "note"),
    "citizen": {
        "received": "withdraw",
        "dispatched": "withdraw",
        "signed": "withdraw",
        "replied": "callback rework withdraw",
        "closed": "rate",
    },
    "supervisor": {
        "received": "note",
        "dispatched": "redispatch note",
        "signed": "redispatch note",
        "replied": "rework close note",
        "closed": "reopen note",
        "refused": "reopen note",
        "withdrawn": "reopen note",
        "handed_over": "note",
    },
    "grid_worker": dict.fromkeys(COMPLAINT.states, "note"),
    "system": {"received": "correct dispatch", "dispatched": "correct", "signed": "correct"},
    "official": {},
    "admin": {},
}

CELLS = list(product(Role, COMPLAINT.states, COMPLAINT.actions))


def test_matrix_covers_every_role_state_and_action():
    assert set(MAY) == {role.value for role in Role}
    assert len(CELLS) == len(Role) * len(COMPLAINT.states) * len(COMPLAINT.actions) >= 800


@pytest.mark.parametrize("role", Role)
def test_role_may_do_exactly_what_the_matrix_says(role):
    for state, action in product(COMPLAINT.states, COMPLAINT.actions):
        expected = action in MAY[role.value].get(state, "").split()
        assert (action in [s.action for s in COMPLAINT.offered(state, role)]) == expected, (state, action)
        try:
            permit(COMPLAINT.step_for(action, state), role)
            allowed = True
        except (Conflict, Forbidden):
            allowed = False
        assert allowed == expected, (state, action)


def test_action_that_is_not_offered_in_a_state_is_a_conflict_that_names_the_state():
    offered = {(s.action, s.source) for s in COMPLAINT.steps}
    for state, action in product(COMPLAINT.states, COMPLAINT.actions):
        if (action, state) not in offered:
            with pytest.raises(Conflict) as caught:
                COMPLAINT.step_for(action, state)
            assert COMPLAINT.state(state).label in str(caught.value)
            assert COMPLAINT.label_of(action) in str(caught.value)


def test_action_is_named_by_its_own_label():
    assert {action: COMPLAINT.label_of(action) for action in ("sign", "return", "close", "unheard of")} == {
        "sign": "Sign",
        "return": "Return",
        "close": "Close",
        "unheard of": "unheard of",
    }


def test_action_or_state_that_does_not_exist_is_not_found():
    for wrong in (lambda: COMPLAINT.step_for("explode", "received"), lambda: COMPLAINT.state("limbo")):
        with pytest.raises(NotFound):
            wrong()
    with pytest.raises(NotFound):
        process("complaint", 99)
    with pytest.raises(NotFound):
        process("nothing")


def test_newest_version_is_the_default():
    assert process("complaint").version == max(v for n, v in processes() if n == "complaint")


def test_unit_cannot_close_its_own_case():
    for state, step in product(COMPLAINT.states, COMPLAINT.steps):
        if step.source == state and step.target == "closed" and step.moves:
            with pytest.raises(Forbidden):
                permit(step, Role.UNIT)


@pytest.mark.parametrize("role", [Role.OFFICIAL, Role.ADMIN])
def test_official_and_admin_can_do_nothing(role):
    assert not any(COMPLAINT.offered(state, role) for state in COMPLAINT.states)


def test_return_is_capped_and_then_the_centre_decides():
    step = COMPLAINT.step_for("return", "signed")
    permit(step, Role.UNIT, times=1)
    with pytest.raises(Conflict, match="district centre decides"):
        permit(step, Role.UNIT, times=2)
    with pytest.raises(Forbidden):
        permit(step, Role.CITIZEN, times=2)


def test_needed_fields_and_reason_are_asked_for_by_name():
    given_fields = {"reason_code": "not_our_duty", "legal_basis": "三定方案", "reason": "不在本辖区"}
    form = {"needed": tuple(given_fields), "known": (*given_fields, "note"), "action": "return"}
    assert COMPLAINT.needs(COMPLAINT.step_for("return", "dispatched"), "complaint") == ("reason_code", "legal_basis")
    assert fields.check(given_fields | {"note": " "}, **form) == given_fields
    for name in given_fields:
        for empty in (None, "", "  "):
            with pytest.raises(Invalid, match="is needed") as caught:
                fields.check(given_fields | {name: empty}, **form)
            assert caught.value.field == name


def test_reopening_has_a_window():
    assert COMPLAINT.step_for("reopen", "closed").within == Limit.parse("30nd")


def test_every_clock_of_the_process_has_a_limit():
    assert set(COMPLAINT.clocks) <= default_limits().clocks


def test_open_case_always_has_a_clock_and_a_case_at_rest_none():
    reached = running(COMPLAINT)
    assert set(reached) == set(COMPLAINT.states)
    for name, sets in reached.items():
        assert all(bool(clocks) == COMPLAINT.state(name).open for clocks in sets), name


@given(st.lists(st.integers(0, 10_000), max_size=40))
def test_any_walk_through_the_table_keeps_clocks_and_states_in_step(choices):
    state, clocks = COMPLAINT.initial, set(COMPLAINT.starts)
    for choice in choices:
        steps = [s for s in COMPLAINT.steps if s.source == state]
        step = steps[choice % len(steps)]
        assert not set(step.starts) & (clocks - set(step.stops)), f"{step.action} starts a clock that runs already"
        clocks = clocks - set(step.stops) | set(step.starts)
        state = step.target
        assert bool(clocks) == COMPLAINT.state(state).open


# --- Tables with a mistake are refused when they are read. ---

MISTAKES = {
    "a state that is never reached": (
        "  - {name: replied,",
        "  - {name: limbo, label: Limbo, term: 无, meaning: nowhere}\n  - {name: replied,",
        "limbo is never reached",
    ),
    "an unknown target": ("    to: replied\n", "    to: answered\n", "no state answered"),
    "an unknown source": ("    from: dispatched\n", "    from: sent\n", "no state sent"),
    "an unknown role": ("roles: [unit]\n    may: [note]\n    stops: [sign]", "roles: [clerk]\n    may: [note]\n    stops: [sign]", "no role clerk"),
    "an unknown clock": ("    stops: [reply]\n    starts: [callback]", "    stops: [answer]\n    starts: [callback]", "no clock answer"),
    "two steps for one action and state": ("  - action: close\n", "  - action: callback\n", "two steps for callback in replied"),
    "a role that neither acts nor looks on": ("observers: [official, admin]", "observers: [official]", "admin neither acts"),
    "a role that looks on and acts": ("observers: [official, admin]", "observers: [official, admin, unit]", "unit looks on and acts"),
    "a unit that closes": ("  - action: close\n    label: Close\n    term: 结案\n    from: replied\n    to: closed\n    roles: [operator", "  - action: close\n    label: Close\n    term: 结案\n    from: replied\n    to: closed\n    roles: [unit, operator", "unit may never close"),
    "a ban on nothing": ("{role: unit, action: close}", "{role: unit, action: shut}", "shut"),
    "a clock that runs on after the end": ("    stops: [callback]\n    emits: [citizen.closed]\n    reason: true", "    emits: [citizen.closed]\n    reason: true", "still runs in the final state closed"),
    "a wait without a clock": ("    stops: [reply]\n    starts: [callback]", "    stops: [reply]", "no clock running"),
    "a clock that never starts": ("clocks:\n", "clocks:\n  moon: nobody knows\n", "moon never starts"),
    "an initial state that does not exist": ("initial: received", "initial: begun", "begun does not exist"),
    "a state that is final and open": ("term: 结案, open: false, final: true", "term: 结案, final: true", "both final and open"),
    "a state that is neither": ("term: 移交, open: false, final: true", "term: 移交, open: false", "handed_over is neither"),
    "a state given twice": ("{name: replied, label", "{name: signed, label", "signed stands twice"),
    "nobody allowed": ("    to: replied\n    roles: [unit]", "    to: replied\n    roles: []", "roles is missing"),
    "an unknown column": ("    cap: 2\n", "    limit: 2\n", "limit is not a column"),
    "a cap of nothing": ("    cap: 2\n", "    cap: 0\n", "at least 1"),
    "an unknown outcome": ("outcome: void", "outcome: lost", "not lost"),
    "one word where a list belongs": ("    needs: [unit]\n", "    needs: unit\n", "list of words"),
    "a flag in words": ("    reason: true\n    cap: 2", "    reason: surely\n    cap: 2", "true or false"),
    "a cap in words": ("    cap: 2\n", "    cap: two\n", "whole number"),
    "a ban without an action": ("{role: unit, action: close}", "{role: unit}", "action is missing"),
    "states that are no rows": ("states:\n", "states: [received]\nstages:\n", "stages is not a column"),
    "clocks that are a list": ("clocks:\n", "clocks: [reply]\nwatches:\n", "watches is not a column"),
    "a label that is a number": ("label: Reply\n", "label: 5\n", "must be a text"),
    "an unknown clock at the start": ("starts: [dispatch, reply]\n\nclocks", "starts: [dispatch, reply, moon]\n\nclocks", "no clock moon"),
    "a limit that is none": ("within: 30nd", "within: soon", "soon"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_table_is_refused_with(mistake):
    old, new, words = MISTAKES[mistake]
    assert old in TEXT
    with pytest.raises(Invalid) as caught:
        parse_processes(TEXT.replace(old, new), file="complaint.yaml")
    assert words in str(caught.value)


def test_dead_end_is_refused():
    start = TEXT.index("  - action: callback\n")
    end = TEXT.index("  - action: rate\n")
    text = TEXT[:start] + TEXT[end:].replace("from: open", "from: [received, dispatched, signed]")
    text = text.replace("  - {role: unit, action: callback}\n  - {role: unit, action: rework}\n", "")
    with pytest.raises(Invalid, match="replied is a dead end"):
        parse_processes(text, file="complaint.yaml")


def test_versions_stand_side_by_side_and_must_rise():
    second = TEXT.replace("version: 1", "version: 2", 1)
    both = parse_processes(f"{TEXT}\n---\n{second}", file="complaint.yaml")
    assert [p.version for p in both] == [1, 2]
    for wrong in (
        f"{second}\n---\n{TEXT}",
        f"{TEXT}\n---\n{TEXT}",
        f"{TEXT}\n---\n{second.replace('process: complaint', 'process: other')}",
    ):
        with pytest.raises(Invalid, match="versions that rise"):
            parse_processes(wrong, file="complaint.yaml")


def test_every_shipped_table_is_sound():
    for path in FOLDER.glob("*.yaml"):
        if path.name not in ("limits.yaml", "ladder.yaml", "roads.yaml"):
            assert all(problems(found) == [] for found in read_processes(path))


# --- The page is drawn from the tables. ---


def test_processes_page_is_up_to_date():
    assert diagram.PAGE.read_text(encoding="utf-8") == diagram.page(), "run: python -m dispatch.diagram"


def test_diagram_draws_every_state_and_every_move():
    drawn = diagram.mermaid(COMPLAINT)
    for step in COMPLAINT.steps:
        if step.moves:
            (line,) = [x for x in drawn.splitlines() if x.startswith(f"    {step.source} --> {step.target}:")]
            assert step.term in line
    assert all(f" as {name}" in drawn for name in COMPLAINT.states)
    assert diagram.matrix(COMPLAINT).count("\n") == len(COMPLAINT.actions) + 1
