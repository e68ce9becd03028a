"""Who may touch what: grants of the program's role, row policies, and the log that nobody rewrites.

The program connects as a role that owns nothing. Policies use own columns and `current_setting(..., true)` only
(SCALE.md rule 10); `core.db` sets those with SET LOCAL, so a statement outside a scoped transaction sees no row.

Revision ID: 0003
Revises: 0002
"""

from alembic import op
from sqlalchemy.engine import make_url

from core.settings import settings

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_DISTRICT = "district_code = current_setting('wangge.district', true)"
_ROLE = "current_setting('wangge.role', true)"
_TOWN = "current_setting('wangge.town', true)"
_UNIT = "current_setting('wangge.unit', true)"
_PINNED = "current_setting('wangge.case', true)"
#: Roles that read cases of their whole scope; narrow roles read what is theirs.
_WIDE = f"{_ROLE} IN ('system', 'operator', 'supervisor', 'official')"
_WRITES = f"{_ROLE} IN ('system', 'operator', 'supervisor', 'unit', 'grid_worker', 'citizen')"
_KEEPS = f"{_ROLE} IN ('system', 'admin')"

#: Loaded by `wangge load`, read by every role of the district.
_GROUND = (
    "district",
    "area",
    "cell",
    "place",
    "address",
    "category",
    "unit",
    "load_run",
    "routing_rule",
    "limit_rule",
    "number_block",
    "tally",
    "heat",
)
_SEES_CASE = (
    f"({_WIDE} AND ({_TOWN} = '' OR town_code = {_TOWN}))"
    f" OR ({_ROLE} = 'unit' AND {_UNIT} <> '' AND {_UNIT} = ANY (unit_codes))"
    f" OR ({_ROLE} = 'grid_worker' AND town_code = {_TOWN})"
    f" OR ({_ROLE} = 'citizen' AND id::text = {_PINNED})"
)
#: Rows that hang on a case: wide roles without a town read all, everybody else those of the case that was pinned.
_SEES_PART = f"({_WIDE} AND {_TOWN} = '') OR ({_ROLE} <> 'admin' AND case_id::text = {_PINNED})"
_SEES_SHARE = f"{_SEES_PART} OR ({_ROLE} = 'unit' AND {_UNIT} <> '' AND unit_code = {_UNIT})"

#: table → (using, check, privileges)
_PARTS = {
    "cases": (_SEES_CASE, _WRITES, "SELECT, INSERT, UPDATE"),
    "report": (_SEES_PART, _WRITES, "SELECT, INSERT, UPDATE"),
    "entry": (_SEES_PART, _WRITES, "SELECT, INSERT"),
    "assignment": (_SEES_SHARE, _WRITES, "SELECT, INSERT, UPDATE"),
    "deadline": (_SEES_SHARE, _WRITES, "SELECT, INSERT, UPDATE"),
    "deadline_change": (_SEES_PART, _WRITES, "SELECT, INSERT"),
    "attachment": (_SEES_PART, _WRITES, "SELECT, INSERT"),
    "disclosure": (f"{_SEES_PART} OR {_ROLE} = 'admin'", _WRITES, "SELECT, INSERT"),
}
_APPEND_ONLY = ("entry", "disclosure", "deadline_change")


def _program() -> str:
    name = make_url(settings().database_url).username or "wangge_app"
    return '"' + name.replace('"', '""') + '"'


def _policy(table: str, name: str, command: str, *, using: str = "", check: str = "") -> None:
    rule = f"CREATE POLICY {name} ON {table} FOR {command}"
    rule += f" USING ({_DISTRICT} AND ({using}))" if using else ""
    rule += f" WITH CHECK ({_DISTRICT} AND ({check}))" if check else ""
    op.execute(rule)


def upgrade() -> None:
    """Turn on row security, write the policies, grant, and lock the log."""
    program = _program()
    op.execute(f"GRANT USAGE ON SCHEMA public TO {program}")
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON calendar_notice TO {program}")
    for table in _GROUND:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        _policy(table, "reads", "SELECT", using="true")
        _policy(table, "writes", "ALL", using=_KEEPS, check=_KEEPS)
        op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {program}")
    # The worker asks which districts it serves before it knows any.
    op.execute(f"CREATE POLICY lists ON district FOR SELECT USING ({_ROLE} = 'system')")
    for table, (using, check, privileges) in _PARTS.items():
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        _policy(table, "reads", "SELECT", using=using)
        _policy(table, "inserts", "INSERT", check=check)
        if "UPDATE" in privileges:
            _policy(table, "updates", "UPDATE", using=using, check=check)
        op.execute(f"GRANT {privileges} ON {table} TO {program}")
    op.execute("ALTER TABLE outbox ENABLE ROW LEVEL SECURITY")
    _policy("outbox", "inserts", "INSERT", check="true")
    _policy("outbox", "relays", "ALL", using=f"{_ROLE} = 'system'", check=f"{_ROLE} = 'system'")
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON outbox TO {program}")
    op.execute("ALTER TABLE account ENABLE ROW LEVEL SECURITY")
    _policy(
        "account",
        "reads",
        "ALL",
        using=f"{_ROLE} IN ('system', 'admin') OR id::text = current_setting('wangge.actor', true)",
        check=f"{_ROLE} IN ('system', 'admin')",
    )
    op.execute(f"GRANT SELECT, INSERT, UPDATE ON account TO {program}")
    op.execute("ALTER TABLE throttle ENABLE ROW LEVEL SECURITY")
    _policy("throttle", "counts", "ALL", using=f"{_ROLE} = 'system'", check=f"{_ROLE} = 'system'")
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON throttle TO {program}")
    op.execute(
        "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$"
        " BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation'; END $$"
    )
    for table in _APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
        op.execute(
            f"CREATE TRIGGER no_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )


def downgrade() -> None:
    """Take the locks off again."""
    program = _program()
    for table in _APPEND_ONLY:
        op.execute(f"DROP TRIGGER append_only ON {table}")
        op.execute(f"DROP TRIGGER no_truncate ON {table}")
    op.execute("DROP FUNCTION refuse_change()")
    policies = {
        **dict.fromkeys(_GROUND, ("reads", "writes")),
        **{t: ("reads", "inserts") + (("updates",) if "UPDATE" in p[2] else ()) for t, p in _PARTS.items()},
        "district": ("reads", "writes", "lists"),
        "outbox": ("inserts", "relays"),
        "account": ("reads",),
        "throttle": ("counts",),
    }
    for table, names in policies.items():
        for name in names:
            op.execute(f"DROP POLICY {name} ON {table}")
        op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
        op.execute(f"REVOKE ALL ON {table} FROM {program}")
    op.execute(f"REVOKE ALL ON calendar_notice FROM {program}")
