"""A study's files: its table, its figures, and a manifest that says how they came about."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ri_analysis.checkpoints import outlines
from ri_analysis.engine import Evaluator
from ri_analysis.errors import InputError, WriteError
from ri_analysis.export import formats, glyphs, paper
from ri_analysis.export.snapshot import now, versions
from ri_analysis.figures import words
from ri_analysis.figures.chart import Chart
from ri_analysis.files import atomic_path, write_text
from ri_analysis.hyperparameters import Value
from ri_analysis.json_text import to_json
from ri_analysis.markdown import around_section, csv_text, markdown_table, write_section
from ri_analysis.studies.conducting.conduct import Plan, seconds_an_image
from ri_analysis.studies.study import Study

IMAGE_FORMATS = ("svg", "png", "pdf")
MANIFEST = "manifest.json"
FILES = ("table.parquet", "table.csv", MANIFEST)  # besides figures
REPORTED = "Reported by the paper"
_WIDTH = 6.75  # inches: both columns of most venues


def write(study: Study, table: pd.DataFrame, record: Mapping[str, Any], folder: Path, *, images: bool = True) -> None:
    """Write `table.parquet`, `table.csv`, the figures, and last `manifest.json` into a folder.

    Figures are written as HTML, and with `images` also as SVG, PNG and PDF where a browser is there to draw them.
    """
    with atomic_path(folder / "table.parquet") as path:
        table.to_parquet(path, index=False)
    write_text(folder / "table.csv", csv_text(table))
    charts = study.charts(table, False)
    for name, chart in charts.items():
        with atomic_path(folder / f"{name}.html") as path:
            chart.figure.write_html(path, include_plotlyjs="directory")
    if images:
        _write_images(charts, folder)
    write_text(folder / MANIFEST, to_json(record, indent=1) + "\n")


def _write_images(charts: Mapping[str, Chart], folder: Path) -> None:
    """Write figures as images for a page of print; none where no browser can draw them, the HTML is there anyway."""
    try:
        for name, chart in charts.items():
            printed = paper.for_paper(chart.figure, _WIDTH)
            for kind in IMAGE_FORMATS:
                drawn = formats.image(printed, kind)
                with atomic_path(folder / f"{name}.{kind}") as path:
                    path.write_bytes(drawn)
        if note := glyphs.about_images(chart.figure for chart in charts.values()):
            print(f"note  {folder}: {note}", file=sys.stderr)
    except WriteError:
        raise
    except InputError as error:  # the study itself is whole without them
        print(f"note  figures are written as HTML only: {error}", file=sys.stderr)


def manifest(
    study: Study,
    settings: Mapping[str, Value],
    evaluator: Evaluator,
    planned: Plan,
    command: str,
    seconds: float,
) -> dict[str, Any]:
    """Return what has to be known to do the study again, and to tell whether it is the same."""
    suite = evaluator.suite
    weights = {name: suite.weight_digests(name) for name in suite.expert_sets}
    images = {task: suite.task_data(task).digest for task in suite.tasks}
    return {
        "study": study.name,
        "question": study.question,
        "paper": study.finding,
        "settings": dict(settings),
        "suite": suite.name,
        "suite_digest": suite.digest(),
        "weights": weights,
        "images": images,
        "seeds": {"images of a probe": 0, "intervals": 0, "RI and methods that draw at random": _seeds(settings)},
        "number_format": _format(evaluator),
        "points": planned.works,
        "points_from_store": planned.kept,
        "seconds": round(seconds, 1),
        "command": command,
        "finished": now(),
        "versions": dict(versions()),
    }


def _seeds(settings: Mapping[str, Value]) -> list[int]:
    first = int(settings.get("seed", 0))
    return list(range(first, first + int(settings.get("seeds", 1))))


def _format(evaluator: Evaluator) -> str:
    return str(evaluator.number_format).removeprefix("torch.")


def check_documents(study: Study, paths: Sequence[Path]) -> None:
    """Raise InputError for a document without the marks between which `document` would write."""
    for path in paths:
        around_section(path, f"study {study.name}")


def document(study: Study, table: pd.DataFrame, record: Mapping[str, Any], path: Path) -> None:
    """Write a study's outcome into a document, between its marks (see `write_section`)."""
    parts = [
        f"**Question.** {study.question}",
        *([f"**{REPORTED}** (not re-run by us): {study.finding}"] if study.finding else []),
        f"**Here**, on `{record['suite']}`: {study.verdict(table)}",
        markdown_table(study.summary(table)),
        f"Made by `{record['command']}`.",
    ]
    write_section(path, f"study {study.name}", "\n\n".join(parts))


def estimate(study: Study, evaluator: Evaluator, planned: Plan, jobs: int) -> str:
    """Return what a study would do, in words: measurements, time and memory."""
    left, workers = planned.works - planned.kept, max(1, jobs)
    seconds = planned.images * seconds_an_image(evaluator) / workers if left else 0.0
    weights = sum(tensor.nbytes for tensor in outlines(evaluator.suite.zero_shot).values())
    memory = workers * (planned.held + 4 * weights)
    return (
        f"{study.name}: {words.count(planned.works, 'measurement')}, {words.saved(planned.kept, planned.works)}; "
        f"about {words.duration(seconds) if left else '0 s'} plus merging\n"
        f"images  {planned.images:,} to encode in {_format(evaluator)}\n"
        f"memory  about {memory / 2**20:,.0f} MiB for images and weights, besides what PyTorch itself takes"
    )
