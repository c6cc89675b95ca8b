"""How the app is served: by Streamlit's settings, wherever they are made, and by the app's own where there are none."""

from __future__ import annotations

import logging
import re
import socket
import sys
import threading
import tomllib
import webbrowser
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import click
from starlette.middleware import Middleware
from streamlit import config
from streamlit.starlette import App
from streamlit.web import bootstrap
from streamlit.web.cli import configurator_options
from streamlit.web.server.starlette.starlette_server import UvicornRunner

from ri_analysis.errors import InputError, one_message
from ri_analysis.suite import EMBEDDED, resource_root
from ri_analysis.ui import ahead
from ri_analysis.ui.gate import PARAMETER, Gate
from ri_analysis.ui.leaving import Leaving

ADDRESS, PORT, BASE_PATH = "server.address", "server.port", "server.baseUrlPath"
_SHOWN_ADDRESS, _HOSTS = "browser.serverAddress", "server.allowedHosts"
_ORIGINS = "server.corsAllowedOrigins"


def settings(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return the Streamlit options to serve with, by name, besides those of the user's config files.

    In this order, the last one wins: the app's own `.streamlit/config.toml`, the one in the home folder, the one in the
    current folder, variables `STREAMLIT_…`, and `flags` that are not None. Raises InputError for a setting that can't
    be read, and for an address that can't be listened on.
    """
    used = dict(_flat(_read(resource_root() / ".streamlit" / "config.toml")))
    for path in map(Path, config.get_config_files("config.toml")):
        if path.is_file():
            for name, _ in _flat(_read(path)):
                used.pop(name, None)  # Streamlit reads the file itself
    used |= _from_environment() | {name: value for name, value in flags.items() if value is not None}
    with one_message("Streamlit's settings", "valid values"):
        bootstrap.load_config_options(used)
    _check()
    return used


def reached_by_others() -> bool:
    """Whether other machines can reach the app."""
    return not _loopback(config.get_option(ADDRESS))


def serve(token: str | None, folders: Sequence[Path]) -> None:
    """Serve the app by the settings of now until it is stopped, and say on stderr who can open it, and what it reads.

    With a `token` only those get in who have it. `folders` are those that may be read besides what comes with the app.
    """

    @asynccontextmanager
    async def started(_: App) -> AsyncIterator[None]:
        address = _address(token)
        print("\n".join([f"ri-analysis: {address}", _open_to(token), _reads(folders)]), file=sys.stderr)
        if not config.get_option("server.headless"):
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        yield

    config.set_option("logger.hideWelcomeMessage", True)  # it names an address without the token
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    own = [socket.gethostname(), config.get_option(ADDRESS), config.get_option(_SHOWN_ADDRESS)]
    hosts = tuple(str(host) for host in (*own, *config.get_option(_HOSTS)) if host)
    if token is None:  # Streamlit looks at websockets only, and would leave out this machine's own names
        config.set_option(_HOSTS, ["*"])
    origins = tuple(config.get_option(_ORIGINS)) if config.get_option("server.enableCORS") else ("*",)
    gate = Middleware(Gate, token=token, hosts=hosts, origins=origins)
    base = str(config.get_option(BASE_PATH)).strip("/")
    routes = [ahead.painted_route(f"/{base}" if base else "")]
    UvicornRunner(
        App(resource_root() / "app.py", routes=routes, middleware=[gate, Middleware(Leaving)], lifespan=started)
    ).run()


def _address(token: str | None) -> str:
    """Return the address to open, with the token."""
    given, port = str(config.get_option(ADDRESS)), config.get_option(PORT)
    host = socket.gethostname() if given in ("0.0.0.0", "::") else given
    if config.is_manually_set(_SHOWN_ADDRESS):
        host = str(config.get_option(_SHOWN_ADDRESS))
    scheme = "https" if config.get_option("server.sslCertFile") else "http"
    base = str(config.get_option(BASE_PATH)).strip("/")
    where = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/{f'{base}/' if base else ''}"
    return where if token is None else f"{where}?{PARAMETER}={token}"


def _open_to(token: str | None) -> str:
    if token is not None:
        return "  open to everyone who has this address: they can start computations as you"
    who = "everyone who can reach it, without a password" if reached_by_others() else "every user of this machine"
    return f"  open to {who}: they can start computations as you"


def _reads(folders: Sequence[Path]) -> str:
    listed = ", ".join([*EMBEDDED, *(f"{folder}/" for folder in dict.fromkeys(folders))])
    return f"  suites that can be opened: {listed}; --allow adds folders"


def _from_environment() -> dict[str, Any]:
    """Return the options that variables `STREAMLIT_…` set, read as `streamlit run` reads them."""

    @click.command()
    @configurator_options
    def options(**values: Any) -> dict[str, Any]:
        return values

    try:
        found: dict[str, Any] = options.main([], standalone_mode=False)
    except click.UsageError as error:
        raise InputError(f"an environment variable STREAMLIT_…: {error.format_message()}") from error
    return {name.replace("_", "."): value for name, value in found.items() if value not in (None, ())}


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected Streamlit's settings in TOML, found: {error}") from error


def _flat(table: Mapping[str, Any], start: str = "") -> Iterator[tuple[str, Any]]:
    """Yield a TOML document's entries under their dotted names."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{start}{name}.")
        else:
            yield f"{start}{name}", value


def _check() -> None:
    """Raise InputError for an address, port or base path that the app can't be served on."""
    address, port, base = (config.get_option(name) for name in (ADDRESS, PORT, BASE_PATH))
    if not isinstance(port, int) or not 1 <= port <= 65535:
        raise InputError(f"{_named(PORT)}: expected a port from 1 to 65535, found {port!r}")
    if not re.fullmatch(r"[\w.~%@:/-]*", str(base), re.ASCII) or ".." in str(base).split("/"):
        raise InputError(f"{_named(BASE_PATH)}: expected a URL path such as /ri-analysis, found {base!r}")
    for name in (_HOSTS, _ORIGINS):  # the letters of a bare text would each be one, `*` among them
        found = config.get_option(name)
        if not isinstance(found, list | tuple) or not all(_is_word(item) for item in found):
            raise InputError(f"{_named(name)}: expected a list of names or addresses, found {found!r}")
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Where nobody chose a port, Streamlit looks for a free one itself.
            probe.bind((address, port if config.is_manually_set(PORT) else 0))
    except (OSError, UnicodeError, AttributeError, TypeError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"the app can't listen on {address} port {port}: {str(why).lower()}") from error


def _is_word(item: object) -> bool:
    return isinstance(item, str) and re.fullmatch(r"[!-+\--:<-~]+", item) is not None


def _named(option: str) -> str:
    """Return an option with where it was set."""
    return f"{option} ({config.get_where_defined(option)})"


def _loopback(address: str) -> bool:
    try:
        found = {item[4][0] for item in socket.getaddrinfo(address, None)}
    except OSError:
        return False
    return all(ip_address(str(item).partition("%")[0]).is_loopback for item in found)
