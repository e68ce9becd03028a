"""A worker's phone for tests: pictures, the queue, the bundle. Everything here is invented."""

import io
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import orjson
from PIL import Image
from starlette.testclient import TestClient

from core.ids import new_id

SignedIn = Callable[[str], TestClient]
API = "/api/v1/field"


def now() -> datetime:
    return datetime.now(UTC)


def picture(
    colour: str = "grey", *, size: tuple[int, int] = (320, 240), at: tuple[float, float] | None = None
) -> bytes:
    """Return a JPEG; at: lon lat that the camera wrote into it."""
    out, exif = io.BytesIO(), Image.Exif()
    if at:
        lng, lat = at
        exif.get_ifd(0x8825).update({1: "N", 2: (lat, 0.0, 0.0), 3: "E", 4: (lng, 0.0, 0.0)})
    Image.new("RGB", size, colour).save(out, "JPEG", exif=exif)
    return out.getvalue()


def put(worker: TestClient, data: bytes, **headers: str) -> Any:
    key = sha256(data).hexdigest()
    return worker.put(f"{API}/photos/{key}", content=data, headers=headers)


def send(worker: TestClient, *actions: dict[str, Any], phone_time: datetime | None = None) -> list[dict[str, Any]]:
    """Sync actions and return their results."""
    told = {"device": "test", "phone_time": (phone_time or now()).isoformat(), "actions": list(actions)}
    answer = worker.post(f"{API}/sync", content=orjson.dumps(told), headers={"Content-Type": "application/json"})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["results"]
    assert [one["key"] for one in found] == [one.get("key", "") for one in actions]
    return found


def action(kind: str, **known: Any) -> dict[str, Any]:
    return {"key": str(new_id()), "kind": kind, "happened_at": now().isoformat()} | known


def report(point: tuple[float, float], **known: Any) -> dict[str, Any]:
    lng, lat = point
    fields = {"text": "井盖松动，已放警示锥。", "category": "1001", "event": "part"} | known.pop("fields", {})
    place = {"lng": lng, "lat": lat, "accuracy": 12}
    return action("report", fields=fields, position=place, **known)


def bundle(worker: TestClient, since: str = "") -> dict[str, Any]:
    answer = worker.get(f"{API}/bundle", params={"since": since})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def task(worker: TestClient, number: str) -> dict[str, Any]:
    [found] = [one for one in bundle(worker)["tasks"] if one["number"] == number]
    return dict(found)
