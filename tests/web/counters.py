"""The shipped service items in the tiny district, and people who apply there; for tests of web and window.

Everything here is invented; identity numbers have a sound check character and belong to nobody.
"""

import io
import re
from dataclasses import replace
from datetime import datetime

from PIL import Image
from starlette.testclient import TestClient

from api import wiring
from core.db import transaction
from core.documents import card_check
from core.ids import new_id
from dispatch.calendar import china_time
from dispatch.items import catalogue, lists
from dispatch.items.reading import default_files, read_yaml
from dispatch.items.roles import Units
from dispatch.items.sheet import Parallel
from tests import tiny
from tests.builders import program
from tests.web.conftest import csrf

#: An item of this test's own: three units of the tiny district at once, a joint survey, a fee, a material that may lag.
ROAD = "SL399001"


def publish(at: datetime) -> None:
    """Publish the shipped items and lists in the tiny district, and `ROAD`, unless they are there."""
    wiring.forget()
    with transaction(program(tiny.DISTRICT)) as session:
        units = Units(wiring.rulebook(tiny.DISTRICT).units)
        # Other tests publish the shipped items, too, but not this one.
        known = catalogue.listing(session, catalogue.Filter(search=ROAD), day=china_time(at).date()).lines
        if not any(line.item_code == ROAD for line in known):
            catalogue.load(session, read_yaml(default_files()), units=units, at=at)
            lists.load(session, lists.read_lists(lists.DEFAULT))
            base = catalogue.current(session, "SL320001", china_time(at).date()).sheet
            parallel = (
                Parallel(tiny.WATER, "地下管线意见", "3wd"),
                Parallel(tiny.WEST_OFFICE, "周边居民意见", "3wd"),
            )
            made = replace(
                base, code=ROAD, name="临时占道施工审批（试验）", unit=tiny.STREETS, parallel=parallel, lists=()
            )
            catalogue.publish(session, made, at=at, source="试验")


def card(running: int = 7) -> str:
    """Return an identity number that nobody has: born in 1960 in a district that does not exist."""
    digits = f"99020019600101{running:03d}"
    return digits + card_check(digits)


def picture(shade: int = 120) -> bytes:
    """Return a small photo."""
    out = io.BytesIO()
    Image.new("RGB", (40, 30), (shade, 200, 90)).save(out, "JPEG")
    return out.getvalue()


def fill(client: TestClient, code: str, **fields: object) -> dict[str, object]:
    """Return the form of an item filled in as a careful person would; `fields` replaces what is named."""
    page = client.get(f"/apply/{code}").text
    form: dict[str, object] = {
        "csrf_token": csrf(client),
        "key": str(new_id()),
        "seen": re.search(r'name="seen" value="(\d+)"', page)[1],  # type: ignore[index]  # the form has it
        "kind": "person",
        "name": "王小试",
        "phone": "13800138000",
        "id_number": card(),
        "town": tiny.WEST,
        "met": re.findall(r'name="met" value="(\d+)"', page),
        "pickup": (re.findall(r'name="pickup" value="([^"]+)"', page) or [""])[0],
    }
    return form | fields
