"""A stand-in for Weibo's open platform: a real HTTP server on loopback with the endpoints that the channel uses.

It pages by since_id and max_id, sends at most 200, counts calls, lets tokens run out, hides a deleted post, keeps
comments, and misbehaves on demand: half a JSON, the same page twice, slow or endless answers, redirects, a comment that
is kept but whose answer never arrives. Everything in it is invented.
"""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

#: The account that mentions are of, and the token that holds.
OWN, TOKEN = "9000000001", "standin-token"
_CHINA = timezone(timedelta(hours=8))
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def written(at: datetime) -> str:
    """Return a time as the platform writes it."""
    here = at.astimezone(_CHINA)
    return f"{_DAYS[here.weekday()]} {_MONTHS[here.month - 1]} {here.day:02d} {here:%H:%M:%S} +0800 {here.year}"


class Standin:
    """The platform, with switches for everything that can go wrong."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.posts: dict[int, dict[str, Any]] = {}
        self.deleted: set[int] = set()
        #: Posts about which it answers an error that nobody knows.
        self.strange: set[int] = set()
        self.comments: dict[int, list[dict[str, Any]]] = {}
        #: (method, path, parameters) of every call.
        self.calls: list[tuple[str, str, dict[str, str]]] = []
        #: What the next calls do instead of answering well: half, slow, drip, redirect, same, huge, 500, list, drop,
        #: kept (a comment is taken and the line breaks).
        self.next: deque[str] = deque()
        self.token_error: int | None = None
        #: Calls left until 10023; None for no limit.
        self.left: int | None = None
        self.reset_s = 1800
        self._last_page: bytes = b""
        self._made = 0

    # What tests do to it.

    def mention(self, text: str, *, at: datetime, author: int = 7000000001, **known: Any) -> int:
        """Publish a mention and return its id; ids grow with time as the platform's do."""
        with self.lock:
            self._made += 1
            made = known.pop("id", None) or ((int(at.timestamp()) - 515_483_463) << 22) + self._made % (1 << 22)
            self.posts[made] = {
                "created_at": written(at),
                "id": made,
                "idstr": str(made),
                "mid": str(made),
                "text": text,
                "source": '<a href="http://app.weibo.com" rel="nofollow">微博 weibo.com</a>',
                "truncated": False,
                "isLongText": False,
                "geo": None,
                "user": {"id": author, "idstr": str(author), "screen_name": f"用户{author % 10000}"},
                "reposts_count": 0,
                "comments_count": 0,
            } | known
        return made

    def delete(self, post_id: int) -> None:
        self.deleted.add(post_id)

    def own_texts(self, post_id: int) -> list[str]:
        """Return the words of our comments under a post, oldest first."""
        return [one["text"] for one in self.comments.get(post_id, []) if one["user"]["idstr"] == OWN]

    # What it answers.

    def answer(self, method: str, path: str, asked: dict[str, str], token: str) -> tuple[int, dict[str, Any]]:
        if token != f"OAuth2 {TOKEN}":
            return 403, self._error(path, 21332, "invalid_access_token")
        if self.token_error:
            return 403, self._error(path, self.token_error, {21327: "expired_token"}.get(self.token_error, "token"))
        if path == "/2/account/rate_limit_status.json":
            return 200, {"reset_time_in_seconds": self.reset_s, "remaining_user_hits": self.left or 0}
        if self.left is not None:
            if self.left <= 0:
                return 403, self._error(path, 10023, "User requests out of rate limit!")
            self.left -= 1
        endpoints = {
            ("GET", "/2/statuses/mentions.json"): self._mentions,
            ("GET", "/2/statuses/show.json"): self._show,
            ("GET", "/2/comments/show.json"): self._comments,
            ("POST", "/2/comments/create.json"): self._create,
        }
        endpoint = endpoints.get((method, path))
        return endpoint(path, asked) if endpoint else (404, self._error(path, 10020, "Request api not found"))

    def _mentions(self, path: str, asked: dict[str, str]) -> tuple[int, dict[str, Any]]:
        since, top = int(asked.get("since_id", 0)), int(asked.get("max_id", 0))
        count, page = min(int(asked.get("count", 50)), 200), int(asked.get("page", 1))
        with self.lock:
            found = sorted((i for i in self.posts if i > since and (not top or i <= top)), reverse=True)
            found = [i for i in found if i not in self.deleted]
            chosen = [self._shown(i, whole=False) for i in found[(page - 1) * count : page * count]]
        return 200, {"statuses": chosen, "total_number": len(found), "previous_cursor": 0, "next_cursor": 0}

    def _shown(self, post_id: int, *, whole: bool) -> dict[str, Any]:
        post = dict(self.posts[post_id])
        if len(post["text"]) > 140 and post["isLongText"]:
            if whole:
                post["longText"] = {"longTextContent": post["text"]}
            post["text"] = post["text"][:130] + "...全文"
        root = post.get("retweeted_status")
        if root and int(root["id"]) in self.deleted:
            sorry = "抱歉，此微博已被作者删除。查看帮助：http://t.cn/Rfd3rQV"
            post["retweeted_status"] = {"id": root["id"], "idstr": str(root["id"]), "text": sorry, "deleted": "1"}
        return post

    def _show(self, path: str, asked: dict[str, str]) -> tuple[int, dict[str, Any]]:
        key = int(asked.get("id", 0))
        if key in self.strange:
            return 400, self._error(path, 29999, "something new")
        if key not in self.posts or key in self.deleted:
            return 400, self._error(path, 20101, "target weibo does not exist!")
        return 200, self._shown(key, whole=asked.get("isGetLongText") == "1")

    def _comments(self, path: str, asked: dict[str, str]) -> tuple[int, dict[str, Any]]:
        key = int(asked.get("id", 0))
        if key not in self.posts or key in self.deleted:
            return 400, self._error(path, 20101, "target weibo does not exist!")
        newest = self.comments.get(key, [])[::-1][: min(int(asked.get("count", 50)), 200)]
        return 200, {"comments": newest, "total_number": len(newest)}

    def _create(self, path: str, asked: dict[str, str]) -> tuple[int, dict[str, Any]]:
        key, text = int(asked.get("id", 0)), asked.get("comment", "")
        if key not in self.posts or key in self.deleted:
            return 400, self._error(path, 20101, "target weibo does not exist!")
        # Two letters of ASCII count as one character.
        if sum(1 if ord(c) > 127 else 0.5 for c in text) > 140:
            return 400, self._error(path, 20012, "Text too long, please input text less than 140 characters!")
        with self.lock:
            kept = self.comments.setdefault(key, [])
            if any(one["text"] == text for one in kept):
                return 400, self._error(path, 20019, "Repeat content!")
            made = {"id": key + 10**6 + len(kept), "text": text, "user": {"id": int(OWN), "idstr": OWN}}
            kept.append({**made, "idstr": str(made["id"]), "created_at": written(datetime.now(UTC))})
            return 200, kept[-1]

    def _error(self, path: str, code: int, said: str) -> dict[str, Any]:
        return {"error": said, "error_code": code, "request": path.removesuffix(".json")}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    standin: Standin

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self._answer("GET", parts.path, parse_qs(parts.query))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer("POST", urlsplit(self.path).path, parse_qs(body.decode()))

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self, method: str, path: str, given: dict[str, list[str]]) -> None:
        asked, it = {name: values[-1] for name, values in given.items()}, self.standin
        it.calls.append((method, path, asked))
        trick = it.next.popleft() if it.next else ""
        if trick == "redirect":
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if trick == "drop":
            self.close_connection = True
            return
        status, found = it.answer(method, path, asked, self.headers.get("Authorization", ""))
        body = orjson.dumps(found)
        if trick == "same" and it._last_page:
            body = it._last_page
        elif path.endswith("mentions.json") and status == 200:
            it._last_page = body
        if trick == "kept":
            self.close_connection = True
            return
        if trick in ("half", "list", "500"):
            body = {"half": body[: len(body) // 2], "list": b"[1, 2]", "500": b"<html>502 Bad Gateway</html>"}[trick]
            status = 502 if trick == "500" else status
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=UTF-8")
        self.send_header("Content-Length", str(len(body) if trick != "huge" else 10**9))
        self.end_headers()
        # A caller may hang up.
        with suppress(BrokenPipeError, ConnectionResetError):
            if trick == "slow":
                time.sleep(1.5)
            if trick in ("drip", "huge"):
                piece = b" " * (2**20 if trick == "huge" else 1)
                for _ in range(400):
                    self.wfile.write(piece)
                    self.wfile.flush()
                    time.sleep(0 if trick == "huge" else 0.05)
            self.wfile.write(body)


@contextmanager
def serving() -> Iterator[tuple[Standin, str]]:
    """Serve a stand-in on a free loopback port; yields it with its address."""
    standin = Standin()
    handler = type("Handler", (_Handler,), {"standin": standin})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield standin, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
