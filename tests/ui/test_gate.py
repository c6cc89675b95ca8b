from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ri_analysis.errors import InputError
from ri_analysis.ui.gate import TOKEN, Gate, new_token

SECRET = "abcdefghijklmnop0123"


def ask(
    gate: Gate,
    path: str = "/",
    query: str = "",
    host: str | None = "localhost:8501",
    cookie: str = "",
    origin: str | None = None,
    **more: Any,
) -> tuple[int, dict[str, str], str]:
    """Return a request's status (101 for an accepted websocket, 200 for one passed on), headers and text."""
    headers = [] if host is None else [(b"host", host.encode())]
    headers += [(b"cookie", cookie.encode("latin-1"))] if cookie else []
    headers += [] if origin is None else [(b"origin", origin.encode())]
    scope = {
        "type": "http", "scheme": "http", "path": path, "raw_path": path.encode(), "query_string": query.encode(),
        "headers": headers, "server": ("127.0.0.1", 8501), **more,
    }  # fmt: skip
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("nothing is read")

    asyncio.run(gate(scope, receive, send))
    first = sent[0]
    if first["type"] == "websocket.close":
        return 403, {}, ""
    if first["type"] == "passed":
        return 200, {}, ""
    found = {key.decode(): value.decode() for key, value in first["headers"]}
    return first["status"], found, sent[1]["body"].decode()


async def passed(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "passed"})


def gate(token: str | None = None, *hosts: str) -> Gate:
    return Gate(passed, token, hosts)


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200), ("localhost:8501", 200), ("LOCALHOST.:9000", 200), ("app.localhost", 200),
        ("127.0.0.1:8501", 200), ("127.8.8.8", 200), ("[::1]:8501", 200),
        ("evil.example", 403), ("localhost.evil.example", 403), ("127.0.0.1.evil.example", 403), ("10.0.0.1", 403),
        ("localhost@evil.example", 403), ("evil.example#localhost", 403), ("", 403), (None, 403), ("[::1", 403),
        ("lab.example.org", 200), ("a.site.org:443", 200), ("site.org", 403),
    ],
)  # fmt: skip
def test_a_site_whose_name_leads_here_is_refused(host: str | None, status: int, kind: str) -> None:
    assert ask(gate(None, "lab.example.org", "*.site.org"), host=host, type=kind)[0] == status


def test_the_refusal_says_how_a_name_is_allowed() -> None:
    _, headers, text = ask(gate(), host="hub.example.org:443")
    assert "STREAMLIT_SERVER_ALLOWED_HOSTS=hub.example.org" in text
    assert headers["content-type"].startswith("text/plain")


def test_the_token_moves_from_the_address_into_a_cookie() -> None:
    with_token = gate(SECRET)
    status, headers, _ = ask(with_token, "/x/merge", f"a=1&token={SECRET}&b=%C3%A9%26", host="any.example")
    assert (status, headers["location"]) == (303, "./merge?a=1&b=%C3%A9%26")
    assert headers["set-cookie"] == f"ri-analysis-8501={SECRET}; HttpOnly; SameSite=Lax"
    assert ask(with_token, "/", f"token={SECRET}")[1]["location"] == "./"
    assert ask(with_token, "//evil.example", f"token={SECRET}")[1]["location"] == "./evil.example"
    assert ask(with_token, "/", f"token={SECRET}", scheme="https")[1]["set-cookie"].endswith("; Secure")
    cookie = f"other=1; ri-analysis-8501={SECRET}"
    for kind in ("http", "websocket"):
        assert ask(with_token, cookie=cookie, host="any.example", type=kind)[0] == 200


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    ("query", "cookie"),
    [
        ("", ""), ("token=", "ri-analysis-8501="), (f"token={SECRET[:-1]}", f"ri-analysis-8501={SECRET}x"),
        (f"token=x{SECRET}", f"ri-analysis-8502={SECRET}"), (f"Token={SECRET}", SECRET),
        ("token=%FF", "ri-analysis-8501=ÿ"),
    ],
)  # fmt: skip
def test_without_the_token_nobody_gets_in(query: str, cookie: str, kind: str) -> None:
    status, headers, _ = ask(gate(SECRET), query=query, cookie=cookie, type=kind)
    assert status == 403
    assert "set-cookie" not in headers


