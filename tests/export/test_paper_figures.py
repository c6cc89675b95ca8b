from __future__ import annotations

import io
import json
import re
import zipfile
from dataclasses import replace

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from PIL import Image
from plotly.subplots import make_subplots

from ri_analysis import figures
from ri_analysis.analyses.crosstalk import crosstalk_matrices
from ri_analysis.errors import InputError
from ri_analysis.export import browser, formats, paper, report, venues
from ri_analysis.export.snapshot import Origin, Snapshot
from ri_analysis.figures import look
from ri_analysis.sides import Sides

TASKS = ["MNIST", "Letters", "Birds"]
ORIGIN = Origin("tiny", "abc", ("averaging",), ("ri-analysis measure tiny",), "", (("torch", "2"),), "2026-01-01")
needs_browser = pytest.mark.skipif(browser.missing() is not None, reason=str(browser.missing()))


def crosstalk(level: float) -> pd.DataFrame:
    rows = [(a, b, level * (1 + i + 2 * j), 0.1, 0.9, 50) for i, a in enumerate(TASKS) for j, b in enumerate(TASKS)]
    return pd.DataFrame(rows, columns=["expert", "task", "crosstalk", "crosstalk_low", "crosstalk_high", "n"])


def means() -> pd.DataFrame:
    rows = [(model, "accuracy", 0.5, 0.4, 0.6) for model in ("zero_shot", "before", "after", "expert")]
    rows += [(model, "interference", 0.5, 0.4, 0.6) for model in ("before", "after")]
    return pd.DataFrame(rows, columns=["model", "measure", "value", "low", "high"])


def matrices(dark: bool = False) -> go.Figure:
    return crosstalk_matrices(Sides(crosstalk(0.1), crosstalk(0.03)), dark=dark)


def snapshot(figure: go.Figure | None = None) -> Snapshot:
    chart = matrices() if figure is None else figure
    return Snapshot.of(chart, crosstalk(0.1), "crosstalk", "Rows are experts & <columns> tasks.", "50 images.", ORIGIN)


def font_sizes(part: object, name: str = "") -> list[float]:
    if isinstance(part, dict):
        own = [float(part["size"])] if name.endswith("font") and isinstance(part.get("size"), int | float) else []
        return own + [size for key, inner in part.items() for size in font_sizes(inner, key)]
    return [size for inner in part for size in font_sizes(inner)] if isinstance(part, list | tuple) else []


@pytest.mark.parametrize("draw", [matrices, lambda dark: figures.headline(means(), dark=dark)])
def test_a_dark_figure_becomes_the_light_one(draw):
    assert json.loads(look.in_light(draw(dark=True)).to_json()) == json.loads(draw(dark=False).to_json())


def test_a_tasks_colour_is_no_dark_scale():
    light, dark = (look.task_colours(["MNIST", "Birds"], dark=dark)["Birds"] for dark in (False, True))
    figure = go.Figure(go.Bar(y=[1], marker_color=dark), go.Layout(template=look.template(True)))
    assert look.in_light(figure).data[0].marker.color == light


@pytest.mark.parametrize("width", [width.inches for width in venues.WIDTHS])
def test_all_text_is_between_8_and_9_points(width: float):
    for figure in (matrices(dark=True), figures.headline(means())):
        made = paper.for_paper(figure, width)
        points = [size * 72 / 96 for size in font_sizes(json.loads(made.to_json()))]
        assert points
        assert min(points) >= 8 - 1e-9
        assert max(points) <= 9 + 1e-9
        assert made.layout.width == pytest.approx(width * 96)


def test_panels_go_one_below_the_other_where_they_are_narrow():
    wide, narrow = (paper.for_paper(figures.headline(means()), width) for width in (6.875, 3.25))
    assert wide.layout.xaxis2.domain[0] > 0.5
    assert narrow.layout.xaxis.domain == narrow.layout.xaxis2.domain == (0.0, 1.0)
    assert narrow.layout.yaxis2.domain[1] < narrow.layout.yaxis.domain[0]
    assert narrow.layout.height > wide.layout.height


def test_stacked_matrices_share_the_labels_below_and_keep_those_beside_them():
    made = paper.for_paper(matrices(), 3.25)
    axes = made.layout
    assert [axes[name].showticklabels for name in ("xaxis", "xaxis2", "xaxis3")] == [False, False, None]
    assert axes.yaxis3.showticklabels is True
    titles = [note for note in axes.annotations if note.text]
    assert [note.y for note in titles] == sorted((note.y for note in titles), reverse=True)
    assert len({round(note.x, 3) for note in titles}) == 1


def test_points_of_webgl_become_ordinary_ones_and_keep_what_they_show():
    figure = look.finish(go.Figure(go.Scattergl(x=[1, 2], y=[3, 4], mode="markers", name="a")), dark=False, height=300)
    made = paper.for_paper(figure, 5.5)
    assert [trace.type for trace in made.data] == ["scatter"]
    assert (made.data[0].name, list(made.data[0].y)) == ("a", [3, 4])
    assert not paper.rastered(made)


def test_cells_become_rectangles_of_the_scales_own_colours():
    figure = make_subplots(cols=1)
    figure.add_heatmap(z=[[0.0, 1.0], [0.5, np.nan]], x=["a", "b"], y=["c", "d"], coloraxis="coloraxis")
    look.finish(figure, dark=False, height=300)
    figure.update_layout(coloraxis={"colorscale": [[0, "#000000"], [1, "#FFFFFF"]], "cmin": 0, "cmax": 1})
    made = paper.for_paper(figure, 5.5)
    cells = {(shape.x0, shape.y0): shape.fillcolor for shape in made.layout.shapes}
    assert cells == {(-0.5, -0.5): "rgb(0,0,0)", (0.5, -0.5): "rgb(255,255,255)", (-0.5, 0.5): "rgb(128,128,128)"}
    assert made.layout.xaxis.range == (-0.5, 1.5)
    assert not paper.rastered(made)


