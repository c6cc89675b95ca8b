from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from ri_analysis.errors import InputError
from ri_analysis.markdown import around_section, csv_text, markdown_table


def test_a_name_neither_ends_a_cell_nor_brings_a_picture_or_html() -> None:
    table = pd.DataFrame({"task": ["a|b\nc", "<img src=x>", "![x](https://evil.example/x)"], "n|m": [1.0, 2.0, 3.0]})
    head, _, *rows = markdown_table(table).splitlines()
    assert head == r"| task | n\|m |"
    assert rows == [r"| a\|b c | 1.000 |", "| &lt;img src=x> | 2.000 |", r"| !\[x](https://evil.example/x) | 3.000 |"]


def test_a_spreadsheet_computes_no_name() -> None:
    names = ["=1+1", "@SUM(A1)", "+cmd|x", "-a", "\tx", "-0.5", "+6 points", "-", "− 1", "a=b", None]
    read = csv_text(pd.DataFrame({"name": names, "value": [-1.5] * len(names)})).splitlines()[1:]
    assert read == [
        *("'=1+1,-1.5", "'@SUM(A1),-1.5", "'+cmd|x,-1.5", "'-a,-1.5", "'\tx,-1.5", "-0.5,-1.5", "+6 points,-1.5"),
        *("-,-1.5", "− 1,-1.5", "a=b,-1.5", ",-1.5"),
    ]


def test_a_document_that_is_no_text_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_bytes(b"<!-- x: start -->\xff<!-- x: end -->")
    with pytest.raises(InputError, match="expected a document with the mark <!-- x: start -->, found damaged data"):
        around_section(tmp_path / "a.md", "x")
