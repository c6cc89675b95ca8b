from __future__ import annotations

import os
import re
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import started
from started import Started
from streamlit import config

from ri_analysis.cli import main
from ri_analysis.errors import InputError
from ri_analysis.ui import server


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty home, an empty current folder, no variables; Streamlit's options as before afterwards."""
    for name in [name for name in os.environ if name.startswith("STREAMLIT_")]:
        monkeypatch.delenv(name)
    for name in ("home", "here"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    yield
    monkeypatch.undo()
    config.get_config_options(force_reparse=True)


def write(folder: Path, text: str) -> Path:
    path = folder / ".streamlit" / "config.toml"
    path.parent.mkdir()
    path.write_text(text)
    return path


def free_port(address: str = "127.0.0.1") -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def test_without_settings_the_apps_own_hold() -> None:
    server.settings({server.PORT: None})
    assert config.get_option("server.address") == "127.0.0.1"
    assert config.get_option("server.port") == 8501
    assert config.get_option("server.fileWatcherType") == "none"
    assert config.get_option("theme.dark.sidebar.backgroundColor") == "#171D25"
    assert not server.reached_by_others()


def test_each_place_overrides_those_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ports = sorted({free_port() for _ in range(12)})
    write(
        tmp_path / "home", f'[server]\nport={ports[0]}\nbaseUrlPath="a"\nmaxUploadSize=7\n[runner]\nmagicEnabled=true\n'
    )
    write(tmp_path / "here", f'[server]\nport={ports[1]}\nbaseUrlPath="b"\n[theme.light]\nprimaryColor="#123456"\n')
    server.settings({})
    assert config.get_option("runner.magicEnabled") is True
    assert config.get_option("server.maxUploadSize") == 7
    assert config.get_option("theme.light.primaryColor") == "#123456"
    assert config.get_option("theme.light.backgroundColor") == "#FFFFFF"
    assert (config.get_option("server.port"), config.get_option("server.baseUrlPath")) == (ports[1], "b")
    monkeypatch.setenv("STREAMLIT_SERVER_PORT", str(ports[2]))
    monkeypatch.setenv("STREAMLIT_SERVER_BASE_URL_PATH", "c")
    monkeypatch.setenv("STREAMLIT_SERVER_CORS_ALLOWED_ORIGINS", "https://one.example https://two.example")
    server.settings({server.PORT: None, server.BASE_PATH: None})
    assert (config.get_option("server.port"), config.get_option("server.baseUrlPath")) == (ports[2], "c")
    assert config.get_option("server.corsAllowedOrigins") == ("https://one.example", "https://two.example")
    server.settings({server.PORT: ports[3], server.BASE_PATH: "/d"})
    assert (config.get_option("server.port"), config.get_option("server.baseUrlPath")) == (ports[3], "/d")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("SERVER_PORT", "many", ["STREAMLIT_SERVER_PORT", "'many'"]),
        ("SERVER_PORT", "99999", ["server.port", "from 1 to 65535", "99999"]),
        ("SERVER_ADDRESS", "nobody.invalid", ["can't listen on nobody.invalid"]),
        ("SERVER_ADDRESS", "192.0.2.77", ["can't listen on 192.0.2.77", "assign requested address"]),
        ("SERVER_ADDRESS", "unix:///tmp/socket", ["can't listen on unix:///tmp/socket"]),
        ("SERVER_BASE_URL_PATH", "a/../b", ["server.baseUrlPath", "'a/../b'"]),
        ("SERVER_BASE_URL_PATH", "a b", ["server.baseUrlPath", "'a b'"]),
    ],
)
def test_a_bad_setting_is_one_message(name: str, value: str, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"STREAMLIT_{name}", value)
    with pytest.raises(InputError) as error:
        server.settings({})
    assert all(word in str(error.value) for word in words)


def test_a_damaged_config_file_is_one_message(tmp_path: Path) -> None:
    path = write(tmp_path / "here", "[server\n")
    with pytest.raises(InputError, match="expected Streamlit's settings in TOML") as error:
        server.settings({})
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "[server]\nallowedHosts = '*.example.org'", "[server]\nallowedHosts = [1]", "[server]\nallowedHosts = 3",
        "[server]\ncorsAllowedOrigins = ['https://a\\nb']".replace("'", '"'), "[server]\ncorsAllowedOrigins = ['a; b']",
        "server = 1",
    ],
)  # fmt: skip
def test_settings_of_another_kind_are_one_message(text: str, tmp_path: Path) -> None:
    """The letters of a bare text would each be a name, and `*` all names."""
    write(tmp_path / "here", text)
    with pytest.raises(InputError, match="expected"):
        server.settings({})


def test_a_port_in_use_is_one_message() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"can't listen on 127.0.0.1 port {port}: address already in use"):
            server.settings({server.PORT: port})


@pytest.mark.parametrize("address", ["0.0.0.0", "::"])
def test_an_address_that_others_can_reach_is_told_from_ones_own(address: str) -> None:
    if address == "::" and not socket.has_ipv6:
        pytest.skip("no IPv6")
    server.settings({server.ADDRESS: address, server.PORT: free_port()})
    assert server.reached_by_others()


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost", "127.0.0.2"])
def test_this_machines_own_addresses_are_not(address: str) -> None:
    server.settings({server.ADDRESS: address})
    assert not server.reached_by_others()


