"""The open platform's side 微博开放平台: one client for mentions, posts and comments, and what it can answer wrongly.

Knows the platform's addresses, limits, error codes and time format; knows no table. Nothing the platform says is
trusted: answers are bounded in size and time, redirects are refused, a broken post does not hide the others.
"""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol, Self

import httpx
import orjson

from core.errors import Invalid, NotFound, Unavailable
from dispatch.words import N_

#: Most posts of one page, as documented.
MAX_COUNT: Final = 200
#: Largest answer: a page of 200 posts has about two megabytes.
_MAX_BYTES: Final = 16 * 2**20
#: Seconds until an answer must have begun, and until it must be whole.
_SILENCE_S, _WHOLE_S = 10.0, 30.0
#: Error codes by what they mean for us.
_TOKEN: Final = frozenset({10005, 10006, 10013, 10014, 21301, *range(21314, 21318), 21319, 21321, 21327, 21332})
_RATE: Final = frozenset({10009, 10022, 10023, 10024, 20016})
_GONE: Final = frozenset({20101, 20104, 20112, 20201})
#: Taken before, and taken but not shown yet: whoever looks finds our comment.
_SAME: Final = frozenset({20017, 20019, 20032, 20111})
#: This comment will never be taken: its words, or the author's settings.
_NEVER: Final = frozenset({20012, 20013, 20015, 20018, 20020, 20021, 20202, 20206, 20207, 20208, 20508, 20603, 21602})
#: The platform names no moment for the end of a rate limit in its answer: limits are counted by the hour.
_HOUR: Final = timedelta(hours=1)
#: A post's id holds the second it was made in: high bits, from this second of Unix time on.
_EPOCH_S, _SECOND_BITS = 515_483_463, 22
_ID = re.compile(r"[1-9][0-9]{0,18}")
#: Ids are counted in 63 bits; a larger number is none, and no cursor could hold it.
_IDS_END: Final = 2**63
#: Control characters; a lone surrogate cannot come out of JSON that was decoded.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ufffe\uffff]")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MOMENT = re.compile(r"[A-Z][a-z]{2} ([A-Z][a-z]{2}) (\d{1,2}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d) (\d{4})")
#: Years that a post can be of; others are a slip, and the edge of the calendar cannot be reckoned from.
YEARS: Final = range(2000, 2101)
#: Longest text that is kept of a post.
LONGEST: Final = 10_000


class Halted(Unavailable):
    """The platform cannot be used now. kind: token, rate, down or odd; wait: how long it says, None without a word."""

    def __init__(self, *, kind: str, said: str = "", wait: timedelta | None = None) -> None:
        super().__init__(HALTED[kind])
        self.kind = kind
        self.said = said[:200]
        self.wait = wait


#: Kind of a halt → words for people.
HALTED: Final[Mapping[str, str]] = {
    "token": N_("Weibo refuses the access token: it has run out or was withdrawn; put in a new one."),
    "rate": N_("Weibo allows no more calls for now; it goes on by itself."),
    "down": N_("Weibo does not answer; it is tried again by itself."),
    "odd": N_("Weibo answers something that cannot be read; it is tried again by itself."),
}


class Gone(NotFound):
    """The post was deleted by its author or taken down."""

    def __init__(self) -> None:
        super().__init__(N_("The post is gone."))


class Declined(Invalid):
    """The platform will never take this comment."""

    def __init__(self, said: str) -> None:
        super().__init__(N_("Weibo does not take this answer: {said}"), said=said[:200])
        self.said = said[:200]


class Unknown(Unavailable):
    """A comment may or may not have been taken: look before trying again."""

    def __init__(self) -> None:
        super().__init__(N_("It is not known whether Weibo took the answer; it is looked up before another try."))


@dataclass(frozen=True, slots=True)
class Post:
    """One post, as far as the channel needs it."""

    id: str
    text: str
    #: Aware.
    posted_at: datetime | None = None
    author_id: str = ""
    author: str = ""
    #: The first post of the thread; empty where this is it.
    root_id: str = ""
    root_text: str = ""
    #: Degrees of `datum`; None for none.
    lng: float | None = None
    lat: float | None = None
    #: Empty: as the district's setting says.
    datum: str = ""
    #: The platform sent only the beginning of the text.
    cut: bool = False
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """One page of mentions, newest first as the platform sends them."""

    posts: tuple[Post, ...]
    #: Entries that name no id and so cannot even be kept.
    broken: int = 0


@dataclass(frozen=True, slots=True)
class Comment:
    """One comment under a post."""

    id: str
    author_id: str
    text: str


class Platform(Protocol):
    """Where mentions come from and answers go to."""

    def mentions(self, *, since_id: int, max_id: int = 0, count: int = MAX_COUNT) -> Page:
        """Return a page of mentions newer than since_id and not newer than max_id (0: no bound)."""
        ...

    def post(self, post_id: str) -> Post:
        """Return a post as it stands, with its whole text; raises Gone."""
        ...

    def own_comments(self, post_id: str) -> tuple[Comment, ...]:
        """Return our own newest comments under a post; raises Gone."""
        ...

    def comment(self, post_id: str, text: str) -> str:
        """Comment on a post and return the comment's id; raises Gone, Declined, Halted, or Unknown after sending."""
        ...


