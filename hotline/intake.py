"""Intake 受理: a report comes in, is understood without the database, and becomes a case in one transaction.

Knows how place, category, twins and routing are put together and when the program is sure enough to dispatch alone.
Built once per process for one district; everything in it is read-only and shared between threads.
"""

import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

import shapely
from sqlalchemy import Engine

from core.actor import Actor, Role
from core.crypto import blind_index, seal
from core.datums import Datum, point
from core.errors import Invalid
from dispatch.log import checked_times
from dispatch.numbers import Numbers, access_code, access_hash
from dispatch.opening import NewCase, Opened, Placed, Prepared, Sealed, open_now, open_together, prepare
from dispatch.rulebook import Rulebook
from dispatch.rules import Decision
from hotline.classify import Classification
from hotline.geocode import Answer, Match
from hotline.twins import Twin, TwinIndex

#: Longest text that is taken; ten pages. A longer one is a file and not a report.
LONGEST = 10_000
#: How sure the program must be to dispatch without a person. *Default*; `district.settings` changes it.
SURE_OF_PLACE, SURE_OF_CATEGORY, SURE_OF_TWIN = 0.8, 0.7, 0.6
#: A phone's or a finger's point is taken to be this exact.
_POINT_RADIUS_M = 50.0
#: Control characters that no keyboard writes; a text that has them is a file.
_BINARY = re.compile(r"[\x00-\x08\x0e-\x1f\x7f\ufffe\uffff\ud800-\udfff]")
_PHONE = re.compile(r"\+?[0-9][0-9 \-]{5,19}")


class Places(Protocol):
    """Says where a text means."""

    def locate(self, text: str) -> Answer:
        """Return the ranked matches of a text."""
        ...


class Cells(Protocol):
    """Says which cell a point lies in."""

    def locate(self, lng: float, lat: float) -> str | None:
        """Return the cell's code, or None outside every cell."""
        ...


class Kinds(Protocol):
    """Says what a text is about."""

    def classify(self, text: str) -> Classification:
        """Return kind, category and urgency of a text."""
        ...


@dataclass(frozen=True, slots=True)
class Report:
    """来件: what somebody said through a channel, before anything is known about it."""

    channel: str
    text: str
    #: Aware; as the reporter says.
    reported_at: datetime
    title: str = ""
    #: The channel's own id.
    source_id: str | None = None
    #: The sender's own key for this submission.
    idempotency_key: str | None = None
    #: A point from a phone or a map, in degrees of `datum`, which is demanded with it.
    lng: float | None = None
    lat: float | None = None
    datum: str | None = None
    name: str | None = None
    phone: str | None = None
    #: Chosen by an operator while taking the call; the program then does not guess.
    category: str | None = None
    #: event or part 事件, 部件; asked of a grid worker on patrol only.
    event: str = "event"


@dataclass(frozen=True, slots=True)
class Understanding:
    """What the program makes of a report: no database was asked."""

    answer: Answer
    classification: Classification
    #: The best place, in its areas; None where there is none.
    place: Placed | None
    #: Codes in the district's tree.
    category: str | None
    category_confidence: float | None
    twins: tuple[Twin, ...]
    #: The unit that the rules name; None without category or place.
    decision: Decision | None
    #: Why a person has to look before it goes out; empty when the program is sure. English msgids.
    doubts: tuple[str, ...] = field(default=())

    def kept(self) -> dict[str, Any]:
        """Return what is kept with the case, so that the desk can show candidates and reasons."""
        found = self.classification
        return {
            "status": self.answer.status,
            "why": self.answer.why,
            "detail": self.answer.detail,
            "places": [_kept_match(match) for match in self.answer.matches],
            "categories": [
                {"code": c.code, "name": c.name, "probability": round(c.probability, 4)} for c in found.categories
            ],
            "words": list(found.words),
            "urgency_words": list(found.urgency_words),
            "call": found.call,
            "model": found.model,
            "twins": [_kept_twin(twin) for twin in self.twins],
            "doubts": list(self.doubts),
        }