def test_app_serves_the_suite_it_is_given(tiny: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served: dict[str, Any] = {}
    monkeypatch.setattr(os, "_exit", lambda code: served.update(left=code))
    monkeypatch.setattr(server, "serve", lambda token, folders: served.update(token=token, folders=folders))
    monkeypatch.setattr("ri_analysis.ui.shell.preload", lambda: None)
    for name in ("SUITE", "WORKSPACE", "DEVICE", "ALLOW", "SHARED"):
        monkeypatch.setenv(f"RI_ANALYSIS_{name}", "")
    here, port = os.getcwd(), free_port("0.0.0.0")
    flags = ["--workspace", str(workspace), "--device", "cpu", "--allow", str(workspace.parent / "home")]
    main(["app", str(tiny), *flags, "--port", str(port), "--host", "0.0.0.0", "--base-path", "/x"])
    assert served["left"] == 0
    assert config.get_option("server.port") == port
    assert config.get_option("server.address") == "0.0.0.0"
    assert config.get_option("server.baseUrlPath") == "/x"
    assert os.getcwd() == here
    assert len(served["token"]) == 32
    assert served["folders"] == [tiny.parent, workspace.parent / "home"]
    assert os.environ["RI_ANALYSIS_SUITE"] == str(tiny)
    assert os.environ["RI_ANALYSIS_WORKSPACE"] == str(workspace)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--port", "99999"], ["--port", "from 1 to 65535", "'99999'"]),
        (["--port", "many"], ["--port", "'many'"]),
        (["--device", "cuda:77"], ["--device", "'cuda:77'"]),
        (["--host", "nobody.invalid"], ["nobody.invalid"]),
        (["--allow", "/nowhere/at/all"], ["--allow /nowhere/at/all", "expected a folder"]),
    ],
)
def test_a_bad_flag_is_one_message_before_anything_is_served(
    flags: list[str], words: list[str], workspace: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for name in ("SUITE", "WORKSPACE", "DEVICE", "ALLOW", "SHARED"):
        monkeypatch.setenv(f"RI_ANALYSIS_{name}", "")
    try:
        code: object = main(["app", "--workspace", str(workspace), *flags])
    except SystemExit as stop:
        code = stop.code
    last = capsys.readouterr().err.replace("ri-analysis: starting …\n", "")
    assert code == 2
    assert last.count("\n") == 1
    assert all(word in last for word in words)


def test_a_server_obeys_a_variable_and_the_folder(tiny: Path, workspace: Path, tmp_path: Path) -> None:
    write(tmp_path / "here", '[server]\nbaseUrlPath = "deep/down"\nheadless = true\n')
    port = free_port()
    variables = os.environ | {"STREAMLIT_SERVER_PORT": str(port)}
    running = started.command(["app", str(tiny), "--workspace", str(workspace)], environment=variables)
    try:
        assert answers(f"http://127.0.0.1:{port}/deep/down/_stcore/health", running) == 200
        assert answers(f"http://127.0.0.1:{port}/_stcore/health", running) == 404
    finally:
        running.terminate()
        running.wait(20)


@pytest.mark.parametrize(
    ("flags", "who"),
    [
        ([], "every user of this machine"),
        (["--token"], "everyone who has this address"),
        (["--host", "0.0.0.0"], "everyone who has this address"),
        (["--host", "0.0.0.0", "--no-token"], "everyone who can reach it, without a password"),
    ],
)
def test_the_start_says_what_is_open_to_whom(
    flags: list[str], who: str, tiny: Path, workspace: Path, tmp_path: Path
) -> None:
    port = free_port("0.0.0.0")
    variables = os.environ | {"STREAMLIT_SERVER_HEADLESS": "true"}
    words = ["app", str(tiny), "--workspace", str(workspace), "--port", str(port), "--allow", str(tmp_path / "home")]
    running = started.command([*words, *flags], environment=variables, err=tmp_path / "said")
    try:
        assert answers(f"http://127.0.0.1:{port}/_stcore/health", running) == 200
        status = answers(f"http://127.0.0.1:{port}/", running)
    finally:
        running.send_signal(signal.SIGINT)
        running.wait(120)
    said = (tmp_path / "said").read_text()
    address = re.search(rf"ri-analysis: http://[\w.-]+:{port}/(\?token=[\w-]{{32}})?\n", said)
    assert address is not None
    assert f"open to {who}: they can start computations as you" in said
    assert f"suites that can be opened: demo, demo-halves, {tiny.parent}/, {tmp_path / 'home'}/; --allow" in said
    assert status == (403 if address[1] else 200)
    assert "Traceback" not in said
    assert running.returncode == 0


def answers(address: str, running: Started) -> int | None:
    """Return the status a server answers with, once it does; None when it ends or takes two minutes."""
    end = time.monotonic() + 120
    while time.monotonic() < end and running.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5) as reply:
                return int(reply.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            time.sleep(0.2)
    return None
