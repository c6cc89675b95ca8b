"""The table of recipes: filtered, grouped and sorted; what is ticked in it is named, coloured, loaded and drawn."""

from __future__ import annotations

from functools import partial
from typing import Any
from urllib.parse import urlencode

import pandas as pd
import streamlit as st

from ri_analysis.export import formats
from ri_analysis.export.comparing import label, latex, markdown
from ri_analysis.figures import look, words
from ri_analysis.figures.look import Role
from ri_analysis.figures.recipes import set_roles
from ri_analysis.files import digest
from ri_analysis.intervals import clear
from ri_analysis.merging import METHODS, MergeRecipe
from ri_analysis.suite import ORIGINAL
from ri_analysis.ui import frame, kept, recipes, resources, state
from ri_analysis.views.comparing import board
from ri_analysis.views.comparing.rows import Rows

BASELINE, SHOWN = state.entry("compare.baseline"), state.entry("compare.shown")
for _name in ("group", "hidden", "intervals", "methods", "search", "sets", "sort", "tasks"):
    state.entry(f"compare.{_name}")
LOADED = "ri.compare.loaded"  # what is to be said of a recipe that was loaded
_ORDER = "ri.compare.order"  # the texts of the table's rows as it was drawn last
_GROUPS = {"none": "no groups", "method": "method", "experts": "expert set"}
_SORTS = {
    "given": "method and settings",
    "accuracy": "mean accuracy",
    "worst_accuracy": "worst task",
    "normalised_accuracy": "normalised accuracy",
    "interference": "interference",
    "difference": "difference",
    "name": "name",
}
_ROW, _HEAD, _TALLEST = 35, 40, 640  # pixels
_NAME = 250  # pixels of the column of names
_FEW = 12  # recipes that are named at once
_AGAIN = "ri.compare.again"  # set where what stands outside the table has to be drawn again, too


def token(text: str) -> str:
    """Return the short name of a recipe in the address."""
    return digest(text)[:10]


def shown(rows: Rows) -> list[str]:
    """Return the recipes that are ticked; before the reader has ticked any, the sidebar's before and after RI."""
    wanted = state.choice().get(SHOWN)
    if wanted is not None:
        names = wanted.split(",")
        return [text for text in rows.recipes if token(text) in names]
    if recipes.unmergeable(recipes.chosen_method(), recipes.chosen_tasks(rows.evaluator)):
        return []
    pair = [*recipes.chosen_pair(rows.evaluator)]
    return [text for text, recipe in rows.recipes.items() if recipe in pair]


def baseline(rows: Rows) -> str | None:
    """Return the recipe from which differences are: the chosen one, else the usual one; None before any is measured."""
    known = _baselines(rows)
    return known.get(state.choice().get(BASELINE, ""), next(iter(known.values()), None))


def _baselines(rows: Rows) -> dict[str, str]:
    """Return the measured recipes by their short names, first the one that pages begin with."""
    known = [text for text in rows.recipes if rows.measured(text) is not None]
    usual = rows.evaluator.recipe(recipes.DEFAULT_METHOD)
    return {token(text): text for text in sorted(known, key=lambda text: rows.recipes[text] != usual)}


def name_of(rows: Rows, text: str) -> str:
    """Return what the reader calls a recipe, else what it is."""
    return rows.board.names.get(text) or label(rows.recipes[text], rows.evaluator.suite)


def section(rows: Rows) -> None:
    """Draw the filters, the table, and what can be done with it."""
    if st.session_state.pop(_AGAIN, False):
        st.rerun()
    start = _choose_baseline(rows)
    table = _filtered(rows, start)
    if table.empty:
        st.caption("No recipes match the filters." if rows.recipes else "No recipes yet: add some above.")
        return
    _draw(rows, table)
    _below(rows, table, start)
    _ticked(rows)


def _choose_baseline(rows: Rows) -> str | None:
    """Draw the choice of the baseline; return it."""
    known = _baselines(rows)
    if not known:
        return None
    left, middle, right = st.columns([2, 1, 1])
    picked = kept.one_of(
        left.selectbox,
        "Baseline for differences",
        BASELINE,
        list(known),
        next(iter(known)),
        format_func=lambda one: name_of(rows, known[one]),
    )
    kept.titled(middle.selectbox, "Group by", "compare.group", _GROUPS)
    kept.titled(right.selectbox, "Sort by", "compare.sort", _SORTS)
    return known[picked]


