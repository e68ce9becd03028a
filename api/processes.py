"""Processes that this checkout started: how to start them detached, know them again and stop exactly those.

A process is known by its id *and* its start time (and the boot it belongs to), so that an id which the kernel gave to a
stranger after a crash is never touched. It knows nothing of what the processes do.
"""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from core.errors import Unavailable

#: A log of more bytes than this is set aside when its program is started again.
_LONG_LOG = 20_000_000


@dataclass(frozen=True, slots=True)
class Process:
    """One process that was started from here."""

    #: What it is for; the name of its file under `var/run`.
    name: str
    pid: int
    #: Start time in clock ticks since boot, as in field 22 of /proc/PID/stat.
    started: str
    #: The kernel's boot id; start times of another boot mean nothing.
    boot: str
    #: The folder of its record: a record that was copied with the checkout is about somebody else's process.
    home: str = ""
    #: Where it answers, for people; empty for a worker.
    address: str = ""
    #: What it was started from, such as a hash of the code; a difference is a reason to start it anew.
    stamp: str = ""


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def start_time(pid: int) -> str | None:
    """Return the start time of a living process in ticks since boot; None when there is none or it is a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The command's name stands in brackets and may hold spaces and brackets itself.
    fields = stat[stat.rindex(")") + 2 :].split()
    return None if fields[0] in "ZX" else fields[19]


def remember(folder: Path, name: str, pid: int, *, address: str = "", stamp: str = "") -> Process:
    """Write down a process that was just started, atomically; raises Unavailable when it is already gone."""
    started = start_time(pid)
    if started is None:
        raise Unavailable("{name} ended as soon as it was started.", name=name)
    process = Process(name=name, pid=pid, started=started, boot=_boot(), home=str(folder), address=address, stamp=stamp)
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f".{name}.{os.getpid()}"
    draft.write_text(json.dumps(asdict(process)), encoding="utf-8")
    draft.rename(folder / f"{name}.json")
    return process


def find(folder: Path, name: str) -> Process | None:
    """Return the remembered process if it still runs; a record of a dead one is removed."""
    record = folder / f"{name}.json"
    try:
        process = Process(**json.loads(record.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        record.unlink(missing_ok=True)
        return None
    if process.home == str(folder) and process.boot == _boot() and start_time(process.pid) == process.started:
        return process
    record.unlink(missing_ok=True)
    return None


def spawn(argv: Sequence[str], *, log: Path, cwd: Path, env: Mapping[str, str] | None = None) -> int:
    """Start a program in a session of its own, output appended to `log`; return its pid.

    It survives the caller, the terminal and a closed standard input.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > _LONG_LOG:
        log.replace(log.with_suffix(".log.1"))
    with log.open("ab") as out:
        child = subprocess.Popen(  # noqa: S603  argv is built by the callers of this package, never from input
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
    # The child outlives this process on purpose; without this, Python warns about it when the object goes.
    child.returncode = 0
    return child.pid


def run(argv: Sequence[str], *, timeout_s: float = 120, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run a program to its end in `/`, with its output captured; the caller looks at the return code."""
    return subprocess.run(  # noqa: S603  as above
        list(argv),
        input=stdin,
        capture_output=True,
        text=True,
        cwd="/",
        timeout=timeout_s,
        check=False,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )


def alive(process: Process) -> bool:
    """Return whether it still runs; a child that ended is reaped on the way."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)
    return start_time(process.pid) == process.started


def stop(folder: Path, *found: Process, how: signal.Signals = signal.SIGTERM, patience_s: float = 20) -> bool:
    """End processes that `find` returned, all at once, and forget them; return False when one had to be killed.

    Each is asked once: to some programs a second SIGTERM means "at once, whatever is lost".
    """
    gently = True
    for sign, patience in ((how, patience_s), (signal.SIGKILL, 5.0)):
        left = [process for process in found if alive(process)]
        gently = gently and (sign is how or not left)
        for process in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, sign)
        limit = time.monotonic() + patience
        while any(alive(process) for process in left) and time.monotonic() < limit:
            time.sleep(0.03)
    for process in found:
        (folder / f"{process.name}.json").unlink(missing_ok=True)
    return gently


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the checkout's lock, so that two commands at once do not start or stop the same thing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # The descriptor is not inherited: a server started meanwhile must not keep the lock.
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def tail(log: Path, lines: int = 8) -> str:
    """Return the last lines of a log for a person to read; empty when there is none."""
    try:
        with log.open("rb") as source:
            source.seek(max(0, log.stat().st_size - 20_000))
            return "\n".join(source.read().decode("utf-8", errors="replace").splitlines()[-lines:])
    except OSError:
        return ""
