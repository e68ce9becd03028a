"""Process tables 流程表: which action leads a case from which state to which, who may do it and what it needs.

Knows the tables in `dispatch/processes/` and checks them when they are loaded. Buttons, API, diagram, permissions and
tests read the same table. Does not touch a case: `dispatch.cases.act` applies what stands here.
"""

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from core.actor import Role
from core.errors import Conflict, Forbidden, Invalid, NotFound
from dispatch.fields import FIELDS, expand
from dispatch.limits import Limit
from dispatch.tables import Row, parse_yaml, read_text

FOLDER = Path(__file__).parent / "processes"
#: Tables in the same folder that are no processes.
_NO_PROCESS = ("limits.yaml", "ladder.yaml", "roads.yaml")
#: Which unit may take a step; see `Step.who`.
_WHO = ("lead", "share", "any")


@dataclass(frozen=True, slots=True)
class State:
    """Where a case stands."""

    name: str
    #: English msgid for people.
    label: str
    #: The Chinese term, for glossary, diagram and catalogue.
    term: str
    #: What it means, in one English sentence.
    meaning: str
    #: Somebody still has to do something; worklists and partial indexes stand on it.
    open: bool
    #: The case rests: no clock runs. It may still be reopened where a step says so.
    final: bool


@dataclass(frozen=True, slots=True)
class Step:
    """One action in one state."""

    action: str
    label: str
    term: str
    source: str
    #: The same as `source` where the action changes no state.
    target: str
    roles: frozenset[Role]
    #: Fields that must be given; the rest of the form is in `may`.
    needs: tuple[str, ...] = ()
    may: tuple[str, ...] = ()
    #: Clocks that start, and that stop, in this order: first stop, then start.
    starts: tuple[str, ...] = ()
    stops: tuple[str, ...] = ()
    #: How stopped clocks end: `met` (or missed, by the time), or `void` where the matter went elsewhere.
    outcome: str = "met"
    #: Outbox topics written with the change.
    emits: tuple[str, ...] = ()
    reason_required: bool = False
    #: How often one case may go this way; None without end.
    cap: int | None = None
    #: How often each role may take it on one case, where that is less: a citizen asks for rework once.
    caps: Mapping[Role, int] = field(default_factory=dict)
    #: How long after the case came to rest the step is open; None without end.
    within: Limit | None = None
    #: Conditions of `dispatch.guards` that the case has to meet, asked before the step is offered and under the lock.
    guards: tuple[str, ...] = ()
    #: Clocks that stand from here on, and held ones that run again.
    holds: tuple[str, ...] = ()
    resumes: tuple[str, ...] = ()
    #: Which unit may take it: `lead`, one with a `share` that is no lead, or `any` that has had a share.
    who: str = "lead"
    #: What the share concerned does with it, an action of the process `assignment`; empty where no share changes.
    part: str = ""
    #: What the action does, in one English sentence.
    meaning: str = ""

    @property
    def moves(self) -> bool:
        """Whether the action changes the state."""
        return self.source != self.target