def _filtered(rows: Rows, start: str | None) -> pd.DataFrame:
    """Draw the filters; return the rows that fit, in their order."""
    methods = list(dict.fromkeys(recipe.method for recipe in rows.recipes.values()))
    sets = list(dict.fromkeys(recipe.experts for recipe in rows.recipes.values()))
    left, middle, right = st.columns([1, 1, 1])
    wanted = kept.some_of(
        left.multiselect, "Methods", "compare.methods", methods, format_func=lambda one: METHODS[one].title
    )
    chosen = kept.some_of(middle.multiselect, "Expert sets", "compare.sets", sets)
    search = _search(right)
    with st.container(horizontal=True):
        hidden = _switch("Show hidden", "compare.hidden") if rows.board.hidden else False
        _switch("Intervals", "compare.intervals")
        _switch("Each task", "compare.tasks")
    texts = [
        text
        for text, recipe in rows.recipes.items()
        if (not wanted or recipe.method in wanted)
        and (not chosen or recipe.experts in chosen)
        and (hidden or text not in rows.board.hidden)
        and all(part in f"{name_of(rows, text)} {text}".lower() for part in search.lower().split())
    ]
    table = rows.table(texts, None if start is None else rows.recipes[start])
    return _sorted(rows, table)


def _search(place: Any) -> str:
    name = "compare.search"
    value = state.choice().get(name, "")
    key = state.seed_widget(name, value)
    place.text_input("Search", key=key, on_change=state.take_widget, args=(name, ""), placeholder="name or setting")
    return value


def _switch(title: str, name: str) -> bool:
    value = state.choice().get(name) == "True"
    st.toggle(title, key=state.seed_widget(name, value), on_change=state.take_widget, args=(name, False))
    return value


def _sorted(rows: Rows, table: pd.DataFrame) -> pd.DataFrame:
    """Return the table in the chosen order: the best first, within groups where there are any."""
    sort, group = (state.choice().get(f"compare.{name}", "") for name in ("sort", "group"))
    if sort in _SORTS and sort != "given":
        rising = sort in ("interference", "name")
        table = table.sort_values(sort, ascending=rising, na_position="last", kind="stable")
    if group in ("method", "experts"):
        places = list(METHODS) if group == "method" else list(rows.evaluator.suite.expert_sets)
        table = table.sort_values(group, key=lambda column: column.map(places.index), kind="stable")
    return table.reset_index(drop=True)


def _draw(rows: Rows, table: pd.DataFrame) -> None:
    """Draw the table; a press on a heading sorts it in the browser."""
    order, ticked = list(table["recipe"]), set(shown(rows))
    st.session_state[_ORDER] = order
    view, columns = _view(rows, table)
    key = f"compare.table.{digest(*order)[:12]}"
    st.dataframe(
        view,
        hide_index=True,
        column_config=columns,
        key=key,
        height=min(_TALLEST, _HEAD + _ROW * len(view)),
        row_height=_ROW,
        placeholder="",
        on_select=partial(_take, key),
        selection_mode="multi-row",
        selection_default={
            "selection": {"rows": [place for place, text in enumerate(order) if text in ticked], "columns": []}
        },
        alt="Recipes with their means and differences; the CSV below has every digit",
    )


