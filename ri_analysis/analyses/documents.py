"""Analyses in words, for docs/tables.md."""

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
    parts = [f"### `{analysis.name}`: {analysis.title}", analysis.question]
    if analysis.options:
        parts.append("\n".join(_option(option) for option in analysis.options))
    rows = [f"| `{name}` | {table.row} | {_columns(table)} |" for name, table in analysis.columns.items()]
    parts.append("\n".join(["| file | a row is | columns |", "|---|---|---|", *rows]))
    return "\n\n".join(parts)


def _option(option: Option) -> str:
    values = option.range_text if option.task is None else "one of the merged tasks"
    default = f", `{option.default}` by default" if option.task is None else ""
    return f"- {option.heading} (`--option {option.name}=…`): {option.meaning}; {values}{default}"


def _columns(table: Columns) -> str:
    return "; ".join(f"`{name}`: {meaning}" if meaning else f"`{name}`" for name, meaning in table.meaning.items())
