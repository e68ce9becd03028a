"""The geocoder: how right, how sure, how fast. `python -m bench.geocode [--quick]`.

Right: on Nanhai (below WANGGE_DATA; said when absent). House numbers are measured per address key with keys held
out of addresses.csv and places alike, and on `address_dev_test.csv`, which nothing is tuned on. Names are put into
sentences of our own, whole and damaged. Complaints from another city show how often a chance name is believed.
Fast: on a fictional gazetteer of 200,000 names, against the bare name automaton in the same process.
"""

import math
import random
import re
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from pypinyin import lazy_pinyin

from bench.rows import Row as Bench
from core.datums import distance_m
from hotline.evaluate import nanhai
from hotline.geocode import AreaEntry, Entry, Gazetteer, Geocoder, Match

#: From here on an answer is dispatched without an operator.
CONFIDENT = 0.75
RIGHT_M = 300
#: Sentences of our own; n is the name, t the town.
SENTENCES = (
    "{n}门口有人乱摆卖,影响通行",
    "请问{n}附近的路灯什么时候修",
    "{t}{n}旁边工地半夜施工很吵",
    "我想投诉{n}乱收费",
    "在{n}看到垃圾没人清理",
    "{n}",
    "领导您好,我住在{t},每天经过{n}的时候都闻到臭味,希望处理",
)
Row = dict[str, str]


@dataclass
class Tally:
    """Shares over answers, or over keys where an answer carries a weight."""

    n: float = 0
    answered: float = 0
    right: float = 0
    confident: float = 0
    confident_wrong: float = 0

    def add(self, match: Match | None, error_m: float | None, *, weight: float = 1.0) -> None:
        self.n += weight
        if match is None or error_m is None:
            return
        self.answered += weight
        self.right += weight * (error_m <= RIGHT_M)
        sure = match.confidence >= CONFIDENT
        self.confident += weight * sure
        self.confident_wrong += weight * (sure and error_m > max(RIGHT_M, match.radius_m))

    def __str__(self) -> str:
        n = max(self.n, 1e-9)
        return (
            f"n {self.n:6.0f}  answered {self.answered / n:.3f}  within {RIGHT_M} m {self.right / n:.3f}  "
            f"of the answered {self.right / max(self.answered, 1e-9):.3f}  confident {self.confident / n:.3f}  "
            f"confident and wrong {self.confident_wrong / n:.3f}"
        )


def judge(geocoder: Geocoder, text: str, row: Row) -> tuple[Match | None, float | None]:
    """Return the first match finer than an area and how far off it is."""
    answer = geocoder.locate(text)
    if not answer.matches or answer.matches[0].kind in ("town", "community"):
        return None, None
    match = answer.matches[0]
    truth = (float(row["lng_wgs84"]), float(row["lat_wgs84"]))
    return match, float(distance_m((match.lng, match.lat), truth)[0])


def held_out(seed: int, share: float) -> tuple[list[Row], Callable[[Row], bool]]:
    """Return address rows whose keys are held out, and what says of a row that it may stay in the gazetteer."""
    rows = nanhai.rows_of("nanhai/addresses.csv")
    keys = sorted({row["addr_key"] for row in rows})
    chosen = set(random.Random(seed).sample(keys, int(len(keys) * share)))
    held = [row for row in rows if row["addr_key"] in chosen]
    ids = {row["poi_id"] for row in held}
    written = {row["road"][-6:] + row["house_no"] + "号" for row in held}
    return held, lambda row: row["poi_id"] not in ids and not any(form in row["address"] for form in written)


def house_numbers(geocoder: Geocoder, rows: Sequence[Row], label: str) -> None:
    """Print the shares per address key, for three ways to write an address."""
    towns = {area.name: area.code for area in geocoder.gazetteer.areas if area.level == "town"}
    by_key: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_key[row["addr_key"]].append(row)
    ways = {
        "as registered": lambda row: row["full_address"],
        "road and number": lambda row: row["addr_key"],
        "without the town, in a sentence": lambda row: f"{row['road']}{row['house_no']}号有人乱倒垃圾",
    }
    for way, ask in ways.items():
        everything, known = Tally(), Tally()
        for found in by_key.values():
            name = geocoder.gazetteer.names.get(found[0]["road"])
            town = towns.get(found[0]["town_by_polygon"], "")
            is_known = name is not None and any(road.known and town in road.towns for road in name.roads)
            for row in found:
                verdict = judge(geocoder, ask(row), row)
                everything.add(*verdict, weight=1 / len(found))
                if is_known:
                    known.add(*verdict, weight=1 / len(found))
        print(f"{label}, {way}\n  every key                {everything}\n  numbers of the road known {known}")


