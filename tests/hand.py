"""The hand on the live Merge page, for AppTest: reads what the component was given, and sends it messages."""

from __future__ import annotations

import json
from typing import Any

from streamlit.testing.v1 import AppTest

from ri_analysis.views.live.component import KEY


def seen(app: AppTest) -> dict[str, Any]:
    """Return the data of the component."""
    (found,) = app.get("bidi_component")
    data: dict[str, Any] = json.loads(found.proto.json)
    return data


def send(app: AppTest, kind: str, **more: Any) -> dict[str, Any]:
    """Send the component's next message, run the page, and return the component's new data."""
    app.session_state[KEY] = {"message": {"seq": seen(app)["ack"] + 1, "kind": kind, **more}}
    app.run()
    return seen(app)


def move(app: AppTest, **values: float) -> dict[str, Any]:
    """Hold a slider at a value."""
    return send(app, "move", held=next(iter(values)), holding=True, values=values)


def release(app: AppTest, values: dict[str, float]) -> dict[str, Any]:
    """Let go of a slider, and wait for the exact values."""
    return until_exact(app, send(app, "release", held="", values=values))


def until_exact(app: AppTest, data: dict[str, Any]) -> dict[str, Any]:
    """Ask as the component does until the exact values are there."""
    for _ in range(100):
        if not data["poll"]:
            return data
        data = send(app, "poll")
    raise AssertionError("no exact values after ten seconds")


def values(data: dict[str, Any]) -> dict[str, float]:
    """Return where the sliders stand."""
    return {control["entry"]: control["value"] for control in data["controls"]}
