"""The API's own description: the OpenAPI document, and a page to read and try it that needs no other host."""

from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from api.pages import page

router = APIRouter(include_in_schema=False)


def document(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of everything that stands in the schema; made once per application."""
    if app.openapi_schema is None:
        made = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
        problem = {
            "type": "object",
            "required": ["title", "status"],
            "properties": {
                "type": {"type": "string"},
                "title": {"type": "string"},
                "status": {"type": "integer"},
                "detail": {"type": "string"},
                "field": {"type": "string"},
            },
        }
        made.setdefault("components", {}).setdefault("schemas", {})["Problem"] = problem
        made["components"]["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
        answers = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
        for path in made["paths"].values():
            for operation in path.values():
                operation["security"] = [{}, {"bearer": []}]
                # FastAPI's own shape of validation errors is not what is answered here.
                operation["responses"].pop("422", None)
                operation["responses"]["default"] = {"description": "A problem (RFC 9457).", "content": answers}
        app.openapi_schema = made
    return app.openapi_schema


@router.get("/api/openapi.json")
def openapi(request: Request) -> Response:
    """Answer the OpenAPI document."""
    return JSONResponse(document(request.app))


@router.get("/api/docs")
def docs(request: Request) -> Response:
    """Show the description with the vendored Swagger UI."""
    return page(request, "docs.html")