def test_numbers_stay_in_cells_that_are_wide_enough_only():
    assert sum("text" in trace.mode for trace in paper.for_paper(matrices(), 6.75).data) == 3
    figure = matrices()
    figure.update_traces(text=["0.123456789"] * 6, selector={"mode": "markers+text"})
    assert not any("text" in trace.mode for trace in paper.for_paper(figure, 5.5).data)


def test_a_landscape_says_that_it_is_a_picture():
    assert paper.rastered(paper.for_paper(go.Figure(go.Surface(z=[[1, 2], [3, 4]])), 5.5))


def test_a_snapshot_stays_what_it_was():
    chart, table = matrices(dark=True), crosstalk(0.1)
    taken = Snapshot.of(chart, table, "crosstalk-probe", "how", "n", ORIGIN)
    chart.update_layout(height=77)
    table["crosstalk"] = 0.0
    assert taken.figure.layout.height != 77
    assert taken.table["crosstalk"].max() > 0
    assert taken.figure.layout.paper_bgcolor is None or taken.figure.layout.paper_bgcolor == look.LIGHT.background
    assert taken.title == "Who disturbs whom"
    assert taken.bytes > 1000


def test_tables_come_back_from_csv_and_parquet():
    pinned = snapshot()
    pd.testing.assert_frame_equal(pd.read_csv(io.BytesIO(formats.FORMATS["csv"].write(pinned))), pinned.table)
    pd.testing.assert_frame_equal(pd.read_parquet(io.BytesIO(formats.FORMATS["parquet"].write(pinned))), pinned.table)


def test_a_page_holds_everything_and_loads_nothing():
    html = report.page("A & B", [snapshot()]).decode()
    assert html.count("plotly.js v") == 1
    assert loads(html) == []
    assert "Rows are experts &amp; &lt;columns&gt; tasks." in html
    assert re.search(r'role="img" aria-label="Who disturbs whom\. Rows are', html)
    assert "ri-analysis measure tiny" in html


def loads(html: str) -> list[str]:
    """Return what a page would load from elsewhere, scripts' and styles' own text aside."""
    tags = re.sub(r"<script>.*?</script>", "<script></script>", html, flags=re.DOTALL)
    return re.findall(r"""(?:src|href)=["'](?!data:|#)[^"']*|url\((?!data:)[^)]*""", tags)


def test_without_a_browser_there_is_one_message_and_the_other_formats(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(browser, "missing", lambda: browser.MISSING)
    with pytest.raises(InputError, match="no Chrome or Chromium was found"):
        formats.FORMATS["svg"].write(snapshot())
    with zipfile.ZipFile(io.BytesIO(formats.archive([snapshot()]))) as files:
        suffixes = sorted(name.rpartition(".")[2] for name in files.namelist())
        assert suffixes == ["csv", "html", "parquet", "txt", "txt"]
        assert "no Chrome or Chromium" in files.read("NO-IMAGES.txt").decode()


@needs_browser
def test_images_name_the_title_that_was_edited_last():
    edited = replace(snapshot(), title="Ours & <theirs>, ξ", caption="An <edited> caption.")
    svg = formats.FORMATS["svg"].write(edited).decode()
    assert re.search(
        r"<svg[^>]*><title>Ours &amp; &lt;theirs&gt;, ξ</title><desc>An &lt;edited&gt; caption.</desc>", svg
    )
    pdf = formats.FORMATS["pdf"].write(edited)
    named = re.search(rb"/Title <([0-9A-Fa-f]+)>", pdf)
    assert named is not None
    assert bytes.fromhex(named[1].decode()).decode("utf-16") == "Ours & <theirs>, ξ"
    with Image.open(io.BytesIO(formats.FORMATS["png"].write(edited))) as picture:
        assert picture.text == {"Title": "Ours & <theirs>, ξ", "Description": "An <edited> caption."}


@needs_browser
def test_an_svg_is_vectors_with_its_font_at_its_printed_size():
    svg = formats.FORMATS["svg"].write(snapshot()).decode()
    size = re.search(r'<svg[^>]* width="([\d.]+)in" height="([\d.]+)in"', svg)
    assert size is not None
    assert float(size[1]) == venues.DEFAULT.inches
    assert "<image" not in svg
    assert svg.count("@font-face") == 2
    assert "font/woff2;base64," in svg
    assert "RI Sans" in svg
    assert svg.count("<path") > 3 * 6
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", svg)


@needs_browser
def test_a_pdf_is_vectors_with_its_font_at_its_printed_size():
    pdf = formats.FORMATS["pdf"].write(snapshot())
    box = re.search(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", pdf)
    assert box is not None
    assert float(box[1]) == pytest.approx(72 * venues.DEFAULT.inches, abs=1)
    assert b"RISans-Regular" in pdf
    assert b"/FontFile2" in pdf  # TrueType, embedded
    assert b"/Type3" not in pdf
    assert b"/Subtype /Image" not in pdf


@needs_browser
def test_a_png_has_its_resolution_and_is_light():
    with Image.open(io.BytesIO(formats.FORMATS["png"].write(snapshot(matrices(dark=True))))) as picture:
        assert picture.info["dpi"] == pytest.approx((formats.DPI, formats.DPI), abs=0.1)
        assert picture.width == pytest.approx(formats.DPI * venues.DEFAULT.inches, abs=2)
        assert picture.convert("RGB").getpixel((2, 2)) == (255, 255, 255)
