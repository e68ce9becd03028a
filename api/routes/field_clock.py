"""When a thing happened 发生时间 by a phone whose clock may be wrong: corrected, checked, never in charge of a limit.

Limits start at neutral intake, which is the server's clock; this decides only what the log says beside it, and what is
flagged as recorded late.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

from core.errors import Invalid
from dispatch.words import N_
from grid.field_queue import Moment

#: A lead that is left after the correction: the seconds of the way, and clocks that drift.
LEAD: Final = timedelta(minutes=10)
#: *Default* of `settings: {field: {oldest_days}}`.
OLDEST_DAYS: Final = 60
FUTURE: Final = N_(
    "By the phone's clock this happened {minutes} minutes from now; set the time right and send it again. It is kept."
)
ANCIENT: Final = N_("By the phone's clock this happened {days} days ago; check the time and send it again. It is kept.")
BEFORE: Final = N_("By the phone's clock this happened before the case was there; check the time. It is kept.")


def corrected(
    phone_at: datetime | None, *, offset_s: float, at: datetime, oldest: timedelta = timedelta(days=OLDEST_DAYS)
) -> Moment:
    """Return the moment of an action: the phone's time minus how far its clock was ahead; `at` where it says none.

    offset_s: the phone's clock minus the server's, seconds. at: aware, the server's clock. Raises Invalid for a time in
    the future and for one longer ago than `oldest`.
    """
    if phone_at is None:
        return Moment(None, at, offset_s)
    try:
        happened = phone_at.astimezone(UTC) - timedelta(seconds=offset_s)
    except OverflowError as error:
        raise Invalid(ANCIENT, field="happened_at", days=0) from error
    if happened > at + LEAD:
        raise Invalid(FUTURE, field="happened_at", minutes=round((happened - at).total_seconds() / 60))
    if happened < at - oldest:
        raise Invalid(ANCIENT, field="happened_at", days=(at - happened).days)
    return Moment(phone_at, min(happened, at), offset_s)


def not_before(moment: Moment, received_at: datetime) -> None:
    """Raise Invalid where a step on a case that came from elsewhere is said to have happened before the case did."""
    if moment.happened_at < received_at - LEAD:
        raise Invalid(BEFORE, field="happened_at")
