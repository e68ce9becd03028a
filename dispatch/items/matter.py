"""One application with all that hangs on it 申请件: its sheet, its materials and debts, surveys, hand-overs.

What guards and steps look at and change, read once per action. Pages read `filed`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import NotFound
from dispatch.guards import Look
from dispatch.items import catalogue
from dispatch.items.application_models import Application, ApplicationMaterial, Handover, InformationRequest, Survey
from dispatch.items.sheet import Material, Review, Sheet
from dispatch.models import Case
from dispatch.words import N_

#: The material that an agent brings beside those of the sheet.
AUTHORISATION: Final = Material(code="authorisation", name=N_("Authorisation of the agent"), form="original")
#: States in which a material is still missing.
WANTING: Final = ("missing", "rejected")


@dataclass
class Matter:
    """An application and its parts, as rows of the session: what a step changes here is written with it."""

    application: Application
    sheet: Sheet
    #: By code, in the order of the sheet.
    materials: dict[str, ApplicationMaterial]
    surveys: Sequence[Survey] = field(default_factory=list)
    handovers: Sequence[Handover] = field(default_factory=list)

    def material(self, code: str) -> Material:
        """Return what the sheet says of a material; raises NotFound."""
        found = AUTHORISATION if code == AUTHORISATION.code else self.sheet.material(code)
        if found is None or code not in self.materials:
            raise NotFound("The sheet asks for no material {code}.", field="materials", code=code[:40])
        return found

    @property
    def missing(self) -> list[Material]:
        """Required materials that are not there, or were handed in wrong."""
        found = [self.material(code) for code, row in self.materials.items() if row.state in WANTING]
        return [one for one in found if one.required]

    @property
    def debts(self) -> list[ApplicationMaterial]:
        """Materials that are owed since acceptance 容缺."""
        return [row for row in self.materials.values() if row.state == "owed"]

    @property
    def open_survey(self) -> Survey | None:
        """The survey that was called and not yet recorded."""
        return next((one for one in self.surveys if one.recorded_at is None), None)

    @property
    def surveyed(self) -> bool:
        """Whether the sheet asks for no survey, or the last one was passed."""
        if self.open_survey is not None:
            return False
        return self.sheet.survey == "none" or bool(self.surveys and self.surveys[-1].result == "pass")

    @property
    def next_review(self) -> Review | None:
        """The level above that has not agreed yet, in the order of the sheet; None when all have."""
        agreed = {one.level for one in self.handovers if one.decision == "agreed"}
        return next((one for one in self.sheet.reviews if one.level not in agreed), None)

    @property
    def must_be_granted(self) -> bool:
        """逢报必批: every condition of the permitted list is met (S2)."""
        return bool(self.application.verdict.get("must_be_granted"))

    def late_debts(self, at: datetime) -> bool:
        """Return whether every debt that is open has run out."""
        return all(row.owed_until is not None and row.owed_until <= at for row in self.debts)


def of_case(case: Case, model: Any) -> tuple[Any, Any]:
    """Return the condition that a row is a part of a case."""
    return model.district_code == case.district_code, model.case_id == case.id


def read(session: Session, case: Case) -> Matter:
    """Return the application of a case that the caller has read and pinned. Reads; raises NotFound for another case."""
    found = session.scalar(select(Application).where(*of_case(case, Application)))
    if found is None:
        raise NotFound("This case is no application.")
    sheet = catalogue.version(session, found.item_code, found.item_version).sheet
    rows = session.scalars(select(ApplicationMaterial).where(*of_case(case, ApplicationMaterial))).all()
    order = {code: i for i, code in enumerate([*(one.code for one in sheet.materials), AUTHORISATION.code])}
    materials = {row.code: row for row in sorted(rows, key=lambda row: order.get(row.code, len(order)))}
    surveys = session.scalars(select(Survey).where(*of_case(case, Survey)).order_by(Survey.called_at, Survey.id))
    sent = session.scalars(select(Handover).where(*of_case(case, Handover)).order_by(Handover.sent_at, Handover.id))
    return Matter(found, sheet, materials, surveys.all(), sent.all())


def matter(look: Look) -> Matter:
    """Return the application under somebody's eyes, read when it is first asked for."""
    found = look.kept.get("matter")
    if found is None:
        found = look.kept["matter"] = read(look.session, look.case)
    kept: Matter = found
    return kept


def request(look: Look) -> InformationRequest:
    """Return the request for information under somebody's eyes; raises NotFound."""
    found = look.session.scalar(select(InformationRequest).where(*of_case(look.case, InformationRequest)))
    if found is None:
        raise NotFound("This case is no request for information.")
    return found
