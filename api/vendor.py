"""The scripts, styles, fonts and pictures that pages are served with: taken from npm at set-up, checked by hash.

`api/vendor.json` lists every file with its package, version, licence and SHA-256. Nothing else is served from
`api/static/vendor`, and no page needs any other host. `python -m api.vendor` copies from `node_modules`;
`--pin` writes the list anew after versions in `package.json` changed.
"""

import hashlib
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import Invalid, NotFound
from core.settings import ROOT

LIST = ROOT / "api" / "vendor.json"
#: Where the pages find them, as `/static/vendor/…`.
FOLDER = ROOT / "api" / "static" / "vendor"


@dataclass(frozen=True, slots=True)
class Asset:
    """One file that is served."""

    #: npm package, and the file's path inside it.
    package: str
    source: str
    #: Path below `FOLDER`.
    target: str
    sha256: str


def assets() -> list[Asset]:
    """Return every listed file."""
    return [
        Asset(entry["package"], source, f"{entry['folder']}/{source.removeprefix(entry['strip'])}", sha256)
        for entry in _read()
        for source, sha256 in entry["files"].items()
    ]


def faults() -> list[str]:
    """Return a line for every served file that is missing, altered or not listed; empty when all is well."""
    wanted = {asset.target: asset.sha256 for asset in assets()}
    found = {str(path.relative_to(FOLDER)): path for path in FOLDER.rglob("*") if path.is_file()}
    lines = [f"{target} is missing" for target in sorted(wanted.keys() - found.keys())]
    lines += [f"{target} is not listed" for target in sorted(found.keys() - wanted.keys())]
    lines += [f"{t} was altered" for t in sorted(wanted.keys() & found.keys()) if _hash(found[t]) != wanted[t]]
    return lines


def install(modules: Path) -> int:
    """Copy every listed file from a `node_modules` folder, whole or not at all; return how many.

    Raises NotFound for a file that its package does not have and Invalid for one with another hash.
    """
    making = modules / ".wangge-vendor"
    shutil.rmtree(making, ignore_errors=True)
    listed = assets()
    for asset in listed:
        source, target = modules / asset.package / asset.source, making / asset.target
        if not source.is_file():
            raise NotFound("{package} has no file {file}.", package=asset.package, file=asset.source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        if _hash(target) != asset.sha256:
            shutil.rmtree(making)
            raise Invalid("{package}/{file} is not the file that was listed.", package=asset.package, file=asset.source)
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.parent.mkdir(parents=True, exist_ok=True)
    making.rename(FOLDER)
    return len(listed)


def pin(modules: Path) -> None:
    """Write versions, licences and hashes of the listed files as they are in a `node_modules` folder."""
    entries = _read()
    for entry in entries:
        described = json.loads((modules / entry["package"] / "package.json").read_text(encoding="utf-8"))
        entry["version"] = described["version"]
        entry["licence"] = described.get("license", entry.get("licence", ""))
        entry["files"] = {source: _hash(modules / entry["package"] / source) for source in entry["files"]}
    LIST.write_text(json.dumps(entries, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _read() -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads(LIST.read_text(encoding="utf-8"))
    return entries


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> None:
    """Copy the files, or with `--pin` write the list."""
    modules = ROOT / "node_modules"
    if "--pin" in sys.argv[1:]:
        pin(modules)
    count = install(modules)
    sys.stdout.write(f"{count} vendored files\n")


if __name__ == "__main__":
    main()