def _kept_twin(twin: Twin) -> dict[str, Any]:
    return {
        "case_id": str(twin.case_id),
        "score": round(twin.score, 4),
        "why": twin.why,
        "words": list(twin.words),
        "metres": twin.metres,
        "days": twin.days,
        "copy": twin.copy,
    }


def _kept_match(match: Match) -> dict[str, Any]:
    return {
        "lng": round(match.lng, 6),
        "lat": round(match.lat, 6),
        "radius_m": round(match.radius_m, 1),
        "confidence": round(match.confidence, 4),
        "kind": match.kind,
        "name": match.name,
        "town": match.town_code,
        "why": match.why,
        "detail": match.detail,
        **({"line": [[round(x, 6), round(y, 6)] for x, y in match.line]} if match.line else {}),
    }


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the reporter gets."""

    case_id: uuid.UUID
    number: str
    #: Opens the reporter's own view.
    access_code: str
    state: str
    unit_code: str | None
    unit_name: str | None
    due_at: datetime | None
    due_clock: str | None
    town_name: str | None
    cell_code: str | None
    #: The same report was here before; this is its receipt again.
    repeated: bool
    #: Danger to life: the page says at once to call `call`.
    emergency: bool
    call: str


@dataclass(frozen=True, slots=True)
class Begun:
    """A report that is understood and ready to be written with others."""

    prepared: Prepared
    known: Understanding


class Intake:
    """Takes reports of one district in."""

    def __init__(
        self,
        book: Rulebook,
        *,
        places: Places,
        kinds: Kinds,
        cells: Cells,
        twins: TwinIndex,
        towns: Mapping[str, shapely.Geometry],
    ) -> None:
        """Put the parts together; towns: 9-digit code → polygon in EPSG:4490, together the district."""
        self.book = book
        self.places = places
        self.kinds = kinds
        self.cells = cells
        self.twins = twins
        self.numbers = Numbers(book.district)
        # Sorted, so that on a shared edge the lower code wins, as everywhere.
        self._towns = sorted(towns.items())
        for _, shape in self._towns:
            shapely.prepare(shape)

    def understand(self, report: Report) -> Understanding:
        """Return place, category, urgency, twins and unit of a report; asks no database.

        Raises Invalid for a text or a point that cannot be taken.
        """
        text = checked_text(report.text)
        answer = self.places.locate(f"{report.title}。{text}" if report.title else text)
        found = self.kinds.classify(f"{report.title}。{text}" if report.title else text)
        place = self._pointed(report) or self._best(answer)
        category, sure = report.category or None, 1.0 if report.category else None
        if category:
            self.book.checked_category(category)
        elif found.level1 and found.categories and found.categories[0].code in self.book.categories:
            category, sure = found.categories[0].code, found.categories[0].probability
        at = report.reported_at
        lng, lat, off = (place.lng, place.lat, place.radius_m) if place else (None, None, 0.0)
        twins = self.twins.find(_whole(report.title, text), lng, lat, at, found.level1, radius_m=off)
        decision = None
        if category and place:
            areas = (place.town_code or "", place.community_code or "", place.cell_code or "")
            decision = self.book.routing.assign(category, areas, at)
        doubts = self._doubts(place, sure, found, twins, split=self._is_split(place, answer))
        return Understanding(answer, found, place, category, sure, twins, decision, doubts)

    def receive(
        self,
        report: Report,
        *,
        actor: Actor,
        at: datetime,
        understood: Understanding | None = None,
        bind: Engine | None = None,
    ) -> Receipt:
        """Open a case for a report, once however often it is sent, and return the receipt.

        actor: who brings it in; the transaction itself is the program's. at: aware, the system's clock: neutral intake.
        Raises Invalid before anything is written, Unavailable when the database is down.
        """
        checked_times(report.reported_at, at)
        known = understood or self.understand(report)
        opened = open_now(self.book, self._new_case(report, known, actor=actor, at=at), bind=bind)
        if not opened.repeated:
            self._keep_twin(opened.case_id, report, known)
        return self._receipt(opened, known)

    def begin(self, report: Report, known: Understanding, *, actor: Actor, at: datetime) -> Begun:
        """Prepare what `receive` would write, to be written with others by `finish`; nothing is written yet.

        Whoever understands the next report finds this one among the twins already. Raises Invalid.
        """
        checked_times(report.reported_at, at)
        made = prepare(self.book, self._new_case(report, known, actor=actor, at=at))
        self._keep_twin(made.opened.case_id, report, known)
        return Begun(made, known)

    def finish(self, begun: Sequence[Begun], *, bind: Engine | None = None) -> list[Receipt]:
        """Write what was begun, in one transaction: all of it or none; return the receipts. Raises Unavailable."""
        try:
            opened = open_together(self.book, [one.prepared for one in begun], bind=bind)
        except BaseException:
            self.abandon(begun)
            raise
        self.abandon([one for one, case in zip(begun, opened, strict=True) if case.repeated])
        return [self._receipt(case, one.known) for one, case in zip(begun, opened, strict=True)]

    def abandon(self, begun: Iterable[Begun]) -> None:
        """Forget what was begun and is not written: nobody is told that he repeats a case that there is not."""
        for one in begun:
            self.twins.discard(str(one.prepared.opened.case_id))

    def _new_case(self, report: Report, known: Understanding, *, actor: Actor, at: datetime) -> NewCase:
        """Return the case that a report is to become; raises Invalid."""
        patrol = report.channel == "patrol" and actor.role is Role.GRID_WORKER
        if patrol:
            self._check_found(known.place, actor)
        number = self.numbers.take(at)
        found = known.classification
        return NewCase(
            channel=report.channel,
            text=report.text.strip(),
            title=report.title.strip()[:200],
            reported_at=report.reported_at,
            received_at=at,
            actor=actor,
            number=number,
            kind=report.event if patrol else found.kind,
            urgency=found.urgency,
            source_id=report.source_id,
            idempotency_key=report.idempotency_key,
            category_code=known.category,
            category_confidence=known.category_confidence,
            category_by=actor.role.value if report.category else "model",
            place=known.place,
            # What is found on patrol stays with who found it: four levels, the lowest first (S2).
            decision=None if patrol or known.doubts else known.decision,
            suggestions=known.kept(),
            reporter=_sealed(report),
            access_hash=access_hash(number, access_code(number)),
            process="patrol" if patrol else "complaint",
        )

    def _keep_twin(self, case_id: uuid.UUID, report: Report, known: Understanding) -> None:
        place, level1 = known.place, known.classification.level1
        lng, lat, off = (place.lng, place.lat, place.radius_m) if place else (None, None, 0.0)
        whole = _whole(report.title, report.text)
        self.twins.add(str(case_id), whole, lng, lat, report.reported_at, level1, radius_m=off)

    @staticmethod
    def _check_found(place: Placed | None, actor: Actor) -> None:
        """Raise Invalid unless a grid worker says where in the own town something was found."""
        if place is None or place.by != "reporter":
            raise Invalid("Say where you found it; the point on the map is missing.", field="point")
        if actor.town and place.town_code != actor.town:
            raise Invalid("This point is not in your town; report it to the hotline.", field="point")

    def _receipt(self, opened: Opened, known: Understanding) -> Receipt:
        town = self.book.areas.get(known.place.town_code or "") if known.place else None
        return Receipt(
            case_id=opened.case_id,
            number=opened.number,
            access_code=access_code(opened.number),
            state=opened.state,
            unit_code=opened.unit_code,
            unit_name=self.book.unit_name(opened.unit_code) or None,
            due_at=opened.due_at,
            due_clock=opened.due_clock,
            town_name=town.name if town else None,
            cell_code=known.place.cell_code if known.place else None,
            repeated=opened.repeated,
            emergency=known.classification.urgency == "emergency",
            call=known.classification.call,
        )

    def _in_areas(self, place: Placed, town: str | None = None, community: str | None = None) -> Placed:
        """Return the place with its areas: those of its cell, else what the gazetteer said."""
        cell = self.cells.locate(place.lng, place.lat)
        if cell:
            town, community = cell[:9], cell[:12]
        return replace(place, town_code=town, community_code=community, cell_code=cell)

    def _pointed(self, report: Report) -> Placed | None:
        """Return the point that came with the report; None without one, or when it lies outside the district."""
        if report.lng is None and report.lat is None:
            return None
        if report.lng is None or report.lat is None:
            raise Invalid("A point needs a longitude and a latitude.", field="lng")
        spot = point(report.lng, report.lat, report.datum, field="lng")
        if self._town_at(spot) is None:
            return None
        pointed = Placed(
            lng=spot.x,
            lat=spot.y,
            radius_m=_POINT_RADIUS_M,
            confidence=0.95,
            name="",
            by="reporter",
            source_datum=str(report.datum),
            source_lng=report.lng,
            source_lat=report.lat,
        )
        return self._in_areas(pointed, town=self._town_at(spot))

    def _best(self, answer: Answer) -> Placed | None:
        if answer.status != "located" or not answer.matches:
            return None
        best = answer.matches[0]
        found = Placed(
            lng=best.lng,
            lat=best.lat,
            radius_m=best.radius_m,
            confidence=best.confidence,
            name=best.name,
            by="geocoder",
            source_datum=Datum.CGCS2000.value,
            source_lng=best.lng,
            source_lat=best.lat,
        )
        return self._in_areas(found, town=best.town_code or None, community=best.community_code)

    def _town_at(self, spot: shapely.Point) -> str | None:
        return next((code for code, shape in self._towns if shape.covers(spot)), None)

    def _is_split(self, place: Placed | None, answer: Answer) -> bool:
        """Return whether places that are about as likely lie in different cells or towns: different people answer."""
        if place is None or place.by != "geocoder" or not answer.ambiguous:
            return False
        return len({(self.cells.locate(one.lng, one.lat), one.town_code) for one in answer.rivals}) > 1

    def _doubts(
        self,
        place: Placed | None,
        sure: float | None,
        found: Classification,
        twins: tuple[Twin, ...],
        *,
        split: bool,
    ) -> tuple[str, ...]:
        """Return why a person must look first."""
        limits = self.book.settings
        doubts = []
        if found.urgency == "emergency":
            doubts.append("It may be an emergency.")
        if place is None:
            doubts.append("The place is not known.")
        elif place.confidence < limits.get("sure_of_place", SURE_OF_PLACE):
            doubts.append("The place is not sure.")
        elif split:
            doubts.append("Two places could be meant; both are on the map.")
        elif place.cell_code is None and place.town_code is None:
            doubts.append("The place lies in no town of the district.")
        if sure is None:
            doubts.append("The category is not known.")
        elif sure < limits.get("sure_of_category", SURE_OF_CATEGORY):
            doubts.append("The category is not sure.")
        if any(twin.score >= limits.get("sure_of_twin", SURE_OF_TWIN) for twin in twins):
            doubts.append("It may have been reported already.")
        return tuple(doubts)


def _whole(title: str, text: str) -> str:
    """Return what twins are told by: a title names the matter before the text does."""
    return f"{title}。{text}" if title else text


def checked_text(text: str) -> str:
    """Return the text of a report without surrounding space; raises Invalid for an empty, binary or endless one."""
    plain = text.strip()
    # Spaces of no width, signs alone: nobody can tell what happened from those.
    if not any(letter.isalnum() for letter in plain):
        raise Invalid("Please say what happened.", field="text")
    if len(plain) > LONGEST:
        raise Invalid("The text is longer than {limit} characters; please say it shorter.", field="text", limit=LONGEST)
    if _BINARY.search(plain):
        raise Invalid("This is not a text; please type what happened.", field="text")
    return plain


def _sealed(report: Report) -> Sealed:
    name = (report.name or "").strip()[:50]
    phone = (report.phone or "").strip()
    if phone and not _PHONE.fullmatch(phone):
        raise Invalid("This is not a telephone number.", field="phone")
    digits = re.sub(r"\D", "", phone)
    return Sealed(
        name=seal(name, context="report.name") if name else None,
        phone=seal(phone, context="report.phone") if phone else None,
        phone_index=blind_index(digits, context="phone") if digits else None,
    )
