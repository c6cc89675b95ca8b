"""Who is let in: requests by a name that this app is served under and, where others can reach it, with its token."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from fnmatch import fnmatchcase
from ipaddress import ip_address
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from ri_analysis.errors import InputError

TOKEN = "RI_ANALYSIS_TOKEN"  # a token of one's own, the same after each start
PARAMETER = "token"  # the part of the address that carries it
_PORTS = {"http": ":80", "https": ":443"}
_SHORTEST = 16  # characters of a token
_UPLOADS = "/_stcore/upload_file/"  # no page takes files, but Streamlit would hold as many as are sent
# The front end runs scripts that stand in the page; but whatever a name or text holds, it loads nothing from elsewhere,
# and no page of another site shows the app within itself, where clicks could be led to it.
_POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; connect-src 'self'{sockets} data: blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'{origins}"
)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def new_token() -> str:
    """Return a random token, or the one that the variable gives. Raises InputError where that is easy to guess."""
    given = os.environ.get(TOKEN)
    if given is None:
        return secrets.token_urlsafe(24)
    if len(given) < _SHORTEST or not given.isascii() or not given.isalnum():
        raise InputError(f"{TOKEN}: expected at least {_SHORTEST} letters and digits, found something else")
    return given


class Gate:
    """ASGI middleware that refuses, with 403, what is not meant for this app.

    Without a token a request must name this machine or one of `hosts` (patterns such as `*.example.org`): a page of
    another site whose name was made to lead here names that site. With a token it must bring that, once in the address,
    from then on in a cookie; the address is then opened again without it, so that it gets into no link or history.

    A websocket, and what is more than a look, must come from a page of the app itself, or of one of `origins`
    (addresses, `*` for all): pages of other ports of a machine get its cookies, too.
    """

    def __init__(self, app: App, token: str | None, hosts: tuple[str, ...] = (), origins: tuple[str, ...] = ()) -> None:
        self._app, self._token, self._hosts = app, token, tuple(host.lower() for host in hosts)
        self._origins = tuple(origin.lower().rstrip("/") for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
        elif self._passes(scope) and self._from_here(scope):
            await self._app(_without_origin(scope), receive, self._guarded(scope, send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif self._brings_token(scope):
            await _answer(send, 303, "", [(b"location", _without_token(scope)), (b"set-cookie", self._cookie(scope))])
        else:
            await _answer(send, 403, self._why(scope))

    def _from_here(self, scope: Scope) -> bool:
        """Whether a page of this app asks, or no browser, or for a look only."""
        if scope["type"] == "http" and _UPLOADS in scope["path"]:
            return False
        if scope["type"] == "http" and _only_looks(scope):
            return True
        origin = _header(scope, b"origin").lower()
        if not origin or origin in self._origins or "*" in self._origins:
            return True
        scheme, _, named = origin.partition("://")
        host = _header(scope, b"host").lower()
        # Browsers leave out the usual port; what stands between may add it to Host.
        return scheme in _PORTS and host.removesuffix(_PORTS[scheme]) == named.removesuffix(_PORTS[scheme]) != ""

    def _guarded(self, scope: Scope, send: Send) -> Send:
        """Return `send` with headers that keep a page to this app."""
        host = _header(scope, b"host")
        sockets = f" ws://{host} wss://{host}" if re.fullmatch(r"[\w.:\[\]-]+", host, re.ASCII) else ""
        policy = _POLICY.format(sockets=sockets, origins="".join(f" {origin}" for origin in self._origins))
        guards = [
            (b"content-security-policy", policy.encode()),
            (b"referrer-policy", b"same-origin"),
            (b"x-content-type-options", b"nosniff"),
        ]

        async def guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                own = {name for name, _ in guards}
                rest = [pair for pair in message.get("headers", []) if pair[0].lower() not in own]
                message = {**message, "headers": [*rest, *guards]}
            await send(message)

        return guarded

    def _passes(self, scope: Scope) -> bool:
        if scope["path"].endswith("/_stcore/health") and scope["type"] == "http" and _only_looks(scope):
            return True  # it tells nothing else, and is asked by what watches a server
        if self._token is None:
            return self._known(_host(scope))
        if scope["type"] == "http" and self._brings_token(scope):
            return False  # first into the cookie
        return any(self._fits(value) for name, value in _cookies(scope) if name == self._name(scope))

    def _known(self, host: str) -> bool:
        try:
            mine = ip_address(host).is_loopback
        except ValueError:
            mine = host == "localhost" or host.endswith(".localhost")
        return mine or any(fnmatchcase(host, pattern) for pattern in self._hosts)

    def _brings_token(self, scope: Scope) -> bool:
        return any(name == PARAMETER and self._fits(value) for name, value in _query(scope))

    def _fits(self, value: str) -> bool:
        return self._token is not None and secrets.compare_digest(value.encode(), self._token.encode())

    def _why(self, scope: Scope) -> str:
        if self._passes(scope):
            return (
                "Refused: this request did not come from a page of ri-analysis, or is of a kind it does not accept.\n"
            )
        if self._token is not None:
            return "Open the address that ri-analysis printed when it was started: it ends with a token.\n"
        host = _host(scope)
        return (
            f"ri-analysis is not served under the name {host}. If that is its name, start it with --token, or with the "
            f"variable STREAMLIT_SERVER_ALLOWED_HOSTS={host}\n"
        )

    def _name(self, scope: Scope) -> str:
        """Return the cookie's name: those of all ports of a machine lie together."""
        server = scope.get("server") or ("", 0)
        return f"ri-analysis-{server[1]}"

    def _cookie(self, scope: Scope) -> bytes:
        # Without a Path it holds for the folder that the browser knows: a proxy may have taken off the beginning.
        secure = "; Secure" if scope["scheme"] == "https" else ""
        return f"{self._name(scope)}={self._token}; HttpOnly; SameSite=Lax{secure}".encode()


def _header(scope: Scope, name: bytes) -> str:
    found: str = next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")
    return found


def _host(scope: Scope) -> str:
    """Return the name that a request calls this machine by, without the port; "" for none."""
    try:
        return (urlsplit(f"//{_header(scope, b'host')}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _only_looks(scope: Scope) -> bool:
    return scope.get("method", "GET") in ("GET", "HEAD", "OPTIONS")


def _without_origin(scope: Scope) -> Scope:
    """Return a request without its origin, which is judged by now: Streamlit would ask other hosts for our address."""
    if scope["type"] != "websocket":
        return scope
    return {**scope, "headers": [pair for pair in scope["headers"] if pair[0] != b"origin"]}


def _query(scope: Scope) -> list[tuple[str, str]]:
    return parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)


def _cookies(scope: Scope) -> Iterator[tuple[str, str]]:
    for part in _header(scope, b"cookie").split(";"):
        name, _, value = part.strip().partition("=")
        yield name, value


def _without_token(scope: Scope) -> bytes:
    """Return the address that was asked for, relative to itself and without the token."""
    page: bytes = scope["raw_path"].rpartition(b"/")[2]
    rest = urlencode([(name, value) for name, value in _query(scope) if name != PARAMETER])
    return b"./" + page + (f"?{rest}".encode() if rest else b"")


async def _answer(send: Send, status: int, text: str, headers: list[tuple[bytes, bytes]] | None = None) -> None:
    plain = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]
    plain.append((b"x-content-type-options", b"nosniff"))
    await send({"type": "http.response.start", "status": status, "headers": plain + (headers or [])})
    await send({"type": "http.response.body", "body": text.encode()})
