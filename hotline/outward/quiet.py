"""Quiet hours 免打扰: when residents get no short message, by China's clock. Emergencies do not ask."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any

from dispatch.calendar import china_time


@dataclass(frozen=True, slots=True)
class Quiet:
    """A span of the day, over midnight where it begins later than it ends; none where both are the same."""

    #: *Default* 21:00 to 08:00.
    begins: time = time(21)
    ends: time = time(8)

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Quiet":
        """Return the hours of a district's settings, `{"quiet": {"from": "21:00", "to": "08:00"}}`.

        What cannot be read means the default: a slip in the settings neither stops messages nor wakes people.
        """
        told = settings.get("quiet") or {}
        try:
            return cls(
                time.fromisoformat(str(told.get("from", "21:00"))), time.fromisoformat(str(told.get("to", "08:00")))
            )
        except (ValueError, AttributeError):
            return cls()

    def covers(self, moment: datetime) -> bool:
        """Return whether an aware moment lies in the quiet hours; they end where the first minute after begins."""
        here = china_time(moment).time()
        if self.begins <= self.ends:
            return self.begins <= here < self.ends
        return here >= self.begins or here < self.ends

    def end(self, moment: datetime) -> datetime:
        """Return when the quiet hours that cover a moment are over; the moment itself outside of them."""
        if not self.covers(moment):
            return moment
        here = china_time(moment)
        over = here.replace(hour=self.ends.hour, minute=self.ends.minute, second=0, microsecond=0)
        return over if over > here else over + timedelta(days=1)
