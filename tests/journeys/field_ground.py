"""What journeys of the worker's phone stand on: a server that is a process of its own, to be killed, and a small phone.

The server serves the file's own database on a port that it keeps through its deaths, so that the phone finds it again.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from playwright.sync_api import BrowserContext, Page, Playwright, expect

from core.settings import ROOT
from tests import tiny

#: The smallest phone that is still about: FACES.
SMALL = {"width": 360, "height": 640}
#: How much slower than this machine a cheap phone is.
SLOW = 4
#: When a start is given up; it ends what hangs.
START_S = 300
#: How long anything may take before the journey is given up.
PATIENCE_MS = 60_000
#: A line as it is in the second row of houses: 1.6 Mbit/s down, 750 kbit/s up, 150 ms.
LINE = {"offline": False, "latency": 150, "downloadThroughput": 200_000, "uploadThroughput": 94_000}


class Server:
    """The program as a process that can be killed with SIGKILL and started again on the same port."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, *, program: str = "") -> None:
        """Start it and wait until it answers, as long as it lives: a busy machine reads the program in half a minute.

        program: Python to run instead, given the port as its argument.
        """
        command = [sys.executable, "-m", "uvicorn", "api.app:app", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--log-level", "warning", "--lifespan", "off"]
        if program:
            command = [sys.executable, "-c", program, str(self.port)]
        self.process = subprocess.Popen(command, env=dict(os.environ), cwd=ROOT)
        limit = time.monotonic() + START_S
        while time.monotonic() < limit:
            assert self.process.poll() is None, "the server ended by itself"
            try:
                with urlopen(f"{self.address}/readyz", timeout=5):
                    return
            except (URLError, OSError):
                time.sleep(0.1)
        self.kill()
        raise AssertionError("the server did not answer")

    def kill(self) -> None:
        """Kill it with SIGKILL, in the middle of whatever it does."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(20)
            self.process = None


@contextmanager
def phone(
    play: Playwright, folder: Path, address: str, *, at: tuple[float, float], slow: bool = True
) -> Iterator[Page]:
    """Open a small phone whose memory is a folder: what is opened there again remembers what was kept."""
    context = open_phone(play, folder, address, at=at)
    try:
        yield first_page(context, slow=slow)
    finally:
        context.close()


def open_phone(play: Playwright, folder: Path, address: str, *, at: tuple[float, float]) -> BrowserContext:
    program = next(path for name in ("chromium", "chromium-browser") if (path := shutil.which(name)))
    context = play.chromium.launch_persistent_context(
        str(folder),
        executable_path=program,
        args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
        viewport=SMALL,
        is_mobile=True,
        has_touch=True,
        locale="zh-CN",
        timezone_id="Asia/Shanghai",
        geolocation={"longitude": at[0], "latitude": at[1], "accuracy": 12},
        permissions=["geolocation"],
        base_url=address,
    )
    context.set_default_timeout(PATIENCE_MS)
    return context


def first_page(context: BrowserContext, *, slow: bool = True) -> Page:
    page = context.pages[0] if context.pages else context.new_page()
    if slow:
        told = context.new_cdp_session(page)
        told.send("Emulation.setCPUThrottlingRate", {"rate": SLOW})
        told.send("Network.enable")
        told.send("Network.emulateNetworkConditions", LINE)
    return page


def sign_in(page: Page, login: str = "gridwest") -> None:
    """Sign in as a person would, and wait until the phone has everything that it needs without a line."""
    page.goto("/login?next=/field")
    page.get_by_label("账号").fill(login)
    page.get_by_label("密码").fill(tiny.PASSWORD)
    page.get_by_role("button", name="登录").click()
    page.wait_for_url(lambda address: address.endswith("/field") or "/field#" in address)
    expect(page.locator("html[data-kept=yes]")).to_be_attached()
    expect(page.get_by_text("更新于")).to_be_visible()
