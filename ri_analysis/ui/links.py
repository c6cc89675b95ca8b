"""What a link says that can't be used: looked for in one place, said in one place; the rest of the link works."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from urllib.parse import parse_qsl, urlencode

import streamlit as st

from ri_analysis.analyses import ANALYSES
from ri_analysis.engine import Evaluator
from ri_analysis.errors import InputError
from ri_analysis.merging import METHODS
from ri_analysis.resolving import HYPERPARAMETERS
from ri_analysis.studies import STUDIES
from ri_analysis.suite import EMBEDDED, suite_path
from ri_analysis.ui import frame, kept, recipes, resources, state

_SLOTS = ("A", "B", "C")
_LISTED, _LONGEST = 20, 300  # parts of a link that a notice names, and characters of each


def check_suite() -> None:
    """Leave out a suite that is nowhere: the one that the app was started on is shown."""
    wanted = state.choice().get(resources.CHOSEN_SUITE)
    if wanted is None or not state.by_link(resources.CHOSEN_SUITE):
        return
    try:
        suite_path(wanted)
    except InputError as error:
        why = kept.unknown(wanted, EMBEDDED) if get_close_matches(wanted, EMBEDDED) else f"{error}."
        state.ignore(resources.CHOSEN_SUITE, f"{why} The suite shown is {resources.short(resources.first_suite())}")


def check(evaluator: Evaluator) -> None:
    """Leave out what the open suite, its methods and the pages don't know."""
    known = set(_known())
    for name, text in list(state.choice().items()):
        if name.startswith(recipes.PIN) and name.removeprefix(recipes.PIN) in _SLOTS:
            _check_pin(name, text, evaluator)
            continue
        found = _in_recipe(name, text, evaluator)
        if found is not None:
            state.ignore(name, *found)
        elif not name.startswith(recipes.COEFFICIENT) and name not in known:
            state.ignore(name, f"setting: {kept.unknown(name, sorted(known))}")


def notice() -> None:
    """Say what was left out, and why."""
    if not state.ignored():
        return
    parts = [(_short(entry), _short(why)) for entry, why in state.ignored().items()]
    lines = [f"- **{frame.plain(entry)}**: {frame.plain(why)}" for entry, why in parts[:_LISTED]]
    lines += [f"- and {len(parts) - _LISTED} more"] if len(parts) > _LISTED else []
    count = "One part" if len(parts) == 1 else f"{len(parts)} parts"
    with st.container(key="links.notice"):
        st.warning(
            f"{count} of the link could not be used and {'was' if len(parts) == 1 else 'were'} ignored:\n\n"
            + "\n".join(lines),
            icon=":material/link_off:",
        )
        st.button("Close", key="links.close", type="tertiary", on_click=state.ignored().clear)


def _short(text: str) -> str:
    """Return the beginning and the end of a text that quotes something endless."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} … {text[-_LONGEST // 2 :]}"


def _known() -> Iterator[str]:
    """Yield the names that entries can have, but for those that hold a task's name."""
    yield from (recipes.METHOD, recipes.RESOLVED, recipes.OFF, recipes.MUTED, recipes.SOLO, resources.CHOSEN_SUITE)
    yield from (recipes.PIN + slot for slot in _SLOTS)
    for method in METHODS.values():
        yield from (recipes.entry(method.name, item) for item in method.hyperparameters)
    for analysis in ANALYSES.values():
        yield from (f"{analysis.page}.{option.address or option.name}" for option in analysis.options)
    for study in STUDIES.values():
        yield from (recipes.entry(f"studies.{study.name}", item) for item in study.settings)
    yield from state.entries()
    yield from (recipes.entry("resolve", item) for item in HYPERPARAMETERS)


def _in_recipe(name: str, text: str, evaluator: Evaluator) -> tuple[str, str | None] | None:
    """Return why an entry of a recipe can't be used, and what is in its place; None where it can."""
    suite, owner = evaluator.suite, name.partition(".")[0]
    if name == recipes.METHOD and text not in METHODS:
        return f"{kept.unknown(text, list(METHODS))} {METHODS[recipes.DEFAULT_METHOD].title} is shown", None
    if name == recipes.RESOLVED:
        sets = [item.name for item in suite.resolved]
        return None if text in sets else (f"expert set: {kept.unknown(text, sets)}", None)
    if name in (recipes.OFF, recipes.MUTED, recipes.SOLO):
        return _tasks(text.split(","), suite.tasks)
    if name.startswith(recipes.COEFFICIENT):
        return _coefficient(name.removeprefix(recipes.COEFFICIENT), text, suite.tasks)
    if owner in METHODS:
        declared = {recipes.entry(owner, item): item for item in METHODS[owner].hyperparameters}
        if name not in declared:
            return kept.unknown(name, list(declared)), None
        try:
            declared[name].validate(text, owner)
        except InputError:
            return recipes.not_allowed(declared[name]), None
    return None


def _tasks(named: Iterable[str], tasks: tuple[str, ...]) -> tuple[str, str | None] | None:
    named = [task for task in named if task]
    strangers = [task for task in named if task not in tasks]
    if not strangers:
        return None
    rest = ",".join(task for task in named if task in tasks) or None
    return f"task: {kept.unknown(strangers[0], tasks)}", rest


def _coefficient(task: str, text: str, tasks: tuple[str, ...]) -> tuple[str, str | None] | None:
    if task not in tasks:
        return f"task: {kept.unknown(task, tasks)}", None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if -recipes.MOST <= value <= recipes.MOST:
        return None
    return f"a coefficient is a number from −{recipes.MOST:g} to {recipes.MOST:g}; 1 is used", None


def _check_pin(name: str, text: str, evaluator: Evaluator) -> None:
    """Leave out of a pinned recipe what can't be used."""
    texts = dict(parse_qsl(text))
    found = {entry: _in_recipe(entry, value, evaluator) for entry, value in texts.items()}
    wrong = {entry: why for entry, why in found.items() if why is not None}
    if wrong:
        rest = {entry: text for entry, text in texts.items() if entry not in wrong}
        rest |= {entry: text for entry, (_, text) in wrong.items() if text is not None}
        whys = "; ".join(f"{entry}={texts[entry]}: {why}" for entry, (why, _) in wrong.items())
        state.ignore(name, whys, urlencode(rest))
