"""Category, kind, urgency, twins: how right and how fast. `python -m bench.classify [--rounds 3]`.

Times are of the processor, not the wall, because the machine may be shared. Reads `complaints/` below WANGGE_DATA when
it is there and says so when it is not; the rates need no data. The district model is trained into a temporary folder
from `labelled_tokens_train.csv` and judged on `labelled_text_dev.csv`.
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
from hotline.kinds import kind_of
from hotline.train import Report, evaluate, own_sentences, train
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


def show(name: str, found: Report) -> None:
    print(
        f"{name}: messages {found.messages}, accuracy {found.accuracy:.4f}, macro-F1 {found.macro_f1:.4f}, "
        f"calibration error {found.calibration_error:.3f}, answered {found.answered:.3f} "
        f"with accuracy {found.accuracy_answered:.4f}, model {found.model}"
    )


def table(found: Report) -> None:
    print("  class            precision  recall   F1     support")
    for name, one in found.classes.items():
        print(f"  {name:　<8} {one.precision:8.3f} {one.recall:8.3f} {one.f1:8.3f} {one.support:6d}")
    print("  top probability: bin, messages, mean said, share right")
    for low, n, said, right in found.reliability:
        print(f"  {low:.1f} to {low + 0.1:.1f}  {n:5d}  {said:.3f}  {right:.3f}")


def accuracy(folder: Path) -> Classifier | None:
    """Print the figures of the shipped and the district's model; return the latter where there is data."""
    train_csv, dev_csv = folder / "complaints/labelled_tokens_train.csv", folder / "complaints/labelled_text_dev.csv"
    if not dev_csv.is_file():
        print(f"accuracy: not measured, {dev_csv.name} is absent")
        return None
    found = evaluate(Classifier.load(SHIPPED), dev_csv)
    show("shipped model (own sentences) on dev", found)
    table(found)
    with tempfile.TemporaryDirectory() as made:
        out = Path(made) / "classifier.npz"
        start = time.process_time()
        show("district model, cross-validated on its training file", train(train_csv, out))
        print(f"  trained in {time.process_time() - start:.1f} s, {out.stat().st_size / 1e6:.1f} MB")
        model = Classifier.load(out)
    found = evaluate(model, dev_csv)
    show("district model on dev", found)
    table(found)
    return model


def alarms(folder: Path) -> None:
    """Print how often real board messages, which are hardly ever emergencies, raise one, and flood posts do."""
    import csv

    for name in ("complaints/messages_hot.csv", "complaints/messages_unlabelled.csv", "weibo/posts.csv"):
        path = folder / name
        if not path.is_file():
            print(f"urgency: not measured, {path.name} is absent")
            continue
        with path.open(encoding="utf-8", newline="") as lines:
            texts = [r.get("text") or f"{r['title']}。{r['content']}" for r in csv.DictReader(lines)]
        levels = [alarm(text).level for text in texts]
        print(
            f"urgency of {name}: {len(texts)} messages, emergency {levels.count('emergency')}, "
            f"utilities {levels.count('utilities')}"
        )


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
    for name, call in (("urgency", alarm), ("kind", kind_of)):
        per_second, micro = rate(call, short, rounds=rounds)
        print(f"{name}, short: {per_second:,.0f}/s, {micro:.0f} us")


def apart(one, other) -> float:
    """Return metres between two messages, infinity where a place is unknown: such may not be called one matter."""
    if one[1] is None or other[1] is None:
        return math.inf
    return math.hypot((one[1] - other[1]) * math.cos(math.radians(one[2])), one[2] - other[2]) * 111_195


def fiction(models: dict[str, Classifier], *, count: int = 4_000) -> None:
    """Print the figures on the fictional district's complaints, whose sentences no model was trained on."""
    from datetime import date

    from grid.fiction import build
    from hotline.fiction import complaints

    rows = list(complaints(build(seed=1, households=20_000), count=count, start=date(2026, 3, 1), days=30, seed=1))
    for name, model in models.items():
        pairs = [(model.classify(row["text"]), row["truth"]) for row in rows]
        given = [(one, truth) for one, truth in pairs if one.level1]
        right = sum(one.level1 == truth["level1"] for one, truth in given)
        best = sum(one.categories[0].name == truth["level1"] for one, truth in pairs)
        kinds = sum(one.kind == truth["kind"] for one, truth in pairs)
        print(
            f"fiction, {name} model: level 1 right {best / count:.3f}, answered {len(given) / count:.3f}, "
            f"right there {right / len(given):.3f}, kind right {kinds / count:.3f}"
        )


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-training", action="store_true", help="rates only")
    chosen = parser.parse_args()
    folder = settings().data
    models = {"shipped": Classifier.load(SHIPPED)}
    if not chosen.no_training:
        district = accuracy(folder)
        if district:
            models["district"] = district
    alarms(folder)
    fiction(models)
    speed(models, rounds=chosen.rounds)
    twins()


if __name__ == "__main__":
    main()