def back(post_id: int, by: timedelta) -> int:
    """Return an id that a post of so much earlier would have; at least 0."""
    return max(0, post_id - (int(by.total_seconds()) << _SECOND_BITS))


def id_at(at: datetime) -> int:
    """Return the smallest id that a post made at a moment (aware) can have."""
    return max(0, int(at.timestamp()) - _EPOCH_S) << _SECOND_BITS


def moment(written: object) -> datetime | None:
    """Return the time in `Tue Jul 20 10:00:00 +0800 2021`, aware; None for anything else. Independent of the locale."""
    found = _MOMENT.fullmatch(written) if isinstance(written, str) else None
    if found is None or found[1] not in _MONTHS:
        return None
    try:
        hour, minute, second = map(int, found.group(3, 4, 5))
        month = _MONTHS.index(found[1]) + 1
        here = datetime(int(found[9]), month, int(found[2]), hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    if here.year not in YEARS:
        return None
    ahead = timedelta(hours=int(found[7]), minutes=int(found[8]))
    return here - ahead if found[6] == "+" else here + ahead


def made_at(post_id: str) -> datetime | None:
    """Return when a post with this id was made, to the second; None where the id cannot be the platform's."""
    if not _ID.fullmatch(post_id):
        return None
    seconds = (int(post_id) >> _SECOND_BITS) + _EPOCH_S
    return datetime.fromtimestamp(seconds, UTC) if _EPOCH_S < seconds < 2**32 else None


def plain(text: object, most: int = LONGEST) -> str:
    """Return a text without control characters, at most so long; empty for anything but a text."""
    return _CONTROL.sub(" ", text).strip()[:most] if isinstance(text, str) else ""


def post_of(raw: object) -> Post | None:
    """Return the post of one status object; None where it names no id. Whatever else is broken is left empty."""
    if not isinstance(raw, Mapping):
        return None
    post_id = _id(raw)
    if not post_id:
        return None
    author = raw.get("user")
    author = author if isinstance(author, Mapping) else {}
    root = raw.get("retweeted_status")
    root = root if isinstance(root, Mapping) else {}
    lng, lat = _point(raw.get("geo"))
    deleted_root = bool(root.get("deleted"))
    whole = raw.get("longText")
    longer = plain(whole.get("longTextContent")) if isinstance(whole, Mapping) else ""
    return Post(
        id=post_id,
        text=longer or plain(raw.get("text")),
        posted_at=moment(raw.get("created_at")) or made_at(post_id),
        author_id=_id(author),
        author=plain(author.get("screen_name"), 50),
        root_id=_id(root),
        root_text="" if deleted_root else plain(root.get("text")),
        lng=lng,
        lat=lat,
        cut=not longer and bool(raw.get("isLongText") or raw.get("truncated")),
        deleted=bool(raw.get("deleted")),
    )


def _id(raw: Mapping[str, Any]) -> str:
    for name in ("idstr", "id", "mid"):
        written = raw.get(name)
        if isinstance(written, str | int) and not isinstance(written, bool) and _ID.fullmatch(str(written)):
            return str(written) if int(written) < _IDS_END else ""
    return ""


def _point(geo: object) -> tuple[float | None, float | None]:
    """Return longitude and latitude; the platform writes latitude first, and zeros for nowhere."""
    spot = geo.get("coordinates") if isinstance(geo, Mapping) else None
    if isinstance(spot, list) and len(spot) == 2:
        try:
            lat, lng = float(spot[0]), float(spot[1])
        except (TypeError, ValueError):
            return None, None
        if (lng or lat) and abs(lng) <= 180 and abs(lat) <= 90:
            return lng, lat
    return None, None


class Client:
    """The open platform over HTTPS. Holds one connection pool; close it, or use it as a context."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        own_id: str = "",
        transport: httpx.BaseTransport | None = None,
        silence_s: float = _SILENCE_S,
        whole_s: float = _WHOLE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """url: `https://api.weibo.com`. own_id: the id of our account, by which our comments are known."""
        self._http = httpx.Client(
            base_url=url.rstrip("/"),
            timeout=httpx.Timeout(silence_s),
            follow_redirects=False,
            trust_env=False,
            transport=transport,
            headers={"Authorization": f"OAuth2 {token}", "Accept": "application/json"},
        )
        self._own, self._whole_s, self._clock = own_id, whole_s, clock
        self._has_token = bool(token)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def mentions(self, *, since_id: int, max_id: int = 0, count: int = MAX_COUNT) -> Page:
        """Return a page of `2/statuses/mentions`; raises Halted."""
        asked = {"since_id": since_id, "max_id": max_id, "count": count, "page": 1}
        found = self._get("/2/statuses/mentions.json", asked).get("statuses")
        if not isinstance(found, list):
            raise Halted(kind="odd", said="no statuses")
        posts = [post_of(raw) for raw in found[: 2 * MAX_COUNT]]
        whole = tuple(post for post in posts if post is not None)
        return Page(whole, len(posts) - len(whole))

    def post(self, post_id: str) -> Post:
        """Return the post of `2/statuses/show` with its whole text; raises Gone, Halted."""
        found = post_of(self._get("/2/statuses/show.json", {"id": post_id, "isGetLongText": 1}))
        if found is None:
            raise Halted(kind="odd", said="no status")
        if found.deleted:
            raise Gone
        return found

    def own_comments(self, post_id: str) -> tuple[Comment, ...]:
        """Return our own among the newest 200 comments of `2/comments/show`; raises Gone, Halted.

        All of them where nobody said which account is ours: who looks for words takes a stranger's repetition for ours
        sooner than say them twice.
        """
        found = self._get("/2/comments/show.json", {"id": post_id, "count": MAX_COUNT}).get("comments")
        if not isinstance(found, list):
            raise Halted(kind="odd", said="no comments")
        read = (_comment_of(raw) for raw in found)
        return tuple(one for one in read if one is not None and (not self._own or one.author_id == self._own))

    def comment(self, post_id: str, text: str) -> str:
        """Post to `2/comments/create` and return the comment's id; raises Gone, Declined, Halted, Unknown."""
        try:
            made = self._ask("POST", "/2/comments/create.json", data={"id": post_id, "comment": text})
        except httpx.ConnectError as error:
            raise Halted(kind="down", said=type(error).__name__) from error
        except (httpx.HTTPError, Halted) as error:
            # Anything that went wrong after the words left the house may have come after they were taken.
            if isinstance(error, Halted) and error.kind in ("token", "rate"):
                raise
            raise Unknown from error
        comment = _id(made)
        if not comment:
            raise Unknown
        return comment

    def rate_reset(self) -> timedelta | None:
        """Return how long until the platform counts calls anew, `2/account/rate_limit_status`; None where unknown."""
        try:
            left = self._ask("GET", "/2/account/rate_limit_status.json").get("reset_time_in_seconds")
        except (httpx.HTTPError, Unavailable, Invalid, NotFound):
            return None
        return timedelta(seconds=min(max(left, 1), 3600)) if isinstance(left, int) else None

    def _get(self, path: str, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            return self._ask("GET", path, params=asked)
        except Halted as halted:
            if halted.kind == "rate" and halted.wait is None:
                halted.wait = self.rate_reset() or _HOUR
            raise
        except httpx.HTTPError as error:
            raise Halted(kind="down", said=type(error).__name__) from error

    def _ask(self, method: str, path: str, **sent: Any) -> Mapping[str, Any]:
        """Return the JSON object of an answer; raises what the platform's error code means, httpx.HTTPError."""
        if not self._has_token:
            raise Halted(kind="token", said="no token")
        end, body = self._clock() + self._whole_s, bytearray()
        with self._http.stream(method, path, **sent) as answer:
            for piece in answer.iter_bytes():
                body += piece
                if len(body) > _MAX_BYTES:
                    raise Halted(kind="odd", said="too large")
                # A timeout per read alone would let a byte a second go on for ever.
                if self._clock() > end:
                    raise httpx.ReadTimeout("the answer took too long")
        try:
            found = orjson.loads(bytes(body))
        except orjson.JSONDecodeError as error:
            raise Halted(
                kind="down" if answer.status_code >= 500 else "odd", said=f"{answer.status_code}, no JSON"
            ) from error
        if not isinstance(found, dict):
            raise Halted(kind="odd", said=f"{answer.status_code}, no object")
        if "error_code" in found or answer.status_code != 200:
            _refuse(found, answer)
        return found


def _comment_of(raw: object) -> Comment | None:
    if not isinstance(raw, Mapping) or not _id(raw):
        return None
    author = raw.get("user")
    return Comment(_id(raw), _id(author) if isinstance(author, Mapping) else "", plain(raw.get("text")))


def _refuse(found: Mapping[str, Any], answer: httpx.Response) -> None:
    """Raise what an error of the platform means."""
    try:
        code = int(found.get("error_code", 0))
    except (TypeError, ValueError, OverflowError):
        code = 0
    said = f"{code} {plain(found.get('error'), 160)}".strip()
    if code in _TOKEN or answer.status_code == 401:
        raise Halted(kind="token", said=said)
    if code in _RATE or answer.status_code == 429:
        wait = answer.headers.get("Retry-After", "")
        seconds = min(int(wait), 3600) if wait.isdecimal() and len(wait) < 9 else None
        raise Halted(kind="rate", said=said, wait=timedelta(seconds=seconds) if seconds is not None else None)
    if code in _GONE:
        raise Gone
    if code in _SAME:
        raise Unknown
    if code in _NEVER:
        raise Declined(said)
    raise Halted(kind="down" if answer.status_code >= 500 or 10000 < code < 10004 else "odd", said=said)
