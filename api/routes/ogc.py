"""OGC API - Features 要素接口: the district's maps for QGIS, GDAL and other programs, read only.

Part 1 (core, GeoJSON, OpenAPI) and Part 2 (coordinate systems); tests name each rule by its requirement.

Parameters are read by hand, because the standard wants 400 where this house says 422, and 400 for what is not known.
"""

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any, Final
from urllib.parse import quote, urlencode

import orjson
from fastapi import APIRouter
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from api import errors
from api.deps import Me, Now, Read
from api.i18n import say
from api.ogc_documents import (
    CONFORMS,
    CRS84,
    GEOJSON,
    JSON,
    OPENAPI,
    SCHEMA,
    SYSTEMS,
    collection,
    instant,
    link,
    openapi,
    queryables,
)
from core.actor import Actor
from core.errors import Forbidden, Invalid, NotFound
from dispatch.features import CASES
from grid.features import GROUND, MOST, USUAL, Asked, Collection, Feature, begin, extent, feature, page
from grid.registers.features import KEY_PLACES, PARTS, narrowed

router = APIRouter(prefix="/ogc", include_in_schema=False)

COLLECTIONS: Final[Mapping[str, Collection]] = {one.name: one for one in (*GROUND, CASES, PARTS, KEY_PLACES)}
#: Asked of every resource: the format, and the language of titles.
_ALWAYS: Final = frozenset({"f", "lang"})
_ITEMS: Final = frozenset({"bbox", "bbox-crs", "crs", "datetime", "limit", "after"})
_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\d([Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d))?")
#: A day without a time is a day in China.
_CHINA: Final = timedelta(hours=8)

Endpoint = Callable[..., Response]


def _standard(endpoint: Endpoint) -> Endpoint:
    """Let an endpoint answer 400 where the standard wants it."""

    @wraps(endpoint)
    def answered(request: Request, *args: Any, **kwargs: Any) -> Response:
        try:
            return endpoint(request, *args, **kwargs)
        except Invalid as error:
            return errors.answer(request, status=400, detail=errors.sentence(error), field=error.field)

    return answered


@router.get("")
@router.get("/")
@_standard
def landing(request: Request) -> Response:
    """Say what there is: the description, the rules that are kept, and the collections."""
    root = _root(request)
    _check(request, _ALWAYS)
    links = [
        link(f"{root}/", "self", JSON),
        link(f"{root}/api", "service-desc", OPENAPI),
        link(f"{root}/conformance", "conformance", JSON),
        link(f"{root}/collections", "data", JSON),
    ]
    description = say("Areas, cells and places of the district, and open cases for those who may see them.")
    return _answer({"title": say("Maps of the district"), "description": description, "links": links})


@router.get("/api")
@_standard
def api(request: Request, actor: Me) -> Response:
    """Answer the OpenAPI document."""
    _check(request, _ALWAYS)
    return _answer(openapi(_seen(actor), _root(request)), OPENAPI)


@router.get("/conformance")
@_standard
def conformance(request: Request) -> Response:
    """Say which requirements classes are kept."""
    _check(request, _ALWAYS)
    return _answer({"conformsTo": list(CONFORMS)})


@router.get("/collections")
@_standard
def collections(request: Request, session: Read, actor: Me, at: Now) -> Response:
    """Say which collections there are for the asker."""
    _check(request, _ALWAYS)
    root, box, since = _root(request), extent(session), begin(session)
    mine = [one for one in _seen(actor) if not one.register or _has(session, one, at)]
    told = [collection(one, root, box=box, since=since) for one in mine]
    return _answer({"links": [link(f"{root}/collections", "self", JSON)], "crs": list(SYSTEMS), "collections": told})


@router.get("/collections/{name}")
@_standard
def about(request: Request, session: Read, actor: Me, at: Now, name: str) -> Response:
    """Say what a collection is."""
    one = narrowed(session, _collection(actor, name), at=at)
    _check(request, _ALWAYS)
    return _answer(collection(one, _root(request), box=extent(session), since=begin(session)))


