"""What /ogc says of itself: conformance, coordinate systems, collections, queryables and the OpenAPI document.

Built from the collections alone (`grid.features`), so that what is said and what is answered cannot drift apart.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from api.i18n import say
from grid.features import MOST, USUAL, Collection

GEOJSON: Final = "application/geo+json"
JSON: Final = "application/json"
SCHEMA: Final = "application/schema+json"
OPENAPI: Final = "application/vnd.oai.openapi+json;version=3.0"
_PART1: Final = "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf"
CONFORMS: Final = (
    f"{_PART1}/core",
    f"{_PART1}/geojson",
    f"{_PART1}/oas30",
    "http://www.opengis.net/spec/ogcapi-features-2/1.0/conf/crs",
    "http://www.opengis.net/spec/ogcapi-features-3/1.0/conf/queryables",
    "http://www.opengis.net/spec/ogcapi-features-3/1.0/conf/queryables-query-parameters",
)
CRS84: Final = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
STORED: Final = "http://www.opengis.net/def/crs/EPSG/0/4490"
#: Coordinate system → whether latitude comes first in it. WGS84 and CGCS2000 agree to less than a metre.
SYSTEMS: Final[Mapping[str, bool]] = {
    CRS84: False,
    STORED: True,
    "http://www.opengis.net/def/crs/EPSG/0/4326": True,
}
QUERYABLES: Final = "http://www.opengis.net/def/rel/ogc/1.0/queryables"
_GREGORIAN: Final = "http://www.opengis.net/def/uom/ISO-8601/0/Gregorian"
#: Members that say in which schema a document stands; a name, not an address that anything is fetched from.
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def link(href: str, rel: str, kind: str, title: str = "") -> dict[str, str]:
    """Return a link object."""
    made = {"href": href, "rel": rel, "type": kind}
    return made | ({"title": title} if title else {})


def collection(one: Collection, root: str, *, box: Sequence[float] | None, since: datetime | None) -> dict[str, Any]:
    """Return what is said of a collection."""
    here = f"{root}/collections/{one.name}"
    extent: dict[str, Any] = {}
    if box is not None:
        extent["spatial"] = {"bbox": [list(box)], "crs": CRS84}
    if one.time and since is not None:
        extent["temporal"] = {"interval": [[instant(since), None]], "trs": _GREGORIAN}
    return {
        "id": one.name,
        "title": say(one.title),
        "description": say(one.description),
        "itemType": "feature",
        **({"extent": extent} if extent else {}),
        "crs": list(SYSTEMS),
        "storageCrs": STORED,
        "links": [
            link(here, "self", JSON),
            link(f"{here}/items", "items", GEOJSON, say(one.title)),
            link(f"{here}/queryables", QUERYABLES, SCHEMA),
        ],
    }


def instant(at: datetime) -> str:
    """Return a time as RFC 3339 in UTC."""
    from datetime import UTC

    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def queryables(one: Collection, root: str) -> dict[str, Any]:
    """Return the properties by which features can be asked for, as JSON Schema."""
    members: dict[str, Any] = {
        name: {"title": say(told.title) if told.title else name, "type": told.kind}
        for name, told in one.properties.items()
        if told.queryable
    }
    return {
        "$schema": _DIALECT,
        "$id": f"{root}/collections/{one.name}/queryables",
        "type": "object",
        "title": say(one.title),
        "properties": members,
        "additionalProperties": False,
    }


def openapi(collections: Sequence[Collection], root: str) -> dict[str, Any]:
    """Return the OpenAPI 3.0 document of what the asker may see."""
    paths: dict[str, Any] = {
        "/": _get("landing", say("What there is"), JSON, [_ref("f")]),
        "/conformance": _get("conformance", say("Which rules are kept"), JSON, [_ref("f")]),
        "/collections": _get("collections", say("Every collection"), JSON, [_ref("f")]),
    }
    for one in collections:
        at, title = f"/collections/{one.name}", say(one.title)
        asked = [_ref(name) for name in ("bbox", "bbox-crs", "datetime", "limit", "crs", "after", "f")]
        own = [
            {
                "name": name,
                "in": "query",
                "required": False,
                "schema": {"type": told.kind},
                "style": "form",
                "explode": False,
            }
            for name, told in one.properties.items()
            if told.queryable
        ]
        paths[at] = _get(f"{one.name}.about", title, JSON, [_ref("f")])
        paths[f"{at}/queryables"] = _get(f"{one.name}.queryables", title, SCHEMA, [_ref("f")])
        paths[f"{at}/items"] = _get(f"{one.name}.items", title, GEOJSON, [*asked, *own])
        paths[f"{at}/items/{{featureId}}"] = _get(
            f"{one.name}.item", title, GEOJSON, [_ref("featureId"), _ref("crs"), _ref("f")], missing=True
        )
    return {
        "openapi": "3.0.3",
        "info": {"title": say("Maps of the district"), "version": "1.0.0"},
        "servers": [{"url": root}],
        "paths": paths,
        "components": {"parameters": _PARAMETERS, "responses": _RESPONSES, "securitySchemes": _SCHEMES},
        "security": [{}, {"bearer": []}],
    }


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/parameters/{name}"}


def _get(name: str, summary: str, kind: str, asked: Sequence[Mapping[str, Any]], *, missing: bool = False) -> Any:
    answers: dict[str, Any] = {
        "200": {"description": summary, "content": {kind: {"schema": {"type": "object"}}}},
        "400": {"$ref": "#/components/responses/Problem"},
        "500": {"$ref": "#/components/responses/Problem"},
    }
    if missing:
        answers["404"] = {"$ref": "#/components/responses/Problem"}
    return {"get": {"operationId": name, "summary": summary, "parameters": list(asked), "responses": answers}}


def _query(name: str, schema: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    form = {"style": "form", "explode": False}
    return {"name": name, "in": "query", "required": False, "schema": dict(schema), **form, **more}


_SYSTEM: Final = {"type": "string", "format": "uri", "enum": list(SYSTEMS), "default": CRS84}
_CORNERS: Final = {"type": "array", "items": {"type": "number"}}
_PARAMETERS: Final[Mapping[str, Any]] = {
    "bbox": _query("bbox", {"oneOf": [{**_CORNERS, "minItems": n, "maxItems": n} for n in (4, 6)]}),
    "bbox-crs": _query("bbox-crs", _SYSTEM),
    "crs": _query("crs", _SYSTEM),
    "datetime": _query("datetime", {"type": "string"}),
    "limit": _query("limit", {"type": "integer", "minimum": 1, "maximum": MOST, "default": USUAL}),
    "after": _query("after", {"type": "string", "maxLength": 200}),
    "f": _query("f", {"type": "string", "enum": ["json"]}),
    "featureId": {"name": "featureId", "in": "path", "required": True, "schema": {"type": "string"}},
}
_RESPONSES: Final[Mapping[str, Any]] = {
    "Problem": {
        "description": "RFC 9457",
        "content": {"application/problem+json": {"schema": {"type": "object", "required": ["title", "status"]}}},
    }
}
_SCHEMES: Final[Mapping[str, Any]] = {"bearer": {"type": "http", "scheme": "bearer"}}
