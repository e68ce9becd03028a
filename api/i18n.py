"""The two languages of every face: reads the catalogue, translates, and finds texts that nobody translated.

English sentences are the keys; Chinese (`zh`, the default) comes from `api/locale/zh_CN.po`, read at start, so that no
compiled file can be older than the source. Knows nothing of requests: who serves one sets `LANGUAGE`.
`python -m api.i18n update` merges new texts of templates and of raised errors into the catalogue.
"""

import ast
import json
import re
import sys
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po
from markupsafe import Markup, escape

from core.settings import ROOT
from dispatch.process import processes

#: Languages offered, the default first.
LANGUAGES = ("zh", "en")
#: The language of the request that is being answered.
LANGUAGE: ContextVar[str] = ContextVar("language", default="zh")

_PO = Path(__file__).parent / "locale" / "zh_CN.po"
_PACKAGES = ("core", "grid", "dispatch", "hotline", "maps", "api")
_ERRORS = {"NotFound", "Forbidden", "Conflict", "Invalid", "Unavailable"}
#: Calls whose first argument is a text that a person reads.
_MARKS = {"_", "gettext", "ngettext", "N_"}
#: Lists that texts for people are gathered in, in packages that know nothing of languages.
_LISTS = {"doubts"}
#: Calls that note a row of a file as refused; the sentence among their arguments says why.
_REFUSALS = {"refuse", "_refuse", "add"}
#: A text in a script of the worker's phone: `t("…")`, one literal in double quotes.
_IN_SCRIPT = re.compile(r'\bt\(\s*("(?:[^"\\\n]|\\.)*")')
_PHONE = ROOT / "api" / "static" / "field"


def N_(msgid: str) -> str:  # noqa: N802  the customary name of the mark that extraction looks for
    """Mark a text for the catalogue where it is written down, to be translated where it is shown."""
    return msgid


@cache
def catalogue() -> Mapping[str, str]:
    """Return Chinese by English, for everything that has a translation."""
    with _PO.open("rb") as file:
        read = read_po(file, locale="zh_CN")
    found: dict[str, str] = {}
    for message in read:
        ids = message.id if isinstance(message.id, list | tuple) else (message.id,)
        strings = message.string if isinstance(message.string, list | tuple) else (message.string,)
        if ids[0] and strings[0]:
            # Chinese has one form for every number.
            found.update(dict.fromkeys(ids, strings[0]))
    return found


def say(msgid: str, /, language: str | None = None, **params: Any) -> str:
    """Return a text in the request's language (or the one named), filled in; plain text, not escaped."""
    text = catalogue().get(msgid, msgid) if (language or LANGUAGE.get()) == "zh" else msgid
    return text.format_map(params) if params else text


def gettext(msgid: str, /, **params: Any) -> Markup:
    """Return a text for a template: escaped, with escaped parameters; stands in templates as `_`."""
    text = escape(catalogue().get(msgid, msgid) if LANGUAGE.get() == "zh" else msgid)
    return text.format(**params) if params else text


def ngettext(one: str, many: str, count: int, /, **params: Any) -> Markup:
    """Return the text for a count, which it may name as `{n}`; thousands are grouped as in the tables beside it."""
    return gettext(one if count == 1 else many, n=f"{count:,}", **params)


def texts() -> Iterator[tuple[str, str]]:
    """Yield every text that a person may be shown, with the file and line it stands in."""
    found = extract_from_dir(
        str(ROOT / "api" / "templates"),
        [("**.html", "jinja2")],
        options_map={},
        keywords={"_": None, "ngettext": (1, 2)},
    )
    for file, line, message, _comments, _context in found:
        for part in message if isinstance(message, tuple) else (message,):
            yield part, f"api/templates/{file}:{line}"
    for path in sorted(_PHONE.glob("*.js")):
        name = path.relative_to(ROOT).as_posix()
        yield from ((text, f"{name}:1") for text in _of_script(path.read_text(encoding="utf-8")))
    for package in _PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if "/migrations/" in name or name.startswith(("api/cli", "api/local", "api/server_user", "api/processes")):
                # The command line and its servers speak English, to whoever runs them.
                continue
            for line, part in _of_module(ast.parse(path.read_text(encoding="utf-8"))):
                yield part, f"{name}:{line}"
    for process in processes().values():
        where = f"dispatch/processes/{process.name}.yaml:1"
        words = [process.label]
        words += [word for state in process.states.values() for word in (state.label, state.meaning)]
        words += [word for step in process.steps for word in (step.label, step.meaning)]
        yield from ((word, where) for word in words)


