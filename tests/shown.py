"""What AppTest shows of a page."""

from __future__ import annotations

import re

from streamlit.testing.v1 import AppTest

from ri_analysis.export.shelf import Shelf
from ri_analysis.export.snapshot import Snapshot
from ri_analysis.ui import resources


def clean(app: AppTest) -> AppTest:
    """Return the app after making sure that the page shows no error."""
    assert not app.exception, app.exception[0].message
    assert [item.value for item in app.error] == []
    return app


def text(app: AppTest) -> str:
    """Return what the page says in words."""
    shown = [*app.markdown, *app.caption, *app.info, *app.error, *app.code]
    return without_meanings("\n".join(str(item.value) for item in shown))


def pinned() -> list[Snapshot]:
    """Return the figures pinned in the app's workspace, in their order."""
    folders = sorted((resources.workspace() / "figures").glob("*"))
    return [kept.snapshot for folder in folders for kept in Shelf(folder).read()[0].values()]


def without_meanings(text: str) -> str:
    """Return a text without the meanings of its terms, which open when they are hovered."""
    return re.sub(r"<span class=\"term\"[^>]*>(.*?)<span class=\"meaning\".*?</span></span>", r"\1", text)
