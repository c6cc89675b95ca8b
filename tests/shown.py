"""What AppTest shows of a page."""

from __future__ import annotations

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
    return "\n".join(str(item.value) for item in [*app.markdown, *app.caption, *app.info, *app.error, *app.code])


def pinned() -> list[Snapshot]:
    """Return the figures pinned in the app's workspace, in their order."""
    folders = sorted((resources.workspace() / "figures").glob("*"))
    return [kept.snapshot for folder in folders for kept in Shelf(folder).read()[0].values()]
