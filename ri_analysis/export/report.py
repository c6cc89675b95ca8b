"""One self-contained HTML page of figures: it loads nothing, works offline and prints."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from string import Template

import pandas as pd
from plotly.offline import get_plotlyjs

from ri_analysis.export import fonts, paper
from ri_analysis.export.snapshot import Snapshot

WIDTH = 7.08  # inches: what fits on A4 and on Letter between margins of 15 mm
_ROWS = 60  # of a table that are shown; the rest is in its files

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="ri-analysis">
<meta http-equiv="Content-Security-Policy" content="default-src 'unsafe-inline' 'unsafe-eval' data: blob:">
<title>$title</title>
<link rel="icon" href="data:,">
<style>$font$style</style>
</head>
<body>
<main>
<h1>$title</h1>
$summary
$figures
</main>
<script>$plotly</script>
<script>
const figures = $data;
const config = {displaylogo: false, responsive: false, toImageButtonOptions: {format: "svg"}};
document.fonts.ready.then(() => figures.forEach((figure, place) =>
  Plotly.newPlot("figure-" + place, figure.data, figure.layout, config)));
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach(part => part.open = true));
</script>
</body>
</html>
""")

_STYLE = """
@page { margin: 15mm; }
.js-plotly-plot svg a { pointer-events: none; }
:root { color-scheme: light; }
body { margin: 0; background: #fff; color: #1c2733; font: 15px/1.5 "RI Sans", "Helvetica Neue", Arial, sans-serif; }
main { max-width: 7.08in; margin: 0 auto; padding: 2rem 1rem 4rem; }
h1 { font-size: 1.8rem; margin: 0 0 1rem; }
h2 { break-after: avoid; font-size: 1.2rem; margin: 2.5rem 0 .3rem; padding-top: .8rem; border-top: 1px solid #dde4ea; }
figure { margin: 0; break-inside: avoid; overflow-x: auto; }
figcaption { color: #1c2733; }
.n, dt { color: #5b6875; }
.raster { color: #5b6875; }
dl { display: grid; grid-template-columns: 8rem 1fr; gap: .15rem .8rem; margin: .5rem 0; }
dd { margin: 0; overflow-wrap: anywhere; }
code { font: .85em/1.4 ui-monospace, "DejaVu Sans Mono", monospace; }
details { margin: .4rem 0; }
summary { cursor: pointer; color: #0072b2; }
.table { overflow-x: auto; }
table { border-collapse: collapse; font-size: .8rem; font-variant-numeric: tabular-nums; }
th, td { padding: .15rem .6rem .15rem 0; text-align: left; border-bottom: 1px solid #e6ebf0; vertical-align: top; }
@media print {
  body { font-size: 9.5pt; }
  main { padding: 0; max-width: none; }
  details.data { display: none; }
  .modebar { display: none !important; }
}
"""


def page(title: str, snapshots: Sequence[Snapshot], summary: str = "") -> bytes:
    """Return a page of figures with their words, tables and origins. `summary` is HTML that stands before them.

    Figures have their printed size, those that are too wide for the page its width.
    """
    printed = [
        each.printed if each.width <= WIDTH else paper.for_paper(each.figure, WIDTH, each.height) for each in snapshots
    ]
    data = "[" + ",".join(str(figure.to_json()) for figure in printed) + "]"
    html = _PAGE.substitute(
        title=escape(title),
        font=fonts.style_sheet(),
        style=_STYLE,
        summary=summary,
        figures="\n".join(_figure(place, snapshot) for place, snapshot in enumerate(snapshots)),
        plotly=get_plotlyjs(),
        data=data.replace("</", "<\\/"),
    )
    return html.encode()


def _figure(place: int, snapshot: Snapshot) -> str:
    words = f"{snapshot.title}. {snapshot.caption}"
    return f"""<section>
<h2>{escape(snapshot.title)}</h2>
<figure>
<div id="figure-{place}" role="img" aria-label="{escape(words, quote=True)}"></div>
<figcaption>{escape(snapshot.caption)} <span class="n">{escape(snapshot.n)}</span></figcaption>
</figure>
<details><summary>How this was computed</summary>{definitions(snapshot.origin.lines())}</details>
<details class="data"><summary>The table behind it</summary>{table(snapshot.table)}</details>
</section>"""


def definitions(lines: Sequence[tuple[str, str]]) -> str:
    """Return labels with texts as HTML; commands and addresses as code."""
    code = {"Command", "Numbers in", "Page of the app"}
    rows = (
        f"<dt>{escape(label)}</dt><dd>{f'<code>{escape(text)}</code>' if label in code else escape(text)}</dd>"
        for label, text in lines
    )
    return f"<dl>{''.join(rows)}</dl>"


def table(shown: pd.DataFrame) -> str:
    """Return a table as HTML, its first rows where it is long."""
    cut = shown.head(_ROWS)
    left = (
        f"<p class='n'>{len(shown) - len(cut):,} more rows are in the CSV and parquet files.</p>"
        if len(shown) > len(cut)
        else ""
    )
    body = cut.to_html(index=False, border=0, float_format="{:.4g}".format, na_rep="")
    return f"<div class='table'>{body}</div>{left}"
