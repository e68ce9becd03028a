"""Times as Open311 writes them: W3CDTF, always with an offset; shown in China's time."""

import re
from datetime import datetime

from core.errors import Invalid
from dispatch.calendar import china_time

#: To the minute or finer, with an offset. A `+` that an address turned into a space is taken for one.
_W3C = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?)(Z|[+\- ]\d\d:\d\d)")
_YEARS = (1900, 2200)
_DAY = re.compile(r"\d{4}-\d\d-\d\d")


def written(moment: datetime | None) -> str | None:
    """Return a moment as `2026-11-22T12:05:00+08:00`; None for none."""
    return None if moment is None else china_time(moment).isoformat(timespec="seconds")


def read(text: str, *, field: str) -> datetime:
    """Return the moment of a W3CDTF text, aware; a day alone begins at midnight in China. Raises Invalid."""
    found = _W3C.fullmatch(text.strip())
    if found:
        day, clock, offset = found.groups()
        whole = f"{day}T{clock}{'+00:00' if offset == 'Z' else offset.replace(' ', '+')}"
    elif _DAY.fullmatch(text.strip()):
        whole = f"{text.strip()}T00:00:00+08:00"
    else:
        whole = ""
    try:
        moment: datetime | None = datetime.fromisoformat(whole)
    except ValueError:
        moment = None
    # Years at the edge of the calendar cannot be reckoned from.
    if moment is None or not _YEARS[0] <= moment.year <= _YEARS[1]:
        raise Invalid("A time is written as 2026-11-22T12:00:00+08:00, with its offset.", field=field)
    return moment
