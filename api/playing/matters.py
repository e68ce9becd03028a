"""What the demo plays 演示事项: opens complaints, patrol events, applications, requests, and leads them on their roads.

Every matter has a key of its own, so that an interrupted playing goes on where it stopped. All people and texts are
invented and say so（演示）; identity numbers are of a region, telephone numbers of a range that does not exist.
"""

import io
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import chain
from typing import Any, Final

from PIL import Image, ImageDraw
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from api import uploads
from api.playing import script
from api.playing.script import Plan, Road, Timeline
from api.playing.stage import REFUSED, Played, Stage
from core.actor import Role, citizen, system
from core.datums import Datum
from core.db import snapshot, transaction
from core.documents import card_check, credit_check
from core.errors import NotFound
from dispatch import appointments, visits
from dispatch.appointments import Booked, ServiceWindow, Wanted
from dispatch.calendar import china_time
from dispatch.items import catalogue
from dispatch.items.application import NewApplication, NewRequest, open_application, open_request
from dispatch.items.filed import Upload
from dispatch.items.identity import Agent, Applicant
from dispatch.items.matter import AUTHORISATION
from dispatch.items.sheet import Sheet
from dispatch.numbers import Numbers
from dispatch.opening import NewCase, Placed, open_now
from hotline.intake import Intake, Report
from hotline.play import Message, Shares, Spot, join_addresses, read_spots

LABEL: Final = "（演示）"
#: Every invented complaint says where it is.
_BY_ADDRESS: Final = Shares(address=1.0, place=0.0, town=0.0)
_BY_NAME: Final = Shares(address=0.0, place=1.0, town=0.0)
#: Towns of matters, in turn: where the demo's grid worker walks, where the demo's town office is, anywhere.
_TURNS: Final = 3
#: Hours before now and after it that appointments are spread over, and how many on each side.
_PAST, _COMING = 4, 10


@dataclass(frozen=True, slots=True)
class _Matter:
    """Something to be played: its key, and what plays it."""

    key: str
    play: Callable[[], None]


def _in_turn(table: str, kind: str, opens: Callable[[Road, str, int], None]) -> Iterator[_Matter]:
    """Yield the matters of a table's roads, each as often as its road says. opens: road, key, and its turn from 0."""
    turn = 0
    for road in script.read(table).roads:
        for i in range(road.times):
            key = f"demo-{kind}-{road.name}-{i}"
            yield _Matter(key, partial(opens, road, key, turn))
            turn += 1


