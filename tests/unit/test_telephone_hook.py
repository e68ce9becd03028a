"""The switchboard's webhook: what is trusted, and what its events may say."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from core.errors import Invalid
from hotline.telephone import hook
from hotline.telephone.callbacks import Rules

AT = datetime(2026, 11, 18, 6, 0, tzinfo=UTC)
OLD, NEW = b"o" * 32, b"n" * 40


def body(**changed: Any) -> bytes:
    told = {"id": "e1", "event": "ring", "call": "c1", "at": "2026-11-18T14:00:00+08:00", "caller": "13800138000"}
    return orjson.dumps({name: value for name, value in (told | changed).items() if value is not None})


def checked(sent: bytes, *, key: bytes, at: datetime, known: tuple[bytes, ...] = (OLD, NEW), **other: str) -> None:
    stamp = int(at.timestamp())
    given = {"timestamp": str(stamp), "signature": hook.sign(sent, key=key, timestamp=stamp)} | other
    hook.check(sent, known=known, at=AT, **given)


@pytest.mark.parametrize("key", [OLD, NEW])
def test_either_of_two_keys_holds_so_that_one_can_be_changed(key: bytes) -> None:
    checked(body(), key=key, at=AT)


@pytest.mark.parametrize(
    ("why", "given"),
    [
        ("signature", {"key": b"x" * 32, "at": AT}),
        ("signature", {"key": OLD, "at": AT, "signature": ""}),
        ("signature", {"key": OLD, "at": AT, "signature": "v1=é"}),
        ("signature", {"key": OLD, "at": AT, "timestamp": str(int(AT.timestamp()) + 1)}),
        ("clock", {"key": OLD, "at": AT - timedelta(minutes=5, seconds=1)}),
        ("clock", {"key": OLD, "at": AT + timedelta(minutes=5, seconds=1)}),
        ("clock", {"key": OLD, "at": AT, "timestamp": "now"}),
        ("keys", {"key": OLD, "at": AT, "known": ()}),
    ],
)
def test_what_is_not_signed_by_a_known_key_just_now_is_refused(why: str, given: dict[str, Any]) -> None:
    with pytest.raises(hook.Unsigned) as refused:
        checked(body(), **given)
    assert refused.value.why == why


def test_a_changed_body_does_not_hold() -> None:
    stamp = str(int(AT.timestamp()))
    signature = hook.sign(body(), key=OLD, timestamp=int(stamp))
    with pytest.raises(hook.Unsigned):
        hook.check(body(caller="13800138001"), timestamp=stamp, signature=signature, known=(OLD,), at=AT)


def test_at_most_two_keys_and_no_short_one_count() -> None:
    long = ["a" * 32, "b" * 32, "c" * 32]
    assert hook.keys("short," + ", ".join(long)) == (b"a" * 32, b"b" * 32)
    assert hook.keys("") == ()


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("13800138000", "13800138000"),
        ("+86 138 0013 8000", "13800138000"),
        ("008613800138000", "13800138000"),
        ("013800138000", "13800138000"),
        ("0757-8633 0000", "075786330000"),
        ("+8675786330000", "075786330000"),
        ("12345", "12345"),
        ("anonymous", ""),
        ("", ""),
        ("<script>1380013", ""),
    ],
)
def test_a_number_is_the_same_however_a_trunk_writes_it(written: str, read: str) -> None:
    assert hook.digits(written) == read


def test_an_event_is_read_with_its_time_in_utc() -> None:
    event = hook.read(body(extension="8001", line="757-81812345"), at=AT)
    assert (event.kind, event.at, event.phone, event.extension, event.line) == (
        "ring",
        AT,
        "13800138000",
        "8001",
        "75781812345",
    )


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("body", None),
        ("event", {"event": "explode"}),
        ("event", {"event": None}),
        ("id", {"id": ""}),
        ("id", {"id": "a b"}),
        ("id", {"id": "x" * 121}),
        ("id", {"id": 7}),
        ("call", {"call": "<b>"}),
        ("at", {"at": "2026-11-18T14:00:00"}),
        ("at", {"at": "yesterday"}),
        ("at", {"at": "2026-11-18T15:00:00+08:00"}),
        ("at", {"at": "2026-11-01T14:00:00+08:00"}),
        ("direction", {"direction": "up"}),
        ("extension", {"extension": "8001; DROP"}),
        ("line", {"line": "hotline"}),
        ("url", {"event": "recording", "url": "https://elsewhere.example/1.wav"}),
    ],
)
def test_what_cannot_be_taken_names_its_member(field: str, changed: dict[str, Any] | None) -> None:
    with pytest.raises(Invalid) as refused:
        hook.read(b"[1]" if changed is None else body(**changed), at=AT, hosts=("rec.example",))
    assert refused.value.field == field


@pytest.mark.parametrize("junk", [b"", b"{", b"\xff\xfe", b"null", b'"ring"', b"[" * 9000, b" " * (hook.MAX_BODY + 1)])
def test_junk_is_invalid_and_nothing_worse(junk: bytes) -> None:
    with pytest.raises(Invalid):
        hook.read(junk, at=AT)


@pytest.mark.parametrize(
    "url",
    [
        "http://rec.example/1.wav",
        "https://rec.example.evil.example/1.wav",
        "https://rec.example@evil.example/1.wav",
        "https://user:pass@rec.example/1.wav",
        "https://rec.example\\@evil.example/",
        "https://rec.example:8443/1.wav",
        "https://[::1/1.wav",
        "javascript:alert(1)",
        "https://rec.example/" + "a" * 1000,
        "",
    ],
)
def test_recordings_lie_on_allowed_hosts_only(url: str) -> None:
    with pytest.raises(Invalid):
        hook.check_recording(url, ("rec.example",))


def test_an_allowed_recording_passes() -> None:
    hook.check_recording("https://REC.example/2026/1.wav?sig=x", ("rec.example",))
    hook.check_recording("https://rec.example:8443/1.wav", ("rec.example:8443",))


@pytest.mark.parametrize(
    ("moment", "decent"),
    [
        ("2026-11-18T12:00:00+08:00", "2026-11-18T12:00:00+08:00"),
        ("2026-11-18T06:30:00+08:00", "2026-11-18T09:00:00+08:00"),
        ("2026-11-18T20:30:00+08:00", "2026-11-19T09:00:00+08:00"),
        ("2026-11-18T15:00:00+00:00", "2026-11-19T09:00:00+08:00"),
    ],
)
def test_nobody_is_rung_up_at_night(moment: str, decent: str) -> None:
    assert Rules().decent(datetime.fromisoformat(moment)) == datetime.fromisoformat(decent)


@pytest.mark.parametrize("told", [{"tries": "many"}, {"opens": "nine"}, [], "x"])
def test_settings_that_say_nothing_are_refused(told: Any) -> None:
    if told:
        with pytest.raises(Invalid):
            Rules.of({"callback": told})
    else:
        assert Rules.of({"callback": told}) == Rules()


def test_a_district_sets_its_own_tries_and_hours() -> None:
    rules = Rules.of({"callback": {"tries": 5, "gap_min": 30, "opens": "08:30"}})
    assert (rules.tries, rules.gap, rules.opens.isoformat()) == (5, timedelta(minutes=30), "08:30:00")
