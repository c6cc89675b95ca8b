"""What lets a visitor's first figure appear early: the browser loads what draws it while the server still works."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Event
from uuid import uuid4
from weakref import WeakValueDictionary

import streamlit as st
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from streamlit.file_util import get_static_dir
from streamlit.runtime import exists

_PARTS = ("PlotlyChart", "DataFrame")  # of Streamlit's front end, which asks for them when the first figure has come
_VISIT = "ri.visit"
_MOMENT, _MOST = 0.6, 2.0  # seconds that a first figure is given: where the browser can't say that it is there; at most


@dataclass(eq=False)
class _Visit:
    """A session's first page, as far as the browser has painted it."""

    name: str = field(default_factory=lambda: uuid4().hex)
    painted: Event = field(default_factory=Event)
    gave_way: bool = False


_visits: WeakValueDictionary[str, _Visit] = WeakValueDictionary()  # those that wait; each lives as long as its session
_served: list[Route] = []


def painted_route(base: str) -> Route:
    """Return where browsers say that the first figure is painted, below the path `base` of the app's address."""

    async def painted(request: Request) -> Response:
        visit = _visits.get(request.path_params["visit"])
        if visit is not None:
            visit.painted.set()
        return Response(status_code=204)

    _served[:] = [Route(f"{base}/painted/{{visit}}", painted, methods=["POST"])]
    return _served[0]


def load() -> None:
    """Have the browser load what draws figures and tables now, and say when the first figure or table is there."""
    st.html(_script(_visit().name), unsafe_allow_javascript=True)


def give_way() -> None:
    """Wait, once a session, until the browser has painted the figure or table that it was sent.

    It draws all that it has got in one go: on two cores, loading what draws figures takes half a second, and each
    figure 0.13 s, so that the first of seven would be seen when the last is drawn.
    """
    visit = _visit()
    if exists() and not visit.gave_way:
        visit.gave_way = True
        if _served:
            visit.painted.wait(_MOST)
        else:
            time.sleep(_MOMENT)


def _visit() -> _Visit:
    visit: _Visit = st.session_state.setdefault(_VISIT, _Visit())
    return _visits.setdefault(visit.name, visit)


@lru_cache(maxsize=256)
def _script(visit: str) -> str:
    files = Path(get_static_dir(), "static", "js")
    names = [path.name for part in _PARTS for path in files.glob(f"{part}.*.js")]
    # Relative to the front end's own script: the app may stand below a base path.
    return (
        "<script>{const own = document.querySelector('script[type=module]').src;"
        f"for (const name of {json.dumps(names)}) import(new URL(name, own)).catch(() => 0);"
        f"const say = () => fetch(new URL('../../painted/{visit}', own), {{method: 'POST'}}).catch(() => 0);"
        "const look = () => document.querySelector('[data-testid=stMain] :is(.main-svg, [data-testid=stDataFrame])')"
        " ? setTimeout(say) : requestAnimationFrame(look);"
        "look();}</script>"
    )
