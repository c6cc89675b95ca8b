"""A figure with its words."""

from __future__ import annotations

from dataclasses import dataclass

import plotly.graph_objects as go


@dataclass(frozen=True)
class Chart:
    """A figure of an analysis or a study, and one sentence on how to read it.

    `title` is for one of several; `n` says how many images it is based on, where the table does not; `half` charts
    stand two in a row.
    """

    figure: go.Figure
    how_to_read: str
    title: str = ""
    n: str = ""
    half: bool = False
