"""Ways out against servers that answer, stall, break off, move, and get the same thing twice."""

import hmac
import json
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from aiosmtpd import smtp as server_side
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from core.errors import Invalid
from core.ids import new_id
from hotline.outward.adapters import Later, Outgoing, Refused, checked_address, recipient, shown
from hotline.outward.chat import Chat
from hotline.outward.mail import MailSettings, Smtp
from hotline.outward.sink import KEPT, Sink, caught
from hotline.outward.sms import HttpSms, SmsSettings, sign
from tests.standin_provider import Provider, lead_here, providing

pytestmark = pytest.mark.unit

AT = datetime(2026, 11, 21, 2, 0, tzinfo=UTC)
KEY = "k" * 32
DISTRICT = "990100"


def message(**known: object) -> Outgoing:
    filled = {
        "key": new_id(),
        "address": "13812345678",
        "subject": "",
        "text": "您好，已办结。",
        "extra": {"district": DISTRICT},
    }
    return Outgoing(**(filled | known))  # type: ignore[arg-type]  # by name


@pytest.fixture
def provider() -> Iterator[Provider]:
    with providing() as made:
        yield made


@pytest.fixture
def sms(provider: Provider) -> Callable[..., HttpSms]:
    def make(**known: object) -> HttpSms:
        told = {"url": provider.url, "key": KEY, "timeout_s": 0.4, "result": "code", "receipt": "msgid"} | known
        return HttpSms(SmsSettings(**told), clock=lambda: AT)  # type: ignore[arg-type]  # by name

    return make


def test_provider_gets_key_signature_and_fields(provider: Provider, sms: Callable[..., HttpSms]) -> None:
    one = message()
    assert sms(fixed={"account": "wg"}, phone="mobile").send(one).receipt == "A1X"
    _, headers, body = provider.got[0]
    assert json.loads(body) == {"account": "wg", "mobile": "13812345678", "text": one.text, "id": str(one.key)}
    signed = hmac.new(KEY.encode(), f"{headers['X-Wangge-Time']}.{one.key}.".encode() + body, sha256).hexdigest()
    assert headers["X-Wangge-Signature"] == signed == sign(KEY, headers["X-Wangge-Time"], str(one.key), body)
    assert headers["Idempotency-Key"] == str(one.key)


def test_form_fields_are_escaped(provider: Provider, sms: Callable[..., HttpSms]) -> None:
    sms(body="form").send(message(text="a&phone=110"))
    assert parse_qs(provider.got[0][2].decode())["text"] == ["a&phone=110"]


@pytest.mark.parametrize(
    ("mode", "error", "said"),
    [
        ("error", Later, "status 500"),
        ("busy", Later, "status 429"),
        ("half", Later, "not whole"),
        ("cut", Later, "broke off"),
        ("slow", Later, "in time"),
        ("no", Refused, "status 403"),
        ("moved", Refused, "status 302"),
        ("bad", Refused, "result 17"),
    ],
)
def test_what_the_provider_does_is_told_apart(
    provider: Provider, sms: Callable[..., HttpSms], mode: str, error: type[Exception], said: str
) -> None:
    provider.mode = mode
    with pytest.raises(error, match=said) as caught_error:
        sms().send(message())
    assert [path for path, _, _ in provider.got] == ["/sms"], "no redirect is followed"
    assert "13812345678" not in str(caught_error.value)
    if mode == "busy":
        assert isinstance(caught_error.value, Later)
        assert caught_error.value.after == timedelta(seconds=90)


def test_message_that_was_taken_unheard_comes_again_under_its_key(
    provider: Provider, sms: Callable[..., HttpSms]
) -> None:
    one, way = message(), sms()
    for provider.mode in ("half", "slow", "cut"):
        with pytest.raises(Later):
            way.send(one)
    provider.mode = "ok"
    way.send(one)
    assert provider.sent == {str(one.key)}, "a provider that honours keys sends one short message"
    assert len(provider.got) == 4


def test_provider_that_nobody_answers_at_is_down_for_every_message() -> None:
    way = HttpSms(SmsSettings(url="http://127.0.0.1:9/sms", key=KEY, timeout_s=0.4), clock=lambda: AT)
    with pytest.raises(Later) as error:
        way.send(message())
    assert error.value.down


def test_no_number_is_refused_before_anybody_is_asked(provider: Provider, sms: Callable[..., HttpSms]) -> None:
    for address in ("", "0755-8888", "1381234567a", "13812345678\r\nX: y"):
        with pytest.raises(Refused):
            sms().send(message(address=address))
    assert provider.got == []