@router.get("/collections/{name}/queryables")
@_standard
def about_queryables(request: Request, session: Read, actor: Me, at: Now, name: str) -> Response:
    """Say by which properties a collection can be asked."""
    one = narrowed(session, _collection(actor, name), at=at)
    _check(request, _ALWAYS)
    return _answer(queryables(one, _root(request)), SCHEMA)


@router.get("/collections/{name}/items")
@_standard
def items(request: Request, session: Read, actor: Me, at: Now, name: str) -> Response:
    """Answer a page of features."""
    one = narrowed(session, _collection(actor, name), at=at)
    own = {key for key, told in one.properties.items() if told.queryable}
    given = _check(request, _ALWAYS | _ITEMS | own)
    system = _system(given.get("crs"), "crs")
    asked = Asked(
        boxes=_boxes(given.get("bbox"), _system(given.get("bbox-crs"), "bbox-crs")),
        span=_span(given.get("datetime")),
        equal={key: _value(one, key, given[key]) for key in own & given.keys()},
        limit=_limit(given.get("limit")),
        after=given.get("after"),
        flipped=SYSTEMS[system],
    )
    found = page(session, one, asked, at=at)
    here = f"{_root(request)}/collections/{quote(name)}"
    links = [link(_with(f"{here}/items", given), "self", GEOJSON), link(here, "collection", JSON, say(one.title))]
    if found.after is not None:
        links.append(link(_with(f"{here}/items", {**given, "after": found.after}), "next", GEOJSON))
    body = {
        "type": "FeatureCollection",
        "links": links,
        "timeStamp": instant(at),
        "numberMatched": found.matched,
        "numberReturned": len(found.features),
        "features": [_member(each) for each in found.features],
    }
    return _answer(body, GEOJSON, system)


@router.get("/collections/{name}/items/{key}")
@_standard
def item(  # noqa: PLR0917  FastAPI gives them by name
    request: Request, session: Read, actor: Me, at: Now, name: str, key: str
) -> Response:
    """Answer one feature."""
    one = narrowed(session, _collection(actor, name), at=at)
    given = _check(request, _ALWAYS | {"crs"})
    system = _system(given.get("crs"), "crs")
    found = feature(session, one, key, at=at, flipped=SYSTEMS[system])
    here = f"{_root(request)}/collections/{quote(name)}"
    links = [
        link(_with(f"{here}/items/{quote(key, safe='')}", given), "self", GEOJSON),
        link(here, "collection", JSON, say(one.title)),
    ]
    return _answer(_member(found) | {"links": links}, GEOJSON, system)


def _seen(actor: Actor) -> list[Collection]:
    return [one for one in COLLECTIONS.values() if one.roles is None or (actor.id and actor.role in one.roles)]


def _has(session: Session, one: Collection, at: datetime) -> bool:
    """Return whether the asker has a right to anything of a register's collection."""
    try:
        narrowed(session, one, at=at)
    except NotFound:
        return False
    return True


def _collection(actor: Actor, name: str) -> Collection:
    """Return a collection; raises NotFound, and for what is not for the asker SignInNeeded or Forbidden."""
    one = COLLECTIONS.get(name)
    if one is None:
        raise NotFound("There is no such collection.")
    if one.roles is not None and actor.id is None:
        raise errors.SignInNeeded("Please sign in to see this.")
    if one.roles is not None and actor.role not in one.roles:
        raise Forbidden("Your role may not open this.")
    return one


def _root(request: Request) -> str:
    return str(request.base_url).rstrip("/") + "/ogc"


def _check(request: Request, known: frozenset[str] | set[str]) -> dict[str, str]:
    """Return the parameters; raises Invalid for one that is not known or given twice, and for another format."""
    given: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in known:
            raise Invalid("The parameter {name} is not known here.", field=name[:40], name=name[:40])
        if name in given:
            raise Invalid("The parameter {name} is given twice.", field=name, name=name)
        given[name] = value
    if given.get("f", "json") != "json":
        raise Invalid("Only f=json is answered here.", field="f")
    return given


