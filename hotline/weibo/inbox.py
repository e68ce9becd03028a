"""The inbox of mentions 提及收件: stores every post once, and turns each into a case, a part of one, or a review.

Storing and taking are two steps. What is stored is a duty and cannot get lost; whoever dies while taking leaves it
stored, and intake knows the post's id, so that taking it again opens nothing twice.
"""

import re
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import Engine, func, or_, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.actor import system
from core.crypto import blind_index, seal, unseal
from core.db import actor_of, ask, transaction
from core.errors import Invalid, NotFound, Unavailable
from core.ids import new_id
from dispatch.models import Case
from dispatch.models import Report as CaseReport
from hotline.intake import Begun, Intake, Report, Understanding
from hotline.weibo import late
from hotline.weibo.models import Mention, MentionEvent, WeiboCursor
from hotline.weibo.platform import Gone, Platform, Post
from hotline.weibo.screen import Held, Screen, own_words

#: Mentions taken in one transaction; the lock on the cursor's row is held that long.
BATCH: Final = 100
#: A repost with fewer words of its own says "me too".
_OWN_MATTER: Final = 8
#: Two places further apart are two matters.
_APART_M: Final = 500.0
#: The same account with the same words within this time means the same matter.
_AGAIN: Final = timedelta(days=2)
#: What the platform's points are measured in where the district's setting `weibo.datum` says nothing: phones in
#: China are given shifted coordinates. *Default*.
_DATUM: Final = "GCJ-02"
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Stored:
    """What came of storing some posts."""

    new: int = 0
    known: int = 0
    edited: int = 0
    deleted: int = 0

    def __add__(self, other: "Stored") -> "Stored":
        return Stored(
            self.new + other.new, self.known + other.known, self.edited + other.edited, self.deleted + other.deleted
        )


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of taking some mentions."""

    cases: int = 0
    joined: int = 0
    held: int = 0

    def __add__(self, other: "Taken") -> "Taken":
        return Taken(self.cases + other.cases, self.joined + other.joined, self.held + other.held)

    @property
    def all(self) -> int:
        """How many were taken."""
        return self.cases + self.joined + self.held


def store(session: Session, posts: Iterable[Post], *, source: str, at: datetime, own_id: str = "") -> Stored:
    """Keep posts as mentions, each once, and write down edits and deletions of known ones. Writes; caller commits.

    source: api or file. own_id: our own account, whose posts are no mentions. at: aware, when the system got them.
    """
    district = actor_of(session).district
    # The last of two in one page counts; our own account calls itself by name all the time.
    chosen = {post.id: post for post in posts if not own_id or post.author_id != own_id}
    if not chosen:
        return Stored()
    rows = [_row(district, post, source=source, at=at) for post in chosen.values() if not post.deleted]
    made: set[str] = set()
    if rows:
        done = session.execute(insert(Mention).values(rows).on_conflict_do_nothing().returning(Mention.post_id))
        made = set(done.scalars())
    known = [post for post in chosen.values() if post.id not in made]
    edited, deleted = _follow(session, known, at=at) if known else (0, 0)
    return Stored(len(made), len(known), edited, deleted)


def _row(district: str, post: Post, *, source: str, at: datetime) -> dict[str, Any]:
    index = (
        blind_index(post.author_id or post.author, context="weibo.author") if post.author_id or post.author else None
    )
    sealed = seal(f"{post.author_id}\x1f{post.author}", context="weibo.author") if index else None
    return {
        "district_code": district,
        "id": new_id(),
        "post_id": post.id,
        "root_id": post.root_id or post.id,
        "source": source,
        "author_sealed": sealed,
        "author_index": index,
        "alias": f"微博网友{sha256(index).hexdigest()[:4].upper()}" if index else "微博网友",
        "text": post.text,
        "root_text": post.root_text,
        "cut": post.cut,
        # A clock that runs ahead decides nothing, and nothing happens after it was seen.
        "posted_at": min(post.posted_at or at, at),
        "seen_at": at,
        "lng": post.lng,
        "lat": post.lat,
        "datum": post.datum or None,
        "state": "received",
    }


def _follow(session: Session, posts: Sequence[Post], *, at: datetime) -> tuple[int, int]:
    """Write down what changed about known posts; return how many were edited and deleted."""
    by_id = {post.id: post for post in posts}
    query = select(Mention).where(
        Mention.district_code == actor_of(session).district,
        Mention.post_id.in_(list(by_id)),
        Mention.state != "deleted",
    )
    edited = deleted = 0
    for row in session.scalars(query.order_by(Mention.id).with_for_update()):
        post = by_id[row.post_id]
        if post.deleted:
            gone(session, row, at=at)
            deleted += 1
        else:
            edited += changed(session, row, post, at=at)
    return edited, deleted


def changed(session: Session, row: Mention, post: Post, *, at: datetime) -> bool:
    """Write down that a post reads otherwise now, and return whether it does. Writes; caller commits."""
    # The beginning of a text that we have whole is no edit.
    if post.cut or not post.text or post.text == row.text:
        return False
    if not row.cut:
        note(session, row.id, "edited", at=at, before=row.text)
        row.edited_at = at
    row.text, row.cut = post.text, False
    session.flush()
    return row.edited_at == at


def gone(session: Session, row: Mention, *, at: datetime) -> None:
    """Write down that a post was deleted. An answered one stays answered; a case that it opened goes on. Writes."""
    if row.deleted_at is None:
        note(session, row.id, "deleted", at=at)
    row.deleted_at = row.deleted_at or at
    if row.state not in ("replied", "rejected"):
        row.state = "deleted"
    row.next_at = None
    session.flush()


def note(session: Session, mention_id: uuid.UUID, kind: str, *, at: datetime, **detail: Any) -> None:
    """Write down one thing that happened to a mention, by the session's actor. Writes; caller commits."""
    actor = actor_of(session)
    session.add(
        MentionEvent(
            district_code=actor.district,
            id=new_id(),
            mention_id=mention_id,
            kind=kind,
            actor_id=actor.id,
            actor_name=actor.name,
            at=at,
            detail=detail,
        )
    )


