"""Drawing in a process of its own: seconds of arithmetic would hold up every other request of a web server.

`propose_apart` starts this module as a program, hands it the site as JSON and takes the proposal back. Its time is
limited: whoever waits gets an answer in words.
"""

import os
import resource
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
import shapely
from numpy.typing import NDArray

from core.errors import Invalid, Unavailable
from grid.cellset import CellSet
from grid.drawing.measure import CellFigures, Figures
from grid.drawing.propose import Note, Proposal, propose
from grid.drawing.site import Limits, Site, Weights

#: Seconds of one core, and bytes, that a proposal may take; 10,000 households take some five seconds.
_SECONDS: Final = 90
_MEMORY: Final = 3_000_000_000
#: How the program ends when it has a refusal to tell.
_REFUSED: Final = 3
_ROOT: Final = Path(__file__).resolve().parents[2]


def propose_apart(site: Site, weights: Weights | None = None, *, seed: int = 0) -> Proposal:
    """Return what `propose` returns, computed in another process.

    Raises Invalid as it does, and Unavailable where the time does not suffice.
    """
    told = {"site": _written(site), "weights": asdict(weights or Weights()), "seed": seed}
    # -P: nothing beside the program may pose as a module.
    argv = [sys.executable, "-P", "-m", "grid.drawing.apart"]
    env = {"PYTHONPATH": str(_ROOT), "PATH": "", "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    try:
        done = subprocess.run(  # noqa: S603  this very module
            argv, input=orjson.dumps(told), capture_output=True, timeout=2 * _SECONDS, check=False, cwd=_ROOT, env=env
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable("The proposal took too long and was given up.") from error
    if done.returncode == _REFUSED:
        fault = orjson.loads(done.stdout)
        raise Invalid(fault["message"], field=fault["field"], **fault["params"])
    if done.returncode:
        raise Unavailable("The proposal took too long and was given up.")
    return _proposal(orjson.loads(done.stdout))


def _shapes(given: NDArray[Any]) -> list[str]:
    return [bytes(one).hex() for one in shapely.to_wkb(given)] if len(given) else []


def _geometries(hexes: list[str]) -> NDArray[Any]:
    found = np.empty(len(hexes), dtype=object)
    found[:] = shapely.from_wkb([bytes.fromhex(one) for one in hexes]) if hexes else []
    return found


def _written(site: Site) -> dict[str, Any]:
    return {
        "community": site.community,
        "shape": _shapes(np.array([site.shape], dtype=object))[0],
        "roads": _shapes(site.roads),
        "road_class": site.road_class,
        "water": _shapes(site.water),
        "estates": _shapes(site.estates),
        "estate_name": site.estate_name,
        "points": site.points.tolist(),
        "households": site.households.tolist(),
        "use": site.use.tolist(),
        "group": site.group.tolist(),
        "group_name": site.group_name,
        "usual": None if site.usual is None else site.usual.tolist(),
        "basis": site.basis,
        "limits": asdict(site.limits),
    }


def _site(told: Mapping[str, Any]) -> Site:
    return Site(
        community=told["community"],
        shape=_geometries([told["shape"]])[0],
        roads=_geometries(told["roads"]),
        road_class=told["road_class"],
        water=_geometries(told["water"]),
        estates=_geometries(told["estates"]),
        estate_name=told["estate_name"],
        points=np.array(told["points"], dtype=np.float64).reshape(-1, 2),
        households=np.array(told["households"], dtype=np.float64),
        use=np.array(told["use"], dtype=np.intp),
        group=np.array(told["group"], dtype=np.intp),
        group_name=told["group_name"],
        usual=None if told["usual"] is None else np.array(told["usual"]),
        basis=told["basis"],
        limits=Limits(**told["limits"]),
    )


def _told(proposal: Proposal) -> dict[str, Any]:
    cells = proposal.cells
    return {
        "code": cells.code,
        "community": cells.community,
        "kind": cells.kind,
        "households": cells.households,
        "geom": _shapes(cells.geom),
        "figures": asdict(proposal.figures),
        "notes": [asdict(note) for note in proposal.notes],
    }


def _proposal(told: Mapping[str, Any]) -> Proposal:
    figures = dict(told["figures"])
    figures["cells"] = tuple(CellFigures(**cell) for cell in figures["cells"])
    return Proposal(
        cells=CellSet(told["code"], told["community"], told["kind"], _geometries(told["geom"]), told["households"]),
        figures=Figures(**figures),
        notes=tuple(Note(note["message"], note["params"], tuple(note["cells"])) for note in told["notes"]),
    )


def main() -> int:
    """Draw what stands on standard input, within limits, and write it to standard output."""
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    # Whoever waits for a page goes first.
    os.nice(5)
    told = orjson.loads(sys.stdin.buffer.read())
    try:
        made = propose(_site(told["site"]), Weights(**told["weights"]), seed=told["seed"])
    except Invalid as error:
        fault = {"message": error.message, "field": error.field, "params": dict(error.params)}
        sys.stdout.buffer.write(orjson.dumps(fault))
        return _REFUSED
    sys.stdout.buffer.write(orjson.dumps(_told(made)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
