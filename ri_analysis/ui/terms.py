"""The glossary on pages: a term explains itself where it first occurs, and all of them stand in the sidebar."""

from __future__ import annotations

from html import escape

import streamlit as st

from ri_analysis import glossary
from ri_analysis.figures import look
from ri_analysis.glossary import Term
from ri_analysis.ui import frame

_EXPLAINED = "ri.terms.explained"  # terms that the page has explained, by name: how the text begins where it did
_OPENING = 40  # letters that tell a text, which may be drawn again with other numbers, from others

# The explanation opens beside its term; where a browser can't place it there, and on phones, at the window's foot.
STYLE = f"""
<style>
.term {{ border-bottom: 1px dotted currentColor; cursor: help; anchor-name: --term; anchor-scope: --term; }}
.term .meaning {{
  display: none; position: fixed; z-index: 1000; inset: auto 1rem 1rem; padding: .6rem .8rem; border-radius: .5rem;
  background: light-dark({look.LIGHT.background}, {look.DARK.background});
  color: light-dark({look.LIGHT.text}, {look.DARK.text});
  border: 1px solid light-dark({look.LIGHT.band}, {look.DARK.band});
  box-shadow: 0 4px 16px rgb(0 0 0 / .2); font-size: .875rem; font-weight: 400; line-height: 1.4; white-space: normal;
}}
[data-testid="stSidebar"] [data-testid="stPopover"] button {{ justify-content: flex-start; }}
.term:hover .meaning, .term:focus .meaning {{ display: block; }}
@media (min-width: 641px) {{
  @supports (anchor-scope: --term) {{
    .term .meaning {{
      position-anchor: --term; inset: auto; position-area: bottom span-right; width: max-content; max-width: 22rem;
      position-try-fallbacks: flip-inline, flip-block, flip-block flip-inline;
    }}
  }}
}}
</style>
"""


def begin() -> None:
    """Forget which terms are explained: a page begins."""
    st.session_state[_EXPLAINED] = {}


def prose(text: str) -> None:
    """Show a `frame.sentence` in which each term that is new to the page explains itself when hovered or focused."""
    explained: dict[str, str] = st.session_state.setdefault(_EXPLAINED, {})
    place = text[:_OPENING]
    elsewhere = {name for name, where in explained.items() if where != place}
    shown, found = glossary.marked(frame.sentence(text).replace("\\<", "&lt;"), _marked, elsewhere)
    explained |= dict.fromkeys(found, place)
    st.markdown(shown, unsafe_allow_html=True)


def meaning(*names: str) -> str:
    """Return what terms mean, as the help of a widget, a number or a heading."""
    terms = [glossary.find_term(name) for name in names]
    return "  \n".join(f"**{term.name}**: {term.meaning}" for term in terms)


def link() -> None:
    """Draw the button that opens the whole glossary."""
    with st.popover("Glossary", icon=":material/menu_book:", width="content", type="tertiary"):
        st.markdown(glossary.in_words())


def _marked(form: str, term: Term) -> str:
    meaning = f'<span class="meaning" role="tooltip">{escape(term.meaning)}</span>'
    return f'<span class="term" tabindex="0">{form}{meaning}</span>'
