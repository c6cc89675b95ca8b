"""What a suite is, in words and as a table."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from ri_analysis.checkpoints import vision_tower
from ri_analysis.engine import Evaluator
from ri_analysis.figures import words
from ri_analysis.ui.recipes import symbol
from ri_analysis.ui.state import text_of


def suite_in_words(evaluator: Evaluator) -> str:
    """Return two sentences: what there is to merge, and what it is measured on."""
    suite, table = evaluator.suite, task_table(evaluator)
    parameters = sum(tensor.numel() for tensor in vision_tower(suite.pretrained).values())
    size = f"{parameters / 1e6:.1f} M" if parameters >= 1e5 else f"{parameters:,}"
    text = (
        f"Suite **{suite.name}**: {words.count(len(suite.tasks), 'expert')} fine-tuned from one CLIP image encoder "
        f"({size} parameters), measured on {words.count(int(table['test images'].sum()), 'test image')} of "
        f"{int(table['classes'].sum()):,} classes."
    )
    return f"{text} {sets_in_words(evaluator)}"


def sets_in_words(evaluator: Evaluator) -> str:
    """Return which expert sets there are."""
    names = [item.name for item in evaluator.suite.resolved]
    if not names:
        return "There is no RI-adapted expert set yet."
    listing = ", ".join(f"**{name}**" for name in names)
    return f"Beside the original experts there {'is' if len(names) == 1 else 'are'} after RI: {listing}."


def task_table(evaluator: Evaluator) -> pd.DataFrame:
    """Return one row per task: classes, test images, some class names."""
    rows = []
    for task in evaluator.suite.tasks:
        classes = evaluator.heads[task].classes
        rows.append(
            {
                "task": task,
                "classes": len(classes),
                "test images": len(evaluator.suite.task_data(task)),
                "for instance": ", ".join(classes[:4]),
            }
        )
    return pd.DataFrame(rows)


def record_in_words(record: dict[str, Any]) -> str:
    """Return how an RI-adapted expert set was made, from its record."""
    if not record:
        return "How this set was made is not recorded."
    source, settings = record.get("auxiliary", {}), dict(record.get("settings", {}))
    images = f" ({words.count(source['images'], 'image')})" if "images" in source else ""
    oracle = (
        ", which are the tasks' own training images (an oracle, for reference only)" if source.get("oracle") else ""
    )
    text = f"Made on auxiliary source **{source.get('name', 'unknown')}**{images}{oracle}"
    steps = settings.pop("steps", None)
    text += f", {words.count(int(steps), 'step')} per expert" if steps is not None else ""
    text += "".join(f", {symbol(name)} {text_of(value)}" for name, value in settings.items())
    text += f", seed {record['seed']}" if "seed" in record else ""
    text += f", in {words.duration(record['seconds'])}" if record.get("seconds") else ""
    return text + "."


def history_table(record: dict[str, Any]) -> pd.DataFrame:
    """Return a record's loss history: the columns `task`, `step`, `keep`, `free`, `loss`."""
    rows = [(task, *row) for task, history in record.get("history", {}).items() for row in history]
    return pd.DataFrame(rows, columns=["task", "step", "keep", "free", "loss"])


def details(evaluator: Evaluator) -> None:
    """Draw the tasks, and how each RI-adapted set was made."""
    st.dataframe(task_table(evaluator), hide_index=True, key="tasks")
    for item in evaluator.suite.resolved:
        st.markdown(f"**{item.name}**: {record_in_words(evaluator.suite.record(item.name))}")