@dataclass(frozen=True, slots=True)
class Process:
    """One version of one kind of process. A case ends under the version that opened it."""

    name: str
    version: int
    #: What kinds of case it is for (complaint, enquiry, …).
    kinds: tuple[str, ...]
    label: str
    initial: str
    #: Clocks that start when a case is opened.
    starts: tuple[str, ...]
    states: Mapping[str, State]
    steps: tuple[Step, ...]
    #: Clock kinds → what they measure.
    clocks: Mapping[str, str]
    #: Roles that look on and never act.
    observers: frozenset[Role]
    #: What must never be possible, kept so that a later table cannot allow it by mistake.
    never: tuple[tuple[Role, str], ...] = ()
    #: Clocks that run beside the case's own and end void with it: supervision, single shares, pleas.
    sides: Mapping[str, str] = field(default_factory=dict)
    #: Clock → action that the program takes when that clock runs out.
    expiry: Mapping[str, str] = field(default_factory=dict)
    #: Clocks that measure the lead unit; the others measure the district centre, or nobody.
    unit_clocks: tuple[str, ...] = ("sign", "reply")
    #: The clock that an extension lengthens, and by how much at most; the district's setting where that is empty.
    extends: str = "reply"
    longest_extension: str = ""
    #: Action → kind of case → what the form asks besides the step's own needs.
    forms: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    _index: Mapping[tuple[str, str], Step] = field(default_factory=dict, repr=False, compare=False)

    def state(self, name: str) -> State:
        """Return a state by name; raises NotFound."""
        try:
            return self.states[name]
        except KeyError as error:
            raise NotFound("The process {process} has no state {state}.", process=self.name, state=name) from error

    def step_for(self, action: str, state: str) -> Step:
        """Return the step of an action in a state.

        Raises NotFound for an action that the process does not have, and Conflict where it is not offered in this
        state: the case went on since the page was shown.
        """
        step = self._index.get((action, state))
        if step is not None:
            return step
        if action not in self.actions:
            raise NotFound("The process {process} has no action {action}.", process=self.name, action=action)
        raise Conflict(
            "The case is now in the state {state}; {action} is not possible there.",
            state=self.state(state).label,
            action=self.label_of(action),
        )

    def has(self, action: str, state: str) -> bool:
        """Return whether an action stands in the table for a state."""
        return (action, state) in self._index

    def offered(self, state: str, role: Role) -> tuple[Step, ...]:
        """Return what a role may do in a state, in the table's order: the buttons and the API's choices."""
        return tuple(step for step in self.steps if step.source == state and role in step.roles)

    def needs(self, step: Step, kind: str) -> tuple[str, ...]:
        """Return the fields that a step needs for a case of a kind: its own and those of the kind's form."""
        return (*step.needs, *self.forms.get(step.action, {}).get(kind, ()))

    def fields(self, step: Step, kind: str) -> tuple[str, ...]:
        """Return every field that a step understands, needed ones first, then optional ones, then reason and note."""
        return tuple(dict.fromkeys((*self.needs(step, kind), *step.may, "reason", "note")))

    @property
    def actions(self) -> tuple[str, ...]:
        """Every action, in the table's order."""
        return tuple(dict.fromkeys(step.action for step in self.steps))

    @property
    def has_arbiter(self) -> bool:
        """Whether somebody decides where units do not agree; without one the desk is free to send a case back."""
        return "arbitrate" in self.actions

    @property
    def topics(self) -> frozenset[str]:
        """Every outbox topic that the process may write."""
        return frozenset(topic for step in self.steps for topic in step.emits)

    def label_of(self, action: str) -> str:
        """Return the English msgid of an action; the action itself where the table does not have it."""
        return next((step.label for step in self.steps if step.action == action), action)


def permit(step: Step, role: Role, *, times: int = 0, own_times: int = 0, cap: int | None = None) -> None:
    """Raise Forbidden unless the role may take the step, Conflict where the case has gone this way as often as allowed.

    times: how often this action was already taken on this case (for steps with a cap); own_times: how often by this
    role; cap: the district's own number instead of the table's.
    """
    if role not in step.roles:
        raise Forbidden("{role} may not do this: {action}.", role=role.value, action=step.label)
    most = step.cap if cap is None else cap
    if most is not None and times >= most:
        raise Conflict(
            "{action} was done {cap} times already; the district centre decides now.", action=step.label, cap=most
        )
    own = step.caps.get(role)
    if own is not None and own_times >= own:
        raise Conflict("You may do this {cap} times only: {action}.", action=step.label, cap=own)


@cache
def processes() -> Mapping[tuple[str, int], Process]:
    """Return every version of every process in `dispatch/processes/`, checked. Raises Invalid with file and line."""
    found: dict[tuple[str, int], Process] = {}
    for path in sorted(FOLDER.glob("*.yaml")):
        if path.name in _NO_PROCESS:
            continue
        for process in read_processes(path):
            if (process.name, process.version) in found:
                raise Invalid("{file} holds a version that another file holds already.", file=path.name)
            found[process.name, process.version] = process
    return found


def process(name: str, version: int | None = None) -> Process:
    """Return a process in the given version, the newest where none is given; raises NotFound."""
    known = processes()
    if version is None:
        version = max((v for n, v in known if n == name), default=0)
    try:
        return known[name, version]
    except KeyError as error:
        raise NotFound("There is no process {process} {version}.", process=name, version=version) from error


def read_processes(path: Path) -> list[Process]:
    """Return the versions in one file, one YAML document each; raises Invalid with file and line."""
    return parse_processes(read_text(path), file=path.name)


def parse_processes(text: str, *, file: str) -> list[Process]:
    """Return the checked processes of a YAML text; versions must rise. Raises Invalid with file and line."""
    found = [_process(table) for table in parse_yaml(text, file=file)]
    for older, newer in pairwise(found):
        if older.name != newer.name or older.version >= newer.version:
            raise Invalid("{file} must hold one process, in versions that rise.", file=file)
    return found