def damage(name: str, rng: random.Random, letters: Sequence[str], alike: dict[str, list[str]]) -> str:
    """Return a name with one slip: a letter that sounds alike (4 in 10), lost, changed or added (2 in 10 each)."""
    while True:
        at, kind = rng.randrange(len(name)), rng.random()
        if kind < 0.4:
            slip = name[:at] + rng.choice(alike.get(lazy_pinyin(name[at])[0], [name[at]])) + name[at + 1 :]
        elif kind < 0.6:
            slip = name[:at] + name[at + 1 :]
        elif kind < 0.8:
            slip = name[:at] + rng.choice(letters) + name[at + 1 :]
        else:
            slip = name[:at] + rng.choice(letters) + name[at:]
        if slip != name:
            return slip


def names(geocoder: Geocoder, *, count: int) -> None:
    """Print the shares for names in sentences, whole and damaged."""
    rng = random.Random(11)
    places = nanhai.rows_of("nanhai/pois.csv")
    letters = sorted({letter for row in places for letter in row["name"] if "一" <= letter <= "鿿"})
    alike: dict[str, list[str]] = defaultdict(list)
    for letter in letters:
        alike[lazy_pinyin(letter)[0]].append(letter)
    steady = {"商务住宅", "风景名胜", "政府机构及社会团体", "科教文化服务"}
    sets = {
        "whole names": (places, False),
        "damaged names": ([row for row in places if len(row["name"]) >= 4], True),
        "damaged names of estates, parks, schools, offices": (
            [row for row in places if len(row["name"]) >= 4 and row["type_raw"].split(";")[0] in steady],
            True,
        ),
    }
    for label, (rows, slips) in sets.items():
        tally = Tally()
        for row in rng.sample(rows, min(count, len(rows))):
            name = damage(row["name"], rng, letters, alike) if slips else row["name"]
            text = rng.choice(SENTENCES).format(n=name, t=row["town_by_polygon"])
            tally.add(*judge(geocoder, text, row))
        print(f"{label}\n  {tally}")


def strangers(geocoder: Geocoder) -> None:
    """Print how complaints of another city are answered, as they are and without the names that give them away."""
    for file in ("messages_hot", "messages_unlabelled"):
        rows = nanhai.rows_of(f"complaints/{file}.csv")
        for label, cleaned in (("as they are", False), ("scrambled names cut out", True)):
            counts: dict[str, int] = defaultdict(int)
            for row in rows:
                text = row.get("title", "") + "。" + row["content"]
                if cleaned:
                    text = re.sub(r"[A-Za-z]\d{0,2}[市区县州]|西地省", "", text)
                answer = geocoder.locate(text)
                counts[answer.status] += 1
                if answer.matches:
                    counts["of these 0.6 and more"] += answer.matches[0].confidence >= 0.6
                    counts["confident"] += answer.matches[0].confidence >= CONFIDENT
            shares = ", ".join(f"{name} {count / len(rows):.4f}" for name, count in sorted(counts.items()))
            print(f"{file}, {label}: {len(rows)} messages, {shares}")