def _view(rows: Rows, table: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return what is shown of the table, numbers as numbers so that they sort, and how each column is written."""
    intervals, tasks = (state.choice().get(f"compare.{name}") == "True" for name in ("intervals", "tasks"))
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    view = pd.DataFrame({"recipe": table["name"]})
    view["expert set"] = table["experts"]
    columns: dict[str, Any] = {"recipe": text(width=_NAME, pinned=True)}
    columns["expert set"] = text(width="small")

    def put(column: str, title: str, factor: float, form: str, help: str) -> None:
        view[title] = factor * table[column]
        columns[title] = number(format=form, help=help)
        if intervals and f"{column}_low" in table:
            view[f"{title}: interval"] = [
                "" if low != low else f"{_form(factor * low, form)} to {_form(factor * high, form)}"
                for low, high in zip(table[f"{column}_low"], table[f"{column}_high"], strict=True)
            ]

    put("accuracy", "accuracy %", 100, "%.1f", "Mean over the recipe's tasks")
    put("worst_accuracy", "worst %", 100, "%.1f", "Accuracy on the recipe's worst task")
    view["worst task"] = table["worst_task"]
    put("normalised_accuracy", "normalised %", 100, "%.1f", "Mean over tasks of accuracy / the expert's accuracy")
    put("interference", "interference ξ", 1, "%.3f", "Mean over tasks, in nats; lower is better")
    if table["crosstalk"].notna().any():
        put("crosstalk", "crosstalk", 1, "%.3f", "Mean over pairs of experts, in nats; depends only on the expert set")
    if table["difference"].notna().any():
        view["difference"] = 100 * table["difference"]
        columns["difference"] = number(format="%+.1f", help="Mean accuracy minus the baseline's, in points")
        view["95% interval"] = [
            "" if low != low else f"{words.points_range(low, high)}{'' if clear(low, high) else ' (no clear change)'}"
            for low, high in zip(table["difference_low"], table["difference_high"], strict=True)
        ]
        columns["95% interval"] = text(help="Of the difference, paired image by image")
    if tasks:
        _put_tasks(rows, table, view, columns)
    view["images"] = table["n"]
    columns["images"] = number(format="localized", width="small")
    view["numbers"] = table["state"]
    view["open"] = [_link(rows, rows.recipes[text]) for text in table["recipe"]]
    columns["open"] = st.column_config.LinkColumn(
        display_text="Merge ↗", width="small", help="The recipe on the Merge page, in a new tab"
    )
    return view, columns


def _form(value: float, form: str) -> str:
    return (form % value).replace("-", "−")


def _put_tasks(rows: Rows, table: pd.DataFrame, view: pd.DataFrame, columns: dict[str, Any]) -> None:
    """Add the accuracy on each task."""
    found = [rows.measured(text) for text in table["recipe"]]
    own = [
        {} if one is None else dict(zip(one.by_task["task"], 100 * one.by_task["accuracy"], strict=True))
        for one in found
    ]
    for task in rows.evaluator.suite.tasks:
        view[f"{task} %"] = [values.get(task, float("nan")) for values in own]
        columns[f"{task} %"] = st.column_config.NumberColumn(format="%.1f", width="small")


def _take(key: str) -> None:
    """Callback of the table: note which rows are ticked; those that a filter hides stay ticked."""
    order: list[str] = st.session_state[_ORDER]
    ticked = [token(order[place]) for place in st.session_state[key]["selection"]["rows"] if place < len(order)]
    drawn = {token(text) for text in order}
    before = [name for name in state.choice().get(SHOWN, "").split(",") if name and name not in drawn]
    state.put(SHOWN, ",".join([*before, *ticked]))
    st.session_state[_AGAIN] = True


def _below(rows: Rows, table: pd.DataFrame, start: str | None) -> None:
    """Draw what the table is based on, and its files."""
    said = "" if start is None else name_of(rows, start)
    counts = table["state"].value_counts()
    parts = [f"{counts[name]:,} {name}" for name in counts.index]
    with st.container(horizontal=True, gap="xsmall", key="below.compare.table", vertical_alignment="center"):
        st.caption(
            f"{words.count(len(table), 'recipe')}: {frame.plain('; '.join(parts))}. Tick rows to draw "
            "them below; click a heading to sort. Differences are paired image by image, over the tasks that both "
            "merge."
        )
        with st.container(horizontal=True, gap="xsmall", width="content"):
            for name, suffix, media, write in (
                ("LaTeX", "tex", "text/x-tex", partial(latex, table, said)),
                ("Markdown", "md", "text/markdown", partial(markdown, table, said)),
                ("CSV", "csv", "text/csv", partial(formats.csv, table)),
            ):
                st.download_button(
                    name,
                    write,
                    f"recipes.{suffix}",
                    media,
                    key=f"compare.{suffix}",
                    type="tertiary",
                    icon=":material/download:",
                    on_click="ignore",
                    help="The rows above in their order, best in bold, differences whose interval excludes 0 starred"
                    if suffix != "csv"
                    else "The rows above with every column and digit",
                )


# --- what is done with ticked rows ------------------------------------------------------------------------


def _ticked(rows: Rows) -> None:
    """Draw what can be done with the ticked recipes."""
    ticked = shown(rows)
    if not ticked:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        first = ticked[0]
        st.button(
            "Load on all pages",
            key="compare.load",
            icon=":material/open_in_new:",
            help=f"Make {name_of(rows, first)} the recipe in the sidebar, for every page",
            on_click=load,
            args=(rows, first),
        )
        with st.popover("Names and colours", icon=":material/palette:"):
            for text in ticked[:_FEW]:
                _name_and_colour(rows, text)
            if len(ticked) > _FEW:
                st.caption(f"The first {_FEW} of the ticked recipes.")
        st.button("Hide", key="compare.hide", icon=":material/visibility_off:", on_click=_hide, args=(ticked,))
        st.button("Untick all", key="compare.untick", on_click=_untick)


def _name_and_colour(rows: Rows, text: str) -> None:
    left, right = st.columns([5, 1], vertical_alignment="bottom")
    name, colour = f"compare.name.{token(text)}", f"compare.colour.{token(text)}"
    st.session_state[name], st.session_state[colour] = name_of(rows, text), looks(rows, [text])[text].colour
    usual = label(rows.recipes[text], rows.evaluator.suite)
    left.text_input(usual, key=name, max_chars=80, on_change=_rename, args=(text, name, usual))
    right.color_picker("Colour", key=colour, on_change=_recolour, args=(text, colour))


def _rename(text: str, key: str, usual: str) -> None:
    given = " ".join(str(st.session_state[key]).split())

    def edit(kept: board.Board) -> None:
        kept.names.pop(text, None)
        if given and given != usual:
            kept.names[text] = given

    board.change(edit)
    st.session_state[_AGAIN] = True


def _recolour(text: str, key: str) -> None:
    colour = str(st.session_state[key])
    board.change(lambda kept: kept.colours.update({text: colour}))
    st.session_state[_AGAIN] = True


def _hide(texts: list[str]) -> None:
    """Callback: take recipes out of the table; measured ones can be shown again."""

    def edit(kept: board.Board) -> None:
        kept.hidden += [text for text in texts if text not in kept.hidden]
        kept.added = [text for text in kept.added if text not in texts]

    board.change(edit)
    _untick()


def _untick() -> None:
    state.put(SHOWN, "")
    st.session_state[_AGAIN] = True


def looks(rows: Rows, texts: list[str]) -> dict[str, Role]:
    """Return how recipes look in figures: the reader's colour, else that of their expert set where it is one merge of
    several sets, else one by their place among the ticked ones; the marker is the expert set's."""
    suite = rows.evaluator.suite
    sets = set_roles(suite.expert_sets, suite.default_resolved)
    ticked = shown(rows)
    usual = look.task_colours([*ticked, *(text for text in texts if text not in ticked)], dark=frame.dark())
    one_merge = len({rows.recipes[text].with_experts(ORIGINAL) for text in ticked}) <= 1
    found = {}
    for text in texts:
        role = sets[rows.recipes[text].experts]
        colour = rows.board.colours.get(text) or (role.colour if one_merge else usual[text])
        found[text] = Role(name_of(rows, text), colour, role.symbol)
    return found


def load(rows: Rows, text: str) -> None:
    """Callback: make a recipe the one that every page shows."""
    texts, left_out = as_choice(rows, rows.recipes[text])
    state.clear(recipes.COEFFICIENT)
    for name in (recipes.OFF, recipes.MUTED, recipes.SOLO):
        state.put(name, None)
    for name, value in texts.items():
        state.put(name, value)
    said = f"Loaded: {name_of(rows, text)}."
    st.session_state[LOADED] = f"{said} {left_out}".strip()
    st.session_state[_AGAIN] = True


def as_choice(rows: Rows, recipe: MergeRecipe) -> tuple[dict[str, str | None], str]:
    """Return a recipe as entries of the reader's choice, and what they can't say."""
    suite, method = rows.evaluator.suite, METHODS[recipe.method]
    texts: dict[str, str | None] = {recipes.METHOD: recipe.method}
    for item in method.hyperparameters:
        value = recipe.settings[item.name]
        texts[recipes.entry(method.name, item)] = None if value == item.default else _exact(value)
    if recipe.experts != ORIGINAL:
        texts[recipes.RESOLVED] = recipe.experts
    off = [task for task in suite.tasks if task not in recipe.tasks]
    texts[recipes.OFF] = ",".join(off) or None
    texts |= {f"{recipes.COEFFICIENT}{task}": _exact(value) for task, value in recipe.coefficients}
    left_out = [name for name, there in (("LiNeS", recipe.lines), ("the seed", recipe.seed)) if there]
    return texts, f"Left out (not settable on other pages): {' and '.join(left_out)}." if left_out else ""


def _exact(value: object) -> str:
    return repr(value) if isinstance(value, float) else str(value)


def _link(rows: Rows, recipe: MergeRecipe) -> str:
    """Return the address of the Merge page with a recipe, from this page's."""
    texts = as_choice(rows, recipe)[0] | {resources.CHOSEN_SUITE: state.choice().get(resources.CHOSEN_SUITE)}
    return f"merge?{urlencode({name: value for name, value in texts.items() if value is not None})}"