def waiting(session: Session) -> bool:
    """Return whether mentions wait to be taken; reads."""
    here = (Mention.district_code == actor_of(session).district, Mention.state == "received")
    return session.scalar(select(Mention.id).where(*here).limit(1)) is not None


def leased(session: Session, part: str) -> WeiboCursor | None:
    """Lock the row of one part of the channel; None while somebody else works at it. Writes; as the program.

    A row that is not there yet is made and committed beside the caller's transaction: an insert inside it would keep
    everybody else waiting until the platform has answered, where they should go away.
    """
    actor = actor_of(session)
    mine = (WeiboCursor.district_code == actor.district, WeiboCursor.part == part)
    if session.scalar(select(WeiboCursor.part).where(*mine)) is None:
        made = insert(WeiboCursor).values(district_code=actor.district, part=part).on_conflict_do_nothing()
        with transaction(actor, bind=session.get_bind().engine) as beside:
            beside.execute(made)
    return session.scalars(select(WeiboCursor).where(*mine).with_for_update(skip_locked=True)).one_or_none()


def take(
    intake: Intake,
    *,
    at: datetime,
    platform: Platform | None = None,
    address: str = "",
    bind: Engine | None = None,
) -> Taken | None:
    """Take the stored mentions that were posted first, at most BATCH; None where somebody else does.

    platform: where the rest of a long post is asked for; without it the beginning has to do. address: of the public
    pages. Safe to be killed at any moment. Raises Unavailable.
    """
    district = intake.book.district
    with transaction(system(district, "weibo"), bind=bind) as session:
        if leased(session, "take") is None:
            return None
        query = select(Mention).where(Mention.district_code == district, Mention.state == "received")
        rows = session.scalars(query.order_by(Mention.posted_at, Mention.id).limit(BATCH).with_for_update()).all()
        taker = _Taker(session, intake, at, platform=platform, address=address, bind=bind)
        taker.take_all(rows)
        return Taken(taker.cases, taker.joined, taker.held)


#: Of each mention: posts that its author made shortly before, and whether others are by the same author or of the same
#: thread. Most have none, and nothing more is asked of them.
_KIN: Final = (
    "SELECT m.id, (SELECT count(*) FROM (SELECT 1 FROM mention AS b WHERE b.district_code = $1 "
    "AND b.author_index = m.author_index AND b.posted_at > m.posted_at - $3::interval "
    "AND b.posted_at <= m.posted_at AND b.id <> m.id LIMIT $4::int) AS few), "
    "EXISTS (SELECT 1 FROM mention AS a WHERE a.district_code = $1 AND a.author_index = m.author_index "
    "AND a.posted_at > m.posted_at - $5::interval AND a.id <> m.id), "
    "EXISTS (SELECT 1 FROM mention AS t WHERE t.district_code = $1 AND t.root_id = m.root_id AND t.id <> m.id) "
    "FROM mention AS m WHERE m.district_code = $1 AND m.id = ANY ($2::uuid[])"
)


@dataclass(frozen=True, slots=True)
class _Kin:
    """What is there of the same author and thread as a mention."""

    #: Posts of the same account within the span of the screen.
    before: int
    author: bool
    thread: bool


