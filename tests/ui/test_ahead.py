"""The first figure: the browser says when it is painted, and only a visit that waits hears it."""

from __future__ import annotations

import asyncio

import pytest
from starlette.requests import Request
from starlette.routing import Match, Route
from streamlit.testing.v1 import AppTest

from ri_analysis.ui import ahead


def _page() -> None:
    from ri_analysis.ui import ahead

    ahead.load()


def _say(route: Route, path: str) -> int:
    scope = {"type": "http", "method": "POST", "path": path}
    match, found = route.matches(scope)
    assert match is Match.FULL
    return int(asyncio.run(route.endpoint(Request(scope | found))).status_code)


@pytest.mark.parametrize("base", ["", "/behind/a/proxy"])
def test_a_visit_hears_when_its_first_figure_is_painted(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "_served", [])
    route = ahead.painted_route(base)
    app = AppTest.from_function(_page).run()
    visit = app.session_state["ri.visit"]
    assert _say(route, f"{base}/painted/nobody") == 204
    assert not visit.painted.is_set()
    assert _say(route, f"{base}/painted/{visit.name}") == 204
    assert visit.painted.is_set()
    assert app.run().session_state["ri.visit"] is visit
