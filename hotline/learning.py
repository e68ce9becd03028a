"""Learning from corrections 纠错学习: models made from confirmed cases, judged on kept ones, chosen only when better.

A case teaches when a person stands behind its category: the operator set it, or dispatched the case as it stood. A
fifth of these cases, chosen by a hash that never changes, is kept for judging and never trained on. A candidate
replaces the present model when an exact McNemar test on the kept cases says that it is better; every candidate's
figures stay, and the bytes of every model that was ever in use, so that any choice can be taken back.
Knows the tables `model_version` and `model_choice`; how a model is trained stands in `hotline.train`.
"""

import logging
import math
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, LargeBinary, func, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, Session, mapped_column

from core.actor import system
from core.db import Base, snapshot, transaction
from core.errors import Conflict
from core.ids import new_id
from dispatch.rulebook import Rulebook, read_rulebook
from grid.models import Instant
from hotline.categories import CategoryTree, Node
from hotline.classify import Classifier, plain
from hotline.train import train

__all__ = ["Lesson", "Made", "Version", "learn", "lessons", "present", "rollback", "versions"]

#: *Default*s, changed by `district.settings` under `learning`: kept cases, and lessons, before anything is learnt;
#: the chance, at most, that a candidate which is no better is taken for better; lessons of a level-1 name before it
#: is one of the model's.
FEWEST_KEPT, FEWEST_LESSONS, CHANCE, FEWEST_OF_NAME = 40, 100, 0.05, 8
#: The newest confirmed cases that are read: they take some 400 MB while training, and three minutes of one core.
MOST_LESSONS: Final = 20_000
#: Every so many-th matter is kept for judging.
_KEPT_OF: Final = 5
#: After a model was taken back, a new one waits for so many lessons more, or the night would undo the day.
_PATIENCE: Final = 1.1
_log = logging.getLogger(__name__)


