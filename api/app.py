"""The web application, as pure wiring: which routers there are and what hangs on them.

`uvicorn api.app:app`. A new face is a module in `api/pages/` (HTML) or `api/routes/` (JSON, tiles) that exports
`router` and is named below; `api/pages/__init__.py` has the conventions.
"""

import contextlib
import importlib
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, Depends, FastAPI
from sqlalchemy import text
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import deps, errors, worker
from api.pages import STATIC
from api.routes import places
from api.security import Gate
from core.actor import system
from core.db import snapshot
from core.errors import WanggeError

#: Faces: every request knows its actor, unsafe ones need the CSRF token.
PAGES = (
    "api.pages.public",
    "api.pages.matter",
    "api.pages.apply",
    "api.pages.counter",
    # Before the window's own pages: `/window/appointments` is no number.
    "api.pages.appointments",
    "api.pages.daysoff",
    "api.pages.window",
    "api.pages.session",
    "api.pages.desk",
    "api.pages.desk_many",
    "api.pages.knowledge",
    "api.pages.importing",
    "api.pages.kiosk",
    "api.pages.phone",
    "api.pages.weibo",
    "api.pages.unit",
    "api.pages.field",
    "api.pages.patrol",
    "api.pages.case",
    "api.pages.supervise",
    "api.pages.training",
    "api.pages.grid_import",
    "api.pages.grid_office",
    "api.pages.grid_plan",
    "api.pages.cell_card",
    # Before the registers themselves: neither `rules` nor `import` is one.
    "api.pages.registers_rules",
    "api.pages.registers_import",
    "api.pages.registers",
    "api.pages.hot",
    "api.pages.map",
    "api.pages.grid_editor",
    "api.pages.accounts",
    "api.pages.jobs",
    "api.pages.deliveries",
    "api.sink",
    "api.pages.items",
)
#: For programs: cookie sessions need the CSRF header, tokens do not.
ROUTES = (
    "api.routes.v1",
    "api.routes.places",
    "api.routes.appointments",
    "api.routes.windows",
    "api.routes.cases",
    "api.routes.watching",
    "api.routes.applications",
    "api.routes.grid_changes",
    "api.routes.items",
    "api.routes.jobs",
    "api.routes.registers",
    "api.routes.training",
    "api.routes.field",
    "api.routes.field_files",
    "api.routes.patrols",
    "api.routes.grid_proposals",
    "api.routes.telephone",
    "api.routes.open311",
    "api.routes.docs",
    "api.routes.tiles",
    "api.routes.ogc",
)

health = APIRouter(include_in_schema=False)


@health.get("/healthz")
def healthz() -> Response:
    """Say that the process runs."""
    return PlainTextResponse("ok\n")


@health.get("/readyz")
def readyz() -> Response:
    """Say that the database answers and a district is there; 503 otherwise."""
    with snapshot(system(deps.district(), "readiness")) as session:
        session.execute(text("SELECT 1"))
    return PlainTextResponse("ready\n")


@health.get("/favicon.ico")
def favicon() -> Response:
    """Answer what every browser asks for."""
    return FileResponse(STATIC / "icon.svg", media_type="image/svg+xml")


class _Static(StaticFiles):
    """Static files that a browser may keep as long as their stamped address lasts."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return the file, to be kept for a year where the address carries a stamp."""
        response = await super().get_response(path, scope)
        if response.status_code == 200:
            stamped = b"v=" in scope.get("query_string", b"")
            keep = "public, max-age=31536000, immutable" if stamped else "public, max-age=300"
            response.headers["Cache-Control"] = keep
        return response


class _Doorbell:
    """Rings for the relay after every change that was answered well, so that effects follow at once."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and ring when an unsafe one succeeded; what the bell misses, the clock finds."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self.app(scope, receive, send)
            return
        status = 500

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        await self.app(scope, receive, watch)
        if status < 400:
            worker.bell.ring()


@asynccontextmanager
async def _warm(_: FastAPI) -> AsyncIterator[None]:
    """Build what understands texts beside the first requests: it takes seconds, and nobody should wait for it."""
    threading.Thread(target=_build_intake, name="warm", daemon=True).start()
    yield


def _build_intake() -> None:
    # Without a district or a database there is nothing to build yet; the first report will try again.
    with contextlib.suppress(WanggeError):
        places.warm()


def create_app() -> FastAPI:
    """Return the application with every router."""
    app = FastAPI(
        lifespan=_warm,
        title="Wangge 网格",
        version="1",
        summary="Report matters, follow them, and work on them.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    errors.install(app)
    app.add_middleware(Gate)
    app.add_middleware(_Doorbell)
    app.include_router(health)
    for names, guard in ((PAGES, deps.page_form), (ROUTES, deps.api_caller)):
        for name in names:
            router = importlib.import_module(name).router
            app.include_router(router, dependencies=[Depends(deps.current_actor), Depends(guard)])
    app.mount("/static", _Static(directory=STATIC), name="static")
    return app


app = create_app()
