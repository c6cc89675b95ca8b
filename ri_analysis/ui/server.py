"""How the app is served: by Streamlit's settings, wherever they are made, and by the app's own where there are none."""

from __future__ import annotations

import re
import socket
import tomllib
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import click
from streamlit import config
from streamlit.web import bootstrap
from streamlit.web.cli import configurator_options

from ri_analysis.errors import InputError
from ri_analysis.suite import resource_root

ADDRESS, PORT, BASE_PATH = "server.address", "server.port", "server.baseUrlPath"


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
    bootstrap.load_config_options(used)
    _check()
    return used


def open_to_others() -> str | None:
    """Return a warning where other machines can reach the app, None where only this one can."""
    address = config.get_option(ADDRESS)
    if _loopback(address):
        return None
    return (
        f"anyone who can reach {address}:{config.get_option(PORT)} can use the app without a password, and through it "
        "open any suite and checkpoint that you can read; see docs/deployment.md"
    )


def _from_environment() -> dict[str, Any]:
    """Return the options that variables `STREAMLIT_…` set, read as `streamlit run` reads them."""

    @click.command()
    @configurator_options
    def options(**values: Any) -> dict[str, Any]:
        return values

    try:
        found: dict[str, Any] = options.main([], standalone_mode=False)
    except click.UsageError as error:
        raise InputError(f"a variable STREAMLIT_…: {error.format_message()}") from error
    return {name.replace("_", "."): value for name, value in found.items() if value not in (None, ())}


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
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
        raise InputError(f"{_named(BASE_PATH)}: expected a path of an address such as /ri-analysis, found {base!r}")
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Where nobody chose a port, Streamlit looks for a free one itself.
            probe.bind((address, port if config.is_manually_set(PORT) else 0))
    except (OSError, UnicodeError, AttributeError, TypeError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"the app can't listen on {address} port {port}: {str(why).lower()}") from error


def _named(option: str) -> str:
    """Return an option with where it was set."""
    return f"{option} ({config.get_where_defined(option)})"


def _loopback(address: str) -> bool:
    try:
        found = {item[4][0] for item in socket.getaddrinfo(address, None)}
    except OSError:
        return False
    return all(ip_address(str(item).partition("%")[0]).is_loopback for item in found)