class ModelVersion(Base):
    """模型版本: a candidate with its figures; its bytes too where it came into use. Append-only."""

    __tablename__ = "model_version"
    __table_args__ = (
        ForeignKeyConstraint(["district_code", "parent_id"], ["model_version.district_code", "model_version.id"]),
        CheckConstraint("verdict IN ('better', 'not better')", name="verdict"),
        CheckConstraint("(verdict = 'better') = (content IS NOT NULL)", name="content"),
        Index("ix_model_version_newest", "district_code", "made_at"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    #: What cases name in `suggestions.model`.
    name: Mapped[str]
    #: The version that was in use when this one was made; None for the installation's own model.
    parent_id: Mapped[uuid.UUID | None]
    made_at: Mapped[datetime] = mapped_column(Instant)
    #: Confirmed cases that it was trained on.
    lessons: Mapped[int]
    #: better or not better than what was in use.
    verdict: Mapped[str]
    #: `Comparison` as plain values.
    figures: Mapped[dict[str, Any]] = mapped_column(JSONB)
    #: The model's file.
    content: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)


class ModelChoice(Base):
    """模型选用: which model answers from when on, who said so and why; the newest holds. Append-only."""

    __tablename__ = "model_choice"
    __table_args__ = (
        ForeignKeyConstraint(["district_code", "version_id"], ["model_version.district_code", "model_version.id"]),
        CheckConstraint("why IN ('better', 'rollback')", name="why"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    #: None: the model of the installation.
    version_id: Mapped[uuid.UUID | None]
    chosen_at: Mapped[datetime] = mapped_column(Instant)
    chosen_by: Mapped[str]
    why: Mapped[str]


@dataclass(frozen=True, slots=True)
class Lesson:
    """A case whose category a person stands behind."""

    case_id: uuid.UUID
    #: The matter's first case, so that reposts of one text are all kept or all trained on.
    matter: uuid.UUID
    text: str
    code: str
    #: Level-1 name.
    level1: str

    @property
    def kept(self) -> bool:
        """Whether it is for judging only; the same answer for ever."""
        return sha256(self.matter.bytes).digest()[0] % _KEPT_OF == 0


@dataclass(frozen=True, slots=True)
class Comparison:
    """How two models fared on the same kept cases."""

    kept: int
    #: Level-1 names right, share of all kept cases.
    present: float
    candidate: float
    present_macro_f1: float
    candidate_macro_f1: float
    #: Cases that only the candidate has right, and only the present model.
    gained: int
    lost: int
    #: Chance of at least so many gained if both were alike (McNemar, exact, one-sided).
    chance: float
    #: Kept cases that get a deeper code, and the share of those codes that are right or lie above the right one.
    deeper_given: int
    deeper_right: float
    present_deeper_given: int
    present_deeper_right: float


@dataclass(frozen=True, slots=True)
class Made:
    """What a night of learning came to."""

    #: better, not better, or too few.
    verdict: str
    lessons: int
    kept: int
    #: None where nothing was trained.
    name: str | None = None
    comparison: Comparison | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """One line of the list of models."""

    id: uuid.UUID
    name: str
    made_at: datetime
    lessons: int
    verdict: str
    figures: Mapping[str, Any]
    #: Whether it answers now.
    in_use: bool


_CONFIRMED = text(
    "SELECT c.id, coalesce(c.merged_into, c.duplicate_of, c.id), c.title, c.text, c.category_code FROM cases c "
    "WHERE c.district_code = :d AND c.category_code IS NOT NULL AND (c.category_by = 'operator' OR EXISTS ("
    "SELECT 1 FROM entry e WHERE e.district_code = c.district_code AND e.case_id = c.id AND e.actor_id IS NOT NULL "
    "AND e.actor_role = 'operator' AND e.action IN ('dispatch', 'redispatch')) "
    # Chosen by the operator while taking the call: sure, and not what the model said.
    "OR (c.category_confidence = 1 AND c.category_code <> coalesce(c.suggestions #>> '{categories,0,code}', ''))) "
    "ORDER BY c.received_at DESC LIMIT :n"
)


def lessons(session: Session, tree: CategoryTree, district: str, *, limit: int = MOST_LESSONS) -> list[Lesson]:
    """Return the newest confirmed cases whose category is in the tree, newest first. Reads only."""
    found = []
    for row in session.execute(_CONFIRMED, {"d": district, "n": limit}):
        path = tree.path(row[4])
        if path:
            said = f"{row[2]}。{row[3]}" if row[2] else row[3]
            found.append(Lesson(row[0], row[1], said, row[4], path[0].name))
    return found


def tree_of(book: Rulebook) -> CategoryTree:
    """Return the district's category tree as the classifier takes it."""
    return CategoryTree(Node(node.code, node.name, node.parent or "") for node in book.categories.values())


def present(session: Session, district: str, *, own: Path | None, tree: CategoryTree | None = None) -> Classifier:
    """Return the model that answers in a district: the chosen one, else the installation's.

    own: file of the installation's model, None for the shipped one. Bytes that are damaged are logged and passed over.
    Reads only.
    """
    content = session.scalar(
        select(ModelVersion.content).where(
            ModelVersion.district_code == district, ModelVersion.id == _chosen(session, district)
        )
    )
    return Classifier.load(own, tree=tree, learnt=content)


def learn(district: str, *, at: datetime, labelled: Path | None, own: Path | None) -> Made:
    """Train a candidate from confirmed cases, and choose it when it is better on the kept ones; minutes of one core.

    at: aware. labelled: the messages that the installation's own model is trained from, if any. own: that model's file.
    Holds no transaction while it trains; two at once make two candidates, of which each is judged by itself.
    """
    with snapshot(system(district, "learning")) as session:
        book = read_rulebook(session, district)
        tree = tree_of(book)
        known = lessons(session, tree, district)
        model = present(session, district, own=own, tree=tree)
        parent = _chosen(session, district)
        patience = _patience(session, district)
    rules: Mapping[str, Any] = book.settings.get("learning", {})
    kept = [lesson for lesson in known if lesson.kept]
    judged = {plain(lesson.text) for lesson in kept}
    # A text that is said again word for word would be learnt by heart.
    taught = [lesson for lesson in known if not lesson.kept and plain(lesson.text) not in judged]
    few = Made("too few", len(taught), len(kept))
    if len(kept) < rules.get("fewest_kept", FEWEST_KEPT) or len(taught) < max(
        rules.get("fewest_lessons", FEWEST_LESSONS), patience
    ):
        return few
    counts: dict[str, int] = {}
    for lesson in taught:
        counts[lesson.level1] = counts.get(lesson.level1, 0) + 1
    named = [lesson for lesson in taught if counts[lesson.level1] >= rules.get("fewest_of_name", FEWEST_OF_NAME)]
    if len({lesson.level1 for lesson in named}) < 2:
        return few
    deeper = tree.learn((lesson.text, lesson.code) for lesson in taught)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "candidate.npz"
        pairs = [(lesson.text, lesson.level1) for lesson in named]
        train(labelled, out, lessons=pairs, roots=tree.roots, deeper=deeper)
        content = out.read_bytes()
        candidate = Classifier.load(out, tree=tree)
    found = compare(model, candidate, kept, tree)
    better = (
        found.chance <= rules.get("chance", CHANCE)
        and found.candidate_macro_f1 >= found.present_macro_f1
        and found.deeper_right >= found.present_deeper_right - 0.05
    )
    version = ModelVersion(
        district_code=district,
        id=new_id(),
        name=candidate.version,
        parent_id=parent,
        made_at=at,
        lessons=len(taught),
        verdict="better" if better else "not better",
        figures=asdict(found),
        content=content if better else None,
    )
    with transaction(system(district, "learning")) as session:
        session.add(version)
        session.flush()
        if better:
            _choose(session, district, version.id, at=at, why="better")
        verdict, name = version.verdict, version.name
    _log.info("model %s of %s: %s than %s on %d kept cases", name, district, verdict, model.version, len(kept))
    return Made(verdict, len(taught), len(kept), name, found)


def compare(one: Classifier, other: Classifier, kept: Sequence[Lesson], tree: CategoryTree) -> Comparison:
    """Return how the present model (one) and a candidate (other) fare on kept cases. Abstaining counts as wrong."""
    answers = [[model.classify(lesson.text) for lesson in kept] for model in (one, other)]
    truths = [lesson.level1 for lesson in kept]
    guesses = [[found.level1 for found in made] for made in answers]
    hits = [[guess == truth for guess, truth in zip(made, truths, strict=True)] for made in guesses]
    gained = sum(b and not a for a, b in zip(*hits, strict=True))
    lost = sum(a and not b for a, b in zip(*hits, strict=True))
    deep = []
    for made in answers:
        given = [
            (found.categories[0].code, {node.code for node in tree.path(lesson.code)})
            for found, lesson in zip(made, kept, strict=True)
            if found.level1 and len(tree.path(found.categories[0].code)) > 1
        ]
        deep.append((len(given), sum(code in path for code, path in given) / len(given) if given else 1.0))
    return Comparison(
        kept=len(kept),
        present=sum(hits[0]) / len(kept),
        candidate=sum(hits[1]) / len(kept),
        present_macro_f1=_macro_f1(guesses[0], truths),
        candidate_macro_f1=_macro_f1(guesses[1], truths),
        gained=gained,
        lost=lost,
        chance=mcnemar(gained, lost),
        deeper_given=deep[1][0],
        deeper_right=deep[1][1],
        present_deeper_given=deep[0][0],
        present_deeper_right=deep[0][1],
    )


def mcnemar(gained: int, lost: int) -> float:
    """Return the chance of at least `gained` of `gained + lost` cases if each were a fair coin (exact, one-sided)."""
    n = gained + lost
    return float(sum(math.comb(n, i) for i in range(gained, n + 1)) / 2**n)


def rollback(session: Session, district: str, *, at: datetime, by: str) -> str:
    """Let the model before the present one answer again and return its name, empty for the installation's own.

    Raises Conflict where the installation's own answers already. Writes; caller commits.
    """
    current = _chosen(session, district)
    if current is None:
        raise Conflict("The installation's own model answers already; there is none before it.")
    parent = session.scalar(
        select(ModelVersion.parent_id).where(ModelVersion.district_code == district, ModelVersion.id == current)
    )
    _choose(session, district, parent, at=at, why="rollback", by=by)
    named = select(ModelVersion.name).where(ModelVersion.district_code == district, ModelVersion.id == parent)
    return session.scalar(named) or ""


def versions(session: Session, district: str, *, limit: int = 50) -> list[Version]:
    """Return the newest models of a district with their figures, newest first. Reads only."""
    current = _chosen(session, district)
    rows = session.scalars(
        select(ModelVersion)
        .where(ModelVersion.district_code == district)
        .order_by(ModelVersion.made_at.desc(), ModelVersion.id.desc())
        .limit(limit)
    )
    return [
        Version(row.id, row.name, row.made_at, row.lessons, row.verdict, row.figures, row.id == current) for row in rows
    ]


def _chosen(session: Session, district: str) -> uuid.UUID | None:
    newest = select(ModelChoice.version_id).where(ModelChoice.district_code == district)
    return session.scalar(newest.order_by(ModelChoice.id.desc()).limit(1))


def _choose(
    session: Session, district: str, version: uuid.UUID | None, *, at: datetime, why: str, by: str = "learning"
) -> None:
    session.add(
        ModelChoice(district_code=district, id=new_id(), version_id=version, chosen_at=at, chosen_by=by, why=why)
    )
    # Every process builds its intake anew with this, and so takes the model up within seconds.
    session.execute(text("UPDATE district SET revision = revision + 1 WHERE district_code = :d"), {"d": district})
    session.flush()


def _patience(session: Session, district: str) -> float:
    """Return how many lessons there must be after a rollback; 0 where the newest choice was none."""
    why = session.scalar(
        select(ModelChoice.why).where(ModelChoice.district_code == district).order_by(ModelChoice.id.desc()).limit(1)
    )
    if why != "rollback":
        return 0.0
    most = session.scalar(
        select(func.max(ModelVersion.lessons)).where(
            ModelVersion.district_code == district, ModelVersion.verdict == "better"
        )
    )
    return (most or 0) * _PATIENCE


def _macro_f1(guesses: Sequence[str | None], truths: Sequence[str]) -> float:
    scores: list[float] = []
    for name in set(truths):
        hit = sum(g == t == name for g, t in zip(guesses, truths, strict=True))
        scores.append(2 * hit / (sum(g == name for g in guesses) + sum(t == name for t in truths)))
    return sum(scores) / len(scores)
