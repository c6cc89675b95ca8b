"""One image under every model, below any gallery: the image chosen goes with the reader from page to page."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import streamlit as st

from ri_analysis.analyses import find_analysis
from ri_analysis.engine import Evaluator
from ri_analysis.errors import InputError
from ri_analysis.ui import analysis, gallery, kept, state, terms
from ri_analysis.ui.asking import Question
from ri_analysis.ui.recipes import IMAGE, Pair

_SIDE = 168  # pixels of the picture


def section(evaluator: Evaluator, recipes: Pair, shown: pd.DataFrame) -> tuple[str, int] | None:
    """Draw the choice among the images `shown` (`task`, `index`, `class`), and what is known of the one chosen.

    One that was chosen before is offered too, as long as its task is merged. Returns its task and place.
    """
    names = {f"{row['task']}/{row['index']}": _label(row) for row in shown.to_dict(orient="records")}
    names = _before(evaluator, recipes, names) | names
    if not names:
        return None
    image = find_analysis("image")
    st.markdown(f"**{image.title}**")
    chosen = kept.one_of(st.selectbox, "Image", IMAGE, list(names), next(iter(names)), format_func=names.__getitem__)
    task, index = _read(chosen, evaluator, recipes)
    options = image.settled(recipes.before.tasks, {"task": task, "index": index})
    question = Question(evaluator, recipes, image, options)
    large = evaluator.architecture.large
    found = question.later("Run every model", "Merges again and runs every model on this image.", at_once=not large)
    if found is None:
        return task, index
    left, right = st.columns([1, 4], gap="medium", vertical_alignment="center")
    [picture] = gallery.thumbnails(evaluator, [task], [index])
    style = "max-width: 100%; image-rendering: pixelated; border-radius: 6px"
    left.html(f'<img src="{picture}" width="{_SIDE}" style="{style}" alt="">')
    with right:
        terms.prose(image.says(found).replace("**", ""))
    analysis.charts(image, found)
    return task, index


def _label(row: dict[object, object]) -> str:
    return f"{row['task']} {row['index']}: {row['class']}"


def _before(evaluator: Evaluator, recipes: Pair, names: Mapping[str, str]) -> dict[str, str]:
    """Return the image that was chosen before, where that is not among `names`; a link to none says so."""
    before = state.choice().get(IMAGE, "")
    if not before or before in names:
        return {}
    try:
        task, index = _read(before, evaluator, recipes)
    except InputError as error:
        if state.by_link(IMAGE):
            state.ignore(IMAGE, f"image: {error}")
        return {}
    return {before: f"{task} {index}, chosen earlier"}


def _read(text: str, evaluator: Evaluator, recipes: Pair) -> tuple[str, int]:
    """Return the task and the index that "TASK/INDEX" names. Raises InputError where there is no such image."""
    task, _, number = text.rpartition("/")
    if task not in recipes.before.tasks:
        raise InputError(f"expected TASK/INDEX of a merged task, found {text!r}")
    count = len(evaluator.suite.task_data(task))
    if not (number.isascii() and number.isdecimal()) or len(number) > 9 or int(number) >= count:
        raise InputError(f"{task} has images 0 to {count - 1:,}, found {number!r}")
    return task, int(number)
