"""The program's own processes: web, worker and beat; how they are started, known to be well, and stopped.

They run detached and write to `var/log`. It knows their command lines, and nothing of what they serve.
"""

import hashlib
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from api import processes
from core.errors import Unavailable
from core.settings import ROOT, settings

#: The processes of `up`.
NAMES = ("web", "worker", "beat")
#: uvicorn's and Celery's names for the two applications.
_WEB, _QUEUE = "api.app:app", "api.worker:app"
#: How many ports after the wanted one are tried.
_PORTS = 50


@dataclass(frozen=True, slots=True)
class Web:
    """Where the web server answers."""

    address: str
    #: The port that was wanted but is somebody else's; 0 when the wanted one was free.
    taken: int = 0


def start() -> Web:
    """Start what does not run, and start anew what runs older code; return when the web server answers.

    Raises Unavailable with the log's last lines when one of them ends at once.
    """
    folder, stamp = settings().var / "run", code_stamp()
    with processes.locked(settings().var / "services.lock"):
        processes.stop(folder, *(process for process in _found(folder) if process.stamp != stamp))
        # Celery takes seconds to import; it does so while the web server does.
        waiting = [_start_queue(name, stamp) for name in NAMES[1:] if processes.find(folder, name) is None]
        web = _start_web(stamp)
        for process in waiting:
            _require(process)
    return web


def stop() -> list[str]:
    """Stop web, worker and beat; return what was stopped."""
    folder = settings().var / "run"
    with processes.locked(settings().var / "services.lock"):
        found = _found(folder)
        # A worker finishes the task at hand first; what it does not finish is leased again.
        processes.stop(folder, *found, patience_s=15)
    return [process.name for process in found]


def _found(folder: Path) -> list[processes.Process]:
    return [process for name in NAMES if (process := processes.find(folder, name)) is not None]


def code_stamp() -> str:
    """Return what changes when a file of the program does: how many there are and when the newest was written."""
    newest = count = 0
    for package in ("core", "grid", "dispatch", "hotline", "maps", "api"):
        for path in (ROOT / package).rglob("*"):
            if path.suffix in {".py", ".html", ".mo", ".po", ".yaml"}:
                newest = max(newest, path.stat().st_mtime_ns)
                count += 1
    # Addresses change with the folder and the environment; a process keeps those that it was started with.
    known = f"{count} {newest} {settings().database_url} {settings().broker_url} {settings().host} {settings().port}"
    known += f" {settings().sink}"
    return hashlib.sha256(known.encode()).hexdigest()[:16]


def _log(name: str) -> Path:
    return settings().var / "log" / f"{name}.log"


def _start_queue(name: str, stamp: str) -> processes.Process:
    var = settings().var
    special = {
        "worker": ["worker", "--concurrency=1", "--without-gossip", "--without-mingle", "--hostname=wangge@%h"],
        "beat": ["beat", f"--schedule={var / 'run' / 'beat-schedule'}", "--pidfile="],
    }
    argv = [sys.executable, "-P", "-m", "celery", "--app", _QUEUE, "--quiet", *special[name], "--loglevel=WARNING"]
    pid = processes.spawn(argv, log=_log(name), cwd=ROOT, env={"PYTHONPATH": str(ROOT)})
    return processes.remember(var / "run", name, pid, stamp=stamp)


def _start_web(stamp: str) -> Web:
    """Start uvicorn on the wanted port or the next free one; a port lost in between is found out and passed over."""
    folder, config = settings().var / "run", settings()
    if process := processes.find(folder, "web"):
        if _becomes(partial(_healthy, process.address), process, patience_s=20):
            return Web(process.address)
        processes.stop(folder, process)
    for port in range(config.port, config.port + _PORTS):
        if not _free(config.host, port):
            continue
        host = f"[{config.host}]" if ":" in config.host else config.host
        argv = [sys.executable, "-P", "-m", "uvicorn", _WEB, "--host", config.host, "--port", str(port)]
        argv += ["--no-server-header", "--no-access-log", "--timeout-graceful-shutdown", "5", "--log-level", "warning"]
        pid = processes.spawn(argv, log=_log("web"), cwd=ROOT, env={"PYTHONPATH": str(ROOT)})
        shown = f"http://{'127.0.0.1' if config.host in {'0.0.0.0', '[::]'} else host}:{port}"  # noqa: S104
        process = processes.remember(folder, "web", pid, address=shown, stamp=stamp)
        if _becomes(partial(_healthy, shown), process, patience_s=60):
            return Web(shown, taken=config.port if port != config.port else 0)
        if processes.alive(process) or _free(config.host, port):
            break
    why = processes.tail(_log("web"))
    if left := processes.find(folder, "web"):
        processes.stop(folder, left)
    raise Unavailable("The web server did not start: {why}", why=why)


def _require(process: processes.Process) -> None:
    """Give a process a moment to fail in and raise Unavailable when it does."""
    if _becomes(lambda: not processes.alive(process), process, patience_s=1.0) or not processes.alive(process):
        raise Unavailable("{name} did not start: {why}", name=process.name, why=processes.tail(_log(process.name)))


def _becomes(true: Callable[[], bool], process: processes.Process, *, patience_s: float) -> bool:
    """Wait until something holds; give up when the process ends or patience does."""
    limit = time.monotonic() + patience_s
    while time.monotonic() < limit:
        if true():
            return True
        if not processes.alive(process):
            return False
        time.sleep(0.05)
    return False


def _free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        # As uvicorn does: a port whose last connections are fading away is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _healthy(address: str) -> bool:
    """Return whether the server answers; 503 says that it is up and something behind it is not, which doctor tells."""
    request = urllib.request.Request(f"{address}/healthz")  # noqa: S310  an address of ours
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=5) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as error:
        return error.code == 503
    except OSError:
        return False
