"""The open suite: what is wrong with it, what each of its files is, and what fine-tuning changed."""

from __future__ import annotations

import os

import streamlit as st

from ri_analysis.analyses.task_vectors import ANALYSIS as TASK_VECTORS
from ri_analysis.engine import Evaluator, Report
from ri_analysis.figures import words
from ri_analysis.suite import EMBEDDED
from ri_analysis.ui import ahead, analysis, frame, opening, recipes, resources
from ri_analysis.views.experts import another


def open_name() -> str:
    """Return what the open suite is called, as Markdown."""
    return frame.plain(resources.short(resources.suite_name()))


def check(report: Report) -> None:
    """Draw every finding of the check, with what to do, all remarks, and the checks that passed.

    That all is well is not said below what is wrong with another suite: it would be read as its contradiction.
    """
    if report.findings:
        opening.unusable(report)
    elif report.remarks:
        remarks = words.count(len(report.remarks), "remark")
        st.warning(
            f"All files can be read. See the {remarks} below before you trust the numbers.", icon=":material/warning:"
        )
    elif another.OPENING not in st.session_state:
        st.markdown(":green[:material/check_circle:] All files are valid.")
    _lines("Remarks", report.remarks, expanded=True)
    _lines("Passed checks", report.passed)


def _lines(title: str, lines: list[str], *, expanded: bool = False) -> None:
    if lines:
        with st.expander(f"{title} ({len(lines)})", expanded=expanded):
            st.markdown("\n".join(f"- {frame.plain(line)}" for line in lines))


def files(report: Report) -> None:
    """Draw one row per file of weights."""
    table = report.file_table()
    folder, number = os.path.commonpath(map(os.path.dirname, table["path"])), st.column_config.NumberColumn
    st.dataframe(
        table.assign(path=[os.path.relpath(path, folder) for path in table["path"]]),
        hide_index=True,
        key="experts.files",
        column_order=("model", "experts", "path", "kind", "parameters", "dtype", "size", "taken", "ignored", "filled"),
        column_config={
            "experts": "set",
            "kind": "format",
            "parameters": number(format="compact", help="Values in the file, including those of a text tower"),
            "dtype": "type",
            "size": number(format="bytes"),
            "taken": number("used", help="Tensors in the file that make up the vision tower"),
            "ignored": number("other", help="Not needed: a text tower, the optimiser's state, buffers …"),
            "filled": number("filled in", help="Tensors that the file lacks, taken from the pretrained model"),
            "path": "file",
        },
    )
    embedded = resources.suite_name() in EMBEDDED
    where = "part of the installed package" if embedded else f"below {frame.plain(folder)}"
    st.caption(f"Files are {where}. *used*, *other* and *filled in* count tensors; no code in a file was run.")
    ahead.give_way()


def changes(evaluator: Evaluator, report: Report) -> None:
    """Draw how large each task vector is, block by block, and how much they point the same way, before and after RI."""
    pair, seen = recipes.chosen_pair(evaluator), {item.experts for item in report.files}
    sets = pair.map(lambda recipe: recipe.experts)
    if not seen.issuperset(sets):
        st.info("An expert set is newer than the last check: check again to see it.", icon=":material/info:")
        opening.again()
        return
    # The check has read all weights: the answer is kept.
    found = TASK_VECTORS.ask(evaluator, pair)
    st.markdown(frame.sentence(TASK_VECTORS.says(found)))
    analysis.charts(TASK_VECTORS, found)
