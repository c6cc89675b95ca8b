"""The browser on this machine that draws figures as images: found, opened once, closed when idle."""

from __future__ import annotations

import asyncio
import atexit
import importlib.util
import json
from concurrent.futures import Future
from threading import Lock, Thread, Timer
from typing import Any

import plotly.graph_objects as go

from ri_analysis.errors import InputError
from ri_analysis.export import fonts

_INSTEAD = (
    "Or save the figure from your own browser: the camera button above it saves SVG or PNG, without the embedded font, "
    "and its HTML page prints to PDF. HTML, CSV and parquet need none of this."
)
MISSING = (
    "no Chrome or Chromium was found on the machine that runs ri-analysis, so it can't write SVG, PNG or PDF. Install "
    f"one (Debian: apt-get install chromium; elsewhere: kaleido_get_chrome). {_INSTEAD}"
)
NO_KALEIDO = f"SVG, PNG and PDF need the package kaleido: pip install 'ri-analysis[images]'. {_INSTEAD}"
_PATIENCE = 60.0  # seconds for one figure
_START = (15.0, 30.0, 60.0)  # seconds a browser may take to start, time after time
_IDLE = 120.0  # seconds after which a browser that nobody uses is closed: it holds some 300 MB

# The font is put into the page, so that text is measured with it, and into every SVG that is written there: images and
# PDF are made from the SVG, which sees nothing of the page around it. A PDF is called what its page is called.
_SCRIPT = """
for (const [weight, data] of Object.entries(%s)) {
  const bytes = Uint8Array.from(atob(data), letter => letter.charCodeAt(0));
  document.fonts.add(new FontFace(%s, bytes, {weight}));
}
const toImage = Plotly.toImage;
Plotly.toImage = function (figure, options) {
  document.title = figure.layout.meta?.title ?? "";
  return toImage.call(this, figure, options);
};
const serialize = XMLSerializer.prototype.serializeToString;
XMLSerializer.prototype.serializeToString = function (node) {
  return serialize.call(this, node).replace(/<svg[^>]*>/, opening => opening + "<style>" + %s + "</style>");
};
"""


class _Page:
    """Kaleido's page, without what it would fetch from the network, with our font."""

    def generate_index(self) -> str:
        import kaleido

        page: str = kaleido.PageGenerator(mathjax=False).generate_index()
        texts = map(json.dumps, (fonts.encoded(), fonts.FAMILY, fonts.style_sheet()))
        return page.replace("</head>", f"<script>{_SCRIPT % tuple(texts)}</script></head>", 1)


def missing() -> str | None:
    """Return why no image can be drawn here, None where one can."""
    if importlib.util.find_spec("kaleido") is None:
        return NO_KALEIDO
    from choreographer.browsers.chromium import Chromium

    return None if Chromium.find_browser(skip_local=False) else MISSING


def draw(figure: go.Figure, kind: str, scale: float = 1.0) -> bytes:
    """Draw a figure of set width and height as "svg", "png" or "pdf". Raises InputError where that is not possible."""
    if problem := missing():
        raise InputError(problem)
    try:
        return _drawer.draw(figure, {"format": kind, "scale": scale})
    except (RuntimeError, OSError, TimeoutError) as error:
        raise InputError(f"the browser on this machine could not draw the figure: {error}") from error


class _Drawer:
    """One browser in a thread of its own, for all sessions."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._browser: Any = None
        self._idle: Timer | None = None

    def draw(self, figure: go.Figure, options: dict[str, Any]) -> bytes:
        with self._lock:
            if self._idle is not None:
                self._idle.cancel()
            try:
                return self._wait(self._draw(figure, options))
            except BaseException:
                self._end()  # the next figure gets a new browser
                raise
            finally:
                self._idle = Timer(_IDLE, self.close)
                self._idle.daemon = True
                self._idle.start()

    def close(self) -> None:
        """Close the browser where one is open."""
        with self._lock:
            self._end()

    async def _draw(self, figure: go.Figure, options: dict[str, Any]) -> bytes:
        if self._browser is None:
            self._browser = await _opened()
        drawn: bytes = await self._browser.calc_fig(figure, opts=options)
        return drawn

    def _wait(self, work: Any) -> bytes:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            Thread(target=self._loop.run_forever, name="figure-browser", daemon=True).start()
        future: Future[bytes] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(_PATIENCE + 2 * sum(_START))

    def _end(self) -> None:
        browser, self._browser = self._browser, None
        if browser is not None and self._loop is not None:
            asyncio.run_coroutine_threadsafe(browser.close(), self._loop).result(_PATIENCE)


async def _opened() -> Any:
    """Return an open browser. On a busy machine one in some dozens never gets ready: then another is started."""
    import kaleido

    for patience in _START:
        browser = kaleido.Kaleido(n=1, timeout=_PATIENCE, page_generator=_Page())
        try:
            await asyncio.wait_for(browser.open(), patience)
            return browser
        except (TimeoutError, RuntimeError):
            await asyncio.wait_for(browser.close(), patience)
    raise TimeoutError(f"it was started {len(_START)} times and never became ready")


_drawer = _Drawer()
atexit.register(_drawer.close)
