"""What the Merge page is made of."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import streamlit as st

from ri_analysis import figures, plugins
from ri_analysis.allowed import told
from ri_analysis.analyses.analysis import FIRST_LOOK
from ri_analysis.engine import Evaluator, default_workspace
from ri_analysis.engine.comparison import Comparison, pinned_table
from ri_analysis.errors import InputError
from ri_analysis.export.facts import command, origin_of_pinned
from ri_analysis.figures import look, words
from ri_analysis.merging import METHODS, merge_to_file
from ri_analysis.progress import Parts
from ri_analysis.ui import choosing, frame, headline, measuring, recipes, resources, sections, state
from ri_analysis.ui.recipes import Pair
from ri_analysis.views.live import acts, component, payload
from ri_analysis.views.live.line import Have
from ri_analysis.views.live.preview import preview
from ri_analysis.views.live.session import LiveSession, live_session

_NOTHING: Have = ("", 0, 0, 0)


def opened(evaluator: Evaluator) -> None:
    """Have something measured for the live values to start from: all images where that is known, else a first look."""
    session, slot = live_session(), st.empty()  # in every run, so that the sliders keep their place in the page
    try:
        pair = recipes.chosen_pair(evaluator)
    except InputError:
        return  # the section says it
    if session.measured is None:
        known = measuring.known(evaluator, pair)
        session.take(pair, measuring.compare(evaluator, pair, limit=None if known else FIRST_LOOK, slot=slot))


@st.fragment
def section(evaluator: Evaluator) -> None:
    """Draw the sliders and bars. While a slider moves, only this runs."""
    session, message = live_session(), component.message()
    fresh = int(message.get("seq", 0)) > session.seq
    kind = str(message.get("kind"))
    if fresh:
        _obey(session, message, evaluator)
    held_entry = str(message.get("held", ""))
    # Also where the message is not new: a run of the whole page may meet a slider that is being held.
    moving = kind in ("move", "poll") and bool(message.get("holding"))
    if not moving:
        session.history.note()
    data = _shared(evaluator, session)
    try:
        pair = recipes.chosen_pair(evaluator)
    except InputError:
        choosing.offer(evaluator)
        if fresh:
            st.rerun()  # without the rest of the page
        return
    looks = preview(evaluator)
    # Begun when the browser has painted and asks: preparing takes the cores that painting needs.
    ready = bool(message) and looks.ready(pair)
    view = session.view(evaluator, looks.probe, pair, moving=moving, held=held_entry)
    data |= payload.state_of(view, ready)
    data |= session.path(
        evaluator, pair, _known_path(message), {each["entry"]: each["value"] for each in data["controls"]}
    )
    data |= {"rows": payload.rows(view, session.measured), "poll": view.more or not ready or (moving and not fresh)}
    if not moving:
        data |= {"query": state.query(partial(recipes.in_address, "merge")), "copies": copies(pair)}
    component.show(data)
    if fresh and (kind == "settle" or (kind == "act" and "pin:" in str(message.get("act")))):
        st.rerun()  # the rest of the page follows


def _known_path(message: dict[str, Any]) -> Have:
    have: list[Any] = message.get("have") or []
    if len(have) != len(_NOTHING):  # also of a tab that was opened on another version
        return _NOTHING
    name, count, checked, reference = have
    return str(name), int(count), int(checked), int(reference)


def _obey(session: LiveSession, message: dict[str, Any], evaluator: Evaluator) -> None:
    session.seq = int(message["seq"])
    method = recipes.chosen_method()
    session.near = str(message.get("near") or "")
    linked = recipes.possible_tasks(evaluator) if session.near.startswith(recipes.COEFFICIENT) else ()
    session.linked = tuple(recipes.COEFFICIENT + task for task in linked) if message.get("linked") else ()
    values = message.get("values")
    if isinstance(values, dict) and message.get("kind") in ("move", "release"):
        acts.take_values(values)
    elif message.get("kind") == "act":
        acts.act(str(message.get("act")), session.history, evaluator)
        if recipes.chosen_method() != method:
            st.rerun()  # the sidebar shows another method now


def _shared(evaluator: Evaluator, session: LiveSession) -> dict[str, Any]:
    """Return what is drawn whatever is known of the recipe."""
    return {
        "ack": session.seq,
        "controls": payload.controls(evaluator),
        "tasks": payload.tasks(evaluator),
        "weighted": recipes.chosen_method().weighted,
        "pad": payload.pad(evaluator),
        "method": recipes.chosen_method().title,
        "models": payload.models(evaluator),
        "pins": payload.pins(),
        "undoable": payload.undoable(session.history),
        "zero": look.ZERO_SHOT.colour,
        "expert": look.EXPERT.colour,
        "poll": False,
    }


# --- once the reader lets go --------------------------------------------------------------------------------------


def figures_section(evaluator: Evaluator) -> None:
    """Draw the exact values as figures with their tables, as soon as they are there."""
    comparison = _exact_now(evaluator)
    if comparison is None:
        st.caption("Shown once all test images are measured.")
        return
    pair = recipes.chosen_pair(evaluator)
    st.markdown(frame.sentence(f"Merged by {recipes.describe(pair)}."))
    headline.numbers(comparison)
    sections.by_task(pair, comparison)
    sections.measured_before(evaluator, pair)


def pins_section(evaluator: Evaluator) -> None:
    """Compare the pinned recipes with the current one, on the same images."""
    kept = {slot: texts for slot in acts.SLOTS if (texts := acts.pinned(slot)) is not None}
    if not kept:
        st.caption("Pin up to three recipes, A, B and C, to compare them with the current recipe.")
        return
    shown = {}
    for slot, texts in kept.items():
        try:
            pair = recipes.chosen_pair(evaluator, texts)
        except InputError as error:
            st.warning(frame.plain(f"{slot}: {error}"))
            continue
        st.markdown(frame.sentence(f"**{slot}** · {recipes.describe(pair)}"))
        with measuring.Meter(f"Measuring {slot}") as meter:
            parts = Parts(meter, len(pair.all))
            found = [
                measuring.measure(evaluator, recipe, meter=parts.part(place)) for place, recipe in enumerate(pair.all)
            ]
        shown[slot] = Comparison.of(found)
    now = _exact_now(evaluator)
    if shown:
        _compare_pins(evaluator, shown, now)


def _compare_pins(evaluator: Evaluator, shown: dict[str, Comparison], now: Comparison | None) -> None:
    table = pinned_table(shown, now)
    chart = figures.pinned(table, dark=frame.dark())
    text = (
        "Mean accuracy over the tasks, and the difference of each pinned recipe from the current one, paired image by "
        "image over the tasks both merge, with 95% bootstrap intervals: an interval that excludes 0 is unlikely to be "
        "sampling noise."
    )
    n = words.count(next(iter(shown.values())).n, "test image")
    origin = origin_of_pinned(evaluator, [*shown.values()], now, resources.suite_name())
    frame.figure(chart, text, table, f"Based on all {n}.", "pinned", origin)


def _exact_now(evaluator: Evaluator) -> Comparison | None:
    try:
        return live_session().exact_for(recipes.chosen_pair(evaluator))
    except InputError:
        return None


def take_away(evaluator: Evaluator) -> None:
    """Offer the merged checkpoints, each with its recipe in the file."""
    try:
        pair = recipes.chosen_pair(evaluator)
    except InputError:
        return
    session, names = live_session(), ("before RI", "after RI")
    for place, (column, name) in enumerate(zip(st.columns(2), names[: len(pair.all)], strict=False)):
        column.download_button(
            f"Merged model {name}",
            partial(_checkpoint, evaluator, session, place),
            f"merged-{name.replace(' ', '-').lower()}.safetensors",
            "application/octet-stream",
            key=f"download.{place}",
            icon=":material/download:",
            on_click="ignore",
            width="stretch",
            help="safetensors with open_clip's visual. keys and the recipe in the metadata, as written by `ri-analysis "
            "merge`.",
        )


def _checkpoint(evaluator: Evaluator, session: LiveSession, place: int) -> bytes:
    """Return the file of the merge that is current when the reader asks for it."""
    assert session.pair is not None  # the section was drawn before its button
    recipe = session.pair.all[place]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "merged.safetensors"
        merge_to_file(
            evaluator.suite.task_vectors(recipe.experts, recipe.tasks),
            recipe,
            path,
            ingredients=evaluator.ingredients(recipe),
            statistics=evaluator.statistics(recipe),
            metadata={"suite": evaluator.suite.name},
        )
        return path.read_bytes()


def notes(evaluator: Evaluator) -> None:
    """Say what else there is to know about the current pair."""
    try:
        pair = recipes.chosen_pair(evaluator)
    except InputError:
        return
    sections.no_resolved_yet(pair)
    sections.subset_note(evaluator, pair)


def copies(pair: Pair) -> list[dict[str, str]]:
    """Return what can be copied besides the link: shell commands and Python that give the same numbers."""
    verb = f"measure --workspace {shlex.quote(told(resources.workspace()))}" if _own_workspace() else "measure"
    commands = "\n".join(command(recipe, resources.suite_name(), verb) for recipe in pair.all)
    return [{"label": "Copy command", "text": commands}, {"label": "Copy Python", "text": snippet(pair)}]


def snippet(pair: Pair) -> str:
    """Return three lines of Python that measure the pair, and in a notebook show its tables and figures."""
    workspace = f", workspace={told(resources.workspace())!r}" if _own_workspace() else ""
    files = plugins.files(METHODS[pair.before.method].source)
    opened = f"{told(resources.suite_name())!r}{workspace}{f', plugins={files!r}' if files else ''}"
    recipe, after = pair.before.call(), pair.after
    asked = (
        f"measure({recipe})" if after is None else f"interference({recipe}, only='accuracy', after={after.experts!r})"
    )
    return f"import ri_analysis as ri\nsuite = ri.open_suite({opened})\nsuite.{asked}"


def _own_workspace() -> bool:
    return resources.workspace() != default_workspace()