def test_a_websocket_takes_the_cookie_only() -> None:
    assert ask(gate(SECRET), query=f"token={SECRET}", type="websocket")[0] == 403


def test_whether_the_app_runs_is_no_secret() -> None:
    assert ask(gate(SECRET), "/base/_stcore/health", host="monitor")[0] == 200
    assert ask(gate(SECRET), "/x/_stcore/health", host="monitor", method="PUT")[0] == 403
    assert ask(gate(SECRET), "/x/_stcore/health", host="monitor", type="websocket")[0] == 403


@pytest.mark.parametrize("token", [None, SECRET])
@pytest.mark.parametrize("kind", [{"type": "websocket"}, {"method": "POST"}])
@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 200), ("http://localhost:8501", 200), ("https://LOCALHOST:8501", 200), ("https://site.example", 200),
        ("http://localhost", 403), ("http://localhost:3000", 403), ("http://127.0.0.1:8501", 403), ("null", 403),
        ("http://evil.example", 403), ("https://site.example:8501", 403), ("http://localhost:8501.evil.example", 403),
        ("http://[::1", 403), ("localhost:8501", 403), ("http://", 403), ("ftp://localhost:8501", 403),
    ],
)  # fmt: skip
def test_what_does_something_is_asked_for_by_pages_of_the_app(
    origin: str | None, status: int, kind: dict[str, str], token: str | None
) -> None:
    asked = Gate(passed, token, (), ("https://site.example/",))
    cookie = "" if token is None else f"ri-analysis-8501={token}"
    assert ask(asked, "/_stcore/stream", origin=origin, cookie=cookie, **kind)[0] == status
    assert ask(Gate(passed, token, (), ("*",)), origin=origin, cookie=cookie, **kind)[0] == 200


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("lab.localhost", "http://lab.localhost", 200), ("lab.localhost:80", "http://lab.localhost", 200),
        ("lab.localhost:443", "https://lab.localhost", 200), ("lab.localhost", "https://lab.localhost:443", 200),
        ("[::1]:80", "http://[::1]", 200),
        ("[::1]:8501", "http://[::1]:8501", 200), ("[::1]", "http://[::1]:8501", 403),
        ("lab.localhost:443", "http://lab.localhost", 403), ("lab.localhost:8080", "http://lab.localhost", 403),
    ],
)  # fmt: skip
def test_the_usual_port_need_not_be_named(host: str, origin: str, status: int) -> None:
    assert ask(gate(), "/_stcore/stream", host=host, origin=origin, type="websocket")[0] == status


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
def test_no_file_is_taken(method: str) -> None:
    assert ask(gate(), "/base/_stcore/upload_file/session/file", method=method)[0] == 403


def test_pages_are_kept_to_this_app() -> None:
    """Nothing is loaded from another host, and no other site shows a page within its own."""

    async def answers(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"X-Content-Type-Options", b"x")]})
        await send({"type": "http.response.body", "body": b""})

    _, headers, _ = ask(Gate(answers, None, (), ("https://site.example",)))
    assert headers["x-content-type-options"] == "nosniff"
    assert "X-Content-Type-Options" not in headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["frame-ancestors"] == "'self' https://site.example"
    assert policy["connect-src"] == "'self' ws://localhost:8501 wss://localhost:8501 data: blob:"
    assert "http" not in policy["default-src"]
    assert ask(Gate(answers, SECRET), cookie=f"ri-analysis-8501={SECRET}", host="a; b")[1]["content-security-policy"]


def test_a_token_is_random_or_given(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len({new_token() for _ in range(20)}) == 20
    monkeypatch.setenv(TOKEN, SECRET)
    assert new_token() == SECRET
    for easy in ("", "short", "has spaces in it and more", "ümlaute-sind-nicht-dabei"):
        monkeypatch.setenv(TOKEN, easy)
        with pytest.raises(InputError, match="expected at least 16 letters and digits") as error:
            new_token()
        assert easy == "" or easy not in str(error.value)
