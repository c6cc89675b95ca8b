"""The sheet of keys names every page, each by a letter of its own."""

from __future__ import annotations

import re
from pathlib import Path

from streamlit.testing.v1 import AppTest

from ri_analysis.ui import keys

APP = Path(__file__).resolve().parents[2] / "app.py"


def test_every_page_has_a_letter_of_its_own() -> None:
    titles = re.findall(r'title="(\w+)"', APP.read_text(encoding="utf-8"))
    assert list(keys.PAGES) == titles
    assert len(set(keys.PAGES.values())) == len(titles)
    assert "g" not in keys.PAGES.values()


def test_the_sheet_lists_them() -> None:
    def page() -> None:
        from ri_analysis.ui import keys

        keys.link()

    sheet = AppTest.from_function(page).run().markdown[0].value
    assert "`g` `m` Merge" in sheet
    assert "`?` show these keys" in sheet
