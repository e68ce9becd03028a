"""The geocoder beside Nominatim over the same gazetteer: `make bench-nominatim`, no part of `make test`.

Nominatim (PyPI: nominatim-db, nominatim-api) lives in an environment of its own under `var/bench-nominatim`, and so
does its database, in a cluster of its own that runs while it is asked; of Debian it needs osm2pgsql and, to build
PyICU, `libicu-dev pkg-config g++`. The import takes minutes and is kept as long as the gazetteer stays the same. It is
asked through its library, without a server, one question after the other, and so is ours, kind by kind in turns; rates
are by processor time, the database's too.

Each kind of question is asked in the forms that a desk could use: `text`, the whole message; `typed`, the names alone
as a clerk would type them into a search box; `spaced`, an address in its parts; `structured`, street and city in fields
of their own. Nominatim's tokenizer is taught to set house numbers apart, without which it finds none as Chinese write
it. Junctions are asked with the addresses that mention them taken out, for both. An answer that names only a town or
village is none. The half `building` is for choosing how to write the data; the half `figure` gives the figures.
"""

import argparse
import contextlib
import hashlib
import os
import shutil
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import median
from typing import IO, Any, Literal

import orjson
import psycopg
from sqlalchemy import make_url

from api import local
from bench import nominatim_osm
from bench.environments import environment
from core.errors import Unavailable
from core.settings import settings
from hotline.evaluate import nanhai
from hotline.evaluate.place_texts import Asker, Half, LngLat, Question, apart, at_of, messages
from hotline.evaluate.places import RIGHT_M, house_numbers, junctions_held_out
from hotline.geocode import Geocoder

_PACKAGES = ("nominatim-db", "nominatim-api", "psycopg[binary]")
#: An offset's answer must be nearer than the place that it starts from would be.
_OFFSET_M = 100
#: Address ranks up to here are streets' and houses' areas: villages, towns, districts.
_AREA_RANK = 25
#: As shipped, the number of 文林街70号 is one word with the road, in the data and in what is asked, and is never found.
_APART = "[:Han:] { ([0-9]+) [号號] > ' ' $1 ' '"
_ASK = """
import json, sys, time
import nominatim_api as napi

with napi.NominatimAPI(sys.argv[1]) as api:
    for line in sys.stdin:
        asked = json.loads(line)
        begun = time.perf_counter()
        try:
            if "lng" in asked:
                one = api.reverse((asked["lng"], asked["lat"]))
                found = [one] if one else []
            elif "street" in asked:
                found = api.search_address(**asked, max_results=1)
            else:
                found = api.search(asked["q"], max_results=1)
        except (TimeoutError, napi.UsageError):
            found = []
        took = time.perf_counter() - begun
        best = [[one.lon, one.lat, one.rank_address] for one in found[:1]]
        print(json.dumps([took, best]), flush=True)
"""

Form = Literal["text", "typed", "spaced", "structured"]


@dataclass(frozen=True, slots=True)
class Asked:
    """One question in its forms, with what would be right."""

    #: What Nominatim's program reads, by form; ours reads `q`.
    forms: dict[Form, dict[str, str]]
    at: LngLat | None
    town: str = ""
    weight: float = 1.0


@dataclass(slots=True)
class Score:
    """What one side made of one kind in one form."""

    n: float = 0
    right: float = 0
    town: float = 0
    none: float = 0
    took: list[float] = field(default_factory=list)
    #: Seconds of processor time, the database's too.
    cpu: float = 0

    @property
    def rate(self) -> float:
        """Questions a second of processor time, which other work on the machine lengthens little."""
        return len(self.took) / max(self.cpu, 1e-9)

    def shares(self) -> tuple[float, float, float, float]:
        """Return the shares that are right, in the right town, without an answer, and wrong."""
        right, town, none = (part / max(self.n, 1e-9) for part in (self.right, self.town, self.none))
        return right, town, none, max(0.0, 1 - right - none)


#: An answer: its point, its town, whether it is an area only, seconds.
Given = tuple[LngLat | None, str, bool, float]


