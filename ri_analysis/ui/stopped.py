"""What the browser says once the server has stopped: how to start this app again."""

from __future__ import annotations

import json
import os
import shlex
import sys
from functools import lru_cache
from pathlib import Path

import streamlit as st

from ri_analysis.allowed import is_hidden

COMMAND = "RI_ANALYSIS_COMMAND"  # the shell command that started the app; set by `ri-analysis app`


def note_command() -> None:
    """Remember how this process was started: Streamlit changes sys.argv."""
    words = sys.argv[1:] if sys.argv[1:2] == ["app"] else ["app"]
    os.environ[COMMAND] = shlex.join(["ri-analysis", *words])


def watch() -> None:
    """Have the page look whether its server still answers."""
    plain = "ri-analysis app"  # others need not see where the operator's files lie
    st.html(_script(plain if is_hidden() else os.environ.get(COMMAND, plain)), unsafe_allow_javascript=True)


@lru_cache(maxsize=1)
def _script(command: str) -> str:
    text = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
    said = json.dumps(command).replace("<", "\\u003c")
    return f"<script>{text.replace('= COMMAND', f'= {said}')}</script>"
