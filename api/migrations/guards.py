"""Who may touch a new table: row policies and grants in one call, the same rules as revision 0003 laid down.

For revisions 0004 and later. The revisions before it keep their own copy, because a revision in use never changes.
"""

from alembic import op
from sqlalchemy.engine import make_url

from core.settings import settings

DISTRICT = "district_code = current_setting('wangge.district', true)"
ROLE = "current_setting('wangge.role', true)"
TOWN = "current_setting('wangge.town', true)"
UNIT = "current_setting('wangge.unit', true)"
PINNED = "current_setting('wangge.case', true)"
#: Roles that read cases of their whole scope; narrow roles read what is theirs.
WIDE = f"{ROLE} IN ('system', 'operator', 'supervisor', 'official')"
#: Roles that change cases.
WRITES = f"{ROLE} IN ('system', 'operator', 'supervisor', 'unit', 'grid_worker', 'citizen')"
#: Roles that keep the ground: loaded data, rules, catalogues.
KEEPS = f"{ROLE} IN ('system', 'admin')"
#: Rows that hang on a case: wide roles without a town read all, everybody else those of the case that was pinned.
SEES_PART = f"({WIDE} AND {TOWN} = '') OR ({ROLE} <> 'admin' AND case_id::text = {PINNED})"
#: Rows of one unit's share: the unit too, without a pin.
SEES_SHARE = f"{SEES_PART} OR ({ROLE} = 'unit' AND {UNIT} <> '' AND unit_code = {UNIT})"


def program() -> str:
    """Return the program's own role, quoted for SQL."""
    name = make_url(settings().database_url).username or "wangge_app"
    return '"' + name.replace('"', '""') + '"'


def shelter(table: str, *, reads: str, writes: str, privileges: str = "SELECT, INSERT, UPDATE") -> None:
    """Turn on row security for a table, write its policies and grant the program what it needs.

    reads, writes: SQL conditions on own columns and settings only (SCALE.md rule 10); the district is always added.
    """
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY reads ON {table} FOR SELECT USING ({DISTRICT} AND ({reads}))")
    op.execute(f"CREATE POLICY inserts ON {table} FOR INSERT WITH CHECK ({DISTRICT} AND ({writes}))")
    if "UPDATE" in privileges:
        op.execute(
            f"CREATE POLICY updates ON {table} FOR UPDATE USING ({DISTRICT} AND ({reads}))"
            f" WITH CHECK ({DISTRICT} AND ({writes}))"
        )
    if "DELETE" in privileges:
        op.execute(f"CREATE POLICY deletes ON {table} FOR DELETE USING ({DISTRICT} AND ({writes}))")
    op.execute(f"GRANT {privileges} ON {table} TO {program()}")


def append_only(table: str) -> None:
    """Let nobody change or delete a row, the tables' owner included (revision 0003 made the function)."""
    op.execute(
        f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    )
    op.execute(
        f"CREATE TRIGGER no_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )
