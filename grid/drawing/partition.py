"""Atoms put together to cells: balanced, contiguous, compact, along real lines. The same for a seed.

Two neighbouring cells are taken as one piece of ground, random spanning trees are drawn over its atoms, every edge of
every tree is tried as the place to cut, and the cheapest of all cuts stands (recombination, DeFord et al. 2021, here as
a descent). A cut may also be no cut, so that the number of cells settles by itself.
"""

from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from grid.drawing.atoms import Atoms
from grid.drawing.measure import cell_costs, line_cost
from grid.drawing.site import Limits, Site, Weights

#: Trees drawn at once for one pair, and for a first cut.
_TREES: Final = 4
_FIRST_TREES: Final = 16
#: A pair is given up after so many tries without gain since either of its cells changed.
_TRIES: Final = 5
#: All pairs are gone through so often at most, and so many shakes in a row may be in vain.
_ROUNDS: Final = 12
_IDLE: Final = 60
#: Atoms of two cells above which fewer trees are drawn: the work grows with the square.
_MANY: Final = 160
_GAIN: Final = 1e-7
#: Costs are compared to so many digits.
_DIGITS: Final = 8


@dataclass(slots=True)
class _Ground:
    """The graph with everything that a cut is judged by."""

    site: Site
    limits: Limits
    weights: Weights
    #: `(n, 6)` as `cell_costs` takes it.
    told: NDArray[np.float64]
    #: `(n,)` whole outline of each atom, metres.
    outline: NDArray[np.float64]
    middle: NDArray[np.float64]
    #: `(n, n)` metres shared, and those weighted by how little is there.
    length: NDArray[np.float64]
    poor: NDArray[np.float64]
    #: Neighbours of each atom.
    near: list[list[int]]
    chance: np.random.Generator
    #: Cost of a metre of poor boundary.
    per_m: float


@dataclass(slots=True)
class _Region:
    """The atoms of one piece of ground that is to be cut."""

    atoms: NDArray[np.intp]
    length: NDArray[np.float64]
    poor: NDArray[np.float64]
    told: NDArray[np.float64]
    #: Metres of each atom's outline that do not lie inside the region.
    rim: NDArray[np.float64]


@dataclass(slots=True)
class _State:
    """Labels `(n,)` that change, and how often each pair was tried in vain."""

    label: NDArray[np.intp]
    cost: dict[int, float] = field(default_factory=dict)
    tried: dict[tuple[int, int], int] = field(default_factory=dict)
    next_label: int = 0


def partition(
    atoms: Atoms, site: Site, weights: Weights, *, seed: int, start: NDArray[np.intp] | None = None, shakes: int = 0
) -> tuple[NDArray[np.intp], float]:
    """Return the cell `0…k-1` of each atom, and what they cost. Every cell hangs together where its atoms' graph does.

    start: labels to go on from, which are found first by default. shakes: how often a few neighbouring cells are drawn
    wholly anew, to get out of a dead end.
    """
    ground = _ground(atoms, site, weights, seed)
    state = _State(np.zeros(len(atoms), dtype=np.intp) if start is None else start.copy())
    state.next_label = int(state.label.max()) + 1
    if start is None:
        _draw(ground, state, np.arange(len(atoms)))
    _settle(ground, state)
    idle = 0
    for _ in range(shakes):
        idle = 0 if _shaken(ground, state) else idle + 1
        if idle > _IDLE:
            break
    if shakes:
        _settle(ground, state)
    cost = sum(_cost_of(ground, state, cell) for cell in np.unique(state.label).tolist())
    apart = state.label[:, None] < state.label[None, :]
    label = np.unique(state.label, return_inverse=True)[1].astype(np.intp).ravel()
    return label, cost + float(ground.poor[apart].sum()) * ground.per_m


def _settle(ground: _Ground, state: _State) -> None:
    for _ in range(_ROUNDS):
        gained = _single(ground, state)
        gained |= _pairs(ground, state)
        gained |= _flips(ground, state)
        if not gained:
            break


def _ground(atoms: Atoms, site: Site, weights: Weights, seed: int) -> _Ground:
    count = len(atoms)
    length, poor = np.zeros((count, count)), np.zeros((count, count))
    near: list[list[int]] = [[] for _ in range(count)]
    for one, other in ((atoms.a, atoms.b), (atoms.b, atoms.a)):
        length[one, other] = atoms.length
        poor[one, other] = atoms.poor
        for i, j in zip(one.tolist(), other.tolist(), strict=True):
            near[i].append(j)
    return _Ground(
        site=site,
        limits=site.limits,
        weights=weights,
        told=np.column_stack((atoms.load, atoms.homes, atoms.area, atoms.speech)),
        outline=atoms.outer + length.sum(axis=1),
        middle=atoms.middle,
        length=length,
        poor=poor,
        near=near,
        chance=np.random.default_rng(seed),
        per_m=float(line_cost(1.0, site, weights)),
    )


