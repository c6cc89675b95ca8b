"""What every page stands in: navigation's page, the sidebar, the URL, the error boundary."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import pandas as pd
import streamlit as st
from streamlit.env_util import is_repl
from streamlit.navigation.page import StreamlitPage
from streamlit.runtime.pages_manager import PagesManager

from ri_analysis import figures, plugins
from ri_analysis.allowed import allow_only, is_hidden
from ri_analysis.analyses import find_analysis
from ri_analysis.analyses.accuracy import ANALYSIS as ACCURACY
from ri_analysis.analyses.accuracy import answer_of
from ri_analysis.arenas import bound_arenas
from ri_analysis.errors import ChangedFile, InputError
from ri_analysis.figures import words
from ri_analysis.suite import EMBEDDED
from ri_analysis.ui import (
    ahead,
    controls,
    frame,
    guide,
    headings,
    headline,
    keys,
    links,
    measuring,
    opening,
    recipes,
    resources,
    state,
    stopped,
    terms,
    tray,
)
from ri_analysis.ui.asking import Question

# A file of our own: Streamlit would fetch a named icon from another server.
ICON = str(Path(__file__).with_name("icon.svg"))

_MERGE = "merge"  # the page that draws λ and its like itself, live

# Streamlit's own margins leave a fifth of a laptop's screen empty.
_STYLE = """
<style>
[data-testid="stMainBlockContainer"] { padding: 2.5rem 3rem 4rem; max-width: 1500px; }
[data-testid="stSidebarHeader"] { height: 2.5rem; margin-bottom: 0; }
[data-testid="stMetricLabel"] p { white-space: normal; }
[class*="st-key-below"] { flex-wrap: nowrap; }
.katex-display { overflow: auto hidden; }
.js-plotly-plot svg a { pointer-events: none; } /* a name that Plotly takes for a link leads nowhere */
[data-testid="stForm"] [data-testid="InputInstructions"] { display: none; }
[data-testid="stMultiSelect"] [data-tag], [data-testid^="stBaseButton-primary"]:not(:disabled) {
  color: light-dark(#FFFFFF, #12171E);
}
@media (max-width: 640px) {
  [data-testid="stMainBlockContainer"] { padding: 3.5rem 1rem 3rem; }
  [data-testid="stMain"] h1 { font-size: 1.5rem; }
  [class*="st-key-below"] { flex-wrap: wrap; }
  [data-testid="stButtonGroup"] button { max-width: 100%; }
  [data-testid="stButtonGroup"] p { white-space: normal; }
  [data-testid="stTable"] td { min-width: 8rem; }
  :is([class*="st-key-panels"], [class*="st-key-printed"]) {
    display: block; overflow-x: auto;
    [data-testid="stFullScreenFrame"] { min-width: 760px; }
    &::before { position: sticky; left: 0; font-size: 0.8rem; opacity: 0.7; }
  }
  [class*="st-key-panels-three"] [data-testid="stFullScreenFrame"] { min-width: 870px; }
  [class*="st-key-panels"]::before { content: "Several panels: scroll sideways →"; }
  [class*="st-key-printed"]::before { content: "In its printed size: scroll sideways →"; }
}
</style>
"""


def run(pages: Sequence[StreamlitPage]) -> None:
    """Draw the sidebar and the page that is asked for; bad input shows as one message."""
    allow_only(resources.readable_folders(), hidden=bool(os.environ.get(resources.SHARED)))
    left_out = resources.load_plugins(os.environ.get(plugins.VARIABLE, ""))
    page = st.navigation(list(pages), position="hidden")
    ahead.load()
    state.read_url()
    links.check_suite()
    st.html(_STYLE + headings.STYLE + headline.STYLE + terms.STYLE)
    headings.begin()
    terms.begin()
    stopped.watch()
    keys.listen()
    tray.say()
    with frame.boundary():
        with st.sidebar:
            st.markdown("### ri-analysis")
            for other in pages:
                st.page_link(other, label=_label(other), width="stretch")
            with st.container(horizontal=True):
                terms.link()
                keys.link()
            st.divider()
            for trouble in left_out if not is_hidden() else ():  # others need not see what the operator's files are
                st.warning(frame.plain(f"Left out: {trouble}"), icon=":material/extension_off:")
        above = st.container()
        if opening.is_open():
            links.check(resources.evaluator())
            with st.sidebar:
                controls.recipe_controls(resources.evaluator(), numbers=page.url_path != _MERGE)
                _remarks(opening.remarks())
                for trouble in resources.evaluator().store.troubles:
                    st.warning(frame.plain(trouble), icon=":material/warning:")
        state.put(recipes.METHOD, recipes.chosen_method().name)
        state.write_url(partial(recipes.in_address, page.url_path))
        guide.visited(page.url_path)
        try:
            page.run()
        except frame.PageEnd:
            pass
        except ChangedFile as error:
            opening.renew(str(error).partition(";")[0])
        finally:
            with above:
                links.notice()


def _remarks(found: Sequence[str]) -> None:
    """Draw the remarks on the open suite's files, folded up."""
    if found:
        with st.expander(f"{words.count(len(found), 'remark')} about this suite's files", icon=":material/info:"):
            st.markdown("\n".join(f"- {frame.plain(line)}" for line in found))


def _label(page: StreamlitPage) -> str:
    """Return what a page is called in the sidebar; the Figures page says how many there are."""
    held = len(tray.pinned()) if page.url_path == "figures" else 0
    return f"{page.title} ({held})" if held else page.title


def preload() -> None:
    """Get ready to serve: bound what threads hold, draw the first page's figures once, freeze what is imported."""
    bound_arenas()
    # A folder pages/ beside the script makes Streamlit run a page without app.py when the first visit is to that page.
    PagesManager.uses_pages_directory = False
    # What a browser loads first are 80 small files: they must not wait for a page's script, 5 ms each time by default.
    sys.setswitchinterval(0.001)
    figures.headline(pd.DataFrame(columns=["model", "measure", "value", "low", "high"]))
    if resources.first_suite() in EMBEDDED:  # others are checked before they are measured
        with suppress(InputError):  # a page says it better
            _draw_first()
    is_repl()  # Streamlit asks it before the first element, and looks through every module for the answer
    gc.collect()
    gc.freeze()


def _draw_first() -> None:
    """Draw the Overview's figures as far as nothing has to be measured: the first visitor finds the suite open."""
    evaluator = resources.evaluator(suite=resources.first_suite())
    pair, crosstalk = recipes.chosen_pair(evaluator, {}), find_analysis("crosstalk")
    asked = Question(evaluator, pair, crosstalk, crosstalk.settled(pair.before.tasks, {}), crosstalk.limits[-1])
    if measuring.known(evaluator, pair):
        ACCURACY.charts(answer_of(pair, pair.map(partial(measuring.measure, evaluator))), False)
    if asked.known():
        crosstalk.charts(crosstalk.ask(evaluator, pair, limit=asked.limit), False)
