"""What every kind of a phone's action has in common: its photos, its moment, its case, and what is noted about places.

`field_sync` decides in which order and how often; the kinds stand in `field_actions` and `field_rounds`.
"""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

import numpy as np
from sqlalchemy.orm import Session

from api import waiting
from api.i18n import say
from api.routes.field_documents import Action, Position, Result
from core.actor import Actor
from core.datums import distance_m
from core.db import snapshot, transaction
from core.errors import Invalid, NotFound
from dispatch import attachments, field_views, views, voice
from dispatch.field_views import Matter
from dispatch.rulebook import Rulebook
from dispatch.words import N_
from grid import field_queue, patrols
from grid.field_queue import Moment, Receipt, Waiting
from grid.tracks import MOCK, Remark

#: Metres between what a photo says and what the phone says that are the receiver's own doubt.
_PHOTO_M, _PLACE_M = 300.0, 1000.0
PHOTO_AWAY: Final = N_("The photo says that it was taken {metres} m from the position given.")
CASE_AWAY: Final = N_("The position given lies {metres} m from the place of the matter.")


class NotYetError(Exception):
    """Nothing is wrong with the action, but something has to come first: it stays in the queue."""

    def __init__(self, code: str, photos: Sequence[str] = ()) -> None:
        super().__init__(code)
        self.code = code
        self.photos = list(photos)


@dataclass(slots=True)
class Work:
    """One action being done."""

    actor: Actor
    book: Rulebook
    action: Action
    moment: Moment
    #: Aware; the server's clock.
    at: datetime
    #: The receipt of the action that this one builds on.
    before: Receipt | None = None
    photos: dict[str, Waiting] = field(default_factory=dict)

    @property
    def account(self) -> uuid.UUID:
        """The acting account."""
        assert self.actor.id is not None, "a role of the house is an account's"
        return self.actor.id

    @property
    def own_key(self) -> str:
        """The key that a case is opened under: another account's same key is another case."""
        return "f" + sha256(self.account.bytes + self.action.key.bytes).hexdigest()[:40]

    def text(self, name: str, *, most: int = 2000) -> str:
        """Return a text of the fields, stripped; raises Invalid for anything else."""
        value = self.action.fields.get(name, "")
        if value is None:
            return ""
        if not isinstance(value, str) or len(value) > most:
            raise Invalid("{name} is too long or not text.", field=name, name=name)
        return value.strip()

    def need_photos(self, keys: Sequence[str] = ()) -> None:
        """Put the photos and voice notes that the action names into the store; raises NotYetError for missing ones.

        keys: those that its fields name. Before any transaction: bytes that are kept twice are kept once.
        """
        named = [*(one.key for one in self.action.named), *self.action.voice, *keys]
        if not named:
            return
        with snapshot(self.actor) as session:
            self.photos = field_queue.photos(session, named)
        gone = [key for key, one in self.photos.items() if not waiting.hand_over(self.account, one.sha256)]
        if gone:
            # The bytes were lost or swept: the phone is to send them again, and HEAD must not say that they are here.
            with transaction(self.actor) as session:
                field_queue.forget(session, gone)
        missing = sorted({key for key in named if key not in self.photos or key in gone})
        if missing:
            raise NotYetError("unknown_photo", missing)

    def hang(self, session: Session, case_id: uuid.UUID, *, purpose: str) -> list[str]:
        """Hang photos and voice notes on a case and return the photos' ids. Writes; caller commits."""
        made = []
        for one in self.action.named:
            found = self.photos[one.key]
            if found.kind != "photo":
                raise Invalid("A voice note is no photo.", field="photos")
            kept = attachments.Stored(found.sha256, found.media_type, found.width, found.height)
            made.append(str(attachments.attach(session, case_id, kept, purpose=one.purpose or purpose, at=self.at)))
        for key in self.action.voice:
            spoken = self.photos[key]
            if spoken.kind != "voice":
                raise Invalid("A photo is no voice note.", field="voice")
            voice.attach(session, case_id, voice.Spoken(spoken.sha256, spoken.media_type, spoken.size), at=self.at)
        return made

    def case_of(self, session: Session) -> Matter:
        """Return the case that the action means; raises NotFound for one that is not of the worker's town."""
        case_id = self.before.case_id if self.before else None
        if case_id is None and self.action.case:
            case_id = _uuid(self.action.case) or views.find_number(session, self.action.case)
        found = field_views.one(session, case_id) if case_id else None
        if found is None:
            raise NotFound("There is no case with this number, or it is not yours to see.")
        return found

    def look_at_places(self, session: Session, case: Matter | None) -> list[str]:
        """Note for the supervisor what is remarkable about positions; return it in the worker's words, too.

        Nothing of it refuses anything: a photo may be an old one, and a receiver errs. Writes; caller commits.
        """
        place, found = self.action.position, []
        if place is not None and place.mock:
            found.append(Remark(MOCK, {"n": 1}, self.moment.happened_at))
        for one in self.photos.values():
            if place is not None and one.lng is not None and one.lat is not None:
                away = _metres(place, one.lng, one.lat)
                if away > max(_PHOTO_M, 2 * (place.accuracy or 0)):
                    found.append(Remark(PHOTO_AWAY, {"metres": round(away)}, self.moment.happened_at))
                    break
        if place is not None and case is not None and case.lng is not None and case.lat is not None:
            away = _metres(place, case.lng, case.lat)
            if away > max(_PLACE_M, 3 * (place.accuracy or 0), 2 * (case.radius_m or 0)):
                found.append(Remark(CASE_AWAY, {"metres": round(away)}, self.moment.happened_at))
        for remark in found:
            patrols.note(session, remark, case_id=case.id if case else None, at=self.at)
        return [say(remark.message, **remark.params) for remark in found]

    def done(self, session: Session, result: Result, *, case_id: uuid.UUID | None = None) -> Result:
        """Write the receipt of what was done in this transaction. Writes; caller commits."""
        field_queue.use(session, list(self.photos), at=self.at)
        field_queue.settle(
            session,
            self.action.key,
            "done",
            result.model_dump(mode="json", exclude={"server"}),
            moment=self.moment,
            at=self.at,
            case_id=case_id,
            case_version=result.version,
        )
        return result

    def result(self, matter: Matter | None = None, **more: Any) -> Result:
        """Return that the action was done, with the case as it is now."""
        about: dict[str, Any] = {}
        if matter is not None:
            state = self.book.process(matter.process, matter.process_version).state(matter.state)
            about = {
                "number": matter.number,
                "id": matter.id,
                "version": matter.version,
                "state": matter.state,
                "state_label": say(state.label),
            }
        return Result(key=str(self.action.key), kind=self.action.kind, status="done", **{**about, **more})


#: Does one action in transactions of its own; raises the house's errors and NotYetError.
Handler = Callable[[Work], Result]


def once(work: Work, session: Session) -> Result | None:
    """Hold the receipt of the action; return what was answered where the same action was done meanwhile."""
    held = field_queue.hold(session, work.action.key)
    return repeated(held) if held.state == "done" else None


def repeated(held: Receipt) -> Result:
    """Return the first answer again."""
    return Result(**{**held.result, "status": "repeated"})


def _metres(place: Position, lng: float, lat: float) -> float:
    # Phones and photos speak WGS84, which is the stored datum to within centimetres.
    return float(distance_m(np.array([place.lng, place.lat]), np.array([lng, lat]))[0])


def _uuid(written: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(written)
    except ValueError:
        return None