def _region(ground: _Ground, atoms: NDArray[np.intp]) -> _Region:
    inside = np.ix_(atoms, atoms)
    length = ground.length[inside]
    return _Region(
        atoms=atoms,
        length=length,
        poor=ground.poor[inside],
        told=ground.told[atoms],
        rim=ground.outline[atoms] - length.sum(axis=1),
    )


def _whole_cost(ground: _Ground, region: _Region) -> float:
    return float(cell_costs(region.told.sum(axis=0), region.rim.sum(), ground.limits, ground.weights))


def _subtrees(ground: _Ground, region: _Region, trees: int) -> NDArray[np.float64]:
    """Return `(t, m)` which atoms lie below each edge of some random spanning trees; 0 or 1."""
    count = len(region.atoms)
    one, other = np.nonzero(np.triu(region.length))
    share = 1 - region.poor[one, other] / region.length[one, other]
    at = ground.middle[region.atoms]
    way = at[other] - at[one]
    far = np.maximum(np.hypot(*way.T), 1e-9)
    near: list[list[tuple[int, int]]] = [[] for _ in range(count)]
    for edge, (i, j) in enumerate(zip(one.tolist(), other.tolist(), strict=True)):
        near[i].append((edge, j))
        near[j].append((edge, i))
    found = []
    for tree in range(trees):
        # Edges over great roads join last, so that what a cut divides is divided by them.
        weight = ground.chance.random(len(one)) + 0.6 * share * ground.chance.random()
        if tree % 2:
            # Every other tree runs in strips across one direction: its cuts are straight.
            angle = ground.chance.random() * np.pi
            weight = weight * 0.5 + np.abs(way @ np.array([np.cos(angle), np.sin(angle)])) / far
        order, before = _spanning(near, weight.tolist(), int(ground.chance.integers(count)))
        below = np.eye(count, dtype=bool)
        for node in order[:0:-1]:
            below[before[node]] |= below[node]
        found.append(below[order[1:]])
    return np.concatenate(found).astype(np.float64)


def _spanning(near: list[list[tuple[int, int]]], weight: list[float], root: int) -> tuple[list[int], list[int]]:
    """Return the lightest spanning tree (Prim): its nodes in the order of joining, and what each one joined to."""
    before = [-1] * len(near)
    order: list[int] = []
    seen = [False] * len(near)
    waiting = [(0.0, root, root)]
    while waiting:
        _, node, joined = heappop(waiting)
        if seen[node]:
            continue
        seen[node] = True
        before[node] = joined
        order.append(node)
        for edge, next_ in near[node]:
            if not seen[next_]:
                heappush(waiting, (weight[edge], next_, node))
    return order, before


def _cuts(ground: _Ground, region: _Region, trees: int) -> tuple[NDArray[np.float64], ...]:
    """Return the sides below some random cuts `(t, m)`, what both sides hold, their outlines, and the cut's cost."""
    side = _subtrees(ground, region, trees)
    told, rim = side @ region.told, side @ region.rim
    away = 1 - side
    cut = ((side @ region.length) * away).sum(axis=1)
    poor = ((side @ region.poor) * away).sum(axis=1)
    return side, told, region.told.sum(axis=0) - told, rim + cut, region.rim.sum() - rim + cut, poor * ground.per_m


def _draw(ground: _Ground, state: _State, atoms: NDArray[np.intp]) -> list[int]:
    """Draw cells on some atoms by cutting them again and again, each time at the best place; return their labels."""
    parts, piece = connected_components(csr_array(ground.length[np.ix_(atoms, atoms)]), directed=False)
    waiting = [atoms[piece == i] for i in range(parts)]
    drawn = []
    while waiting:
        some = waiting.pop()
        cells = max(round(float(ground.told[some, 0].sum()) / ground.limits.target), 1)
        cut = _first_cut(ground, _region(ground, some), cells) if cells > 1 and len(some) > 1 else None
        if cut is None:
            state.label[some] = state.next_label
            drawn.append(state.next_label)
            state.next_label += 1
        else:
            waiting += [some[cut], some[~cut]]
    return drawn


