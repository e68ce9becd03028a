"""Fits how sure the geocoder may say it is: `python -m hotline.evaluate.place_curves` rewrites its calibration.

Asks what `places` asks of the real district, in the same proportions, but of the building half and of house numbers
held out by other draws; notes what was reckoned and whether it was right; and lays a rising curve through it for each
reason. A generated district is left out: its numbers run as regularly as no real ones do. Run it after every change of
what the geocoder reckons, and `wangge evaluate places` after it.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from importlib import resources
from pathlib import Path
from typing import Final

import numpy as np

from hotline.evaluate import nanhai
from hotline.evaluate.place_texts import Asker, Question, Row, at_of
from hotline.evaluate.places import (
    RIGHT_M,
    WAYS,
    error_of,
    held_out,
    junctions_held_out,
    lacking,
)
from hotline.geocode import Geocoder
from hotline.geocode.calibration import RIVALS

#: Draws of house numbers that are not those of the figures.
_DRAWS: Final = range(11, 19)
#: A step of a curve rests on as many answers at least, is drawn towards the middle by two, and is lowered by one
#: standard error, each answer counting for a half because places are asked for more than once.
_LEAST: Final = 80
#: Nothing is surer, and what only resembles less, because nothing that was asked is as strange as what will be.
_SUREST, _SUREST_SIMILAR = 0.96, 0.94
#: What a person has to look at, however often it was right: of two places one, and a name that seems to be a part of a
#: longer one; where the register lacks the name that was meant, one in ten of these was someone else's.
_DOUBTED: Final = dict.fromkeys((RIVALS, "place_named, part", "place_named, edge"), 0.79)
#: Reasons of which nothing is learnt: names amid longer ones are rare here, no road is meant here without a number, and
#: a number that is held out and known all the same is one that the register has twice, for different places.
_UNTAUGHT: Final = (", inside", "road_named", "address_exact")


class Noting:
    """Believes what was reckoned, and keeps it."""

    def __init__(self) -> None:
        """Keep nothing yet."""
        self._last: tuple[str, float] | None = None

    def __call__(self, why: str, reckoned: float) -> float:
        """Keep a reason and what was reckoned; return the latter."""
        self._last = (why, reckoned)
        return reckoned

    def taken(self) -> tuple[str, float] | None:
        """Return what was kept last, once."""
        last, self._last = self._last, None
        return last


Observations = dict[str, list[tuple[float, bool]]]


def observed(count: int) -> Observations:
    """Return for each reason what was reckoned and whether it was right within 300 m or the radius."""
    noting = Noting()
    found: Observations = defaultdict(list)
    for geocoder, questions in _sets(count, noting):
        for one in questions:
            answer = geocoder.locate(one.text)
            last = noting.taken()
            if last is not None:
                error = error_of(answer.matches[0], one)
                right = error is not None and error <= max(RIGHT_M, answer.matches[0].radius_m)
                found[last[0]].append((last[1], right))
    return found


def _sets(count: int, noting: Noting) -> Iterator[tuple[Geocoder, Iterable[Question]]]:
    """Yield geocoders with what to ask them."""
    asker, half = Asker("building"), count // 2
    whole = Geocoder(nanhai.gazetteer(), believe=noting)
    for questions in (
        asker.telling(count), asker.named(count), asker.damaged(count), asker.traditional(half), asker.cantonese(half),
        asker.nearby(half), asker.offsets(half), asker.between(half), asker.stretches(half), asker.two_places(half),
        asker.as_they_are(count), asker.nowhere(count), asker.elsewhere(half), asker.next_door(half),
    ):  # fmt: skip
        yield whole, questions
    yield lacking(asker, count, believe=noting), asker.unregistered(count)
    without, pairs = junctions_held_out("building", believe=noting)
    yield without, asker.crossings(pairs[:half])
    for seed in _DRAWS:
        rows, keep = held_out(seed, 0.12)
        yield Geocoder(nanhai.gazetteer(keep), believe=noting), _numbers(rows)


def _numbers(rows: list[Row]) -> Iterator[Question]:
    """Yield addresses written in two ways, each key once."""
    for row in {row["addr_key"]: row for row in rows}.values():
        for way in ("as registered", "without the town, in a sentence"):
            yield Question(id=row["poi_id"], text=WAYS[way](row), at=at_of(row))


def curve(observations: Iterable[tuple[float, bool]], surest: float = _SUREST) -> tuple[list[float], list[float]]:
    """Return points of a rising curve, reckoned and right: isotonic steps of enough answers, joined by lines."""
    from sklearn.isotonic import IsotonicRegression  # imported late: two seconds that only fitting pays

    said, right = (np.array(column, dtype=float) for column in zip(*sorted(observations), strict=True))
    level = IsotonicRegression(out_of_bounds="clip").fit(said, right).predict(said)
    steps: list[list[int]] = []
    for at in range(len(said)):
        if steps and (level[at] == level[at - 1] or len(steps[-1]) < _LEAST):
            steps[-1].append(at)
        else:
            steps.append([at])
    if len(steps) > 1 and len(steps[-1]) < _LEAST:
        last = steps.pop()
        steps[-1] += last
    middles = [float(said[step].mean()) for step in steps]
    shares = [(right[step].sum() + 1) / (len(step) + 2) for step in steps]
    careful = [
        share - math.sqrt(2 * share * (1 - share) / len(step)) for share, step in zip(shares, steps, strict=True)
    ]
    rising = np.maximum.accumulate(np.maximum(careful, 0.01))
    return [round(x, 3) for x in middles], [round(min(float(y), surest), 3) for y in rising]


def main(count: int = 1500) -> None:
    """Fit all curves and write them where the geocoder reads them."""
    told = {
        why: curve(points, _DOUBTED.get(why, _SUREST_SIMILAR if "similar" in why else _SUREST))
        for why, points in sorted(observed(count).items())
        if len(points) >= _LEAST // 2 and not why.endswith(_UNTAUGHT)
    }
    lines = ",\n".join(f"  {json.dumps(why)}: {json.dumps(list(points))}" for why, points in told.items())
    Path(str(resources.files("hotline.geocode").joinpath("calibration.json"))).write_text(
        "{\n" + lines + "\n}\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