_STEP_COLUMNS = (
    *("action", "label", "term", "from", "to", "roles", "needs", "may", "starts", "stops", "outcome"),
    *("emits", "reason", "cap", "caps", "within", "meaning", "guards", "holds", "resumes", "who", "part"),
)
_COLUMNS = (
    *("process", "version", "kinds", "label", "initial", "starts", "clocks", "sides", "expiry", "unit_clocks", "forms"),
    *("extends", "longest_extension"),
    *("observers", "never", "states", "include", "steps"),
)


def _process(table: Row) -> Process:
    table.only(*_COLUMNS)
    table.need("process", "version", "kinds", "label", "initial", "states", "steps")
    states: dict[str, State] = {}
    for row in table.rows("states"):
        row.only("name", "label", "term", "meaning", "open", "final")
        row.need("name", "label", "term", "meaning")
        name, label, term, meaning = (row.text(column) for column in ("name", "label", "term", "meaning"))
        if name in states:
            row.reject("{file}, line {line}: the state {state} stands twice.", state=name)
        states[name] = State(
            name, label, term, meaning, row.flag("open", otherwise=True), row.flag("final", otherwise=False)
        )
    clocks, sides = _meanings(table, "clocks"), _meanings(table, "sides")
    steps: dict[tuple[str, str], Step] = {}
    for row in [*table.rows("steps"), *_included(table)]:
        for step in _steps(row, states):
            if (step.action, step.source) in steps:
                row.reject(
                    "{file}, line {line}: there are two steps for {action} in {state}.",
                    action=step.action,
                    state=step.source,
                )
            _check_step(row, step, states=states, clocks=clocks | sides)
            steps[step.action, step.source] = step
    observers = frozenset(_role(table, name) for name in table.words("observers"))
    never: list[tuple[Role, str]] = []
    for row in table.rows("never"):
        row.only("role", "action")
        row.need("role", "action")
        never.append((_role(row, row["role"]), row.text("action")))
    made = Process(
        name=table.text("process"),
        version=table.whole("version") or 0,
        kinds=table.words("kinds"),
        label=table.text("label"),
        initial=table.text("initial"),
        starts=table.words("starts"),
        states=states,
        steps=tuple(steps.values()),
        clocks=clocks,
        sides=sides,
        expiry=_meanings(table, "expiry"),
        unit_clocks=table.words("unit_clocks") or ("sign", "reply"),
        extends=table.text("extends") or "reply",
        longest_extension=table.text("longest_extension"),
        forms=_forms(table),
        observers=observers,
        never=tuple(never),
        _index=steps,
    )
    if wrong := problems(made):
        table.reject(
            "{file}, line {line}: {process} {version}: {problems}",
            process=made.name,
            version=made.version,
            problems=" ".join(wrong),
        )
    return made


def _meanings(table: Row, column: str) -> dict[str, str]:
    found = table.get(column)
    if found is None:
        return {}
    if not isinstance(found, Row):
        table.reject("{file}, line {line}: {column} must name each clock and what it measures.", column=column)
    return {name: str(meaning) for name, meaning in found.items()}


def _forms(table: Row) -> dict[str, dict[str, tuple[str, ...]]]:
    """Return what forms ask by action and kind of case."""
    forms: dict[str, dict[str, tuple[str, ...]]] = {}
    found = table.get("forms")
    if found is None:
        return forms
    if not isinstance(found, Row) or not all(isinstance(kinds, Row) for kinds in found.values()):
        table.reject("{file}, line {line}: {column} must be a list of rows.", column="forms")
    for action, kinds in found.items():
        kinds.only(*table.words("kinds"))
        forms[action] = {kind: kinds.words(kind) for kind in kinds}
        for name in {name for names in forms[action].values() for name in names}:
            if name not in FIELDS:
                kinds.reject("{file}, line {line}: there is no field {name}.", name=name)
    return forms


@cache
def _roads() -> Mapping[str, Row]:
    """Return the roads that several processes share, by name and version."""
    path = FOLDER / "roads.yaml"
    found: dict[str, Row] = {}
    for road in parse_yaml(read_text(path), file=path.name):
        road.only("road", "steps")
        road.need("road", "steps")
        found[road.text("road")] = road
    return found


def _included(table: Row) -> Iterator[Row]:
    """Return the rows of the roads that a table includes, with `$name` replaced by what the include says for name."""
    for include in table.rows("include"):
        include.need("road")
        road = _roads().get(include.text("road"))
        if road is None:
            include.reject("{file}, line {line}: there is no road {road}.", road=include.text("road"))
        for row in road.rows("steps"):
            made = Row(row.file, row.line)
            made.update({name: _filled(include, value) for name, value in row.items()})
            yield made


