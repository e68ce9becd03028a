"""The worker's phone without its data: the shell, the manifest, the service worker and its list, the words, the key."""

import gzip
import json
import re
from collections.abc import Callable
from hashlib import sha256
from posixpath import normpath

import pytest
from starlette.testclient import TestClient

from api import i18n
from api.pages import STATIC
from tests import tiny

pytestmark = pytest.mark.web
SignIn = Callable[[str], TestClient]
#: Everything that is needed without a line, compressed, map data excepted (issue 5).
MOST = 400_000


def offline(client: TestClient) -> dict[str, str]:
    script = client.get("/field/sw.js").text
    found = re.search(r"^const FILES = (\{.*\});$", script, re.MULTILINE)
    assert found
    listed: dict[str, str] = json.loads(found[1])
    return listed


def test_everything_that_is_needed_offline_is_under_400_kb_compressed(client: TestClient) -> None:
    whole = {address: client.get(address).content for address in (*offline(client), "/field", "/field/sw.js")}
    weight = {address: len(gzip.compress(body, 6)) for address, body in whole.items()}
    assert sum(weight.values()) < MOST, sorted(weight.items(), key=lambda one: -one[1])[:8]


def test_every_listed_file_is_the_one_that_is_served(client: TestClient) -> None:
    for address, digest in offline(client).items():
        answer = client.get(address)
        assert answer.status_code == 200, address
        assert sha256(answer.content).hexdigest() == digest, address


def test_every_module_that_the_phone_loads_is_listed(client: TestClient) -> None:
    listed = offline(client)
    asked = {"/static/field/app.js"}
    for path in (STATIC / "field").glob("*.js"):
        for name in re.findall(r'(?:from|import\()\s*"([^"]+)"', path.read_text(encoding="utf-8")):
            asked.add(normpath(f"/static/field/{name}") if name.startswith(".") else name)
    for name in re.findall(r'(?:src|href)="(/static/[^"]+)"', client.get("/field").text):
        asked.add(name)
    assert asked <= set(listed)


def test_the_shell_is_the_same_for_everybody_and_names_nobody(client: TestClient, signed_in: SignIn) -> None:
    mine, nobodys = signed_in("gridwest").get("/field"), client.get("/field")
    assert mine.content == nobodys.content
    assert mine.headers["cache-control"] == "no-cache"
    assert "试验" not in mine.text
    assert "csrf" not in mine.text


def test_the_phone_may_record_and_play_a_voice_note_and_no_other_page_may(client: TestClient) -> None:
    shell, start = client.get("/field"), client.get("/")
    assert "microphone=(self)" in shell.headers["permissions-policy"]
    assert "media-src 'self' blob:" in shell.headers["content-security-policy"]
    assert "microphone=()" in start.headers["permissions-policy"]
    for policy in (shell.headers["content-security-policy"], start.headers["content-security-policy"]):
        assert "unsafe" not in policy
        assert "script-src 'self';" in policy


def test_the_service_worker_may_serve_field_and_is_asked_for_anew(client: TestClient) -> None:
    answer = client.get("/field/sw.js")
    assert answer.headers["content-type"].startswith("text/javascript")
    assert answer.headers["service-worker-allowed"] == "/field"
    assert answer.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(("language", "name"), [("zh", "网格"), ("en", "Wangge")])
def test_the_page_can_be_installed(client: TestClient, language: str, name: str) -> None:
    told = client.get(f"/field/manifest.webmanifest?lang={language}").json()
    assert (told["start_url"], told["scope"], told["display"], told["short_name"]) == (
        "/field",
        "/field",
        "standalone",
        name,
    )
    assert {"any", "maskable"} == {icon["purpose"] for icon in told["icons"]}
    assert {"192x192", "512x512"} == {icon["sizes"] for icon in told["icons"]}
    for icon in told["icons"]:
        assert client.get(icon["src"]).headers["content-type"] == "image/png"


def test_every_word_of_the_phone_has_its_chinese(client: TestClient) -> None:
    words = client.get("/field/words/zh.json").json()
    assert i18n.of_phone() <= set(words)
    assert client.get("/field/words/xx.json").status_code == 404


def test_the_scripts_name_their_words_as_literals() -> None:
    for path in (STATIC / "field").glob("*.js"):
        source = path.read_text(encoding="utf-8")
        calls = re.findall(r"\bt\((?!\s*\")[^)]*", source)
        assert [call for call in calls if call != "t(sentence, params"] == [], path.name


def test_the_phones_key_is_the_accounts_own_and_nobodys_without_signing_in(
    client: TestClient, signed_in: SignIn
) -> None:
    assert client.get("/field/session").json()["worker"] is None
    west = signed_in("gridwest").get("/field/session").json()["worker"]
    again = signed_in("gridwest").get("/field/session").json()["worker"]
    other = signed_in("operator").get("/field/session").json()["worker"]
    assert west["may"]
    assert not other["may"]
    assert west["key"] == again["key"] != other["key"]
    assert west["name"] == f"试验{'gridwest'}"
    assert tiny.PASSWORD not in json.dumps(west)


def test_a_session_answer_is_kept_by_no_cache(signed_in: SignIn) -> None:
    assert signed_in("gridwest").get("/field/session").headers["cache-control"] == "no-store"
