"""Atoms put together to cells: balanced, contiguous, compact, along real lines. The same for a seed.

Two neighbouring cells are taken as one piece of ground, random spanning trees are drawn over its atoms, every edge of
every tree is tried as the place to cut, and the cheapest of all cuts stands (recombination, DeFord et al. 2021, here as
a descent). A cut may also be no cut, so that the number of cells settles by itself.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree

from grid.drawing.atoms import Atoms
from grid.drawing.measure import cell_costs, line_cost
from grid.drawing.site import Limits, Site, Weights

#: Trees drawn at once for one pair, and for a first cut.
_TREES: Final = 4
_FIRST_TREES: Final = 16
#: A pair is given up after so many tries without gain since either of its cells changed.
_TRIES: Final = 5
#: Atoms of two cells above which fewer trees are drawn: the work grows with the square.
_MANY: Final = 160
_GAIN: Final = 1e-9


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
    length: csr_array
    poor: csr_array
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
    atoms: Atoms, site: Site, weights: Weights, *, seed: int, rounds: int = 12
) -> tuple[NDArray[np.intp], float]:
    """Return the cell `0…k-1` of each atom, and what they cost. Every cell hangs together where its atoms' graph does.

    rounds: how often all pairs of neighbours are gone through at most.
    """
    ground = _ground(atoms, site, weights, seed)
    state = _first(ground)
    for _ in range(rounds):
        gained = _single(ground, state)
        gained |= _pairs(ground, state)
        gained |= _flips(ground, state)
        if not gained:
            break
    cost = sum(_cost_of(ground, state, cell) for cell in np.unique(state.label).tolist())
    graph = ground.poor.tocoo()
    apart = state.label[graph.row] < state.label[graph.col]
    label = np.unique(state.label, return_inverse=True)[1].astype(np.intp).ravel()
    return label, cost + float(graph.data[apart].sum()) * ground.per_m


def _ground(atoms: Atoms, site: Site, weights: Weights, seed: int) -> _Ground:
    count = len(atoms)
    both = (np.concatenate((atoms.a, atoms.b)), np.concatenate((atoms.b, atoms.a)))
    length = csr_array(coo_array((np.tile(atoms.length, 2), both), shape=(count, count)))
    poor = csr_array(coo_array((np.tile(atoms.poor, 2), both), shape=(count, count)))
    return _Ground(
        site=site,
        limits=site.limits,
        weights=weights,
        told=np.column_stack((atoms.load, atoms.homes, atoms.area, atoms.speech)),
        outline=atoms.outer + np.asarray(length.sum(axis=1)).ravel(),
        middle=atoms.middle,
        length=length,
        poor=poor,
        chance=np.random.default_rng(seed),
        per_m=float(line_cost(1.0, site, weights)),
    )


def _region(ground: _Ground, atoms: NDArray[np.intp]) -> _Region:
    length = ground.length[atoms][:, atoms].toarray()
    return _Region(
        atoms=atoms,
        length=length,
        poor=ground.poor[atoms][:, atoms].toarray(),
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
    far = np.hypot(*way.T)
    found = []
    for tree in range(trees):
        # Edges over great roads join last, so that what a cut divides is divided by them.
        weight = ground.chance.random(len(one)) + 0.6 * share * ground.chance.random()
        if tree % 2:
            # Every other tree runs in strips across one direction: its cuts are straight.
            angle = ground.chance.random() * np.pi
            weight = weight * 0.5 + np.abs(way @ np.array([np.cos(angle), np.sin(angle)])) / np.maximum(far, 1e-9)
        graph = csr_array((weight + 1e-3, (one, other)), shape=(count, count))
        root = int(ground.chance.integers(count))
        order, before = breadth_first_order(minimum_spanning_tree(graph), root, directed=False)
        below = np.eye(count, dtype=bool)
        for node in order[:0:-1].tolist():
            below[before[node]] |= below[node]
        found.append(below[order[1:]])
    return np.concatenate(found).astype(np.float64)


def _cuts(ground: _Ground, region: _Region, trees: int) -> tuple[NDArray[np.float64], ...]:
    """Return the sides below some random cuts `(t, m)`, what both sides hold, their outlines, and the cut's cost."""
    side = _subtrees(ground, region, trees)
    told, rim = side @ region.told, side @ region.rim
    away = 1 - side
    cut = ((side @ region.length) * away).sum(axis=1)
    poor = ((side @ region.poor) * away).sum(axis=1)
    return side, told, region.told.sum(axis=0) - told, rim + cut, region.rim.sum() - rim + cut, poor * ground.per_m


