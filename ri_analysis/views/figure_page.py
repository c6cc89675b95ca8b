"""The Figures page: the pinned figures with their words, printed size, order and files, or the usual ones to pin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import plotly.graph_objects as go
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ri_analysis.analyses import Answer, find_analysis
from ri_analysis.engine import Evaluator
from ri_analysis.export import browser, formats, glyphs, paper, shelf, standard, venues
from ri_analysis.export.formats import Format
from ri_analysis.export.shelf import Kept
from ri_analysis.export.snapshot import Snapshot
from ri_analysis.figures import look, words
from ri_analysis.ui import analysis, choosing, frame, kept, limited, recipes, resources, state, tray
from ri_analysis.ui.asking import Question, best_so_far

_OWN = "another width"
_WRITES = state.entry("figures.camera")
_BY_NAME = {width.name: width for width in venues.WIDTHS}
_PHONE = 320  # pixels that a figure has on a phone's screen
_CAMERA = ("svg", "png")  # what the reader's own browser can write
# What the camera writes is shown without the page's fonts: text measured in another one would be cut off.
_FOUND_ANYWHERE = "Arial, Helvetica, sans-serif"


def section(evaluator: Evaluator) -> None:
    """Draw the tray: every figure with its words, size, place and downloads, and all of them as one file."""
    if tray.take_over(evaluator.suite):
        st.rerun()  # the sidebar counts them
    pinned = tray.pinned()
    for remark in pinned.remarks():
        st.warning(frame.plain(remark), icon=":material/warning:")
    held, taken = pinned.figures(), tray.taken_out()
    if not held:
        _put_back(taken)
        _usual_figures(evaluator)
        return
    problem = browser.missing()
    camera = "svg"
    if problem:
        st.warning(problem[0].upper() + problem[1:], icon=":material/warning:")
        camera = kept.one_of(
            st.segmented_control, "Camera button saves", _WRITES, _CAMERA, camera, format_func=str.upper
        )
    _all_in_one(evaluator, pinned)
    st.caption(f"{words.count(len(held), 'figure')}, kept in the workspace until you remove them.")
    for place, (key, item) in enumerate(held.items()):
        if taken is not None and taken.place < item.place:  # where it was
            _put_back(taken)
            taken = None
        with st.container(border=True, key=f"tray.{key}"):
            _item(pinned, key, item.snapshot, camera, can_draw=problem is None)
            _buttons(key, first=place == 0, last=place == len(held) - 1)
    _put_back(taken)


def _all_in_one(evaluator: Evaluator, pinned: tray.Tray) -> None:
    """Draw what concerns all figures: the report, the archive, and the usual figures to add."""
    with st.container(horizontal=True):
        st.download_button(
            "Report (one HTML page, works offline)",
            lambda: standard.written(evaluator, [*pinned.settled().values()]),
            f"{evaluator.suite.name}-report.html",
            "text/html",
            key="tray.report",
            icon=":material/article:",
            on_click="ignore",
        )
        st.download_button(
            "All figures in all formats (zip)",
            lambda: formats.archive([*pinned.settled().values()]),
            "figures.zip",
            "application/zip",
            key="tray.zip",
            icon=":material/folder_zip:",
            on_click="ignore",
        )
        _pin_usual(evaluator)


# --- nothing is pinned yet --------------------------------------------------------------------------------


def _usual_figures(evaluator: Evaluator) -> None:
    """Draw the usual figures of the recipe on the left, each with its own Pin button, and one that pins all of them."""
    pair = choosing.chosen_pair(evaluator)
    left, right = st.columns([3, 1], vertical_alignment="center")
    said = f"Nothing is pinned yet. Below are a report's usual figures, merged by {recipes.describe(pair)}."
    left.markdown(frame.sentence(said))
    answers = []
    for question in _questions(evaluator, pair):
        st.subheader(question.analysis.title, anchor=False)
        found = best_so_far(question)
        if found is not None:
            analysis.charts(question.analysis, found, standard.FIGURES)
            answers.append(found)
    if right.button("Pin all of them", key="tray.standard", icon=":material/playlist_add:", disabled=not answers):
        _pin(evaluator, answers)


def _pin_usual(evaluator: Evaluator) -> None:
    """Draw the button that adds the usual figures of the recipe on the left, measured first where they are not."""
    label, icon = "Pin the usual figures of this recipe", ":material/playlist_add:"
    if choosing.mergeable(evaluator) and st.button(label, key="tray.standard", icon=icon):
        _pin(evaluator, [question.now() for question in _questions(evaluator, recipes.chosen_pair(evaluator))])


def _pin(evaluator: Evaluator, answers: list[Answer[Any]]) -> None:
    for snapshot in standard.standard_set(evaluator, answers, resources.suite_name(), tray.address()):
        tray.add(snapshot)
    st.rerun()


def _questions(evaluator: Evaluator, pair: recipes.Pair) -> list[Question]:
    """Return what the usual figures answer, as far as it can be asked of this merge."""
    asked = [(find_analysis(name), limit) for name, limit in standard.LIMITS.items()]
    return [
        Question(evaluator, pair, each, each.settled(pair.before.tasks, {}), limit)
        for each, limit in asked
        if not each.refusal(evaluator, pair.before)
    ]


# --- a pinned figure --------------------------------------------------------------------------------------


def _put_back(taken: Kept | None) -> None:
    """Draw a way to put back the figure that was taken out last."""
    if taken is not None:
        with st.container(horizontal=True, vertical_alignment="center", key="tray.taken"):
            st.markdown(f"Removed: {frame.plain(taken.snapshot.title)}", width="content")
            st.button("Put back", key="tray.put_back", icon=":material/undo:", on_click=tray.put_back)


def _buttons(key: str, *, first: bool, last: bool) -> None:
    """Draw what moves a figure, and what takes it out."""
    with st.container(horizontal=True):
        for icon, step, label, off in (
            ("arrow_upward", -1, "Move up", first),
            ("arrow_downward", 1, "Move down", last),
        ):
            st.button(
                label,
                icon=f":material/{icon}:",
                key=f"tray.{key}.{icon}",
                type="tertiary",
                on_click=_move,
                args=(key, step),
                disabled=off,
            )
        st.button(
            "Remove",
            icon=":material/delete:",
            key=f"tray.{key}.delete",
            type="tertiary",
            on_click=tray.take_out,
            args=(key,),
        )


def _item(pinned: tray.Tray, key: str, snapshot: Snapshot, camera: str, *, can_draw: bool) -> None:
    """Draw a figure as it is printed, between its words, its size and its files."""
    name = f"tray.{key}"
    _text(st.text_input, "Title", key, "title", snapshot.title, max_chars=200)
    sharp = formats.DPI / paper.INCH if camera == "png" else 1
    config = look.CONFIG | {"toImageButtonOptions": {"format": camera, "filename": snapshot.file_name, "scale": sharp}}
    shown = snapshot.printed if can_draw else go.Figure(snapshot.printed).update_layout(font_family=_FOUND_ANYWHERE)
    # Of a fixed width, it scrolls sideways on a phone.
    kind = "printed" if snapshot.width * paper.INCH > _PHONE else "figure"
    st.plotly_chart(shown, theme=None, width="content", config=config, key=f"{kind}.{name}", alt=snapshot.caption)
    st.caption(frame.plain(snapshot.n))
    _text(st.text_area, "Caption", key, "caption", snapshot.caption, height="content")
    _size(key, snapshot)
    if paper.rastered(snapshot.printed):
        st.caption("In SVG and PDF this figure is a bitmap; only its titles and scales are vector graphics.")
    if can_draw and (note := glyphs.about_images([snapshot.printed])):
        st.caption(frame.plain(note))
    with st.container(horizontal=True):
        for form in formats.FORMATS.values():
            st.download_button(
                form.suffix.upper(),
                partial(_written, pinned, key, form),
                f"{snapshot.file_name}.{form.suffix}",
                form.media,
                key=f"{name}.{form.suffix}",
                help=form.note,
                icon=":material/download:",
                on_click="ignore",
                disabled=form.drawn and not can_draw,
            )
    with st.expander("How this was computed"):
        for label, text in snapshot.origin.lines():
            st.markdown(f"**{label}**")
            st.code(text, language=None, wrap_lines=True)


def _written(pinned: tray.Tray, key: str, form: Format) -> bytes:
    """Return a figure's file as the figure is now: it may have been edited after its button was drawn."""
    return form.write(pinned.settled()[key])


