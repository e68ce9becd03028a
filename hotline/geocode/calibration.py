"""How often answers that looked so sure were right: a confidence that can be believed for what the geocoder reckons.

`calibration.json` holds, for each kind of reason, points of a rising curve: reckoned, right. They were fitted by
isotonic regression on the building half of `hotline.evaluate.place_texts`, a third of it names that the register
lacks, and on house numbers held out, these lowered by 0.06 because one in six of the sure ones was wrong where keys
count alike; right is within 300 m or the radius. Knows numbers only, no names.
"""

import json
from bisect import bisect_right
from functools import cache
from importlib import resources
from typing import Final

#: The curve for answers beside which another place is about as likely.
RIVALS: Final = "rivals"


@cache
def _curves() -> dict[str, tuple[list[float], list[float]]]:
    told = json.loads(resources.files("hotline.geocode").joinpath("calibration.json").read_text(encoding="utf-8"))
    return {why: (curve[0], curve[1]) for why, curve in told.items()}


def believed(why: str, reckoned: float) -> float:
    """Return how often answers of a reason were right that were reckoned so sure; without a curve what was reckoned."""
    curve = _curves().get(why)
    if curve is None:
        return reckoned
    given, right = curve
    after = bisect_right(given, reckoned)
    if after == 0:
        return right[0]
    if after == len(given):
        return right[-1]
    low, high = given[after - 1], given[after]
    return right[after - 1] + (right[after] - right[after - 1]) * (reckoned - low) / (high - low)
