"""The lists that a district answers by: its category tree 类别 and its units 责任单位, checked for sense.

Knows how they are written in a folder. Does not know which unit answers for which category: `dispatch.rules` does.
"""

from dataclasses import dataclass

from core.errors import Invalid
from grid.tabular import Rejects, Table


@dataclass(frozen=True, slots=True)
class CategoryRow:
    """A node of the category tree."""

    code: str
    parent_code: str | None
    level: int
    name: str


def tree(table: Table, rejects: Rejects) -> list[CategoryRow]:
    """Return the category tree, parents first; where the file gives only names, codes are numbered in its order."""
    if any(table["level1"]):
        return _numbered(table)
    rows: dict[str, CategoryRow] = {}
    order = sorted(range(len(table)), key=lambda i: len(table["code"][i]))
    for i in order:
        code, parent, name = (table[column][i] for column in ("code", "parent_code", "name"))
        row = int(table.rows[i])
        above = rows.get(parent)
        if not code or not name:
            rejects.add(table.file, row, column="code" if not code else "name", reason="The value is missing.")
        elif code in rows:
            rejects.add(table.file, row, column="code", reason="The code stands twice.", value=code)
        elif parent and (above is None or not code.startswith(parent)):
            rejects.add(
                table.file,
                row,
                column="parent_code",
                reason="There is no such parent, or the code does not begin with it.",
                value=parent,
            )
        else:
            rows[code] = CategoryRow(code, parent or None, above.level + 1 if above else 1, name)
    return list(rows.values())


def _numbered(table: Table) -> list[CategoryRow]:
    rows: dict[tuple[str, ...], CategoryRow] = {}
    children: dict[tuple[str, ...], int] = {}
    for names in zip(*(table[level] for level in ("level1", "level2", "level3")), strict=True):
        for depth in range(1, 4):
            path = names[:depth]
            if not path[-1] or path in rows:
                continue
            parent = rows.get(path[:-1])
            serial = children[path[:-1]] = children.get(path[:-1], 0) + 1
            if serial > 99:
                raise Invalid("{file}: more than 99 categories under one; give codes.", file=table.file)
            code = f"{parent.code if parent else ''}{serial:02d}"
            rows[path] = CategoryRow(code, parent.code if parent else None, depth, path[-1])
    return list(rows.values())


def check_units(units: Table, areas: set[str], rejects: Rejects) -> None:
    """Refuse names given twice, areas and deputies that do not exist, and anything but one centre."""
    codes, names = set(units["code"]), set()
    for i, (name, area, deputy) in enumerate(zip(units["name"], units["area_code"], units["deputy_code"], strict=True)):
        row = int(units.rows[i])
        if name in names:
            rejects.add(units.file, row, column="name", reason="The name stands twice.", value=name)
        names.add(name)
        if area and area not in areas:
            rejects.add(units.file, row, column="area_code", reason="There is no area {code}.", code=area)
        if deputy and deputy not in codes:
            rejects.add(
                units.file, row, column="deputy_code", reason="There is no unit {code}.", value=deputy, code=deputy
            )
    if list(units["kind"]).count("centre") != 1:
        rejects.add(units.file, 1, column="kind", reason="There must be exactly one unit of the kind centre.")
