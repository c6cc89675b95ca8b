"""Names of tasks, classes and files are strangers' texts: Markdown shows them as they are."""

from __future__ import annotations

from typing import Any

import pytest
import streamlit as st

from ri_analysis.ui import frame, terms


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a: b, 2:30", "a: b, 2:30"), (":red[x]", r"\:red\[x\]"), (":material/home:", r"\:material/home:"),
        ("&lt;b> & c", r"\&lt;b\> & c"), ("![x](https://evil.example/x)", r"!\[x\](https://evil.example/x)"),
        ("$x$ `y` ~~z~~", r"\$x\$ \`y\` \~\~z\~\~"), ("**b**", r"\*\*b\*\*"), ("a\nb", "a  \nb"),
    ],
)  # fmt: skip
def test_marks_stand_for_themselves(text: str, written: str) -> None:
    assert frame.plain(text) == written


def test_a_sentence_has_bold_words_and_no_other_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "**Lost**: <b onclick=x> as [k](javascript:x), *y*"
    assert frame.sentence(text) == r"**Lost**: \<b onclick=x\> as \[k\](javascript\:x), \*y\*"
    shown: list[str] = []
    monkeypatch.setattr(st, "markdown", lambda body, **_: shown.append(body))
    monkeypatch.setattr(st, "session_state", dict[str, Any]())
    terms.prose(text)
    assert "<b" not in shown[0]
    assert "&lt;b" in shown[0]