@pytest.mark.parametrize(
    "told",
    [
        {"url": "http://sms.example.cn/"},
        {"url": "https://user:pw@sms.example.cn/"},
        {"url": "ftp://127.0.0.1/"},
        {"url": "https://[bad"},
        {"key": "short"},
        {"body": "xml"},
        {"phone": "a\r\nb"},
    ],
)
def test_settings_that_would_leak_or_break_are_refused(told: dict[str, str]) -> None:
    with pytest.raises(Invalid):
        SmsSettings(**({"url": "https://sms.example.cn/", "key": KEY} | told)).check()  # type: ignore[arg-type]  # by name
    assert SmsSettings.read("https://sms.example.cn/", KEY, '{"good": [0], "result": "code"}').good == ("0",)
    for wrong in ("[", "[]", '{"nonsense": 1}'):
        with pytest.raises(Invalid):
            SmsSettings.read("https://sms.example.cn/", KEY, wrong)


class Box:
    """A mail server's mailbox."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.answer = ""

    async def handle_RCPT(
        self, server: object, session: object, envelope: object, address: str, options: list[str]
    ) -> str:
        del server, session, options
        if self.answer:
            return self.answer
        envelope.rcpt_tos.append(address)  # type: ignore[attr-defined]  # aiosmtpd has no types
        return "250 OK"

    async def handle_DATA(self, server: object, session: object, envelope: object) -> str:
        del server, session
        self.got.append(envelope.content)  # type: ignore[attr-defined]  # as above
        return "250 taken"


def _certificate(folder: Path) -> tuple[Path, Path]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2060, 1, 1, tzinfo=UTC))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert, secret = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    return cert, secret


@pytest.fixture
def post(tmp_path: Path) -> Iterator[tuple[Box, Callable[..., Smtp]]]:
    """A mail server that wants TLS and a password, and what sends to it."""
    cert, secret = _certificate(tmp_path)
    inside = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    inside.load_cert_chain(cert, secret)
    box = Box()

    def known(server: server_side.SMTP, session: object, envelope: object, mechanism: str, told: object) -> AuthResult:
        del server, session, envelope, mechanism
        return AuthResult(success=isinstance(told, LoginPassword) and told.password == b"right", handled=False)

    made = Controller(
        box,
        hostname="127.0.0.1",
        port=0,
        tls_context=inside,
        require_starttls=True,
        authenticator=known,
        auth_required=True,
    )
    # The controller wants to know its port before it listens.
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        made.port = free.getsockname()[1]
    made.start()
    trust = ssl.create_default_context(cafile=str(cert))

    def sender(password: str = "right", *, trusted: bool = True) -> Smtp:
        told = MailSettings("localhost", made.port, "wangge@example.cn", "wangge", password, "starttls", 3.0)
        return Smtp(told, clock=lambda: AT, trust=trust if trusted else ssl.create_default_context())

    yield box, sender
    made.stop()


def mail(**known: object) -> Outgoing:
    return message(**({"address": "unit@example.cn", "subject": "新派单 1"} | known))


def test_mail_goes_over_tls_with_an_id_made_of_the_key(post: tuple[Box, Callable[..., Smtp]]) -> None:
    from email import message_from_bytes
    from email.policy import default

    box, sender = post
    one = mail()
    sender().send(one)
    sender().send(one)
    got = [message_from_bytes(raw, policy=default) for raw in box.got]
    assert {each["Message-ID"] for each in got} == {f"<{one.key}@example.cn>"}, "a receiver can tell it is the same"
    assert got[0]["Subject"] == "新派单 1"
    assert got[0].get_content().strip() == one.text


def test_mail_to_a_server_nobody_vouches_for_or_that_refuses_us_waits(post: tuple[Box, Callable[..., Smtp]]) -> None:
    box, sender = post
    for way in (sender(trusted=False), sender("wrong")):
        with pytest.raises(Later) as error:
            way.send(mail())
        assert error.value.down, "no message's fault"
    assert box.got == []


@pytest.mark.parametrize(("answer", "error"), [("550 no such user", Refused), ("451 try later", Later)])
def test_what_the_mail_server_says_of_the_receiver_decides(
    post: tuple[Box, Callable[..., Smtp]], answer: str, error: type[Exception]
) -> None:
    box, sender = post
    box.answer = answer
    with pytest.raises(error, match=answer[:3]):
        sender().send(mail())


def test_line_ends_in_address_or_subject_never_reach_a_header(post: tuple[Box, Callable[..., Smtp]]) -> None:
    box, sender = post
    for wrong in ({"address": "a@b.cn\r\nBcc: c@d.cn"}, {"subject": "x\r\nBcc: c@d.cn"}, {"address": "a@b.cn, c@d.cn"}):
        with pytest.raises(Refused):
            sender().send(mail(**wrong))
    assert box.got == []
    with pytest.raises(Invalid):
        MailSettings("mail.example.cn", 25, "wangge@example.cn", tls="none").check()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("robot", "way", "kind", "words", "no"),
    [
        ("wecom", "/cgi-bin/webhook/send?key=key-0123456789", "msgtype", ("text", "content"), {"errcode": 93000}),
        ("dingtalk", "/robot/send?access_token=tok0123456789", "msgtype", ("text", "content"), {"errcode": 310000}),
        ("feishu", "/open-apis/bot/v2/hook/abcdef0123456789/", "msg_type", ("content", "text"), {"code": 19001}),
    ],
)
def test_robot_gets_plain_text_as_its_company_wants_it_and_its_no_is_heard(
    provider: Provider,
    monkeypatch: pytest.MonkeyPatch,
    robot: str,
    way: str,
    kind: str,
    words: tuple[str, str],
    no: dict[str, object],
) -> None:
    """The answers are those that the three companies document: a no comes with status 200."""
    one, chat = message(address=lead_here(robot, provider, monkeypatch), subject="新派单", text="编号 1"), Chat(robot)
    provider.says = {"code": 0, "msg": "success"} if robot == "feishu" else {"errcode": 0, "errmsg": "ok"}
    chat.send(one)
    path, headers, body = provider.got[0]
    told = json.loads(body)
    assert path == way
    assert headers["Content-Type"].startswith("application/json")
    assert told[kind] == "text"
    said = told[words[0]][words[1]]
    assert said.startswith("新派单")
    assert said.endswith("编号 1")
    assert "isAtAll" not in told.get("at", {}) or told["at"]["isAtAll"] is False
    provider.says = no | {"msg": "no"}
    with pytest.raises(Later, match=str(next(iter(no.values())))):
        chat.send(one)
    for provider.mode in ("error", "half", "cut"):
        with pytest.raises(Later):
            chat.send(one)
    provider.mode, provider.says = "ok", {"hello": 1}
    with pytest.raises(Later):
        chat.send(one)


@pytest.mark.parametrize(
    ("channel", "address"),
    [
        ("mail", "nobody"),
        ("mail", "a@b"),
        ("mail", "a b@c.cn"),
        ("feishu", "https://evil.example"),
        ("feishu", "wecombot://x"),
        ("feishu", "feishu://x?format=markdown"),
        ("wecom", "file:///etc/passwd"),
        ("sms", "110"),
        ("weibo", "5001/../6"),
        ("pigeon", "x"),
    ],
)
def test_address_that_is_none_is_refused(channel: str, address: str) -> None:
    with pytest.raises(Invalid):
        checked_address(channel, address)
    with pytest.raises((Refused, Later)):
        Chat("feishu").send(message(address=address))


def test_addresses_are_shown_too_short_to_use_and_told_apart_without_reading() -> None:
    assert checked_address("sms", "+86 138-1234 5678") == "13812345678"
    assert shown("sms", "13812345678") == "138****5678"
    assert "secret" not in shown("feishu", "feishu://secret1234")
    assert recipient("sms", "1") == recipient("sms", "1") != recipient("callback", "1")


def test_sink_keeps_a_message_once_masked_and_only_so_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = AT
    sink = Sink("sms", tmp_path / "sink", clock=lambda: clock)
    one = message(text="<script>甲")
    assert sink.send(one) == sink.send(one)
    sink.send(message(text="乙"))
    assert [each.text for each in caught(tmp_path / "sink", DISTRICT)] == ["乙", "<script>甲"]
    assert caught(tmp_path / "sink", DISTRICT)[0].address == "138****5678"
    assert caught(tmp_path / "sink", "990101") == caught(tmp_path / "sink", DISTRICT, channel="mail") == []
    files = list((tmp_path / "sink" / DISTRICT).iterdir())
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert not any(b"13812345678" in file.read_bytes() for file in files)
    monkeypatch.setattr("hotline.outward.sink.KEPT", 5)
    assert KEPT > 5
    for _ in range(10):
        sink.send(message())
    assert len(caught(tmp_path / "sink", DISTRICT)) == 5