def _filled(include: Row, value: Any) -> Any:
    if isinstance(value, str) and value.startswith("$"):
        if value[1:] not in include:
            include.reject("{file}, line {line}: {column} is missing.", column=value[1:])
        return include[value[1:]]
    if isinstance(value, list):
        filled = [_filled(include, item) for item in value]
        return [item for part in filled for item in (part if isinstance(part, list) else [part])]
    return value


def _steps(row: Row, states: Mapping[str, State]) -> Iterator[Step]:
    """Read one row of the table, which may stand for several source states (`from: [a, b]` or `from: open`)."""
    row.only(*_STEP_COLUMNS)
    row.need("action", "label", "term", "from", "to", "roles")
    if row["from"] == "open":
        sources: Iterable[str] = [state.name for state in states.values() if state.open]
    elif row["from"] == "any":
        sources = list(states)
    else:
        sources = row.words("from") if isinstance(row["from"], list) else [row.text("from")]
    target, within = row.text("to"), row.get("within")
    for source in sources:
        yield Step(
            action=row.text("action"),
            label=row.text("label"),
            term=row.text("term"),
            source=source,
            target=source if target == "same" else target,
            roles=frozenset(_role(row, name) for name in row.words("roles")),
            needs=row.words("needs"),
            may=row.words("may"),
            starts=row.words("starts"),
            stops=row.words("stops"),
            outcome=row.text("outcome") or "met",
            emits=row.words("emits"),
            reason_required=row.flag("reason", otherwise=False),
            cap=row.whole("cap"),
            caps=_caps(row),
            guards=row.words("guards"),
            holds=row.words("holds"),
            resumes=row.words("resumes"),
            who=row.text("who") or "lead",
            part=row.text("part"),
            within=Limit.parse(str(within)) if within is not None else None,
            meaning=row.text("meaning"),
        )


def _caps(row: Row) -> dict[Role, int]:
    found = row.get("caps")
    if found is None:
        return {}
    if not isinstance(found, Row) or not all(isinstance(most, int) and most > 0 for most in found.values()):
        row.reject("{file}, line {line}: a cap must be at least 1.")
    return {_role(row, name): int(most) for name, most in found.items()}


def _role(row: Row, name: object) -> Role:
    try:
        return Role(str(name))
    except ValueError:
        row.reject("{file}, line {line}: there is no role {role}.", role=str(name))


def _check_step(row: Row, step: Step, *, states: Mapping[str, State], clocks: Iterable[str]) -> None:
    for state in (step.source, step.target):
        if state not in states:
            row.reject("{file}, line {line}: there is no state {state}.", state=state)
    for clock in (*step.starts, *step.stops, *step.holds, *step.resumes):
        if clock not in clocks:
            row.reject("{file}, line {line}: there is no clock {clock}.", clock=clock)
    if step.outcome not in ("met", "void"):
        row.reject("{file}, line {line}: a stopped clock is met or void, not {outcome}.", outcome=step.outcome)
    for name in expand((*step.needs, *step.may)):
        if name not in FIELDS:
            row.reject("{file}, line {line}: there is no field {name}.", name=name)
    if not step.roles:
        row.reject("{file}, line {line}: nobody may take the step {action}.", action=step.action)
    if step.cap is not None and step.cap < 1:
        row.reject("{file}, line {line}: a cap must be at least 1.")
    if step.who not in _WHO:
        row.reject("{file}, line {line}: a step is for the lead, a share or any unit, not for {who}.", who=step.who)
    if step.part and step.part not in _parts():
        row.reject("{file}, line {line}: a share has no action {part}.", part=step.part)
    for name in step.guards:
        if name not in _guards():
            row.reject("{file}, line {line}: there is no guard {guard}.", guard=name)


@cache
def _parts() -> frozenset[str]:
    """Return the actions of a share, read from its own table without checking it: that is done when it is loaded."""
    path = FOLDER / "assignment.yaml"
    return frozenset(
        row.text("action") for table in parse_yaml(read_text(path), file=path.name) for row in table.rows("steps")
    )


@cache
def _guards() -> frozenset[str]:
    # Guards look at cases and cases at tables; only the names are wanted here, when a table is read.
    from dispatch import guards
    from dispatch.items import guards as of_items

    return frozenset((*guards.GUARDS, *of_items.GUARDS))


