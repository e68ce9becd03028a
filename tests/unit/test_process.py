"""The tables are sound, and every cell of role × state × action is what the table says: no more, no less."""

import dataclasses
import hashlib
import json
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


#: The same by hand for the newest tables, the other way round: action → who, where. Letters are roles.
LETTERS = {"O": "operator", "S": "supervisor", "U": "unit", "C": "citizen", "G": "grid_worker", "P": "system"}
OPEN = "received dispatched signed paused parked disputed merged replied"
EVENT_OPEN = "in_cell in_community in_town in_district dispatched signed paused parked disputed merged settled"
REST = "closed refused handed_over withdrawn"
SHARED = {
    "redispatch": ("OS", "dispatched signed"),
    "return": ("U", "dispatched signed"),
    "sign": ("U", "dispatched"),
    "add_unit": ("OSU", "dispatched signed"),
    "withdraw_unit": ("OSU", "dispatched signed"),
    "replace_unit": ("OS", "dispatched signed"),
    "share_rework": ("OSU", "dispatched signed"),
    "extend_ask": ("U", "signed"),
    "pause_ask": ("U", "signed"),
    "park_ask": ("U", "signed"),
    "extend_grant": ("OS", "signed"),
    "plea_refuse": ("OS", "signed"),
    "pause_grant": ("OS", "signed"),
    "park_grant": ("S", "signed"),
    "resume": ("OSUP", "paused"),
    "park_on": ("S", "parked"),
    "take_up": ("OSU", "parked"),
    "arbitrate": ("S", "disputed"),
    "follow": ("P", "merged"),
    "answer_merged": ("P", "merged"),
    "unmerge": ("OSP", "merged"),
}
BY_HAND = {
    ("complaint", 2): SHARED
    | {
        "correct": ("OP", "received dispatched signed paused disputed merged"),
        "dispatch": ("OP", "received"),
        "rise": ("U", "dispatched signed"),
        "reply": ("U", "signed"),
        "check": ("OSG", "replied"),
        "callback": ("OC", "replied"),
        "rework": ("OSC", "replied"),
        "close": ("OS", "replied"),
        "rate": ("OC", "replied closed"),
        "reopen": ("OS", "closed refused withdrawn"),
        "refuse": ("O", "received"),
        "hand_over": ("O", "received dispatched signed disputed"),
        "withdraw": ("OC", OPEN),
        "add": ("C", OPEN),
        "note": ("OSUG", f"{OPEN} {REST}"),
        "share_sign": ("U", "dispatched signed paused parked disputed replied"),
        "share_reply": ("U", "dispatched signed paused parked disputed replied"),
        "share_return": ("U", "dispatched signed paused parked disputed replied"),
        "supervise": ("S", "dispatched signed paused parked merged replied"),
        "supervise_reply": ("U", "dispatched signed paused parked merged replied"),
        "supervise_again": ("S", "dispatched signed paused parked merged replied"),
        "supervise_close": ("S", f"{OPEN} {REST}"),
        "dispute": ({"U": "dispatched signed", "O": "received"}, ""),
        "merge": ("OS", "received dispatched signed"),
    },
    ("patrol", 1): SHARED
    | {
        "correct": (
            {"G": "in_cell"}
            | dict.fromkeys("OP", "in_cell in_community in_town in_district dispatched signed paused disputed merged"),
            "",
        ),
        "settle": ({"G": "in_cell", "U": "in_community in_town"}, ""),
        "rise": ({"G": "in_cell", "U": "in_community in_town"}, ""),
        "overrun": ("P", "in_cell in_community in_town"),
        "skip": ("P", "in_community in_town"),
        "dispatch": ("OP", "in_district"),
        "reply": ("U", "in_community in_town signed"),
        "verify": ("OSG", "settled"),
        "rework": ("OSG", "settled"),
        "reopen": ("OS", "closed"),
        "void": (
            "OS",
            EVENT_OPEN,
        ),
        "hand_over": ("OG", "in_cell in_community in_town in_district dispatched signed disputed"),
        "note": (
            "OSUG",
            f"{EVENT_OPEN} closed voided handed_over",
        ),
        "share_sign": ("U", "dispatched signed paused parked disputed settled"),
        "share_reply": ("U", "dispatched signed paused parked disputed settled"),
        "share_return": ("U", "dispatched signed paused parked disputed settled"),
        "supervise": ("S", "in_community in_town dispatched signed paused parked merged settled"),
        "supervise_reply": ("U", "in_community in_town dispatched signed paused parked merged settled"),
        "supervise_again": ("S", "in_community in_town dispatched signed paused parked merged settled"),
        "supervise_close": (
            "S",
            f"{EVENT_OPEN} closed voided handed_over".removeprefix("in_cell "),
        ),
        "dispute": ({"U": "dispatched signed", "O": "in_district"}, ""),
        "merge": ("OS", "in_district dispatched signed"),
    },
}

