from __future__ import annotations

import pandas as pd

from ri_analysis.markdown import csv_text, markdown_table


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