class Nominatim:
    """Nominatim's library in its own interpreter, asked by lines."""

    def __init__(self, home: Path, env: dict[str, str], sockets: str, towns: Geocoder) -> None:
        python = str(home / "bin" / "python")
        self._process = subprocess.Popen(
            [python, "-c", _ASK, str(home)], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._towns = towns
        with psycopg.connect(host=sockets, user="postgres", dbname="postgres") as link:
            self._server = _parent_and_ticks(link.info.backend_pid)[0]

    def cpu(self) -> float:
        """Return the seconds of processor time that its interpreter and its database's backends have had."""
        ticks = 0
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                parent, mine = _parent_and_ticks(int(folder.name))
                if parent == self._server or int(folder.name) == self._process.pid:
                    ticks += mine
        return ticks / os.sysconf("SC_CLK_TCK")

    def ask(self, form: dict[str, Any]) -> Given:
        to, back = self._pipes()
        to.write(orjson.dumps(form) + b"\n")
        to.flush()
        line = back.readline()
        if not line:
            raise RuntimeError("Nominatim's program ended")
        took, best = orjson.loads(line)
        if not best:
            return None, "", False, took
        lng, lat, rank = best[0]
        return (lng, lat), self._towns.areas_at(lng, lat)[0] or "", rank < _AREA_RANK, took

    def close(self) -> None:
        self._pipes()[0].close()
        self._process.wait(30)

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        return self._process.stdin, self._process.stdout


def _parent_and_ticks(pid: int) -> tuple[int, int]:
    told = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    return int(told[1]), int(told[11]) + int(told[12])


def ours(geocoder: Geocoder, form: dict[str, str]) -> Given:
    begun = time.perf_counter()
    answer = geocoder.locate(form["q"])
    took = time.perf_counter() - begun
    if not answer.matches:
        return None, "", False, took
    match = answer.matches[0]
    return (match.lng, match.lat), match.town_code, match.kind in ("town", "community"), took


def kinds(half: Half, geocoder: Geocoder, pairs: Sequence[Any], count: int) -> Iterator[tuple[str, float, list[Asked]]]:
    """Yield the kinds of questions, with how near an answer must be; 0 asks for the town, infinity for no answer."""
    asker = Asker(half)
    kept = {(row.lng, row.lat) for row in geocoder.gazetteer.rows}
    rows = {row["poi_id"]: row for row in nanhai.rows_of("nanhai/pois.csv")}
    codes = {area.name: area.code for area in geocoder.gazetteer.areas if area.level == "town"}

    def plain(questions: Iterator[Question]) -> list[Asked]:
        return [
            Asked(_forms(one), one.at, codes.get(one.town, ""))
            for one in questions
            if one.at is None or at_of(rows[one.id.partition("@")[0]]) in kept
        ]

    yield "names of one place", RIGHT_M, plain(asker.telling(count))
    yield "the same, with one slip", RIGHT_M, plain(asker.damaged(count))
    yield "the same, traditional characters", RIGHT_M, plain(asker.traditional(count))
    yield "house numbers in the register", RIGHT_M, _registered(geocoder, half, codes, count)
    yield "house numbers not in it, road known", RIGHT_M, _unregistered(geocoder, codes)
    crossings = [Asked(_forms(one), one.at, codes.get(one.town, "")) for one in asker.crossings(pairs[:count])]
    yield "junctions held out", RIGHT_M, crossings
    yield "offsets, within 100 m", _OFFSET_M, plain(asker.offsets(count))
    yield "a town alone, town right", 0, _towns(half, codes, count)
    yield "no place at all, no answer", float("inf"), plain(asker.nowhere(count))
    yield "addresses elsewhere, no answer", float("inf"), plain(asker.elsewhere(count))


def _forms(one: Question) -> dict[Form, dict[str, str]]:
    found: dict[Form, dict[str, str]] = {"text": {"q": one.text}}
    return found | ({"typed": {"q": one.typed}} if one.typed else {})


def _numbered(row: dict[str, str], codes: dict[str, str], weight: float = 1.0) -> Asked:
    road, number, town = row["road"], row["house_no"], row["town_by_polygon"]
    forms: dict[Form, dict[str, str]] = {
        "text": {"q": f"{row['full_address']}有人乱倒垃圾，已经几天了，希望处理"},
        "typed": {"q": f"{town}{road}{number}号"},
        "spaced": {"q": f"{town}, {road}, {number}"},
        "structured": {"street": f"{number} {road}", "city": town},
    }
    return Asked(forms, at_of(row), codes.get(town, ""), weight)


def _registered(geocoder: Geocoder, half: Half, codes: dict[str, str], count: int) -> list[Asked]:
    kept = {(row.lng, row.lat) for row in geocoder.gazetteer.rows}
    by_key = {row["addr_key"]: row for row in nanhai.rows_of("nanhai/addresses.csv") if at_of(row) in kept}
    rows = list(by_key.values())
    return [_numbered(row, codes) for row in Random(half).sample(rows, min(count, len(rows)))]


def _unregistered(geocoder: Geocoder, codes: dict[str, str]) -> list[Asked]:
    """Return numbers that the register lacks, weighted by address key, on roads of which it has others in the town."""
    by_key: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in nanhai.rows_of("nanhai/address_dev_test.csv"):
        by_key[row["addr_key"]].append(row)
    found = []
    for rows in by_key.values():
        if house_numbers(geocoder, rows[:1], lambda row: row["full_address"])[1].n:
            found += [_numbered(row, codes, 1 / len(rows)) for row in rows]
    return found


def _towns(half: Half, codes: dict[str, str], count: int) -> list[Asked]:
    dice, told = Random(3), messages(half)
    found = []
    for _ in range(count):
        town, message = dice.choice(sorted(codes)), dice.choice(told)
        forms: dict[Form, dict[str, str]] = {
            "text": {"q": f"我是{town}居民。{message.text[:500]}"},
            "typed": {"q": town},
        }
        found.append(Asked(forms, None, codes[town]))
    return found


def score(given: Given, asked: Asked, limit: float, into: Score) -> None:
    spot, town, area, took = given
    into.n += asked.weight
    into.took.append(took)
    if limit == float("inf"):
        into.right += asked.weight * (spot is None)
        return
    if spot is None or (area and limit):
        into.none += asked.weight
        return
    in_town = asked.weight * (town == asked.town)
    into.town += in_town
    into.right += in_town if not limit or asked.at is None else asked.weight * (apart(spot, asked.at) <= limit)


@contextlib.contextmanager
def cluster(home: Path) -> Iterator[str]:
    """Start a private cluster below `home`; yield the folder of its sockets; stop it."""
    names = ("WANGGE_VAR", "WANGGE_DATABASE_URL", "WANGGE_OWNER_URL", "WANGGE_BROKER_URL")
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    os.environ["WANGGE_VAR"] = str(home)
    settings.cache_clear()
    try:
        try:
            yield str(make_url(local.start().owner_url).query["host"])
        finally:
            local.stop()
    finally:
        del os.environ["WANGGE_VAR"]
        os.environ.update(before)
        settings.cache_clear()


def imported(home: Path, half: Half, geocoder: Geocoder, sockets: str) -> dict[str, str]:
    """Have Nominatim import the gazetteer unless it has this very one; return what its programs need to know."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("WANGGE_", "PG", "NOMINATIM_"))}
    env |= {
        "NOMINATIM_DATABASE_DSN": f"pgsql:dbname={half};host={sockets};user=postgres",
        "NOMINATIM_DATABASE_WEBUSER": "postgres",
        "NOMINATIM_IMPORT_STYLE": "full",
        "NOMINATIM_TOKENIZER": "icu",
        "PATH": f"{local.programs()}:{env.get('PATH', '')}",
    }
    env["NOMINATIM_TOKENIZER_CONFIG"] = str(_taught(home))
    osm, log, mark = home / f"{half}.osm", home / "import.log", home / f"{half}.imported"
    print(nominatim_osm.write(geocoder.gazetteer, osm))
    digest = hashlib.sha256(osm.read_bytes() + _APART.encode()).hexdigest()
    if mark.exists() and mark.read_text(encoding="ascii") == digest:
        return env
    mark.unlink(missing_ok=True)
    with psycopg.connect(host=sockets, user="postgres", dbname="postgres", autocommit=True) as link:
        link.execute(f"DROP DATABASE IF EXISTS {half}")
    begun = time.perf_counter()
    with log.open("wb") as out:
        done = subprocess.run(
            [str(home / "bin" / "nominatim"), "import", "--no-updates", "--offline", "--osm-file", str(osm)],
            env=env, cwd=home, stdout=out, stderr=out, check=False,
        )  # fmt: skip
    if done.returncode:
        raise RuntimeError("nominatim import failed:\n" + log.read_text(encoding="utf-8", errors="replace")[-3000:])
    mark.write_text(digest, encoding="ascii")
    print(f"imported in {time.perf_counter() - begun:.0f} s", flush=True)
    return env


@contextlib.contextmanager
def spending(into: Score, clock: Callable[[], float]) -> Iterator[None]:
    """Add the processor time of the block to a score."""
    begun = clock()
    yield
    into.cpu += clock() - begun


def _taught(home: Path) -> Path:
    """Write the shipped rules of its tokenizer with one more, that sets a house number apart; return the file."""
    (shipped,) = home.glob("lib/python*/site-packages/nominatim_db/resources/settings/icu_tokenizer.yaml")
    rules = shipped.read_text(encoding="utf-8")
    lower = '    - ":: lower ()"\n'
    if lower not in rules:
        raise RuntimeError("Nominatim's tokenizer has other rules than this bench knows")
    made = home / "taught.yaml"
    made.write_text(rules.replace(lower, f'{lower}    - "{_APART}"\n', 1), encoding="utf-8")
    return made


def compare(half: Half, count: int) -> list[tuple[str, str, Score, Score | None]]:
    """Ask both sides everything; return kind, form, their score and ours where ours was asked that form."""
    if shutil.which("osm2pgsql") is None:
        raise Unavailable(
            "Nominatim needs osm2pgsql, and libicu-dev, pkg-config and g++ to be built; run make bench-nominatim."
        )
    if not nanhai.present():
        raise Unavailable("The given data of a real district are not on this machine.")
    home = environment("bench-nominatim", *_PACKAGES)
    without, pairs = junctions_held_out(half)
    found: list[tuple[str, str, Score, Score | None]] = []
    with cluster(home / "cluster") as sockets:
        peer = Nominatim(home, imported(home, half, without, sockets), sockets, without)
        try:
            peer.ask({"q": "warm"})
            without.locate("warm")
            without.suggester.near(113.1, 23.0, limit=1)
            for kind, limit, questions in kinds(half, without, pairs, count):
                for form in ("text", "typed", "spaced", "structured"):
                    asked = [one for one in questions if form in one.forms]
                    if not asked:
                        continue
                    theirs, mine = Score(), Score()
                    with spending(theirs, peer.cpu):
                        for one in asked:
                            score(peer.ask(one.forms[form]), one, limit, theirs)
                    with spending(mine, time.process_time):
                        for one in asked if "q" in asked[0].forms[form] else ():
                            score(ours(without, one.forms[form]), one, limit, mine)
                    found.append((kind, form, theirs, mine if mine.n else None))
                    _show(*found[-1])
            found.append(("reverse", "point", *_reverse(peer, without, count)))
            _show(*found[-1])
        finally:
            peer.close()
    return found


def _reverse(peer: Nominatim, geocoder: Geocoder, count: int) -> tuple[Score, Score]:
    """Ask both what lies at points of the register, moved a little; counted is whether anything is named."""
    dice, theirs, mine = Random(4), Score(), Score()
    asked = [
        ((row.lng + dice.uniform(-1, 1) * 3e-4, row.lat + dice.uniform(-1, 1) * 3e-4), Asked({}, None, row.town_code))
        for row in dice.sample(geocoder.gazetteer.rows, count)
    ]
    with spending(theirs, peer.cpu):
        for (lng, lat), town in asked:
            score(peer.ask({"lng": lng, "lat": lat}), town, 0, theirs)
    with spending(mine, time.process_time):
        for (lng, lat), town in asked:
            begun = time.perf_counter()
            code = geocoder.areas_at(lng, lat)[0] or ""
            near = geocoder.suggester.near(lng, lat, limit=1)
            score(((lng, lat) if near else None, code, False, time.perf_counter() - begun), town, 0, mine)
    return theirs, mine


def _show(kind: str, form: str, theirs: Score, mine: Score | None) -> None:
    for who, one in (("ours", mine), ("Nominatim", theirs)):
        if one is not None:
            right, town, none, wrong = one.shares()
            times = f"{median(one.took) * 1000:8.2f} ms p50 {max(one.took) * 1000:9.1f} ms most {one.rate:9,.1f}/s"
            print(
                f"{kind:38} {form:10} {who:9} n {one.n:5.0f}  right {right:.3f}  town {town:.3f}  none {none:.3f}  "
                f"wrong {wrong:.3f} {times}",
                flush=True,
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="30 questions of a kind instead of 150")
    parser.add_argument("--half", choices=("building", "figure"), default="figure")
    told = parser.parse_args()
    compare(told.half, 30 if told.quick else 150)