def _shaken(ground: _Ground, state: _State) -> bool:
    """Draw a few neighbouring cells wholly anew and keep that where it is cheaper."""
    pairs = _neighbours(ground, state.label)
    if not pairs:
        return False
    chosen = set(pairs[int(ground.chance.integers(len(pairs)))])
    for _ in range(int(ground.chance.integers(1, 3))):
        beside = [pair for pair in pairs if len(chosen & set(pair)) == 1]
        if beside:
            chosen |= set(beside[int(ground.chance.integers(len(beside)))])
    atoms = np.flatnonzero(np.isin(state.label, list(chosen)))
    old = state.label[atoms].copy()
    before = _cost_within(ground, state, atoms)
    drawn = set(_draw(ground, state, atoms))
    for _ in range(_TRIES):
        if not _pairs(ground, state, only=drawn):
            break
    if _cost_within(ground, state, atoms) < before - 1e-7:
        _changed(state, *chosen)
        return True
    state.label[atoms] = old
    _changed(state, *drawn)
    return False


def _cost_within(ground: _Ground, state: _State, atoms: NDArray[np.intp]) -> float:
    """Return what the cells that are made of some atoms cost, with the boundaries between them."""
    label = state.label[atoms]
    apart = label[:, None] < label[None, :]
    between = float(ground.poor[np.ix_(atoms, atoms)][apart].sum()) * ground.per_m
    return between + sum(_cost_of(ground, state, cell) for cell in np.unique(label).tolist())


def _first_cut(ground: _Ground, region: _Region, cells: int) -> NDArray[np.bool_] | None:
    trees = _FIRST_TREES if len(region.atoms) < 2 * _MANY else _TREES
    side, low, high, low_rim, high_rim, line = _cuts(ground, region, trees)
    target = ground.limits.target
    first = np.clip(np.round(low[:, 0] / target), 1, cells - 1)
    missed = np.abs(low[:, 0] / first - target) + np.abs(high[:, 0] / (cells - first) - target)
    round_ = 4 * np.pi * (low[:, 2] / low_rim**2 + high[:, 2] / high_rim**2)
    # Even halves first: a cell bitten off the edge leaves a ring that nothing divides well.
    uneven = np.abs(first / cells - 0.5)
    cost = 4 * missed / target * ground.weights.balance - round_ * ground.weights.compactness + line + uneven
    found: NDArray[np.bool_] = side[_least(cost)] > 0
    return found


def _least(cost: NDArray[np.float64]) -> int:
    """Return the first of the cheapest; sums that differ by their order alone are equal on every machine."""
    return int(np.argmin(np.round(cost, _DIGITS)))


def _best(ground: _Ground, region: _Region, trees: int) -> tuple[float, NDArray[np.bool_] | None]:
    """Return the cheapest way to have one or two cells there, and the side of the cut; None for one cell."""
    whole = _whole_cost(ground, region)
    if len(region.atoms) < 2:
        return whole, None
    side, low, high, low_rim, high_rim, line = _cuts(ground, region, trees)
    cost = cell_costs(low, low_rim, ground.limits, ground.weights) + line
    cost = cost + cell_costs(high, high_rim, ground.limits, ground.weights)
    at = _least(cost)
    return (float(cost[at]), side[at] > 0) if cost[at] < whole - _GAIN else (whole, None)


def _cost_of(ground: _Ground, state: _State, cell: int) -> float:
    if cell not in state.cost:
        state.cost[cell] = _whole_cost(ground, _region(ground, np.flatnonzero(state.label == cell)))
    return state.cost[cell]


def _changed(state: _State, *cells: int) -> None:
    for cell in cells:
        state.cost.pop(cell, None)
    state.tried = {pair: tries for pair, tries in state.tried.items() if not set(pair) & set(cells)}


def _single(ground: _Ground, state: _State) -> bool:
    """Cut heavy cells in two where that is cheaper."""
    gained = False
    for cell in np.unique(state.label).tolist():
        atoms = np.flatnonzero(state.label == cell)
        if len(atoms) < 2 or ground.told[atoms, 0].sum() < 1.2 * ground.limits.target:
            continue
        region = _region(ground, atoms)
        _, side = _best(ground, region, _TREES)
        if side is not None:
            state.label[atoms[side]] = state.next_label
            _changed(state, cell, state.next_label)
            state.next_label += 1
            gained = True
    return gained


def _neighbours(ground: _Ground, label: NDArray[np.intp]) -> list[tuple[int, int]]:
    row, column = np.nonzero(ground.length)
    one, other = label[row], label[column]
    apart = one < other
    return sorted(set(zip(one[apart].tolist(), other[apart].tolist(), strict=True)))


