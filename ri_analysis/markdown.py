"""Tables as Markdown and CSV, and sections of documents that are written by the program."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from ri_analysis.documents import own_text
from ri_analysis.errors import InputError
from ri_analysis.files import write_text

_FORMULA = re.compile(r"[=@\t\r]|[+-](?=[^\s\d.])")


def markdown_table(table: pd.DataFrame) -> str:
    """Return a frame as a Markdown table, fractions to three digits."""
    cells = [[f"{value:.3f}" if isinstance(value, float) else cell(value) for value in row] for row in table.to_numpy()]
    head = [cell(column) for column in table.columns]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *cells])


def cell(value: object) -> str:
    """Return what stands in a cell: names of strangers neither end it nor bring pictures or HTML."""
    text = str(value).replace("|", "\\|").replace("<", "&lt;").replace("![", "!\\[")
    return re.sub(r"[\r\n]+", " ", text)


def csv_text(table: pd.DataFrame) -> str:
    """Return a table as CSV. A text that spreadsheets would take for a formula begins with an apostrophe."""
    texts = table.select_dtypes(exclude="number").columns
    return table.assign(**{name: table[name].map(_no_formula) for name in texts}).to_csv(index=False)


def _no_formula(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def write_section(path: Path, name: str, text: str) -> None:
    """Replace what stands in a document between the marks `<!-- name: start -->` and `<!-- name: end -->`.

    Raises InputError when the document has no such marks.
    """
    above, below = around_section(path, name)
    write_text(path, f"{above}\n\n{text}\n\n{below}")


def around_section(path: Path, name: str) -> tuple[str, str]:
    """Return a document up to a section's first mark and from its last one on, marks included.

    Call it before long work whose result is to stand there. Raises InputError when the document has no such marks.
    """
    start, end = f"<!-- {name}: start -->", f"<!-- {name}: end -->"
    document = own_text(path, f"a document with the mark {start}")
    above, first, rest = document.partition(start)
    _, last, below = rest.partition(end)
    if not first or not last:
        raise InputError(f"{path}: expected the marks {start} and {end}")
    return above + start, end + below
