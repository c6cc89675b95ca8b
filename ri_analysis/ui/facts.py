"""What a suite is, in detail."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from ri_analysis.engine import Evaluator
from ri_analysis.export.facts import record_in_words, task_table
from ri_analysis.resolving import HeldOut


def history_table(record: dict[str, Any]) -> pd.DataFrame:
    """Return a record's loss history: the columns `task`, `step`, `keep`, `free`, `loss`."""
    rows = [(task, *row) for task, history in record.get("history", {}).items() for row in history]
    return pd.DataFrame(rows, columns=["task", "step", "keep", "free", "loss"])


def looks_table(record: dict[str, Any]) -> pd.DataFrame:
    """Return a record's looks at held-out images: the columns `task` and those of HeldOut."""
    looks = record.get("held_out", {}).get("looks", {})
    rows = [(task, *row) for task, found in looks.items() for row in found]
    return pd.DataFrame(rows, columns=["task", *HeldOut._fields])


def details(evaluator: Evaluator) -> None:
    """Draw the tasks, and how each RI-adapted set was made."""
    st.dataframe(task_table(evaluator), hide_index=True, key="tasks")
    for item in evaluator.suite.resolved:
        st.markdown(f"**{item.name}**: {record_in_words(evaluator.suite.record(item.name))}")
