"""A stand-in for providers of short messages and for chat robots: an HTTP server on loopback that does as it is told."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module

import pytest


class Provider:
    """An SMS provider that remembers keys, and does what the test says."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.sent: set[str] = set()
        self.mode = "ok"
        #: What a robot answers instead; status 200 in any case.
        self.says: dict[str, object] | None = None
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                provider.got.append((self.path, dict(self.headers), body))
                provider.answer(self)

            def do_GET(self) -> None:
                provider.got.append((self.path, dict(self.headers), b""))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *given: object) -> None:
                del given

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/sms"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        _, headers, _ = self.got[-1]
        if self.mode == "slow":
            time.sleep(1.2)
        if self.mode in ("ok", "half", "slow", "cut"):
            self.sent.add(headers.get("Idempotency-Key", ""))
        status = {"error": 500, "busy": 429, "no": 403, "moved": 302}.get(self.mode, 200)
        body = json.dumps(self.says or {"code": 0 if self.mode != "bad" else 17, "msgid": "A1\r\nX"}).encode()
        try:
            handler.send_response(status)
            if self.mode == "moved":
                handler.send_header("Location", "/elsewhere")
            if self.mode == "busy":
                handler.send_header("Retry-After", "90")
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            sent = body[:7] + b"}" * (len(body) - 7) if self.mode == "half" else body
            handler.wfile.write(sent[:5] if self.mode == "cut" else sent)
        except OSError:
            # Who did not want to wait has gone.
            pass
        handler.close_connection = True


@contextmanager
def providing() -> Iterator[Provider]:
    """Serve a provider on a free loopback port."""
    made = Provider()
    try:
        yield made
    finally:
        made.server.shutdown()
        made.server.server_close()
        made.thread.join(5)


#: Channel → module and class of apprise, an address, and the way of the robot's real address.
ROBOTS = {
    "wecom": ("wecombot", "NotifyWeComBot", "wecombot://key-0123456789", "/cgi-bin/webhook/send?key={key}"),
    "dingtalk": ("dingtalk", "NotifyDingTalk", "dingtalk://tok0123456789", "/robot/send?access_token={token}"),
    "feishu": ("feishu", "NotifyFeishu", "feishu://abcdef0123456789", "/open-apis/bot/v2/hook/{token}/"),
}


def lead_here(robot: str, provider: Provider, patch: pytest.MonkeyPatch) -> str:
    """Let apprise's robot of a channel speak to the provider instead of its company; returns an address of it."""
    module, name, address, way = ROBOTS[robot]
    kind = getattr(import_module(f"apprise.plugins.{module}"), name)
    assert kind.notify_url.endswith(way), "what is led here is the company's own address but for the host"
    patch.setattr(kind, "notify_url", provider.url.rpartition("/")[0] + way)
    return address
