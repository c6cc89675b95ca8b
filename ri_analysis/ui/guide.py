"""A short guide for the first visit: what to do on which page, and which of it is done."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from ri_analysis.suite import EMBEDDED
from ri_analysis.ui import resources, state

_CLOSED, _VISITED = "ri.guide.closed", "ri.visited"


@dataclass(frozen=True)
class Step:
    """One thing to do: on which page, and what there is to see."""

    page: str
    title: str
    icon: str
    text: str


STEPS = (
    Step(
        "merge",
        "Move λ",
        ":material/merge:",
        "λ scales the experts in the merge. Raise it and watch the tasks: with the original experts (before RI) the "
        "merge soon breaks down; with the adapted ones (after RI) it holds up longer.",
    ),
    Step(
        "interference",
        "See who disturbs whom",
        ":material/blur_on:",
        "See which task has drifted most, in which block the drift starts, and which images are lost: **Which images** "
        "shows each with the predictions of the expert and the merged model.",
    ),
    Step(
        "embeddings",
        "Draw a lasso",
        ":material/scatter_plot:",
        "Each point is an image: in one map as its task's expert sees it, in the other as the merged model does. Draw "
        "a line around some: they stay coloured in both maps.",
    ),
    Step(
        "sensitivity",
        "Vary the settings",
        ":material/landscape:",
        "Accuracy over two hyperparameters at once, before and after RI: the wider the plateau, the less the "
        "choice matters.",
    ),
)


def visited(page: str) -> None:
    """Note that a page was opened in this session."""
    st.session_state.setdefault(_VISITED, set()).add(page)


def welcome() -> None:
    """Draw the guide on an embedded suite, unless the reader closed it or came by a link that says what to show."""
    if resources.suite_name() not in EMBEDDED or state.came_by_link() or st.session_state.get(_CLOSED):
        return
    seen: set[str] = st.session_state.get(_VISITED, set())
    with st.container(border=True, key="guide"):
        title, close = st.columns([6, 1], vertical_alignment="center")
        title.markdown("**First time here?** This page shows what RI does for the merge; four more things to try:")
        close.button(
            "Close", key="guide.close", on_click=_close, type="tertiary", width="stretch", icon=":material/close:"
        )
        for step, column in zip(STEPS, st.columns(len(STEPS), gap="medium"), strict=True):
            with column:
                done = step.page in seen
                st.page_link(
                    f"pages/{step.page}.py",
                    label=f"**{step.title}**{' (visited)' if done else ''}",
                    icon=":material/check:" if done else step.icon,
                )
                st.caption(step.text)


def _close() -> None:
    st.session_state[_CLOSED] = True
