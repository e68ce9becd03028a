"""Set-up and processes: what is ours, what is not, and what happens when something is in the way."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from api import local, processes, schema, server_user, vendor
from core.errors import Invalid, NotFound, Unavailable
from core.settings import ROOT

pytestmark = pytest.mark.unit


@pytest.fixture
def sleeper(tmp_path):
    pid = processes.spawn([sys.executable, "-c", "import time; time.sleep(60)"], log=tmp_path / "log", cwd=tmp_path)
    yield pid
    if processes.start_time(pid):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_a_started_process_is_found_again_and_stopped(tmp_path, sleeper):
    made = processes.remember(tmp_path, "web", sleeper, address="http://127.0.0.1:1")
    assert processes.find(tmp_path, "web") == made
    assert processes.stop(tmp_path, made)
    assert processes.find(tmp_path, "web") is None
    assert processes.start_time(sleeper) is None


@pytest.mark.parametrize(("field", "value"), [("started", "1"), ("boot", "another"), ("home", "/elsewhere/var/run")])
def test_a_record_about_somebody_elses_process_is_dropped(tmp_path, sleeper, field, value):
    processes.remember(tmp_path, "web", sleeper)
    record = tmp_path / "web.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {field: value}))
    assert processes.find(tmp_path, "web") is None
    assert processes.start_time(sleeper) is not None


@pytest.mark.parametrize("text", ["", "{", '{"pid": 1}', "[]"])
def test_a_torn_record_is_dropped(tmp_path, text):
    (tmp_path / "web.json").write_text(text)
    assert processes.find(tmp_path, "web") is None
    assert not (tmp_path / "web.json").exists()


def test_a_process_that_ignores_the_request_is_killed_and_said_so(tmp_path):
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
    pid = processes.spawn([sys.executable, "-c", deaf], log=tmp_path / "log", cwd=tmp_path)
    process = processes.remember(tmp_path, "worker", pid)
    while not (tmp_path / "log").read_text():
        time.sleep(0.02)
    assert not processes.stop(tmp_path, process, patience_s=0.1)
    assert processes.start_time(pid) is None


def test_a_second_command_waits_for_the_first(tmp_path):
    script = "import sys; from api import processes; from pathlib import Path\nwith processes.locked(Path(sys.argv[1])): pass"
    with processes.locked(tmp_path / "lock"):
        other = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "lock")], cwd=ROOT)
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(0.8)
    assert other.wait(20) == 0


def test_a_folder_of_somebody_else_is_never_taken(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(Unavailable, match="belongs to somebody else"):
        server_user.private_folder(tmp_path / "link", os.geteuid(), os.getegid())


def test_sockets_of_a_long_path_lie_in_a_short_private_folder(tmp_path):
    deep = tmp_path / ("long-" * 20) / "var"
    deep.mkdir(parents=True)
    ground = server_user.footing(deep)
    try:
        assert len(str(ground.sockets / ".s.PGSQL.5432")) < 107
        assert ground.sockets.stat().st_mode & 0o077 == 0
        assert ground.sockets == server_user.short_sockets(deep)
        assert server_user.short_sockets(deep) != server_user.short_sockets(tmp_path)
    finally:
        ground.sockets.rmdir()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become another account")
def test_root_finds_a_way_into_a_folder_that_is_closed_to_the_account(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    ground = server_user.footing(closed / "var")
    answer = processes.run([*ground.prefix, "sh", "-c", 'id -u; echo here > "$1"', "sh", str(ground.home / "file")])
    assert (answer.returncode, answer.stdout.strip()) != (0, "0"), "PostgreSQL would refuse root"
    assert (ground.home / "file").read_text() == "here\n"
    if ground.way == "elsewhere":
        shutil.rmtree(ground.home)


def test_the_made_secret_survives_a_restart_and_is_nobody_elses(tmp_path):
    path = tmp_path / "settings.env"
    local._write_settings(path, {"WANGGE_DATABASE_URL": "one"})
    first = path.read_text()
    local._write_settings(path, {"WANGGE_DATABASE_URL": "two"})
    secret = re.search(r"WANGGE_SECRET=([0-9a-f]{64})\n", first)
    assert secret
    assert secret[0] in path.read_text()
    assert "WANGGE_DATABASE_URL=two\n" in path.read_text()
    assert path.stat().st_mode & 0o077 == 0


def test_a_given_database_is_never_migrated_as_the_private_owner(monkeypatch):
    monkeypatch.setenv("WANGGE_DATABASE_URL", "postgresql+psycopg://somebody@elsewhere/wangge")
    monkeypatch.delenv("WANGGE_OWNER_URL", raising=False)
    with pytest.raises(Unavailable, match="WANGGE_OWNER_URL"):
        local.owner_url()


def test_the_newest_revision_is_alembics_head():
    from alembic.script import ScriptDirectory

    assert schema.newest() == ScriptDirectory.from_config(schema.config("")).get_current_head()


def test_every_vendored_file_is_listed_with_a_licence_and_a_hash():
    listed = json.loads((ROOT / "api" / "vendor.json").read_text(encoding="utf-8"))
    assert all(entry["version"] and entry["licence"] for entry in listed)
    assert all(re.fullmatch(r"[0-9a-f]{64}", asset.sha256) for asset in vendor.assets())
    locked = json.loads((ROOT / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    for entry in listed:
        assert locked[f"node_modules/{entry['package']}"]["version"] == entry["version"]


def test_vendored_styles_name_no_foreign_host_and_only_vendored_files():
    if not vendor.FOLDER.exists():
        pytest.skip("the assets are not installed: run ./setup.sh demo")
    targets = {asset.target for asset in vendor.assets()}
    for style in vendor.FOLDER.rglob("*.css"):
        for found in re.findall(r"url\(([^)]*)\)", style.read_text(encoding="utf-8")):
            link = found.strip("'\"").split("?")[0]
            if link.startswith(("data:", "#", "%23")):
                continue
            assert os.path.relpath((style.parent / link).resolve(), vendor.FOLDER) in targets, (
                f"{style.name} needs {link}"
            )


def test_an_altered_or_foreign_asset_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(vendor, "FOLDER", tmp_path / "vendor")
    monkeypatch.setattr(vendor, "LIST", tmp_path / "list.json")
    (tmp_path / "modules" / "thing").mkdir(parents=True)
    (tmp_path / "modules" / "thing" / "a.js").write_text("1")
    (tmp_path / "modules" / "thing" / "package.json").write_text('{"version": "1.0", "license": "MIT"}')
    entry = {"package": "thing", "folder": "thing", "strip": "", "version": "", "licence": "", "files": {"a.js": ""}}
    vendor.LIST.write_text(json.dumps([entry]))
    vendor.pin(tmp_path / "modules")
    assert vendor.install(tmp_path / "modules") == 1
    assert vendor.faults() == []
    (vendor.FOLDER / "thing" / "a.js").write_text("2")
    (vendor.FOLDER / "b.js").write_text("3")
    assert vendor.faults() == ["b.js is not listed", "thing/a.js was altered"]
    (tmp_path / "modules" / "thing" / "a.js").write_text("4")
    with pytest.raises(Invalid):
        vendor.install(tmp_path / "modules")
    (tmp_path / "modules" / "thing" / "a.js").unlink()
    with pytest.raises(NotFound):
        vendor.install(tmp_path / "modules")


def test_no_lock_names_a_registry():
    locks = [ROOT / "package-lock.json", *(ROOT / "requirements").glob("*.txt")]
    assert len(locks) >= 4
    for lock in locks:
        text = lock.read_text(encoding="utf-8")
        assert '"resolved": "http' not in text
        assert "index-url" not in text
        assert "find-links" not in text


@pytest.fixture
def poor_machine(tmp_path):
    """A PATH with the everyday tools and Python, but no Redis, no sudo, and an `id` that is not root."""
    tools = tmp_path / "bin"
    tools.mkdir()
    everyday = (
        "bash env mkdir flock cat sha256sum cut ls grep dirname basename tr tail date setpriv unshare node npm rm mv"
    )
    for name in everyday.split():
        if found := shutil.which(name):
            (tools / name).symlink_to(found)
    for name, line in {"id": "echo 1000", "apt-get": "exit 1", "apt-cache": "exit 1"}.items():
        (tools / name).write_text(f"#!/bin/sh\n{line}\n")
        (tools / name).chmod(0o755)
    (tools / "python3").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (tools / "python3").chmod(0o755)
    (tmp_path / "setup.sh").write_text((ROOT / "setup.sh").read_text())
    for file in ("package.json", "package-lock.json", "api/vendor.json", "api/vendor.py"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    return tmp_path


def test_without_root_the_missing_packages_are_named_and_nothing_is_done(poor_machine):
    done = subprocess.run(
        ["/bin/bash", "setup.sh", "demo"],
        cwd=poor_machine,
        env={"PATH": str(poor_machine / "bin"), "WANGGE_VAR": str(poor_machine / "var")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    command = next(line for line in done.stderr.splitlines() if "apt-get install" in line)
    assert "--no-install-recommends" in command
    assert "redis-tools" in command
    assert not (poor_machine / ".venv").exists()