def of_phone() -> set[str]:
    """Return every text that the scripts of the worker's phone show."""
    return {text for path in _PHONE.glob("*.js") for text in _of_script(path.read_text(encoding="utf-8"))}


def _of_script(source: str) -> list[str]:
    return [str(json.loads(found)) for found in _IN_SCRIPT.findall(source)]


def _of_module(tree: ast.AST) -> Iterator[tuple[int, str]]:
    errors = _ERRORS | {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and any(isinstance(base, ast.Name) and base.id in _ERRORS for base in node.bases)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Tuple) and _name(node.target) == "HEADER":
            # The heads of a file that is handed back.
            yield from ((v.lineno, str(v.value)) for v in node.value.elts if isinstance(v, ast.Constant))
            continue
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            # Tables of reasons in packages that know nothing of languages.
            if any(isinstance(target, ast.Name) and target.id == "WHY" for target in node.targets):
                yield from ((v.lineno, str(v.value)) for v in node.value.values if isinstance(v, ast.Constant))
            continue
        if not isinstance(node, ast.Call):
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        given = node.args[:1] if name in errors | _MARKS | {"say"} else []
        if name == "ngettext":
            given = node.args[:2]
        if name == "append" and isinstance(node.func, ast.Attribute) and _name(node.func.value) in _LISTS:
            given = node.args[:1]
        if name in _REFUSALS:
            yield from _sentences(node)
        for value in given:
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield node.lineno, value.value


def _sentences(call: ast.Call) -> Iterator[tuple[int, str]]:
    """Yield the sentences among what a call is given: the others are names of columns and values."""
    for given in (*call.args, *(named.value for named in call.keywords)):
        for value in (given.body, given.orelse) if isinstance(given, ast.IfExp) else (given,):
            if isinstance(value, ast.Constant) and isinstance(value.value, str) and value.value.endswith("."):
                yield value.lineno, value.value


def _name(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def untranslated() -> list[str]:
    """Return `file:line text` of everything shown to people that the catalogue has no Chinese for."""
    known = catalogue()
    return sorted({f"{where} {text}" for text, where in texts() if text and text not in known})


def update() -> int:
    """Write the catalogue anew with every text found and the translations it had; return how many have none."""
    old = catalogue() if _PO.exists() else {}
    places: dict[str, list[tuple[str, int]]] = {}
    for text, where in texts():
        file, _, line = where.rpartition(":")
        places.setdefault(text, []).append((file, int(line)))
    made = Catalog(locale="zh_CN", project="wangge", charset="utf-8", header_comment="# Chinese of every text shown.")
    for text, at in sorted(places.items(), key=lambda item: item[1][0]):
        made.add(text, old.get(text, ""), locations=[(name, 0) for name in sorted({name for name, _ in at})])
    # Texts that code puts together from data (labels of states, actions) are kept though no call names them.
    for text, chinese in old.items():
        if text not in places:
            made.add(text, chinese, auto_comments=["named by data"])
    with _PO.open("wb") as out:
        write_po(out, made, width=120, include_lineno=False, sort_output=False, omit_header=True)
    catalogue.cache_clear()
    return sum(1 for text in places if text not in catalogue())


if __name__ == "__main__":
    if sys.argv[1:] == ["update"]:
        print(f"{update()} texts without Chinese")  # noqa: T201  said to whoever runs it
    for missing in untranslated():
        print(missing)  # noqa: T201
