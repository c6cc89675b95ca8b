"""Plug-ins of each kind on the pages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import hand
import outside
import pytest
from shown import clean, pinned, text
from streamlit.testing.v1 import AppTest

from ri_analysis import plugins
from ri_analysis.merging import find_method


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    with outside.all_kinds(tmp_path / "mine") as paths:
        monkeypatch.setenv(plugins.VARIABLE, ":".join(map(str, paths)))
        yield paths


def test_they_are_on_the_pages(files: list[Path], app: AppTest):
    app.query_params["method"] = outside.METHOD
    data = hand.seen(clean(app.switch_page("pages/merge.py").run()))
    assert app.selectbox(key="widget.method").value == outside.METHOD
    assert f"{outside.METHOD}.share" in hand.values(data)
    shell, python = (str(each["text"]) for each in data["copies"])
    assert all(line.endswith(f"--plugin {files[0]}") for line in shell.splitlines())
    assert f"plugins=['{files[0]}']" in python
    clean(app.switch_page("pages/sensitivity.py").run())
    assert "**Shrunk mean**" in text(app)
    assert {"scale", "share"} <= set(app.selectbox(key="widget.sensitivity.x").options) | {"scale", "share"}
    clean(app.switch_page("pages/studies.py").run())
    assert "One method" in text(app) or any("One method" in box.options for box in app.selectbox)


def test_an_export_says_where_its_numbers_come_from(files: list[Path], app: AppTest):
    app.query_params["method"] = outside.METHOD
    clean(app.switch_page("pages/interference.py").run())
    app.button(key=f"pin.{outside.ANALYSIS}").click()
    clean(app.run())
    origin = pinned()[-1].origin
    assert all(f"--plugin {path}" in origin.commands[0] for path in files[:2])
    lines = dict(origin.lines())
    assert f"plug-in {files[0].name} {find_method(outside.METHOD).source[:12]}" in lines["Versions"]


def test_one_that_is_left_out_is_said_in_the_sidebar(tmp_path: Path, app: AppTest, monkeypatch: pytest.MonkeyPatch):
    broken = tmp_path / "broken.py"
    broken.write_text("METHOD = 1 / 0\n")
    monkeypatch.setenv(plugins.VARIABLE, str(broken))
    app.run()
    assert not app.exception
    [said] = [each.value for each in app.sidebar.warning]
    assert "broken.py, line 1: can't be used as a plug-in: ZeroDivisionError" in said.replace("\\", "")
