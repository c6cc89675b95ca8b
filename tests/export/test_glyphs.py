from __future__ import annotations

import io
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import pytest

from ri_analysis.export import browser, fonts, formats, glyphs
from ri_analysis.export.snapshot import Origin, Snapshot

ORIGIN = Origin("tiny", "abc", ("averaging",), ("ri-analysis measure tiny",), "", (("torch", "2"),), "2026-01-01")


@pytest.fixture(autouse=True)
def asked_anew() -> None:
    glyphs.installed.cache_clear()


def figure(*names: str) -> go.Figure:
    return go.Figure(go.Bar(x=list(names), y=[1.0] * len(names)), go.Layout(title="τ̂ → ξ ≥ 0 · 95 %"))


def machine(monkeypatch: pytest.MonkeyPatch, ranges: str | None) -> None:
    """Have fontconfig say that this machine's fonts cover some ranges, or be absent."""

    def run(command: list[str], **_: Any) -> Any:
        if ranges is None:
            raise FileNotFoundError("fc-list")
        return subprocess.CompletedProcess(command, 0, ranges, "")

    monkeypatch.setattr(subprocess, "run", run)


def test_the_list_of_what_the_font_covers_is_the_fonts_own() -> None:
    from fontTools.ttLib import TTFont

    folder = Path(fonts.__file__).parent
    maps = [set(TTFont(folder / name).getBestCmap()) for name in ("RISans-Regular.woff2", "RISans-Bold.woff2")]
    assert glyphs._code_points(fonts.COVERED) == maps[0] & maps[1]


@pytest.mark.parametrize(
    ("name", "lacking"),
    [
        ("MNIST", ""),
        ("Čeština ελληνικά Ærø Łódź", ""),
        ("数字", "字数"),
        ("手書き", "手書き"),
        ("숫자", "숫자"),
        ("أرقام", "أارقم"),
        ("अंक", "ंअक"),
        ("Цифры", "Цифры"),
        ("a\u00a0b\u200dc\u2009d\n", ""),
        ("🙂", "🙂"),
    ],
)
def test_which_characters_the_font_lacks(name: str, lacking: str) -> None:
    assert glyphs.lacking([figure("A", name), figure("B")]) == "".join(sorted(lacking))


def test_text_is_found_wherever_it_stands_in_a_figure() -> None:
    drawn = figure("A")
    drawn.add_annotation(text="字")
    drawn.update_layout(yaxis_title="数", legend_title_text="任")
    drawn.add_bar(name="务", x=["A"], y=[1], text=["の"])
    assert glyphs.lacking([drawn]) == "".join(sorted("字数任务の"))


def test_a_machine_without_such_a_font_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, "20-7e a0-ff 410-44f ")
    note = glyphs.about_images([figure("数字")])
    assert note.startswith("No font on this machine has 字, 数: SVG, PNG and PDF drawn here show them as boxes")
    assert "apt-get install fonts-noto-cjk" in note
    assert "fonts-noto)" in glyphs.about_images([figure("अ")])
    assert "show it as boxes" in glyphs.about_images([figure("अ")])
    both = glyphs.about_images([figure("数 Ж")])  # Ж is there
    assert "has 数:" in both
    assert "Ж" not in both


def test_a_machine_with_such_a_font_still_says_what_an_svg_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, "20-7e 4e00-9fff ")
    note = glyphs.about_images([figure("数字")])
    assert "PNG and PDF take them from another font on this machine" in note
    assert "an SVG shows them only where the reader's machine has such a font" in note


def test_where_nobody_knows_the_fonts_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, None)
    assert "only if another font on this machine has it; check the files" in glyphs.about_images([figure("数")])


@pytest.mark.parametrize("note", [glyphs.about_images, glyphs.about_pages])
def test_ordinary_names_need_no_note(note: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, "")
    assert note([figure("MNIST", "Ærø")]) == ""


def test_a_page_takes_them_from_the_readers_machine() -> None:
    assert "lacks 字, 数: the reader's browser takes them" in glyphs.about_pages([figure("数字")])


def test_a_long_list_is_cut() -> None:
    assert "and 92 more" in glyphs.about_pages([figure("".join(map(chr, range(0x4E00, 0x4E64))))])


def test_an_archive_says_so_too(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, "20-7e ")
    monkeypatch.setattr(browser, "missing", lambda: None)
    monkeypatch.setattr(browser, "draw", lambda *_: b"<svg width='1' height='1'>")
    monkeypatch.setattr(formats, "_with_words", lambda drawn, *_: drawn)
    pinned = Snapshot.of(figure("数"), pd.DataFrame({"a": [1]}), "means", "how", "n", ORIGIN)
    with zipfile.ZipFile(io.BytesIO(formats.archive([pinned]))) as files:
        assert "No font on this machine has 数" in files.read("FONTS.txt").decode()
