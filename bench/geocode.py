"""The geocoder: how fast. `python -m bench.geocode [--quick]`; how right it is says `wangge evaluate places`.

On a fictional gazetteer of 200,000 names, against the bare name automaton in the same process.
"""

import math
import random
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable

import numpy as np
from pypinyin import Style, lazy_pinyin

from bench.rows import Row as Bench
from hotline.geocode import AreaEntry, Entry, Gazetteer, Geocoder

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
    typed = [row.name[: rng.randint(1, 4)] for row in chosen[:500]] + [row.address[:-1] for row in chosen[500:700]]
    typed += ["".join(lazy_pinyin(row.name[: rng.randint(1, 4)], style=Style.FIRST_LETTER)) for row in chosen[:500]]
    print(f"suggest: index {_built(geocoder):.1f} s, {_spread(geocoder, typed)}")
    goals = {"whole names": "≥ 20,000/s a core", "damaged names": "≥ 1,000/s", "10,000 characters": "bounded"}
    note = "per second of processor time; reference: the bare automaton over the same texts"
    return [
        Bench(f"geocode, {name}", middle, reference, "texts/s", middle / reference, goals.get(name, ""), note)
        for name, middle in middles.items()
    ]


def _built(geocoder: Geocoder) -> float:
    """Return how long the index of names as they are typed takes, in seconds of processor time."""
    started = time.process_time()
    geocoder.suggester.suggest("a")
    return time.process_time() - started


def _spread(geocoder: Geocoder, typed: Iterable[str]) -> str:
    """Return percentiles of the processor time that one completion takes; the goal is p95 under 30 ms."""
    took = []
    for text in typed:
        started = time.thread_time()
        geocoder.suggester.suggest(text)
        took.append((time.thread_time() - started) * 1000)
    return ", ".join(f"p{share} {np.percentile(took, share):.1f} ms" for share in (50, 95, 99))


def run(quick: bool) -> list[Bench]:  # noqa: FBT001  the signature of every bench
    """Return the rates."""
    return speed(count=20_000 if quick else 200_000)


if __name__ == "__main__":
    for row in run(quick="--quick" in sys.argv):
        print(row)
