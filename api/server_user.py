"""Who the private PostgreSQL runs as and where its files may lie; knows nothing of what is in the database.

PostgreSQL refuses root. A person's own account is simply used. For root (a container, CI) four ways are tried in order,
each by doing, since what a kernel or a container allows cannot be read anywhere:

1. `account`: the `postgres` account may walk to the folder, so it runs there.
2. `namespace`: a user namespace in which root's files look like the account's; nothing has to be opened to anybody.
3. `capability`: the account with the one capability to pass closed folders.
4. `elsewhere`: a folder under /var/tmp named after the checkout's path.
"""

import hashlib
import os
import pwd
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from api import processes
from core.errors import Unavailable

#: sun_path holds 108 bytes with the closing zero; `/.s.PGSQL.5432.lock` is never bound, `/.s.PGSQL.5432` is.
_LONGEST_SOCKET_FOLDER = 107 - len("/.s.PGSQL.5432")


@dataclass(frozen=True, slots=True)
class Footing:
    """How the server's programs are run and where they keep their files."""

    #: One of own, account, namespace, capability, elsewhere.
    way: str
    #: Put before every command.
    prefix: tuple[str, ...]
    #: The account as the database server sees it, for peer authentication.
    account: str
    #: Who owns the files on disk.
    uid: int
    gid: int
    #: Holds `data/` and the server's log.
    home: Path
    #: Holds the sockets of PostgreSQL and Redis; only its owner and root may enter.
    sockets: Path


def key_of(var: Path) -> str:
    """Return 12 hex digits that stand for the folder's path, so that copies beside each other never meet."""
    return hashlib.sha256(os.fsencode(var)).hexdigest()[:12]


def elsewhere(var: Path) -> Path:
    """Return where the database lies when it can lie nowhere under `var`."""
    return Path(f"/var/tmp/wangge-{key_of(var)}")  # noqa: S108  private_folder checks whose it is


def short_sockets(var: Path, parent: str = "/tmp") -> Path:  # noqa: S108  as above
    """Return the folder of the sockets for a `var` whose own path is too long for them."""
    return Path(parent) / f"wangge-{key_of(var)}-run"


def private_folder(path: Path, uid: int, gid: int) -> Path:
    """Make a folder that only `uid` may enter, or take one that is already exactly that.

    Raises Unavailable when somebody else put something there first: names under /tmp are anybody's to take.
    """
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    # Root may have tried another way here before, as the account.
    ours = {os.geteuid(), uid} | ({_account().pw_uid} if os.geteuid() == 0 else set())
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in ours:
        raise Unavailable("{path} is in the way and belongs to somebody else.", path=str(path))
    if (found.st_uid, found.st_gid) != (uid, gid) and os.geteuid() == 0:
        os.chown(path, uid, gid, follow_symlinks=False)
    path.chmod(0o700)
    return path


def footing(var: Path) -> Footing:
    """Find out how the server can be run for this checkout; makes its folders.

    Raises Unavailable when nothing works.
    """
    home = var / "postgres"
    var.mkdir(parents=True, exist_ok=True)
    uid, gid = os.geteuid(), os.getegid()
    if uid != 0:
        try:
            account = pwd.getpwuid(uid).pw_name
        except KeyError as error:
            raise Unavailable("The user id {uid} has no name; PostgreSQL needs one.", uid=uid) from error
        private_folder(home, uid, gid)
        if home.stat().st_uid != uid:
            raise Unavailable("{path} was made by another user; remove it as that user.", path=str(home))
        return Footing("own", (), account, uid, gid, home, _sockets(var, uid, gid, ()))
    return _footing_for_root(var, home)


def _footing_for_root(var: Path, home: Path) -> Footing:
    who = _account()
    # A cluster that once had to lie elsewhere stays there, or its data would seem lost.
    moved = elsewhere(var)
    become = ("setpriv", f"--reuid={who.pw_uid}", f"--regid={who.pw_gid}", "--clear-groups", "--inh-caps=-all", "--")
    masked = ("unshare", "--user", f"--map-user={who.pw_uid}", f"--map-group={who.pw_gid}", "--")
    through = (*become[:4], "--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--")
    ways = [
        ("account", become, who.pw_uid, who.pw_gid, home),
        ("namespace", masked, 0, 0, home),
        ("capability", through, who.pw_uid, who.pw_gid, home),
        ("elsewhere", become, who.pw_uid, who.pw_gid, moved),
    ]
    if (moved / "data" / "PG_VERSION").exists() and not (home / "data" / "PG_VERSION").exists():
        ways = ways[3:]
    for way, prefix, uid, gid, place in ways:
        try:
            private_folder(place, uid, gid)
            if way == "elsewhere" and (home / "data").exists() and not (moved / "data").exists():
                # It was made here once, when another way was open.
                shutil.move(home / "data", moved / "data")
            _give(place, uid, gid)
        except PermissionError:
            continue
        if _works(prefix, place, who.pw_uid):
            return Footing(way, prefix, who.pw_name, uid, gid, place, _sockets(var, uid, gid, prefix))
    raise Unavailable("PostgreSQL cannot be run here: root is refused and no other account can be taken.")


def _account() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise Unavailable("There is neither a `postgres` nor a `nobody` account for PostgreSQL to run as.")


def _works(prefix: tuple[str, ...], place: Path, uid: int) -> bool:
    """Try it: who are we then, and may we write there?"""
    if shutil.which(prefix[0]) is None:
        return False
    probe = place / ".probe"
    script = f'test "$(id -u)" = {uid} && echo here > "$1" && test -O "$1" && test -O "$(dirname "$1")" && rm "$1"'
    return processes.run([*prefix, "sh", "-c", script, "sh", str(probe)]).returncode == 0


def _give(folder: Path, uid: int, gid: int) -> None:
    """Hand everything below a folder to its owner; only walks when the data changed hands since the last start."""
    data = folder / "data"
    if not data.exists() or data.lstat().st_uid == uid:
        return
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(Path(parent) / name, uid, gid, follow_symlinks=False)


def _sockets(var: Path, uid: int, gid: int, prefix: tuple[str, ...]) -> Path:
    """Return the folder of the sockets: under `var/` where its path is short enough, else a short private one."""
    beside = var / "sockets"
    fits = len(os.fsencode(beside)) <= _LONGEST_SOCKET_FOLDER
    if fits:
        private_folder(beside, uid, gid)
        if not prefix or _works(prefix, beside, uid or _account().pw_uid):
            return beside
    last: Exception | None = None
    for parent in ("/tmp", "/var/tmp", tempfile.gettempdir()):  # noqa: S108  private_folder checks whose it is
        try:
            return private_folder(short_sockets(var, parent), uid, gid)
        except (OSError, Unavailable) as error:
            last = error
    raise Unavailable("No folder for the sockets can be made: {why}.", why=str(last))
