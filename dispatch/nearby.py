"""Open matters around a place 周边未结: what is being handled there already, whatever it is about."""

import math
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import func, select, true
from sqlalchemy.orm import Session

from core.datums import SRID
from core.db import actor_of
from dispatch.models import Case
from dispatch.views import visible_to

#: Metres of a degree of latitude.
_DEGREE_M: Final = 111_320.0
MOST: Final = 20


@dataclass(frozen=True, slots=True)
class Nearby:
    """One open case near a place."""

    id: uuid.UUID
    number: str
    state: str
    kind: str
    #: Title, or the first 60 characters of the text, as the reporter wrote them.
    words: str
    category_code: str | None
    received_at: datetime
    distance_m: float


def nearby(session: Session, lng: float, lat: float, *, within_m: float = 200.0, limit: int = 8) -> list[Nearby]:
    """Return the open cases that the actor may see around a point (EPSG:4490), nearest first, at most `limit`.

    Reads only; the box uses the index of open cases on the map, and the distance is that on the ground.
    """
    actor = actor_of(session)
    high = within_m / _DEGREE_M
    wide = high / max(math.cos(math.radians(lat)), 0.1)
    box = func.ST_MakeEnvelope(lng - wide, lat - high, lng + wide, lat + high, SRID)
    here = func.ST_SetSRID(func.ST_MakePoint(lng, lat), SRID)
    away = func.ST_Distance(func.geography(Case.geom), func.geography(here))
    words = func.coalesce(func.nullif(Case.title, ""), func.left(Case.text, 60))
    query = (
        select(Case.id, Case.number, Case.state, Case.kind, words, Case.category_code, Case.received_at, away)
        .where(visible_to(actor), Case.open == true(), Case.geom.op("&&")(box), away <= within_m)
        .order_by(away, Case.id)
        .limit(min(limit, MOST))
    )
    return [Nearby(*row) for row in session.execute(query)]