class _Taker:
    """Takes mentions in one transaction; their cases are opened by intake, many in one transaction of its own."""

    def __init__(
        self,
        session: Session,
        intake: Intake,
        at: datetime,
        *,
        platform: Platform | None,
        address: str,
        bind: Engine | None,
    ) -> None:
        self._session, self._intake, self._platform, self._at, self._bind = session, intake, platform, at, bind
        self._address = address
        self._district = intake.book.district
        self._screen = Screen.of(intake.book.settings)
        told = intake.book.settings.get("weibo") or {}
        self._datum = str(told.get("datum", _DATUM))
        self._kin: dict[uuid.UUID, _Kin] = {}
        #: Thread → its case, as far as these mentions asked for it.
        self._threads: dict[str, uuid.UUID] = {}
        #: Cases that others joined.
        self._cases: dict[uuid.UUID, Case] = {}
        #: What the words of reposts were understood to say, which are much the same ones.
        self._understood: dict[str, Understanding] = {}
        #: Mentions that become cases of their own, and reports of joined ones: written together.
        self._begun: list[tuple[Mention, Begun]] = []
        self._reports: list[dict[str, Any]] = []
        self.cases = self.joined = self.held = 0

    def take_all(self, rows: Sequence[Mention]) -> None:
        """Take mentions in their order; what is known of them goes to the database in few statements."""
        if not rows:
            return
        given = (self._district, [row.id for row in rows], self._screen.span, self._screen.most + 1, _AGAIN)
        self._kin = {row[0]: _Kin(*row[1:]) for row in ask(self._session, _KIN, given)}
        try:
            for row in rows:
                self.take(row)
        except BaseException:
            self._intake.abandon([one for _, one in self._begun])
            raise
        self._open_begun()
        if self._reports:
            self._session.execute(insert(CaseReport).values(self._reports).on_conflict_do_nothing())
        self._session.flush()

    def take(self, row: Mention) -> None:
        """Let one mention become a case, a part of one, or a review."""
        if row.cut and self._platform is not None and not self._complete(row):
            return
        report, kin = self._report(row), self._kin[row.id]
        try:
            known = self._understood.get(report.text) if kin.thread else None
            known = known or self._intake.understand(report)
        except Invalid:
            # Nothing but faces and names, or more than any text: a person looks.
            self._hold(row, Held("wordless"))
            return
        emergency = known.classification.urgency == "emergency"
        if row.reviewed_at is None and not emergency:
            held = self._screen.judge(row.text or row.root_text, before=kin.before)
            # A bare repost says nothing itself, but the reposted matter does.
            if held is not None and not (held.code == "wordless" and row.root_text):
                self._hold(row, held)
                return
        main = self._main(row)
        if main is not None:
            self._understood.setdefault(report.text, known)
            self._join(row, main)
            return
        if report.text in self._understood:
            # Who repeats whom has changed since.
            known = self._intake.understand(report)
        if known.place is None and row.lng is not None and row.lat is not None:
            # The words name the place of the matter, the telephone only where its owner was.
            report = replace(report, lng=row.lng, lat=row.lat, datum=row.datum or self._datum)
            try:
                known = self._intake.understand(report)
            except Invalid:
                report = replace(report, lng=None, lat=None, datum=None)
        actor = system(self._district, "weibo")
        self._begun.append((row, self._intake.begin(report, known, actor=actor, at=self._at)))

    def _open_begun(self) -> None:
        """Open the cases of mentions that are matters of their own, in one transaction."""
        begun, self._begun = self._begun, []
        if not begun:
            return
        receipts = self._intake.finish([one for _, one in begun], bind=self._bind)
        for (row, _), receipt in zip(begun, receipts, strict=True):
            row.state, row.case_id, row.opened_at = "case", receipt.case_id, self._at
            note(self._session, row.id, "opened", at=self._at, number=receipt.number)
        self.cases += len(begun)

    def _complete(self, row: Mention) -> bool:
        """Fetch the rest of a long post; return whether there still is a post to take."""
        assert self._platform is not None
        try:
            post = self._platform.post(row.post_id)
        except (Gone, NotFound):
            gone(self._session, row, at=self._at)
            return False
        except Unavailable:
            # The beginning names the matter, and the others of this batch need not wait for silence, too.
            self._platform = None
            return True
        changed(self._session, row, post, at=self._at)
        return True

    def _report(self, row: Mention) -> Report:
        words = row.text
        if row.root_text and row.root_text not in words:
            words = f"{words}\n【原微博】{row.root_text}" if own_words(row.text) else row.root_text
        name = ""
        if row.author_sealed is not None:
            name = unseal(bytes(row.author_sealed), context="weibo.author").partition("\x1f")[2]
        return Report("weibo", words, min(row.posted_at, self._at), source_id=row.post_id, name=name or None)

    def _hold(self, row: Mention, held: Held) -> None:
        row.state, row.hold, row.held_at = "held", held.kept(), self._at
        note(self._session, row.id, "held", at=self._at, **held.kept())
        self.held += 1

    def _main(self, row: Mention) -> uuid.UUID | None:
        """Return the case that a repost or a repetition belongs to; None where it is a matter of its own."""
        kin = self._kin[row.id]
        if any(self._akin(row, one) for one, _ in self._begun):
            self._open_begun()
        if kin.author and (found := self._again(row)) is not None:
            return found
        if not kin.thread or (row.root_id == row.post_id and not self._is_root(row)):
            return None
        thread = self._thread(row)
        return thread if thread is not None and not self._own_matter(row, thread) else None

    @staticmethod
    def _akin(row: Mention, other: Mention) -> bool:
        same = row.author_index is not None and row.author_index == other.author_index
        return same or row.root_id == other.root_id

    def _others(self, row: Mention) -> Any:
        """Return the query of cases of other mentions, first seen first, that are open or answered."""
        return (
            select(Mention.case_id)
            .join(Case, (Case.district_code == self._district) & (Case.id == Mention.case_id))
            .where(
                Mention.district_code == self._district, Mention.id != row.id, or_(Case.open, Case.answer.is_not(None))
            )
            .order_by(Mention.id)
            .limit(1)
        )

    def _again(self, row: Mention) -> uuid.UUID | None:
        """Return the case of the same account's same words."""
        same = (
            Mention.author_index == row.author_index,
            Mention.posted_at > row.posted_at - _AGAIN,
            func.regexp_replace(Mention.text, r"\s+", "", "g") == _SPACE.sub("", row.text),
            Mention.root_id == row.root_id if row.root_id != row.post_id else Mention.text != "",
        )
        found: uuid.UUID | None = self._session.scalar(self._others(row).where(*same))
        return found

    def _thread(self, row: Mention) -> uuid.UUID | None:
        """Return the case of the thread's first post, where it names us; else that of the repost that came first."""
        if row.root_id not in self._threads:
            # Two questions, each by its index: a thread may have tens of thousands of reposts.
            first = self._session.scalar(self._others(row).where(Mention.post_id == row.root_id))
            found = first or self._session.scalar(self._others(row).where(Mention.root_id == row.root_id))
            if found is None:
                return None
            self._threads[row.root_id] = found
        return self._threads[row.root_id]

    def _is_root(self, row: Mention) -> bool:
        """Return whether reposts of this post came before it."""
        query = select(Mention.id).where(Mention.district_code == self._district, Mention.root_id == row.post_id)
        return self._session.scalar(query.where(Mention.id < row.id).limit(1)) is not None

    def _own_matter(self, row: Mention, thread: uuid.UUID) -> bool:
        """Return whether the author's own words name another place, another matter or a danger of their own."""
        words = own_words(row.text)
        if sum(letter.isalnum() for letter in words) < _OWN_MATTER:
            return False
        case = self._case(thread)
        said = self._intake.understand(Report("weibo", words, min(row.posted_at, self._at)))
        if said.classification.urgency == "emergency":
            return True
        if said.place is None:
            return False
        if case.geom is None:
            return True
        asked = (
            "SELECT ST_Distance(c.geom::geography, ST_SetSRID(ST_MakePoint(:x, :y), 4490)::geography) FROM cases AS c "
        )
        metres = self._session.scalar(
            text(asked + "WHERE c.district_code = :d AND c.id = :case"),
            {"d": self._district, "case": thread, "x": said.place.lng, "y": said.place.lat},
        )
        path = self._intake.book.category_path
        elsewhere = metres > _APART_M + said.place.radius_m
        other = bool(said.category and case.category_code) and path(said.category)[:1] != path(case.category_code)[:1]
        return bool(elsewhere or other)

    def _case(self, case_id: uuid.UUID) -> Case:
        if case_id not in self._cases:
            # Held here: the session forgets what nobody holds.
            self._cases[case_id] = self._session.get_one(Case, (self._district, case_id))
        return self._cases[case_id]

    def _join(self, row: Mention, case_id: uuid.UUID) -> None:
        """Hang a mention on another one's case as a report of its own, so that it is answered with it."""
        case = self._case(case_id)
        report = {
            "district_code": self._district,
            "id": new_id(),
            "case_id": case_id,
            "channel": "weibo",
            "source_id": row.post_id,
            "text": row.text or row.root_text,
            "received_at": self._at,
        }
        self._reports.append(report)
        row.state, row.case_id, row.opened_at = "joined", case_id, self._at
        note(self._session, row.id, "joined", at=self._at, number=case.number)
        if late.answered(case):
            late.tell(self._session, self._intake.book, row, case, address=self._address, at=self._at)
        self.joined += 1
