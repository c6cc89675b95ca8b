from __future__ import annotations

from pathlib import Path

import pytest

from ri_analysis.glossary import SECTION, TERMS, Term, find_term, in_words, marked
from ri_analysis.markdown import around_section

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "glossary.md"


def shown(text: str, *known: str) -> str:
    return marked(text, lambda form, term: f"[{form}={term.name}]", known)[0]


def test_the_document_has_every_term():
    above, below = around_section(DOCUMENT, SECTION)
    assert DOCUMENT.read_text(encoding="utf-8") == f"{above}\n\n{in_words()}\n\n{below}", (
        "run python -m ri_analysis.glossary docs/glossary.md"
    )


def test_every_form_means_one_term():
    forms = [form.lower() for term in TERMS for form in term.all_forms]
    assert len(forms) == len(set(forms))


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.name)
def test_meanings_are_plain_text(term: Term):
    assert not set(term.meaning) & set("*_`$<>[]")  # they stand in Markdown, in HTML and in help texts
    assert term.meaning.endswith(".")


def test_a_term_is_marked_where_it_first_stands():
    assert shown("Experts merge; an expert set is another thing than experts.") == (
        "[Experts=expert] [merge=merge]; an [expert set=expert set] is another thing than experts."
    )
    assert shown("Interference ξ", "interference") == "Interference ξ"
    assert shown("Interference ξ of ξ") == "[Interference ξ=interference] of ξ"


def test_a_term_is_no_part_of_a_word_a_name_in_code_a_formula_or_a_link():
    text = "expertise, `expert`, $\\lambda expert$, [here](/expert), RIGHT, ri"
    assert shown(text) == text


def test_a_term_is_found_by_any_of_its_forms():
    assert find_term("Resolving interference") is find_term("RI")
    with pytest.raises(KeyError):
        find_term("entropy")
