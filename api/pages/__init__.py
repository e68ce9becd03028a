"""Pages in HTML: how one is drawn. A module here holds one face and exports `router`; `api.app` includes it by name.

Conventions for a face:
- `router = APIRouter()`; endpoints are `def`, return `page(request, "desk/list.html", rows=rows)` or `go("/desk")`.
- Parameters from `api.deps`: `session: Read` or `session: Write` (commits before the answer), `actor: Me`, `at: Now`,
  and `actor: Annotated[Actor, Depends(require(Role.OPERATOR))]` to let roles in.
- Forms: `<form method="post">{{ csrf_field() }}…`; htmx sends the token by itself (base.html). The check hangs on
  every page router; so does a check for NUL, control characters and broken UTF-8 in form fields.
- Templates extend `base.html` (blocks: title, head, main, scripts; `{% set wide = true %}` for compact full-width
  faces) and say `_("English sentence with {name}", name=…)`; `ngettext("{n} case", "{n} cases", n)`. Chinese goes to
  `api/locale/zh_CN.po` (`python -m api.i18n update`). Macros: `parts.html`, there as `parts` in children of base.
- Filters (`api.wording`): when, left, due(warned), number, metres, grouped, state, clock, kind, urgency, role, action.
- No inline script, style, `style=` or `on…=` anywhere: the content policy refuses them. Scripts are files under
  `api/static/`, addressed as `static("desk.js")`, vendored ones as `static("vendor/leaflet/leaflet.js")`; data for them
  goes into `data-…` attributes. Widths that come from data: `<progress>`, `<meter>` or an SVG attribute.
- An htmx request that fails gets `problem_part.html` into `#problem` (base.html has it).
- Lists that travel: `with_query(request, page=2)` gives the same address with a parameter changed.
"""

from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse

from api import deps, i18n, security, wiring, wording
from core.actor import Actor, Role
from core.errors import WanggeError
from grid.duties import OFFICES

_API = Path(__file__).resolve().parent.parent
STATIC = _API / "static"
#: Address, word and the roles that see it (None: everybody).
NAV = (
    ("/", i18n.N_("Report a matter"), None),
    ("/apply", i18n.N_("Apply online"), None),
    ("/progress", i18n.N_("Look up progress"), None),
    ("/items", i18n.N_("Services"), None),
    ("/appointments", i18n.N_("Book an appointment"), None),
    ("/desk", i18n.N_("Desk"), ("operator", "supervisor")),
    ("/phone", i18n.N_("Telephone"), ("operator", "supervisor")),
    ("/weibo", i18n.N_("Weibo"), ("operator", "supervisor")),
    ("/knowledge", i18n.N_("Knowledge"), ("operator", "supervisor", "admin")),
    ("/import", i18n.N_("Take a file in"), ("supervisor",)),
    ("/window", i18n.N_("Window"), ("operator", "grid_worker")),
    ("/field", i18n.N_("My phone"), ("grid_worker",)),
    ("/patrol", i18n.N_("Patrol"), ("grid_worker",)),
    ("/training", i18n.N_("Training"), ("grid_worker",)),
    ("/registers", i18n.N_("Registers"), ("admin", "supervisor", "unit", "grid_worker", "official")),
    ("/unit", i18n.N_("Inbox"), ("unit",)),
    ("/grid", i18n.N_("Grid"), ("unit", "supervisor", "official", "admin")),
    ("/supervise", i18n.N_("Supervise"), ("supervisor",)),
    ("/cases", i18n.N_("Cases"), ("supervisor", "official", "grid_worker")),
    ("/window/appointments", i18n.N_("Appointments"), ("operator", "unit", "grid_worker")),
    ("/map", i18n.N_("Map"), ("operator", "supervisor", "official", "unit", "grid_worker")),
    ("/accounts", i18n.N_("Accounts"), ("admin",)),
    ("/deliveries", i18n.N_("Deliveries"), ("supervisor", "admin")),
    ("/admin/jobs", i18n.N_("Background jobs"), ("admin",)),
)


def seen_by(actor: Actor | None) -> list[tuple[str, str]]:
    """Return address and word of what stands in the bar for somebody; never raises, so that error pages are drawn."""
    role = actor.role.value if actor is not None and actor.id is not None else ""
    # What somebody works with comes before what everybody may use.
    found = [(href, word) for href, word, roles in NAV if roles is not None and role in roles]
    found += [(href, word) for href, word, roles in NAV if roles is None]
    if actor is not None and actor.role is Role.UNIT:
        # Departments have no cells: the grid is for the offices of towns and communities.
        with suppress(WanggeError):
            unit = wiring.rulebook().units.get(actor.unit)
            return [one for one in found if one[0] != "/grid" or (unit is not None and unit.kind in OFFICES)]
    return found


@cache
def environment() -> Environment:
    """Return the template environment: everything is escaped, an unknown name is an error."""
    made = Environment(
        loader=FileSystemLoader(_API / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update(wording.FILTERS)
    made.globals.update(_=i18n.gettext, ngettext=i18n.ngettext, static=static, with_query=with_query)
    return made


@cache
def static(path: str) -> str:
    """Return the address of a file under `api/static`, with a stamp of its content so that caches may keep it."""
    file = STATIC / path
    stamp = sha256(file.read_bytes()).hexdigest()[:10] if file.is_file() else "absent"
    return f"/static/{path}?v={stamp}"


def with_query(request: Request, **changed: Any) -> str:
    """Return the page's own address with query parameters changed; None removes one."""
    pairs = [(name, value) for name, value in parse_qsl(request.url.query) if name not in changed]
    pairs += [(name, str(value)) for name, value in changed.items() if value is not None]
    # An address such as //elsewhere would lead to another host.
    path = security.local_path(request.url.path) if request.method == "GET" else "/"
    return f"{path}?{urlencode(pairs)}" if pairs else path


def page(request: Request, name: str, /, *, status: int = 200, **context: Any) -> HTMLResponse:
    """Draw a template in the request's language, type size and theme, for the actor who asks."""
    state = request.state
    visit = getattr(state, "visit", "")
    token = security.csrf_token(visit) if visit else ""
    field = Markup('<input type="hidden" name="csrf_token" value="{}">').format(token)
    body = (
        environment()
        .get_template(name)
        .render(
            {
                "request": request,
                "lang": getattr(state, "lang", "zh"),
                "type": getattr(state, "type", "normal"),
                "theme": getattr(state, "theme", "auto"),
                "csrf": token,
                "csrf_field": lambda: field,
                "actor": getattr(state, "actor", None),
                "here": deps.here(),
                "nav": seen_by(getattr(state, "actor", None)),
                "status": status,
                **context,
            }
        )
    )
    return HTMLResponse(body, status)


def go(target: str) -> RedirectResponse:
    """Send the browser on to a page of this site after a form was taken (303)."""
    return RedirectResponse(security.local_path(target), 303)