def problems(found: Process) -> list[str]:
    """Return what is wrong with a table as a whole, in English sentences; empty for a sound one.

    Every state is reached, every open state leads to rest, every case that is open has a clock running and none that
    rests has, every role acts or looks on, labels agree, and nothing forbidden for good is possible.
    """
    states = found.states
    if found.initial not in states:
        return [f"The initial state {found.initial} does not exist."]
    wrong: list[str] = []
    forward = {name: {s.target for s in found.steps if s.source == name} for name in states}
    backward = {name: {s.source for s in found.steps if s.target == name} for name in states}
    reached = _closure({found.initial}, forward)
    wrong += [f"The state {name} is never reached." for name in states if name not in reached]
    rests = {name for name, state in states.items() if state.final}
    ending = _closure(rests, backward)
    wrong += [f"The state {name} is a dead end." for name in states if name not in ending]
    wrong += [f"The state {n} is both final and open." for n, s in states.items() if s.final and s.open]
    wrong += [f"The state {n} is neither final nor open." for n, s in states.items() if not s.final and not s.open]
    acting = {role for step in found.steps for role in step.roles}
    wrong += [f"The role {role} neither acts nor looks on." for role in Role if role not in acting | found.observers]
    wrong += [f"The role {role} looks on and acts." for role in Role if role in acting & found.observers]
    for role, action in found.never:
        if action not in found.actions:
            wrong.append(f"The action {action}, which {role} may never do, does not exist.")
        wrong += [f"The role {role} may never {action}." for s in found.steps if s.action == action and role in s.roles]
    for action in found.actions:
        if len({(s.label, s.term) for s in found.steps if s.action == action}) > 1:
            wrong.append(f"The action {action} has two labels.")
    wrong += [
        f"There is no clock {clock}, which an opened case would start."
        for clock in found.starts
        if clock not in found.clocks
    ]
    for clock, action in found.expiry.items():
        if clock not in found.clocks or not any(s.action == action and Role.SYSTEM in s.roles for s in found.steps):
            wrong.append(f"The program cannot {action} when {clock} runs out.")
    if "extend_grant" in found.actions and found.extends not in found.clocks:
        wrong.append(f"There is no clock {found.extends}, which an extension would lengthen.")
    wrong += [
        f"There is no action {action}, which has a form." for action in found.forms if action not in found.actions
    ]
    return wrong + _clock_problems(found)


def _closure(start: AbstractSet[str], edges: Mapping[str, AbstractSet[str]]) -> set[str]:
    seen, waiting = set(start), list(start)
    while waiting:
        for name in edges.get(waiting.pop(), ()):
            if name not in seen:
                seen.add(name)
                waiting.append(name)
    return seen


def running(found: Process) -> dict[str, set[frozenset[str]]]:
    """Return, for every state that is reached, each set of the case's own clocks that may be running there.

    A clock that is held stands in the set with a `-` before its name.
    """
    own = found.clocks.keys()
    seen: dict[str, set[frozenset[str]]] = {found.initial: {frozenset(found.starts)}}
    waiting = [(found.initial, frozenset(found.starts))]
    while waiting:
        name, clocks = waiting.pop()
        for step in found.steps:
            if step.source == name:
                left = clocks.difference(step.stops, (f"-{clock}" for clock in step.stops))
                left = frozenset(f"-{clock}" if clock in step.holds else clock for clock in left)
                left = frozenset(clock[1:] if clock[1:] in step.resumes else clock for clock in left)
                after = left.union(clock for clock in step.starts if clock in own)
                if after not in seen.setdefault(step.target, set()):
                    seen[step.target].add(after)
                    waiting.append((step.target, after))
    return seen


def _clock_problems(found: Process) -> list[str]:
    if not found.clocks:
        # The small process of a share: its clocks are the case's.
        return []
    wrong: list[str] = []
    for name, sets in running(found).items():
        state = found.states[name]
        if state.final:
            late = sorted({clock for clocks in sets for clock in clocks})
            wrong += [f"The clock {clock} still runs in the final state {name}." for clock in late]
        elif any(all(clock.startswith("-") for clock in clocks) for clocks in sets):
            wrong.append(f"A case may wait in {name} with no clock running.")
        for clock, action in found.expiry.items():
            able = found.has(action, name) and Role.SYSTEM in found.step_for(action, name).roles
            if any(clock in clocks for clocks in sets) and not able:
                wrong.append(f"The program cannot {action} in {name} when {clock} runs out there.")
    used = {clock for step in found.steps for clock in step.starts} | set(found.starts)
    known = (*found.clocks, *found.sides)
    return wrong + [f"The clock {clock} never starts." for clock in known if clock not in used]