class Matters:
    """All that is played in one district at one moment."""

    def __init__(self, intake: Intake, *, at: datetime, seed: int) -> None:
        """Read where things are; at: aware, the moment that everything is played up to."""
        self.intake, self.book, self.at, self.seed = intake, intake.book, at, seed
        self.stage = Stage(self.book, at=at, seed=seed, upload=_picture())
        self.numbers = Numbers(self.book.district)
        with snapshot(system(self.book.district, "demo")) as session:
            addresses, places = read_spots(session)
        self.spots = _by_town([*(spot for spot in addresses if spot.road and spot.house_no), *places])
        self.towns = self._towns()

    def every(self) -> list[_Matter]:
        """Return what is to be played, in the order of playing."""
        return list(
            chain(
                _in_turn("complaints", "complaint", self._complaint),
                _in_turn("patrol", "patrol", self._event),
                self._applications(),
                _in_turn("requests", "request", self._request),
                self._appointments(),
            )
        )

    # Where and who.

    def _towns(self) -> list[str]:
        """Return the towns in turn; the first ones twice, for people sign in there."""
        known = sorted(self.spots)
        offices = [unit.area for _, unit in sorted(self.book.routing.units.items()) if unit.kind == "town_office"]
        office = next((area for area in offices if area in self.spots), known[0])
        return [known[0], office, *known]

    def _town(self, turn: int) -> str:
        return self.towns[turn % _TURNS] if turn % _TURNS < _TURNS - 1 else self.towns[2 + turn % (len(self.towns) - 2)]

    def _category(self, words: Sequence[str]) -> str | None:
        """Return the category whose name has the first of the words that any name has."""
        for word in words:
            for code, node in sorted(self.book.categories.items()):
                if word in node.name:
                    return code
        return None

    def _with_us(self, text: Mapping[str, Any]) -> bool:
        """Return whether the rules name the first department for what a text is about."""
        category = self._category(text["about"])
        return bool(category) and self.book.routing.assign(category, (), self.at).unit in self.stage.departments[:1]

    def _laid(self, road: Road, key: str) -> Timeline:
        return script.lay_out(road, work=self.book.work, at=self.at, chance=self.stage.chance(key))

    # Complaints.

    def _complaint(self, road: Road, key: str, turn: int) -> None:
        found = script.read("complaints")
        chance, times = self.stage.chance(key), self._laid(road, key)
        texts = found.rest["texts"]
        # Half of them concern the department that the demo's unit signs in for: it has something of everything.
        mine = [text for text in texts if self._with_us(text)] if turn % 2 else []
        text = (mine or texts)[turn // 2 % len(mine or texts)]
        spot = chance.choice(self.spots[self._town(turn)])
        category = self._category(text["about"])
        cases = []
        for caller in range(road.callers):
            at = times.begin + timedelta(minutes=3 * caller)
            message = Message(f"{key}-{caller}", at, "", text["say"])
            report = self._report(message, spot if not road.desk else None, chance, category)
            receipt = self.intake.receive(report, actor=citizen(self.book.district), at=at)
            cases.append(receipt.case_id)
        self.stage.lead(cases, Plan(key, road, found, times))

    def _report(self, message: Message, spot: Spot | None, chance: random.Random, category: str | None) -> Report:
        """Return a message as it comes in; without a spot nobody knows where it is, and it waits on the desk."""
        text = script.said(message.text, chance)
        if spot:
            said = replace(message, text=text)
            shares = _BY_ADDRESS if spot.road else _BY_NAME
            (joined,) = join_addresses([said], [spot], district=self.book.name, seed=self.seed, shares=shares)
            text = joined.text
        return Report(
            channel=chance.choice(("hotline", "hotline", "web", "weibo", "window")),
            text=f"{text}{LABEL}",
            reported_at=message.at,
            source_id=message.id,
            lng=spot.lng if spot else None,
            lat=spot.lat if spot else None,
            datum=Datum.CGCS2000.value if spot else None,
            name=f"{chance.choice(script.read('applications').rest['people'])}{LABEL}",
            phone=_phone(chance),
            category=category,
        )

    # Patrol events.

    def _event(self, road: Road, key: str, turn: int) -> None:
        found = script.read("patrol")
        chance, times = self.stage.chance(key), self._laid(road, key)
        text = found.rest["texts"][turn % len(found.rest["texts"])]
        spot = chance.choice(self.spots[self._town(turn)])
        cell, category = spot.cell or "", self._category(text["about"])
        place = Placed(
            lng=spot.lng,
            lat=spot.lat,
            radius_m=20.0,
            confidence=1.0,
            name=_named(spot),
            by="reporter",
            source_datum=Datum.CGCS2000.value,
            source_lng=spot.lng,
            source_lat=spot.lat,
            town_code=cell[:9],
            community_code=cell[:12],
            cell_code=cell,
        )
        new = NewCase(
            channel="patrol",
            text=f"{script.said(text['say'], chance)}{LABEL}",
            reported_at=times.begin,
            received_at=times.begin,
            actor=self.stage.grid_worker(cell[:9]),
            number=self.numbers.take(times.begin),
            kind=text.get("kind", "event"),
            urgency="ordinary",
            source_id=key,
            category_code=category,
            category_confidence=1.0 if category else None,
            category_by=Role.GRID_WORKER.value,
            place=place,
            process="patrol",
        )
        self.stage.lead([open_now(self.book, new).case_id], Plan(key, road, found, times))

    # Applications for service items, and requests for information.

    def _applications(self) -> Iterator[_Matter]:
        turn = 0
        for road in script.read("applications").roads:
            for i, item in enumerate(road.items):
                key = f"demo-application-{road.name}-{i}"
                yield _Matter(key, partial(self._application, road, item, key, turn))
                turn += 1

    def _application(self, road: Road, item: str, key: str, turn: int) -> None:
        found = script.read("applications")
        chance, times = self.stage.chance(key), self._laid(road, key)
        try:
            with snapshot(system(self.book.district, "demo")) as session:
                sheet = catalogue.current(session, item, china_time(self.at).date()).sheet
        except NotFound:
            # This district does not offer the item.
            return
        town = self._town(turn)
        actor = {
            "window": self.stage.window,
            "home": self.stage.grid_worker(town),
            "web": citizen(self.book.district),
        }[road.channel]
        file = (self.stage.upload,) if road.channel == "web" and self.stage.upload else ()
        new = NewApplication(
            item=item,
            channel=road.channel,
            applicant=self._applicant(sheet, chance),
            town=town,
            given=dict.fromkeys([*_given(sheet, road.lack), *((AUTHORISATION.code,) if road.agent else ())], file),
            agent=Agent(f"{chance.choice(found.rest['people'])}{LABEL}", _phone(chance)) if road.agent else None,
            facts=found.rest["facts"].get(item, {}),
            key=key,
        )
        number = self.numbers.take(times.begin)
        receipt = open_application(self.book, new, actor=actor, at=times.begin, number=number)
        self.stage.lead([receipt.case_id], Plan(key, road, found, times))

    def _applicant(self, sheet: Sheet | None, chance: random.Random) -> Applicant:
        """Return an invented person, or an organisation where only those may apply."""
        names = script.read("applications").rest
        if sheet is not None and sheet.audience == "organisation":
            # 99: a region that there is not.
            body = f"92990000MA{chance.randint(0, 9_999_999):07d}"
            name = f"{chance.choice(names['organisations'])}{LABEL}"
            return Applicant("organisation", name, _phone(chance), body + credit_check(body))
        born = f"{chance.randint(1950, 2000)}{chance.randint(1, 12):02d}{chance.randint(1, 28):02d}"
        body = f"990000{born}{chance.randint(0, 999):03d}"
        return Applicant("person", f"{chance.choice(names['people'])}{LABEL}", _phone(chance), body + card_check(body))

    def _request(self, road: Road, key: str, turn: int) -> None:
        found = script.read("requests")
        chance, times = self.stage.chance(key), self._laid(road, key)
        wanted = [row["say"] for row in found.rest["wanted"]]
        channel = ("web", "window")[turn % 2]
        actor = citizen(self.book.district) if channel == "web" else self.stage.window
        new = NewRequest(
            self._applicant(None, chance), wanted[turn % len(wanted)], ("electronic", "paper")[turn % 2], channel, key
        )
        number = self.numbers.take(times.begin)
        receipt = open_request(self.book, new, actor=actor, at=times.begin, number=number)
        self.stage.lead([receipt.case_id], Plan(key, road, found, times))

    # Appointments.

    def _appointments(self) -> Iterator[_Matter]:
        for i in range(_PAST + _COMING):
            yield _Matter(f"demo-appointment-{i}", partial(self._appointment, i))

    def _appointment(self, i: int) -> None:
        """Book a slot of the days before now, and mark it as kept or missed; or one of the days to come."""
        key, book = f"demo-appointment-{i}", self.book
        chance, past = self.stage.chance(key), i < _PAST
        # Booked on the last working day that is over for sure, whatever holidays lie before now.
        booked_at = self.at - timedelta(days=6) if past else self.at
        with transaction(system(book.district, "demo")) as session:
            windows = appointments.windows(session, book)
            if not windows:
                return
            # The town's windows are what its people look at.
            window = windows[i % len(windows)]
            slots = chain.from_iterable(appointments.free_days(session, book, window, at=booked_at).values())
            fit = [slot for slot in slots if slot.free and (not past or slot.ends_at < self.at)]
            if not fit:
                return
            slot = chance.choice(fit if past else fit[: max(6, len(fit) // 3)])
            wanted = self._wanted(window, slot.starts_at, chance, key)
            number = appointments.numbered(self.numbers.take(booked_at))
            booked = appointments.book_slot(session, book, wanted, at=booked_at, number=number)
            if past and not booked.repeated:
                self._mark(session, booked, chance)
            self.stage.played.appointments += 1

    def _wanted(self, window: ServiceWindow, starts_at: datetime, chance: random.Random, key: str) -> Wanted:
        home = window.kind == "home"
        spots = self.spots.get(window.area_code) or next(iter(self.spots.values()))
        spot = chance.choice(spots)
        return Wanted(
            window.code,
            starts_at,
            f"{chance.choice(script.read('applications').rest['people'])}{LABEL}",
            _phone(chance),
            item=window.items[0] if window.items else "",
            area=(spot.cell or "")[:12] if home else "",
            address=f"{_named(spot)}{LABEL}" if home else "",
            by=chance.choice(("市民", "演示窗口人员")),
            key=key,
        )

    def _mark(self, session: Any, booked: Booked, chance: random.Random) -> None:
        status = chance.choice(("kept", "kept", "missed"))
        visits.mark(session, self.book.district, booked.number, status, at=self.at, by="演示窗口人员")


def _by_town(spots: Sequence[Spot]) -> Mapping[str, list[Spot]]:
    """Return the spots that lie in a cell, by town."""
    found: dict[str, list[Spot]] = {}
    for spot in spots:
        if spot.cell:
            found.setdefault(spot.cell[:9], []).append(spot)
    return found


def _named(spot: Spot) -> str:
    return f"{spot.road}{spot.house_no}号" if spot.road else spot.name


def _phone(chance: random.Random) -> str:
    """Return a telephone number that nobody has: none begins with 100."""
    return f"1000000{chance.randint(0, 9999):04d}"


def _given(sheet: Sheet, lack: str) -> list[str]:
    """Return the materials that an applicant hands in, where some are lacking."""
    asked = [one for one in sheet.materials if one.form != "shared"]
    strict = next((one.code for one in asked if one.required and not one.may_lag), "")
    lagging = {one.code for one in asked if one.required and one.may_lag}
    gone = {"none": set(), "strict": {strict}, "lag": lagging, "both": {strict} | lagging}[lack]
    return [one.code for one in asked if one.code not in gone]


def _picture() -> Upload:
    """Keep a picture that stands for every material and photo of the demo; the same one each time."""
    picture = Image.new("RGB", (640, 420), "#eef2f7")
    draw = ImageDraw.Draw(picture)
    draw.rectangle((24, 24, 616, 396), outline="#5b7083", width=4)
    draw.text((250, 200), "DEMO  SAMPLE", fill="#33475b")
    data = io.BytesIO()
    picture.save(data, format="PNG")
    return uploads.keep(data.getvalue(), "演示材料.png")


def play(intake: Intake, *, at: datetime, console: Console, seed: int = 7) -> Played:
    """Play everything up to a moment (aware) and return what came of it; what was played before stays as it is."""
    matters = Matters(intake, at=at, seed=seed)
    every = matters.every()
    with Progress(
        TextColumn("side roads, applications, patrols"), BarColumn(), MofNCompleteColumn(), console=console
    ) as bar:
        task = bar.add_task("play", total=len(every))
        for one in every:
            try:
                one.play()
            except REFUSED as refused:
                matters.stage.played.refused[f"{one.key}: {refused}"] += 1
            bar.advance(task)
    return matters.stage.played