BY_HAND["complaint", 3] = BY_HAND["complaint", 2] | {"answer_now": ("O", "received")}


@pytest.mark.parametrize("key", BY_HAND, ids=str)
def test_newest_tables_allow_exactly_what_was_written_by_hand(key):
    table, hand = process(*key), BY_HAND[key]
    assert set(hand) == set(table.actions)
    cells = set()
    for action, (who, where) in hand.items():
        by_role = who if isinstance(who, dict) else dict.fromkeys(who, where)
        cells |= {(LETTERS[letter], state, action) for letter, states in by_role.items() for state in states.split()}
    walked = {
        (role.value, state, action)
        for role, state, action in product(Role, table.states, table.actions)
        if action in [step.action for step in table.offered(state, role)]
    }
    assert walked == cells


@pytest.mark.parametrize("key", processes(), ids=str)
def test_every_cell_of_every_table_is_permitted_or_refused_by_name(key):
    table = processes()[key]
    for role, state, action in product(Role, table.states, table.actions):
        offered = action in [step.action for step in table.offered(state, role)]
        try:
            permit(table.step_for(action, state), role)
            allowed = True
        except (Forbidden, Conflict) as refused:
            allowed, words = False, str(refused)
        assert allowed == offered, (role, state, action)
        assert allowed or table.label_of(action) in words


@pytest.mark.parametrize("key", processes(), ids=str)
def test_nobody_decides_what_they_asked_for_and_no_unit_touches_its_clock(key):
    """The clocks that measure a unit stand by the hands of others only."""
    table = processes()[key]
    for step in table.steps:
        if step.action in ("extend_grant", "pause_grant", "park_grant", "plea_refuse"):
            assert "another_person" in step.guards
            assert Role.UNIT not in step.roles
        if step.holds:
            assert Role.UNIT not in step.roles, step.action


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


ALONE = {"received", "in_cell", "in_district", "merged", "disputed"}


@pytest.mark.parametrize("key", [key for key in processes() if key[0] in ("complaint", "patrol")], ids=str)
@given(data=st.data())
def test_no_walk_through_a_table_loses_an_owner_or_a_clock(key, data):
    """In every open state somebody has the case, and a clock of its own runs that does not merely stand."""
    table = processes()[key]
    state, clocks, unit = table.initial, set(table.starts), False
    for _ in range(data.draw(st.integers(0, 30))):
        steps = [step for step in table.steps if step.source == state]
        if not steps:
            break
        step = data.draw(st.sampled_from(steps), label="step")
        clocks -= {*step.stops, *(f"-{name}" for name in step.stops)}
        clocks = {f"-{name}" if name in step.holds else name for name in clocks}
        clocks = {name[1:] if name[1:] in step.resumes else name for name in clocks}
        starting = {name for name in step.starts if name in table.clocks}
        assert not starting & clocks, f"{step.action} starts a clock that runs already"
        clocks |= starting
        if step.action in ("dispatch", "redispatch", "rise", "overrun", "arbitrate", "answer_merged"):
            unit = True
        elif step.action in ("return", "reopen", "unmerge"):
            unit = False
        state = step.target
        found = table.states[state]
        running_now = {name for name in clocks if not name.startswith("-") and name in table.clocks}
        assert bool(running_now) == found.open, (step.action, state, clocks)
        if found.open and state not in ALONE:
            assert unit, f"{step.action} leaves {state} without a unit"


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


SECOND = "\n---\n".join((FOLDER / "complaint.yaml").read_text().split("\n---\n")[1:])
NEWER_MISTAKES = {
    "an unknown guard": ("guards: [joined]", "guards: [joind]", "no guard joind"),
    "an unknown field": ("needs: [checked]", "needs: [chequed]", "no field chequed"),
    "an unknown optional field": ("may: [assist, note]", "may: [assistants, note]", "no field assistants"),
    "an unknown field in a form": ("    enquiry: [contacted]", "    enquiry: [called]", "no field called"),
    "a form for an unknown kind": ("    praise: []", "    blame: []", "blame is not a column"),
    "a form for an unknown action": ("forms:\n  reply:", "forms:\n  answer:", "no action answer"),
    "an unknown action of a share": ("    part: reply\n", "    part: answer\n", "a share has no action answer"),
    "an unknown unit": ("    who: any", "    who: nobody", "not for nobody"),
    "an unknown road": ("road: pause-1", "road: pause-9", "no road pause-9"),
    "a road that is not told everything": ("clock: reply, back: signed", "clock: reply", "back is missing"),
    "an expiry that nobody acts on": ("expiry:\n  pause: resume", "expiry:\n  pause: withdraw", "cannot withdraw"),
    "an expiry in a state without the action": (
        "expiry:\n  pause: resume",
        "expiry:\n  pause: resume\n  review: resume",
        "cannot resume in parked when review runs out",
    ),
    "a cap of nothing for a role": ("caps: {citizen: 1}", "caps: {citizen: 0}", "at least 1"),
    "a cap for an unknown role": ("caps: {citizen: 1}", "caps: {clerk: 1}", "no role clerk"),
    "a unit that grants": (
        "  - {role: unit, action: extend_grant}",
        "  - {role: operator, action: extend_grant}",
        "operator may never extend_grant",
    ),
    "two steps by a road and the table": (
        "  - action: note\n",
        "  - {action: merge, label: Merge, term: 并案, from: received, to: merged, roles: [operator]}\n  - action: note\n",
        "two steps for merge in received",
    ),
}


