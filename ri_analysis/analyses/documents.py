"""Analyses in words, for docs/tables.md and the site."""

from __future__ import annotations

from typing import Any

from ri_analysis.analyses.analysis import Analysis, Columns, Option
from ri_analysis.analyses.registry import ANALYSES

SECTION = "analyses"


def in_words() -> str:
    """Return every analysis with its options and tables, as Markdown."""
    shown = sorted(ANALYSES.values(), key=lambda analysis: (analysis.page != "interference", analysis.place))
    return "\n\n".join(_analysis(analysis) for analysis in shown)


def _analysis(analysis: Analysis[Any]) -> str:
    return "\n\n".join([f"### `{analysis.name}`: {analysis.title}", analysis.question, options_and_tables(analysis)])


def options_and_tables(analysis: Analysis[Any]) -> str:
    """Return an analysis's options as a list, and what its tables hold as a table."""
    options = "\n".join(_option(option) for option in analysis.options)
    rows = [f"| `{name}` | {table.row} | {_columns(table)} |" for name, table in analysis.columns.items()]
    tables = "\n".join(["| file | a row is | columns |", "|---|---|---|", *rows])
    return "\n\n".join(filter(None, [options, tables]))


def _option(option: Option) -> str:
    values = option.range_text if option.task is None else "one of the merged tasks"
    default = f", `{option.default}` by default" if option.task is None else ""
    return f"- {option.heading} (`--option {option.name}=…`): {option.meaning}; {values}{default}"


def _columns(table: Columns) -> str:
    return "; ".join(f"`{name}`: {meaning}" if meaning else f"`{name}`" for name, meaning in table.meaning.items())