def _first(ground: _Ground) -> _State:
    """Return cells found by cutting each connected piece of ground again and again, each time at the best place."""
    count = len(ground.told)
    state = _State(np.zeros(count, dtype=np.intp))
    parts, piece = connected_components(ground.length, directed=False)
    waiting = [np.flatnonzero(piece == i) for i in range(parts)]
    while waiting:
        atoms = waiting.pop()
        cells = max(round(float(ground.told[atoms, 0].sum()) / ground.limits.target), 1)
        cut = _first_cut(ground, _region(ground, atoms), cells) if cells > 1 and len(atoms) > 1 else None
        if cut is None:
            state.label[atoms] = state.next_label
            state.next_label += 1
        else:
            waiting += [atoms[cut], atoms[~cut]]
    return state


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
    found: NDArray[np.bool_] = side[int(np.argmin(cost))] > 0
    return found


def _best(ground: _Ground, region: _Region, trees: int) -> tuple[float, NDArray[np.bool_] | None]:
    """Return the cheapest way to have one or two cells there, and the side of the cut; None for one cell."""
    whole = _whole_cost(ground, region)
    if len(region.atoms) < 2:
        return whole, None
    side, low, high, low_rim, high_rim, line = _cuts(ground, region, trees)
    cost = cell_costs(low, low_rim, ground.limits, ground.weights) + line
    cost = cost + cell_costs(high, high_rim, ground.limits, ground.weights)
    at = int(np.argmin(cost))
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
    graph = ground.length.tocoo()
    one, other = label[graph.row], label[graph.col]
    apart = one < other
    return sorted(set(zip(one[apart].tolist(), other[apart].tolist(), strict=True)))


def _pairs(ground: _Ground, state: _State) -> bool:
    """Cut each pair of neighbouring cells anew wherever that is cheaper."""
    gained = False
    pairs = [pair for pair in _neighbours(ground, state.label) if state.tried.get(pair, 0) < _TRIES]
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
    """Move single atoms over the boundary of two cells where that is cheaper and both cells stay whole."""
    gained = False
    length, poor = ground.length, ground.poor
    for atom in ground.chance.permutation(len(ground.told)).tolist():
        cell = int(state.label[atom])
        near = length.indices[length.indptr[atom] : length.indptr[atom + 1]]
        shared = length.data[length.indptr[atom] : length.indptr[atom + 1]]
        bare = poor[[atom], :].toarray().ravel()[near]
        of = state.label[near]
        if (of == cell).all():
            continue
        mine = np.flatnonzero(state.label == cell)
        rest = mine[mine != atom]
        if not len(rest) or connected_components(length[rest][:, rest], directed=False)[0] > 1:
            continue
        best = (-_GAIN, -1)
        for target in sorted(set(of[of != cell].tolist())):
            gain = _flip_gain(ground, state, atom, target, of=of, shared=shared, bare=bare)
            best = min(best, (gain, target))
        if best[1] >= 0:
            state.label[atom] = best[1]
            _changed(state, cell, best[1])
            gained = True
    return gained


def _flip_gain(
    ground: _Ground,
    state: _State,
    atom: int,
    target: int,
    *,
    of: NDArray[np.intp],
    shared: NDArray[np.float64],
    bare: NDArray[np.float64],
) -> float:
    """Return what the whole would cost more if an atom went to another cell; negative is a gain."""
    cell = int(state.label[atom])
    sums, rims = [], []
    for one in (cell, target):
        mine = np.flatnonzero(state.label == one)
        sums.append(ground.told[mine].sum(axis=0))
        inside = float(ground.length[mine][:, mine].sum())
        rims.append(float(ground.outline[mine].sum()) - inside)
    at, outline = ground.told[atom], float(ground.outline[atom])
    told = np.array([sums[0] - at, sums[1] + at])
    rim = np.array(
        [rims[0] - outline + 2 * shared[of == cell].sum(), rims[1] + outline - 2 * shared[of == target].sum()]
    )
    after = float(cell_costs(told, rim, ground.limits, ground.weights).sum())
    moved = float(bare[of == cell].sum() - bare[of == target].sum()) * ground.per_m
    return after + moved - _cost_of(ground, state, cell) - _cost_of(ground, state, target)