@pytest.mark.parametrize("mistake", NEWER_MISTAKES)
def test_newer_table_is_refused_with(mistake):
    old, new, words = NEWER_MISTAKES[mistake]
    assert old in SECOND
    with pytest.raises(Invalid) as caught:
        parse_processes(SECOND.replace(old, new, 1), file="complaint.yaml")
    assert words in str(caught.value)
    assert "line" in str(caught.value) or "road" in str(caught.value)


#: SHA-256 of every table that may have opened a case, expanded with its roads. A change of behaviour is a new version
#: (docs/decisions/0131); a table that no release has shipped yet may be written anew, and its sum with it.
FROZEN: dict[tuple[str, int], str] = {
    ("assignment", 1): "c25ed069c097b503f604a063f2b1501bc0b226f99efee7ab5897dda3253653b0",
    ("complaint", 1): "ff9feaa62717ea13a9cf80cca0bf16fa063ea92a27f2105158dcfb9cbd8ee6f7",
    ("complaint", 2): "d39a269f2402eb75cad968e2debf464891874d28ff63249684bc43a46d263b8b",
    ("complaint", 3): "7dd2c2d06e7e559ae9f75477be509a40bbb95de168457477d14bed5b7af78dfb",
    ("information", 1): "22af15e0b263f4e128e34a896e999728c2e4b6ad8bea93f8249599855f900b36",
    ("patrol", 1): "19744465e6893c3445275a2f46baae03d701795aa475e0a31ef2a5ee7f1eb9dc",
    ("service_item", 1): "b5b3fd952c3783b3717159ad9c6cf74c556626eab210a4036d03800c0f88c9c6",
}


def expanded(found) -> str:
    """Return everything that a case under a table depends on; words for people may be mended."""
    told = {"kinds": found.kinds, "initial": found.initial, "starts": found.starts, "clocks": sorted(found.clocks)}
    told |= {"sides": sorted(found.sides), "expiry": sorted(found.expiry.items()), "measured": found.unit_clocks}
    told |= {"states": [(s.name, s.open, s.final) for s in found.states.values()]}
    told |= {"forms": {a: dict(sorted(k.items())) for a, k in sorted(found.forms.items())}}
    told |= {"extends": found.extends, "longest": found.longest_extension}
    words = {"label", "term", "meaning"}
    steps = []
    for step in sorted(found.steps, key=lambda one: (one.action, one.source)):
        row = {f.name: getattr(step, f.name) for f in dataclasses.fields(step) if f.name not in words}
        row |= {"roles": sorted(step.roles), "caps": sorted(step.caps.items()), "within": str(step.within or "")}
        steps.append(row)
    return json.dumps(told | {"steps": steps}, sort_keys=True, default=str)


@pytest.mark.parametrize("key", FROZEN, ids=str)
def test_table_that_has_opened_cases_is_not_edited(key):
    found = hashlib.sha256(expanded(processes()[key]).encode()).hexdigest()
    assert found == FROZEN[key], "add a version instead: cases end under the table that opened them"


def test_every_table_is_frozen():
    assert set(FROZEN) == set(processes())


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


def test_answering_on_the_spot_is_all_that_the_third_version_adds():
    second, third = process("complaint", 2), process("complaint", 3)
    assert [step for step in third.steps if step not in second.steps] == [third.step_for("answer_now", "received")]
    assert [step for step in third.steps if step in second.steps] == list(second.steps)
    assert (third.states, third.clocks, third.forms) == (second.states, second.clocks, second.forms)
    assert third.step_for("answer_now", "received").guards == ("words_do", "no_children")
    assert {(role, "answer_now") for role in (Role.UNIT, Role.CITIZEN, Role.SYSTEM)} <= set(third.never)


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
