"""Positions of a phone 轨迹: how they are thinned, and what about them a supervisor may want to ask. Pure.

What is remarkable is said in neutral words and never refuses anything: a phone between high houses jumps by itself, and
an old one gives an accuracy of 0.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray

from core.datums import Plane, distance_m
from grid.words import N_

#: A position less exact than this says nothing about streets.
COARSE_M = 100.0
#: Thinning: how far a dropped position may lie beside the line that is kept, and how long a gap may become.
_BESIDE_M, _GAP_S = 5.0, 60.0
#: Faster than this is no patrol, not even by car in town; shorter jumps are the phone's own.
_FAST_M_PER_S, _JUMP_M = 40.0, 400.0
#: So long at exactly the same place, to the seventh digit, with so many positions: receivers always tremble.
_STILL = timedelta(hours=2)
_STILL_POINTS, _ZERO_POINTS = 20, 5


@dataclass(frozen=True, slots=True)
class Track:
    """`n` positions in order of time."""

    #: `(n, 2)` float64 lon lat, WGS84 (EPSG:4490 to within centimetres).
    lng_lat: NDArray[np.float64]
    #: `(n,)` metres; NaN where the phone did not say.
    accuracy_m: NDArray[np.float64]
    #: `(n,)` seconds since 1970 by the corrected clock.
    at_s: NDArray[np.float64]
    #: `(n,)` the phone said that a test setting made the position.
    mock: NDArray[np.bool_]

    def __len__(self) -> int:
        """How many positions."""
        return len(self.at_s)

    def of(self, chosen: Any) -> "Track":
        """Return some of the positions: a mask, a slice or indices."""
        return Track(self.lng_lat[chosen], self.accuracy_m[chosen], self.at_s[chosen], self.mock[chosen])

    @property
    def length_m(self) -> float:
        """Metres from position to position."""
        return float(distance_m(self.lng_lat[:-1], self.lng_lat[1:]).sum()) if len(self) > 1 else 0.0


@dataclass(frozen=True, slots=True)
class Remark:
    """Something to ask about: English msgid, what fills it, and when it was."""

    message: str
    params: dict[str, Any]
    at: datetime


SPEED: Final = N_("The position moved {metres} m in {seconds} s.")
ZERO: Final = N_("The phone gave an accuracy of 0 m for {n} positions.")
MOCK: Final = N_("The phone said of {n} positions that they came from a test setting.")
STILL: Final = N_("The position stayed exactly the same for {minutes} minutes.")


def thin(track: Track) -> Track:
    """Return what is worth keeping: the shape within 5 m, at least one position a minute, none that is too coarse."""
    fine = track.of(~(track.accuracy_m > COARSE_M))
    if len(fine) < 3:
        return fine
    plane = Plane.at(float(fine.lng_lat[0, 0]), float(fine.lng_lat[0, 1]))
    flat = np.column_stack((plane.to_metres(fine.lng_lat), np.arange(len(fine), dtype=float)))
    # The third coordinate travels along: it says which positions were kept.
    line = shapely.simplify(shapely.linestrings(flat), _BESIDE_M, preserve_topology=False)
    shape = shapely.get_coordinates(line, include_z=True)[:, 2]
    kept = np.zeros(len(fine), dtype=bool)
    kept[shape[np.isfinite(shape)].astype(int)] = True
    kept[[0, -1]] = True
    last = fine.at_s[0]
    for i in range(len(fine)):
        if kept[i] or fine.at_s[i] - last >= _GAP_S:
            kept[i], last = True, fine.at_s[i]
    return fine.of(kept)


def remarks(track: Track) -> list[Remark]:
    """Return what is remarkable about a track, at most one of each kind, in order of the kinds above."""
    found: list[Remark] = []
    if len(track) > 1:
        metres, seconds = distance_m(track.lng_lat[:-1], track.lng_lat[1:]), np.diff(track.at_s)
        vague = np.nan_to_num(track.accuracy_m[:-1]) + np.nan_to_num(track.accuracy_m[1:])
        sure = np.maximum(metres - vague, 0)
        jumps = np.flatnonzero((sure > _JUMP_M) & (sure > _FAST_M_PER_S * np.maximum(seconds, 1)))
        if jumps.size:
            worst = int(jumps[np.argmax(sure[jumps])])
            told = {"metres": round(float(metres[worst])), "seconds": round(float(seconds[worst]))}
            found.append(Remark(SPEED, told, _moment(track.at_s[worst + 1])))
    zero, mock = np.flatnonzero(track.accuracy_m == 0), np.flatnonzero(track.mock)
    if zero.size >= _ZERO_POINTS:
        found.append(Remark(ZERO, {"n": int(zero.size)}, _moment(track.at_s[zero[0]])))
    if mock.size:
        found.append(Remark(MOCK, {"n": int(mock.size)}, _moment(track.at_s[mock[0]])))
    still = _longest_still(track)
    return [*found, still] if still else found


def _longest_still(track: Track) -> Remark | None:
    if len(track) < _STILL_POINTS:
        return None
    moved = np.flatnonzero((track.lng_lat[1:] != track.lng_lat[:-1]).any(axis=1)) + 1
    starts, ends = np.concatenate(([0], moved)), np.concatenate((moved, [len(track)]))
    spans = track.at_s[ends - 1] - track.at_s[starts]
    long = np.flatnonzero((spans >= _STILL.total_seconds()) & (ends - starts >= _STILL_POINTS))
    if not long.size:
        return None
    longest = int(long[np.argmax(spans[long])])
    return Remark(STILL, {"minutes": round(float(spans[longest]) / 60)}, _moment(track.at_s[starts[longest]]))


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(float(seconds), UTC)
