"""What a suite is, in detail."""

from __future__ import annotations

import streamlit as st

from ri_analysis.engine import Evaluator
from ri_analysis.export.facts import record_in_words, task_table
from ri_analysis.resolving import record_of
from ri_analysis.ui import frame


def details(evaluator: Evaluator) -> None:
    """Draw the tasks, and how each RI-adapted set was made."""
    st.dataframe(task_table(evaluator), hide_index=True, key="tasks")
    for item in evaluator.suite.resolved:
        st.markdown(
            f"**{frame.plain(item.name)}**: {frame.sentence(record_in_words(record_of(evaluator.suite, item.name)))}"
        )