def _pairs(ground: _Ground, state: _State, *, only: set[int] | None = None) -> bool:
    """Cut each pair of neighbouring cells (`only` those) anew wherever that is cheaper."""
    gained = False
    pairs = [pair for pair in _neighbours(ground, state.label) if state.tried.get(pair, 0) < _TRIES]
    if only is not None:
        pairs = [pair for pair in pairs if only.issuperset(pair)]
    for i in ground.chance.permutation(len(pairs)).tolist():
        one, other = pairs[i]
        atoms = np.flatnonzero((state.label == one) | (state.label == other))
        mine = state.label[atoms] == one
        if mine.all() or not mine.any():
            continue
        region = _region(ground, atoms)
        if not region.length[mine][:, ~mine].any():
            continue
        between = float(region.poor[mine][:, ~mine].sum()) * ground.per_m
        now = _cost_of(ground, state, one) + _cost_of(ground, state, other) + between
        trees = _TREES if len(atoms) < _MANY else 2
        cost, side = _best(ground, region, trees)
        if cost >= now - _GAIN:
            state.tried[pairs[i]] = state.tried.get(pairs[i], 0) + 1
            continue
        gained = True
        state.label[atoms] = one
        if side is not None:
            state.label[atoms[side]] = other
        _changed(state, one, other)
    return gained


def _flips(ground: _Ground, state: _State) -> bool:
    """Move single atoms over the boundary of two cells, the best move first, as long as both cells stay whole."""
    cells, label = np.unique(state.label, return_inverse=True)
    label = label.ravel()
    held = np.zeros((len(label), len(cells)))
    held[np.arange(len(label)), label] = 1.0
    told, shared, bare = held.T @ ground.told, ground.length @ held, ground.poor @ held
    rim = held.T @ ground.outline - (held * shared).sum(axis=0)
    gained = False
    for _ in range(len(label)):
        move = _best_flip(ground, label, told, rim, shared=shared, bare=bare)
        if move is None:
            break
        atom, cell, target = move
        rim[cell] += 2 * shared[atom, cell] - ground.outline[atom]
        rim[target] += ground.outline[atom] - 2 * shared[atom, target]
        told[cell] -= ground.told[atom]
        told[target] += ground.told[atom]
        for sums, metres in ((shared, ground.length), (bare, ground.poor)):
            sums[:, cell] -= metres[:, atom]
            sums[:, target] += metres[:, atom]
        label[atom] = target
        state.label[atom] = cells[target]
        _changed(state, int(cells[cell]), int(cells[target]))
        gained = True
    return gained


def _best_flip(
    ground: _Ground,
    label: NDArray[np.intp],
    told: NDArray[np.float64],
    rim: NDArray[np.float64],
    *,
    shared: NDArray[np.float64],
    bare: NDArray[np.float64],
) -> tuple[int, int, int] | None:
    """Return the atom, its cell and the cell that it should go to; None where no move gains."""
    atom, target = np.nonzero(shared > 1e-6)
    other = target != label[atom]
    atom, target = atom[other], target[other]
    if not len(atom):
        return None
    cell, at = label[atom], ground.told[atom]
    limits, weights = ground.limits, ground.weights
    costs = cell_costs(told, rim, limits, weights)
    rim_left = rim[cell] - ground.outline[atom] + 2 * shared[atom, cell]
    rim_met = rim[target] + ground.outline[atom] - 2 * shared[atom, target]
    gain = cell_costs(told[cell] - at, rim_left, limits, weights) + cell_costs(
        told[target] + at, rim_met, limits, weights
    )
    gain += (bare[atom, cell] - bare[atom, target]) * ground.per_m - costs[cell] - costs[target]
    for i in np.argsort(np.round(gain, _DIGITS), kind="stable").tolist():
        if gain[i] >= -1e-7:
            return None
        if _stays_whole(ground, label, int(atom[i])):
            return int(atom[i]), int(cell[i]), int(target[i])
    return None


def _stays_whole(ground: _Ground, label: NDArray[np.intp], atom: int) -> bool:
    """Return whether a cell hangs together, and still is one, without an atom."""
    cell = label[atom]
    mine = [i for i in ground.near[atom] if label[i] == cell]
    if not mine:
        return False
    seen, waiting = {atom, mine[0]}, [mine[0]]
    wanted = set(mine) - seen
    while waiting and wanted:
        for i in ground.near[waiting.pop()]:
            if i not in seen and label[i] == cell:
                seen.add(i)
                wanted.discard(i)
                waiting.append(i)
    return not wanted
