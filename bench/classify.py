"""Category, kind, urgency, masking, twins: how fast. `python -m bench.classify [--rounds 3]`; how right says `wangge evaluate`.

Times are of the processor, not the wall, because the machine may be shared. The district's model is trained into a
temporary folder from `labelled_tokens_train.csv` below WANGGE_DATA, where it is there.
"""

import argparse
import math
import random
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from core.settings import settings
from hotline.classify import SHIPPED, Classifier
from hotline.hot import HotWatch, Seen
from hotline.kinds import kind_of
from hotline.masking import mask
from hotline.train import own_sentences, train
from hotline.twins import TwinIndex
from hotline.understand import SURE_OF_TWIN
from hotline.urgency import alarm

#: Characters of a short message, such as a caller's sentence or a form's.
SHORT = 60


def rate(call, items, *, rounds=3):
    """Return (calls a second, median microseconds of one call) over several rounds; the best round counts."""
    best = []
    for _ in range(rounds):
        took = []
        for item in items:
            start = time.process_time()
            call(item)
            took.append(time.process_time() - start)
        best.append((len(took) / sum(took), statistics.median(took) * 1e6))
    return max(best)


def district(folder: Path) -> Classifier | None:
    """Return a model trained from the given labelled messages; None, aloud, where there are none."""
    source = folder / "complaints/labelled_tokens_train.csv"
    if not source.is_file():
        print(f"the district's model is not measured, {source.name} is absent")
        return None
    with tempfile.TemporaryDirectory() as made:
        out = Path(made) / "classifier.npz"
        start = time.process_time()
        train(source, out)
        print(f"trained in {time.process_time() - start:.1f} s, {out.stat().st_size / 1e6:.1f} MB")
        return Classifier.load(out)


def speed(models: dict[str, Classifier], *, rounds: int) -> None:
    texts, _ = own_sentences(3)
    rng = random.Random(1)
    short = [text[:SHORT] for text in texts]
    long = ["".join(rng.choices(texts, k=12))[:400] for _ in range(600)]
    for name, model in models.items():
        for kind, items in (("short", short), ("400 characters", long)):
            per_second, micro = rate(model.classify, items, rounds=rounds)
            mean = sum(map(len, items)) / len(items)
            print(f"classify, {name} model, {kind} (mean {mean:.0f} characters): {per_second:,.0f}/s, {micro:.0f} us")
    for name, call in (("urgency", alarm), ("kind", kind_of), ("masking", mask)):
        per_second, micro = rate(call, short, rounds=rounds)
        print(f"{name}, short: {per_second:,.0f}/s, {micro:.0f} us")


def apart(one, other) -> float:
    """Return metres between two messages, infinity where a place is unknown: such may not be called one matter."""
    if one[1] is None or other[1] is None:
        return math.inf
    return math.hypot((one[1] - other[1]) * math.cos(math.radians(one[2])), one[2] - other[2]) * 111_195


