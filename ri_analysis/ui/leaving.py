"""What happens once the last visitor has left: the memory that visits took goes back to the system."""

from __future__ import annotations

import asyncio

from ri_analysis.arenas import give_back
from ri_analysis.ui.gate import App, Receive, Scope, Send

WAIT = 5.0  # seconds: who reloads the page is soon back


class Leaving:
    """ASGI middleware that has memory given back a while after the last visitor left, if none has come since."""

    def __init__(self, app: App) -> None:
        self._app, self._open = app, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; each visitor holds a WebSocket."""
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
            return
        self._open += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._open -= 1
            if not self._open:
                asyncio.get_running_loop().call_later(WAIT, self._tidy)

    def _tidy(self) -> None:
        if not self._open:
            asyncio.get_running_loop().run_in_executor(None, give_back)