def _text(draw: Callable[..., Any], label: str, key: str, name: str, value: str, **more: Any) -> None:
    """Draw the field for one of a figure's words."""
    widget = f"tray.{key}.{name}"
    st.session_state[widget] = value  # another session may have changed it
    draw(label, key=widget, on_change=_take, args=(key, name), **more)


def _size(key: str, snapshot: Snapshot) -> None:
    """Draw the choice of printed size."""
    left, middle, right = st.columns([3, 2, 2], vertical_alignment="bottom")
    widget = f"tray.{key}.venue"
    chosen = st.session_state.get(widget)
    if chosen not in _BY_NAME or _BY_NAME[chosen].inches != snapshot.width:  # several venues have one width
        known = (width.name for width in venues.WIDTHS if width.inches == snapshot.width)
        st.session_state[widget] = _OWN if chosen == _OWN else next(known, _OWN)
    name = left.selectbox("Printed width", [*_BY_NAME, _OWN], key=widget, on_change=_take_venue, args=(key,))
    if name == _OWN:
        _inches(middle, "Width (inches)", key, "width", snapshot.width)
    else:
        middle.caption(f"{snapshot.width:g} in. {_BY_NAME[name].source}")
    _inches(right, "Height (inches)", key, "height", snapshot.height)


def _inches(place: DeltaGenerator, label: str, key: str, name: str, value: float) -> None:
    """Draw the field for a length in print."""
    widget = f"tray.{key}.{name}"
    st.session_state[widget] = value
    limited.number_input(
        place, label, shelf.SHORTEST, shelf.LONGEST, step=0.1, key=widget, then=_take, args=(key, name)
    )


def _take(key: str, name: str) -> None:
    """Callback of a figure's fields: note the new value. It runs before anything is drawn, so that all of it agrees."""
    value = st.session_state[f"tray.{key}.{name}"]
    edit = partial(Snapshot.with_width, width=value) if name == "width" else partial(replace, **{name: value})
    tray.pinned().edit(key, edit)


def _take_venue(key: str) -> None:
    width = _BY_NAME.get(st.session_state[f"tray.{key}.venue"])
    if width is not None:
        tray.pinned().edit(key, partial(Snapshot.with_width, width=width.inches))


def _move(key: str, step: int) -> None:
    tray.pinned().move(key, step)