def twins(*, kept: int = 50_000, asked: int = 3_000) -> None:
    """Print rate, recall of planted reposts and false alarms among texts of one frame at other places."""
    rng = random.Random(2)
    texts, classes = own_sentences(40, seed=11)
    now = datetime(2026, 3, 1, tzinfo=UTC)
    index = TwinIndex(kept=kept)
    messages = []
    start = time.process_time()
    for i in range(kept):
        n = rng.randrange(len(texts))
        placed = rng.random() < 0.8
        lng, lat = (113.0 + rng.random() * 0.3, 22.9 + rng.random() * 0.3) if placed else (None, None)
        at = now + timedelta(minutes=i * 60 * 24 * 55 // kept)
        messages.append((texts[n] + rng.choice(("", "请尽快处理", "盼复")), lng, lat, at, classes[n]))
        index.add(i, *messages[-1])
    print(f"twins: added {kept / (time.process_time() - start):,.0f}/s")
    fresh, reposts = [], []
    for _ in range(asked):
        n = rng.randrange(len(texts))
        lng, lat = 113.0 + rng.random() * 0.3, 22.9 + rng.random() * 0.3
        fresh.append((texts[n], lng, lat, now + timedelta(days=55), classes[n]))
        i = rng.randrange(kept * 3 // 4, kept)
        text, lng, lat, at, name = messages[i]
        moved = None if lng is None else lng + 0.0002
        reposts.append((i, (text + "，请核实", moved, lat, at + timedelta(hours=5), name)))
    took, hit, far, unplaced = [], 0, 0, 0
    for i, message in reposts:
        start = time.process_time()
        found = index.find(*message)
        took.append(time.process_time() - start)
        hit += any(twin.case_id == i for twin in found)
    for message in fresh:
        start = time.process_time()
        found = index.find(*message)
        took.append(time.process_time() - start)
        metres = [apart(message, messages[int(str(twin.case_id))]) for twin in found if twin.score >= SURE_OF_TWIN]
        far += any(400 < m < math.inf for m in metres)
        unplaced += math.inf in metres
    took.sort()
    print(
        f"twins with {kept:,} kept: {len(took) / sum(took):,.0f} finds/s, median {took[len(took) // 2] * 1e6:.0f} us, "
        f"p99 {took[len(took) * 99 // 100] * 1e6:.0f} us; reposts found {hit / asked:.3f}, "
        f"same sentence at a point further away taken for a twin {far / asked:.4f}, "
        f"same sentence without a point {unplaced / asked:.4f}"
    )


def typing(*, kept: int = 50_000, texts: int = 60) -> None:
    """Print what asking at every key costs with `kept` messages, and how often the first suggestion changes its mind."""
    rng = random.Random(5)
    sentences, classes = own_sentences(40, seed=11)
    now = datetime(2026, 3, 1, tzinfo=UTC)
    index, places = TwinIndex(kept=kept), []
    for i in range(kept):
        n = rng.randrange(len(sentences))
        at = now + timedelta(minutes=i * 60 * 24 * 55 // kept)
        places.append((sentences[n], 113.0 + rng.random() * 0.3, 22.9 + rng.random() * 0.3))
        index.add(i, *places[-1], at, classes[n])
    took, turns, asked = [], 0, 0
    for _ in range(texts):
        # Somebody calls about what another reported, at the same place.
        text, lng, lat = rng.choice(places[kept // 2 :])
        first = None
        for end in range(4, len(text) + 1):
            start = time.process_time()
            found = index.find(text[:end], lng, lat, now + timedelta(days=55), limit=5)
            took.append(time.process_time() - start)
            best = found[0].case_id if found else None
            turns += first is not None and best != first
            first, asked = best or first, asked + 1
    took.sort()
    print(
        f"twins while typing, {kept:,} kept: median {took[len(took) // 2] * 1e3:.2f} ms, p95 "
        f"{took[len(took) * 95 // 100] * 1e3:.2f} ms, p99 {took[len(took) * 99 // 100] * 1e3:.2f} ms of the processor; "
        f"first suggestion changed at {turns / asked:.3f} of the keys"
    )


def watching(*, taken: int = 6_000) -> None:
    """Print how many new cases a second are looked at for hot matters."""
    rng = random.Random(6)
    sentences, _ = own_sentences(40, seed=12)
    now = datetime(2026, 3, 1, tzinfo=UTC)
    watch = HotWatch()
    start = time.process_time()
    for i in range(taken):
        at = now + timedelta(seconds=40 * i)
        lng, lat = 113.0 + rng.random() * 0.3, 22.9 + rng.random() * 0.3
        watch.take(Seen(i, rng.choice(sentences), at, f"p{i}", lng=lng, lat=lat))
        if not i % 10:
            watch.grown(at)
    print(f"hot matters: {taken / (time.process_time() - start):,.0f} cases/s looked at, {taken:,} taken")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-training", action="store_true", help="rates only")
    chosen = parser.parse_args()
    folder = settings().data
    models = {"shipped": Classifier.load(SHIPPED)}
    if not chosen.no_training:
        trained = district(folder)
        if trained:
            models["district"] = trained
    speed(models, rounds=chosen.rounds)
    twins()
    typing()
    watching()


if __name__ == "__main__":
    main()
