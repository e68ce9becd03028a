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

from core.actor import Role
from core.errors import Conflict, Forbidden, Invalid, NotFound
from dispatch.limits import Limit
from dispatch.tables import Row, parse_yaml, read_text

FOLDER = Path(__file__).parent / "processes"


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
    #: How long after the case came to rest the step is open; None without end.
    within: Limit | None = None
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

    def offered(self, state: str, role: Role) -> tuple[Step, ...]:
        """Return what a role may do in a state, in the table's order: the buttons and the API's choices."""
        return tuple(step for step in self.steps if step.source == state and role in step.roles)

    @property
    def actions(self) -> tuple[str, ...]:
        """Every action, in the table's order."""
        return tuple(dict.fromkeys(step.action for step in self.steps))

    @property
    def topics(self) -> frozenset[str]:
        """Every outbox topic that the process may write."""
        return frozenset(topic for step in self.steps for topic in step.emits)

    def label_of(self, action: str) -> str:
        """Return the English msgid of an action; the action itself where the table does not have it."""
        return next((step.label for step in self.steps if step.action == action), action)


def permit(step: Step, role: Role, *, times: int = 0) -> None:
    """Raise Forbidden unless the role may take the step, Conflict where the case has gone this way as often as allowed.

    times: how often this action was already taken on this case (for steps with a cap).
    """
    if role not in step.roles:
        raise Forbidden("{role} may not do this: {action}.", role=role.value, action=step.label)
    if step.cap is not None and times >= step.cap:
        raise Conflict(
            "{action} was done {cap} times already; the district centre decides now.", action=step.label, cap=step.cap
        )


def check_fields(step: Step, given: Mapping[str, object]) -> None:
    """Raise Invalid, naming the field, where a field that the step needs is missing or empty."""
    needed = (*step.needs, "reason") if step.reason_required else step.needs
    for name in needed:
        value = given.get(name)
        if value is None or (isinstance(value, str) and not value.strip()):
            raise Invalid("{name} is needed.", field=name, name=name)


@cache
def processes() -> Mapping[tuple[str, int], Process]:
    """Return every version of every process in `dispatch/processes/`, checked. Raises Invalid with file and line."""
    found: dict[tuple[str, int], Process] = {}
    for path in sorted(FOLDER.glob("*.yaml")):
        if path.name == "limits.yaml":
            continue
        for process in read_processes(path):
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
    *("emits", "reason", "cap", "within", "meaning"),
)


def _process(table: Row) -> Process:
    table.only(
        "process", "version", "kinds", "label", "initial", "starts", "clocks", "observers", "never", "states", "steps"
    )
    table.need("process", "version", "kinds", "label", "initial", "clocks", "states", "steps")
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
    if not isinstance(table["clocks"], Row):
        table.reject("{file}, line {line}: {column} must name each clock and what it measures.", column="clocks")
    steps: dict[tuple[str, str], Step] = {}
    for row in table.rows("steps"):
        for step in _steps(row, states):
            if (step.action, step.source) in steps:
                row.reject(
                    "{file}, line {line}: there are two steps for {action} in {state}.",
                    action=step.action,
                    state=step.source,
                )
            _check_step(row, step, states=states, clocks=table["clocks"])
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
        clocks={name: str(meaning) for name, meaning in table["clocks"].items()},
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
            within=Limit.parse(str(within)) if within is not None else None,
            meaning=row.text("meaning"),
        )


def _role(row: Row, name: object) -> Role:
    try:
        return Role(str(name))
    except ValueError:
        row.reject("{file}, line {line}: there is no role {role}.", role=str(name))


def _check_step(row: Row, step: Step, *, states: Mapping[str, State], clocks: Iterable[str]) -> None:
    for state in (step.source, step.target):
        if state not in states:
            row.reject("{file}, line {line}: there is no state {state}.", state=state)
    for clock in (*step.starts, *step.stops):
        if clock not in clocks:
            row.reject("{file}, line {line}: there is no clock {clock}.", clock=clock)
    if step.outcome not in ("met", "void"):
        row.reject("{file}, line {line}: a stopped clock is met or void, not {outcome}.", outcome=step.outcome)
    if not step.roles:
        row.reject("{file}, line {line}: nobody may take the step {action}.", action=step.action)
    if step.cap is not None and step.cap < 1:
        row.reject("{file}, line {line}: a cap must be at least 1.")


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
    """Return, for every state that is reached, each set of clocks that may be running there."""
    seen: dict[str, set[frozenset[str]]] = {found.initial: {frozenset(found.starts)}}
    waiting = [(found.initial, frozenset(found.starts))]
    while waiting:
        name, clocks = waiting.pop()
        for step in found.steps:
            if step.source == name:
                after = clocks.difference(step.stops).union(step.starts)
                if after not in seen.setdefault(step.target, set()):
                    seen[step.target].add(after)
                    waiting.append((step.target, after))
    return seen


def _clock_problems(found: Process) -> list[str]:
    wrong: list[str] = []
    for name, sets in running(found).items():
        state = found.states[name]
        if state.final:
            late = sorted({clock for clocks in sets for clock in clocks})
            wrong += [f"The clock {clock} still runs in the final state {name}." for clock in late]
        elif frozenset() in sets:
            wrong.append(f"A case may wait in {name} with no clock running.")
    used = {clock for step in found.steps for clock in step.starts} | set(found.starts)
    wrong += [f"The clock {clock} never starts." for clock in found.clocks if clock not in used]
    return wrong
