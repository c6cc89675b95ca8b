"""What a visit took is given back once the last visitor has left."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ri_analysis.ui import leaving
from ri_analysis.ui.leaving import Leaving


class Visits:
    """An app whose visitors stay until they are told to leave."""

    def __init__(self) -> None:
        self.leave = [asyncio.Event() for _ in range(3)]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await self.leave[scope["number"]].wait()


@pytest.fixture
def given_back(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(leaving, "give_back", lambda: found.append("given back"))
    monkeypatch.setattr(leaving, "WAIT", 0.02)
    return found


def test_memory_is_given_back_when_the_last_visitor_has_left(given_back: list[str]) -> None:
    async def visits() -> None:
        app = Visits()
        door = Leaving(app)

        def visitor(number: int) -> asyncio.Task[None]:
            return asyncio.create_task(door({"type": "websocket", "number": number}, None, None))  # type: ignore[arg-type]

        first, second = visitor(0), visitor(1)
        await asyncio.sleep(0)
        await door({"type": "http"}, None, None)  # type: ignore[arg-type]
        app.leave[0].set()
        await first
        await asyncio.sleep(0.1)
        assert given_back == []  # one is still there
        app.leave[1].set()
        await second
        third = visitor(2)
        await asyncio.sleep(0.1)
        assert given_back == []  # one came in the meantime
        app.leave[2].set()
        await third
        await asyncio.sleep(0.1)
        assert given_back == ["given back"]

    asyncio.run(visits())