def fictional(count: int, rng: random.Random) -> Gazetteer:
    """Return a gazetteer of invented names spread over forty kilometres."""
    syllables = "春夏秋冬云雨山河松柏梅兰竹菊金银玉石龙凤鹤鹿星月海江湖泉林森和平安康福寿祥瑞文武明德仁义礼信华茂盛达"
    ends = ["花园", "广场", "小区", "大厦", "公园", "便利店", "餐厅", "学校", "工业园", "村", "苑", "药房"]
    roads = [
        (
            "".join(rng.choices(syllables, k=rng.choice((2, 2, 3)))) + rng.choice(["路", "大道", "街"]),
            (rng.uniform(112.8, 113.2), rng.uniform(22.8, 23.2)),
            rng.uniform(0, 2 * math.pi),
        )
        for _ in range(count // 25)
    ]
    seen: set[str] = set()
    rows = []
    while len(rows) < count:
        name = "".join(rng.choices(syllables, k=rng.randint(2, 5))) + rng.choice(ends)
        if name in seen:
            continue
        seen.add(name)
        road, (lng, lat), way = rng.choice(roads)
        number = rng.randint(1, 300)
        # Eight metres a number, in degrees.
        lng, lat = lng + number * 8e-5 * math.cos(way), lat + number * 8e-5 * math.sin(way)
        town = f"9901010{10 + min(15, max(0, int((lng - 112.8) * 40)))}"
        rows.append(Entry(kind="place", name=name, lng=lng, lat=lat, town_code=town, address=f"{road}{number}号"))
    areas = [AreaEntry(level="town", code=f"9901010{n}", name=f"虚构{n}镇", lng=113.0, lat=23.0) for n in range(10, 26)]
    return Gazetteer(rows, areas, district="虚构区", city="虚构市")


def rate(call: Callable[[str], object], texts: Iterable[str]) -> float:
    """Return calls per second of processor time, which other work on the machine does not lengthen much."""
    listed = list(texts)
    started = time.process_time()
    for text in listed:
        call(text)
    return len(listed) / max(time.process_time() - started, 1e-9)


def speed(*, count: int) -> list[Bench]:
    """Print how long 200,000 names take to load and how many texts a second are answered, beside the automaton."""
    rng = random.Random(7)
    gazetteer = fictional(count, rng)
    started = time.process_time()
    gazetteer = Gazetteer(gazetteer.rows, gazetteer.areas, district="虚构区", city="虚构市")
    made = time.process_time()
    geocoder = Geocoder(gazetteer)
    print(f"{count} fictional names: gazetteer {made - started:.1f} s, geocoder {time.process_time() - made:.1f} s")
    chosen = rng.sample(gazetteer.rows, 2000)
    letters = "春夏秋冬云雨山河松柏梅兰竹菊"

    def town(row: Entry) -> str:
        return f"虚构{row.town_code[-2:]}镇"

    whole = [rng.choice(SENTENCES).format(n=row.name, t=town(row)) for row in chosen]
    addresses = [f"{town(row)}{row.address}有人乱摆卖" for row in chosen]
    damaged = [
        rng.choice(SENTENCES).format(n=row.name[:1] + rng.choice(letters) + row.name[2:], t="虚构12镇")
        for row in chosen
    ]
    long_text = "。".join(rng.choice(SENTENCES).format(n=row.name, t="") for row in chosen)[:10_000]
    rounds: dict[str, list[float]] = defaultdict(list)
    for _ in range(3):
        rounds["automaton alone"].append(rate(lambda text: list(gazetteer.automaton.iter(text)), whole))
        rounds["whole names"].append(rate(geocoder.locate, whole))
        rounds["addresses"].append(rate(geocoder.locate, addresses))
        rounds["damaged names"].append(rate(geocoder.locate, damaged[:800]))
        rounds["10,000 characters"].append(rate(geocoder.locate, [long_text] * 5))
    middles = {name: float(np.median(found)) for name, found in rounds.items()}
    reference = middles.pop("automaton alone")
    goals = {"whole names": "≥ 20,000/s a core", "damaged names": "≥ 1,000/s", "10,000 characters": "bounded"}
    note = "per second of processor time; reference: the bare automaton over the same texts"
    return [
        Bench(f"geocode, {name}", middle, reference, "texts/s", middle / reference, goals.get(name, ""), note)
        for name, middle in middles.items()
    ]


def run(quick: bool) -> list[Bench]:  # noqa: FBT001  the signature of every bench
    """Print accuracy where there is data, and return the rates."""
    if nanhai.present():
        for seed in (1,) if quick else (1, 2, 3):
            rows, keep = held_out(seed, 0.12)
            house_numbers(Geocoder(nanhai.gazetteer(keep)), rows, f"held-out keys, seed {seed}")
        geocoder = Geocoder(nanhai.gazetteer())
        house_numbers(geocoder, nanhai.rows_of("nanhai/address_dev_test.csv"), "address_dev_test.csv")
        names(geocoder, count=400 if quick else 1500)
        strangers(geocoder)
    else:
        print(f"accuracy: not measured, {nanhai.DATA / 'nanhai'} is absent")
    return speed(count=20_000 if quick else 200_000)


if __name__ == "__main__":
    for row in run(quick="--quick" in sys.argv):
        print(row)
