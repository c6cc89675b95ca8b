"""What AppTest shows of a page."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest


def clean(app: AppTest) -> AppTest:
    """Return the app after making sure that the page shows no error."""
    assert not app.exception, app.exception[0].message
    assert [item.value for item in app.error] == []
    return app


def text(app: AppTest) -> str:
    """Return what the page says in words."""
    return "\n".join(str(item.value) for item in [*app.markdown, *app.caption, *app.info, *app.error, *app.code])
