"""Images of the tasks as small cards with what the models say."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence

import numpy as np
import pandas as pd
import streamlit as st
from PIL import Image

from ri_analysis.engine import Evaluator
from ri_analysis.figures.look import AFTER, BEFORE, EXPERT

PAGE = 24  # cards at once
_SIDE = 84  # pixels on the page
_STORED = 112  # pixels a side at most in what is sent

_STYLE = f"""<style>
.ri-cards {{ display: flex; flex-wrap: wrap; gap: 8px; }}
.ri-card {{ width: {_SIDE + 30}px; font-size: 12px; line-height: 1.35; padding: 8px; border-radius: 8px;
  border: 1px solid color-mix(in srgb, currentColor 16%, transparent); overflow-wrap: anywhere; }}
.ri-card img {{ width: {_SIDE}px; height: {_SIDE}px; display: block; margin: 0 auto 6px; border-radius: 4px;
  image-rendering: pixelated; }}
.ri-card b {{ font-weight: 600; }}
.ri-line {{ display: flex; align-items: baseline; }}
.ri-dot {{ display: inline-block; flex: none; width: 8px; height: 8px; border-radius: 50%; margin-right: 5px; }}
.ri-muted {{ opacity: 0.65; }}
</style>"""

# Which column of the cards' table each line of a card comes from, with its colour.
LINES = (("expert", "expert_says", EXPERT), ("before", "before_says", BEFORE), ("after", "after_says", AFTER))


def paged(evaluator: Evaluator, rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """Draw as many cards as a page holds, the key of their dots above, and the choice of page where there are several.

    Returns the rows drawn.

    `rows` are those of `cards`; `name` names the choice and must be unique on the page.
    """
    pages = -(-len(rows) // PAGE)
    left, right = st.columns([5, 1], vertical_alignment="bottom")
    page = 1
    if pages > 1:
        page = right.selectbox(
            "Page", range(1, pages + 1), key=f"{name}.page.{pages}", format_func=lambda one: f"Page {one} of {pages}",
            label_visibility="collapsed",
        )  # fmt: skip
    left.html(key())
    drawn = rows.iloc[(page - 1) * PAGE : page * PAGE]
    cards(evaluator, drawn)
    return drawn


def cards(evaluator: Evaluator, rows: pd.DataFrame) -> None:
    """Draw one card per row: the image, its class, and what expert and merged models say; ✓ where that is right.

    `rows` has `task`, `index`, `class`, `expert_says`, and where they are known `before_says`, `after_says`; `note` is
    a last line.
    """
    pictures = thumbnails(evaluator, rows["task"].tolist(), rows["index"].tolist())
    parts = [_card(row, picture) for row, picture in zip(rows.to_dict(orient="records"), pictures, strict=True)]
    st.html(f'{_STYLE}<div class="ri-cards">{"".join(parts)}</div>')


def thumbnails(evaluator: Evaluator, tasks: Sequence[str], indices: Sequence[int]) -> list[str]:
    """Return the images as data URLs, in the order asked for."""
    size = min(_STORED, evaluator.architecture.image_size)
    found: dict[tuple[str, int], str] = {}
    for task in dict.fromkeys(tasks):
        chosen = [index for owner, index in zip(tasks, indices, strict=True) if owner == task]
        pixels = evaluator.suite.task_data(task).pixels(chosen, size)
        found |= {(task, index): _data_url(image) for index, image in zip(chosen, pixels, strict=True)}
    return [found[pair] for pair in zip(tasks, indices, strict=True)]


def _data_url(pixels: np.ndarray) -> str:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def _card(row: dict[object, object], picture: str) -> str:
    truth = str(row["class"])
    lines = [f"<b>{html.escape(truth)}</b> <span class='ri-muted'>{html.escape(str(row['task']))}</span>"]
    for name, column, role in LINES:
        if column in row and isinstance(row[column], str):
            said = str(row[column])
            mark = " ✓" if said == truth else ""
            dot = f"<span class='ri-dot' style='background:{role.colour}'></span>"
            lines.append(f"<span class='ri-line' title='{name}'>{dot}<span>{html.escape(said)}{mark}</span></span>")
    if row.get("note"):
        lines.append(f"<span class='ri-muted'>{html.escape(str(row['note']))}</span>")
    picture = f'<img src="{picture}" alt="{html.escape(truth, quote=True)}">'
    return f'<div class="ri-card">{picture}{"".join(f"<div>{line}</div>" for line in lines)}</div>'


def key() -> str:
    """Return the legend of the dots, as Markdown-safe HTML."""
    dots = [f"<span class='ri-dot' style='background:{role.colour}'></span>{role.name}" for _, _, role in LINES]
    return f"{_STYLE}<span style='font-size:13px'>{' &nbsp; '.join(dots)} &nbsp; ✓ correct</span>"