def _system(given: str | None, name: str) -> str:
    if given is None:
        return CRS84
    if given not in SYSTEMS:
        raise Invalid("This coordinate system is not answered; see the collection's list.", field=name)
    return given


def _boxes(given: str | None, system: str) -> list[tuple[float, float, float, float]]:
    """Return west, south, east, north of a bbox; two boxes where it spans the 180th meridian."""
    if given is None:
        return []
    try:
        numbers = [float(part) for part in given.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (4, 6) or not all(map(math.isfinite, numbers)):
        raise Invalid("A bbox is four or six numbers, separated by commas.", field="bbox")
    half = len(numbers) // 2
    one, two = numbers[:2], numbers[half : half + 2]
    if SYSTEMS[system]:
        one, two = one[::-1], two[::-1]
    (west, south), (east, north) = one, two
    if south > north or abs(south) > 90 or abs(north) > 90 or abs(west) > 180 or abs(east) > 180:
        raise Invalid("The corners of the bbox are in the wrong order or outside the world.", field="bbox")
    if west > east:
        return [(west, south, 180.0, north), (-180.0, south, east, north)]
    return [(west, south, east, north)]


def _span(given: str | None) -> tuple[datetime | None, datetime | None] | None:
    """Return begin and end of a datetime: an instant or a day, or an interval with `..` or nothing for open."""
    if given is None:
        return None
    first, _, second = given.partition("/")
    begin = _instant(first, last=False)
    end = _instant(second if "/" in given else first, last=True)
    if ("/" not in given and begin is None) or (begin is not None and end is not None and begin > end):
        raise _no_time()
    return begin, end


def _instant(given: str, *, last: bool) -> datetime | None:
    if given in ("", ".."):
        return None
    if not _INSTANT.fullmatch(given):
        raise _no_time()
    try:
        at = datetime.fromisoformat(given.upper())
        if at.tzinfo is not None:
            return at.astimezone(UTC)
        day = at.replace(tzinfo=UTC) - _CHINA
        return day + timedelta(days=1) - timedelta(microseconds=1) if last else day
    except (ValueError, OverflowError) as error:
        raise _no_time() from error


def _no_time() -> Invalid:
    return Invalid("A datetime is an RFC 3339 instant or an interval begin/end, open with ..", field="datetime")


def _limit(given: str | None) -> int:
    if given is None:
        return USUAL
    if not (given.isascii() and given.isdigit() and len(given) < 10 and int(given) > 0):
        raise Invalid("A limit is a whole number from 1.", field="limit")
    return min(int(given), MOST)


def _value(one: Collection, name: str, given: str) -> Any:
    kind = one.properties[name].kind
    if kind == "boolean" and given in ("true", "false"):
        return given == "true"
    if kind == "integer" and re.fullmatch(r"-?\d{1,9}", given, re.ASCII):
        return int(given)
    if kind == "string" and len(given) <= 200:
        return given
    raise Invalid("{name} cannot have this value.", field=name, name=name)


def _with(address: str, given: Mapping[str, str]) -> str:
    return f"{address}?{urlencode(given)}" if given else address


def _member(one: Feature) -> dict[str, Any]:
    shape = None if one.geometry is None else orjson.Fragment(one.geometry)
    told = {name: instant(value) if isinstance(value, datetime) else value for name, value in one.properties.items()}
    return {"type": "Feature", "id": one.id, "geometry": shape, "properties": told}


def _answer(body: Any, kind: str = JSON, system: str = "") -> Response:
    headers = {"Content-Crs": f"<{system}>"} if system else {}
    return Response(orjson.dumps(body), media_type=kind, headers={**headers, "Cache-Control": "private, no-cache"})
