"""Results that show themselves: in a notebook as a sentence, tables and figures, on a terminal as text."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import plotly.graph_objects as go

from ri_analysis.analyses import Answer, find_analysis
from ri_analysis.analyses.accuracy import based_on, headline_table
from ri_analysis.analyses.report import Answers, as_json, as_text
from ri_analysis.analyses.summary import accuracy_in_a_sentence
from ri_analysis.engine import Evaluation, Evaluator
from ri_analysis.engine.comparison import differences
from ri_analysis.engine.merge_probe import Gain
from ri_analysis.export.facts import history_table, looks_table, recipe_in_words, record_in_words
from ri_analysis.export.models import MODEL_FILE
from ri_analysis.figures import headline, loss_curves, losses, reading
from ri_analysis.figures.chart import Chart
from ri_analysis.hyperparameters import Value
from ri_analysis.merging import MergeRecipe
from ri_analysis.resolving import Record, unit
from ri_analysis.sides import AFTER, BEFORE, Sides
from ri_analysis.studies import Study
from ri_analysis.studies.conducting.conduct import Plan
from ri_analysis.studies.output import manifest, write
from ri_analysis.suite import ORIGINAL

if TYPE_CHECKING:
    import torch

_ROWS = 60  # of a table that a notebook shows


class Result(ABC):
    """What was found: tables, and figures where there are any. A notebook shows the most important of both."""

    @property
    @abstractmethod
    def says(self) -> str:
        """The result in a sentence or two."""

    @property
    @abstractmethod
    def tables(self) -> Mapping[str, pd.DataFrame]:
        """Every table by its name, the most important one first."""

    @property
    def charts(self) -> Mapping[str, Chart]:
        """Every figure with its words, by its name, the most important one first."""
        return {}

    @property
    def table(self) -> pd.DataFrame:
        """The most important table."""
        return next(iter(self.tables.values()))

    @property
    def figure(self) -> go.Figure | None:
        """The most important figure, None where there is none."""
        return next((chart.figure for chart in self.charts.values()), None)

    @property
    def _shown(self) -> pd.DataFrame:
        """The table that stands for the result."""
        return self.table

    def __str__(self) -> str:
        said = self.says.replace("**", "")
        return f"{said}\n{self._shown.head(_ROWS).to_string(index=False, na_rep='')}"

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        said = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", escape(self.says))
        return f"<p>{said}</p>\n{_html(self._shown)}"

    def _ipython_display_(self) -> None:
        _display(self._repr_html_())
        for chart in self.charts.values():
            _show(chart)


def _html(table: pd.DataFrame) -> str:
    """Return the first rows of a table as HTML."""
    left = f"<p>… and {len(table) - _ROWS:,} more rows</p>" if len(table) > _ROWS else ""
    return str(table.head(_ROWS).to_html(index=False, border=0, float_format="{:.4g}".format, na_rep="")) + left


def _show(chart: Chart) -> None:
    """Draw a figure in a notebook by Plotly's own renderer, which needs no network, with its words."""
    if chart.title:
        _display(f"<h4>{escape(chart.title)}</h4>")
    _display(chart.figure)
    _display(f"<p>{escape(' '.join(filter(None, (chart.how_to_read, chart.n))))}</p>")


def _display(what: str | go.Figure) -> None:
    """Show HTML, or a figure, in a notebook."""
    from IPython import display

    display.display(display.HTML(what) if isinstance(what, str) else what)  # type: ignore[no-untyped-call]


@dataclass(frozen=True, repr=False)
class Measured(Result):
    """A merge, or somebody else's merged file, measured: `table` has one row per task."""

    evaluation: Evaluation

    @property
    def says(self) -> str:
        """See Result."""
        return accuracy_in_a_sentence(Sides(self.evaluation))

    @property
    def tables(self) -> Mapping[str, pd.DataFrame]:
        """See Result: the columns of `ri-analysis measure`."""
        return {"tasks": self.evaluation.table}

    @property
    def charts(self) -> Mapping[str, Chart]:
        """See Result: the means beside zero-shot and the experts; none of a file, which no expert set made."""
        experts = self.evaluation.recipe.get("experts")
        if experts is None:
            return {}
        means = headline_table(Sides(self.evaluation))
        means["model"] = means["model"].replace(BEFORE, BEFORE if experts == ORIGINAL else AFTER)
        return {"headline": Chart(headline(means), reading.HEADLINE, n=based_on(self.evaluation))}

    def to_dict(self) -> dict[str, Any]:
        """Return what `ri-analysis measure --json` prints."""
        return self.evaluation.summary()

    def difference(self, other: Measured) -> dict[str, float]:
        """Return this − other of mean accuracy and interference, images paired, as `--against` prints it.

        `accuracy_change` and `interference_change`, each with the ends of its 95 % interval as `_low` and `_high`.
        """
        return differences(other.evaluation, self.evaluation)

    def __str__(self) -> str:
        columns = ["task", "accuracy", "accuracy_low", "accuracy_high", "expert_accuracy", "zero_shot_accuracy"]
        columns += ["interference", "interference_low", "interference_high", "n"]
        accuracy, (low, high) = self.evaluation.mean_accuracy
        drift, (drift_low, drift_high) = self.evaluation.mean_interference
        return (
            f"{self.table[columns].to_string(index=False, float_format='{:.3f}'.format)}\n"
            f"mean accuracy      {accuracy:.4f}  [{low:.4f}, {high:.4f}]\n"
            f"mean interference  {drift:.4f}  [{drift_low:.4f}, {drift_high:.4f}] nats"
        )


@dataclass(frozen=True, repr=False)
class Analysed(Result):
    """What one analysis found of a merge, and of the same merge of another expert set where that was asked for."""

    answer: Answer[Any]

    @cached_property
    def says(self) -> str:
        """See Result."""
        return find_analysis(self.answer.analysis).says(self.answer)

    @cached_property
    def tables(self) -> Mapping[str, pd.DataFrame]:
        """See Result; docs/tables.md says what their columns mean."""
        return find_analysis(self.answer.analysis).tables(self.answer)

    @cached_property
    def charts(self) -> Mapping[str, Chart]:
        """See Result: by the table that they draw."""
        return find_analysis(self.answer.analysis).charts(self.answer, False)


class Interference(Mapping[str, Analysed]):
    """Analyses of a merge, by their names. `refused` says why some do not apply to it."""

    def __init__(self, evaluator: Evaluator, recipes: Sides[MergeRecipe], answers: Answers, *, whole: bool) -> None:
        self._evaluator, self._recipes, self._answers, self._whole = evaluator, recipes, answers, whole
        self._found = {name: Analysed(answer) for name, answer in answers.items() if isinstance(answer, Answer)}
        self.refused = {name: answer for name, answer in answers.items() if isinstance(answer, str)}

    def __getitem__(self, name: str) -> Analysed:
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    @property
    def table(self) -> pd.DataFrame:
        """The first table of the first analysis."""
        return next(iter(self.values())).table

    @property
    def figure(self) -> go.Figure | None:
        """The first figure of the first analysis, None where it draws none."""
        return next(iter(self.values())).figure

    def to_dict(self) -> dict[str, Any]:
        """Return what `ri-analysis interference --json` prints."""
        return as_json(self._evaluator, self._recipes, self._answers, whole=self._whole)

    def __str__(self) -> str:
        return as_text(self._answers)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        parts = [f"<h3>{escape(find_analysis(name).title)}</h3>{found._repr_html_()}" for name, found in self.items()]
        parts += [f"<p>{escape(find_analysis(name).title)}: {escape(why)}.</p>" for name, why in self.refused.items()]
        return "\n".join(parts)

    def _ipython_display_(self) -> None:
        for name, found in self.items():
            _display(f"<h3>{escape(find_analysis(name).title)}</h3>")
            found._ipython_display_()
        for name, why in self.refused.items():
            _display(f"<p>{escape(find_analysis(name).title)}: {escape(why)}.</p>")


@dataclass(frozen=True, repr=False)
class Merged(Result):
    """A merged model in a safetensors file, or in a folder with one; `loads` is the Python that loads a whole model."""

    path: Path
    recipe: MergeRecipe
    loads: str = ""

    @property
    def says(self) -> str:
        """See Result."""
        return f"{self.path}: {recipe_in_words(self.recipe)}." + (
            f" Load it with `{self.loads}`." if self.loads else ""
        )

    @property
    def tables(self) -> Mapping[str, pd.DataFrame]:
        """See Result: one row per task, with the coefficient of its task vector."""
        given = dict(self.recipe.coefficients)
        rows = [(task, self.recipe.experts, given.get(task, 1.0)) for task in self.recipe.tasks]
        return {"recipe": pd.DataFrame(rows, columns=["task", "experts", "coefficient"])}

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the tensors by the names that the file gives them: open_clip's, or Hugging Face's in a folder."""
        from safetensors.torch import load_file

        return load_file(self.path / MODEL_FILE if self.path.is_dir() else self.path)


@dataclass(frozen=True, repr=False)
class Resolved(Result):
    """An expert set adapted by RI: its folder, its record, and what a probe found on the way, if any."""

    name: str
    folder: Path
    record: Record
    tasks: Sequence[str]
    gains: tuple[Gain, ...] = ()

    @property
    def says(self) -> str:
        """See Result."""
        return f"{self.name}: {len(self.record['tasks'])} experts in {self.folder}. {record_in_words(self.record)}"

    @property
    def tables(self) -> Mapping[str, pd.DataFrame]:
        """See Result: the losses by task and step, and those on held-out images where there are any."""
        return {"losses": history_table(self.record), "held_out": looks_table(self.record)}

    @property
    def charts(self) -> Mapping[str, Chart]:
        """See Result."""
        history, held_out = self.tables.values()
        measure = unit(str(self.record["settings"]["distance"]))
        figure = loss_curves(history, self.tasks, held_out=held_out, unit=measure)
        return {"losses": Chart(figure, losses.HOW_TO_READ if held_out.empty else losses.WITH_HELD_OUT)}


@dataclass(frozen=True, repr=False)
class Studied(Result):
    """A study's outcome: its tidy table, its summary, and its figures."""

    study: Study
    settings: Mapping[str, Value]
    full: pd.DataFrame
    planned: Plan
    seconds: float
    evaluator: Evaluator
    suite: str

    @property
    def says(self) -> str:
        """See Result."""
        return self.study.verdict(self.full)

    @property
    def tables(self) -> Mapping[str, pd.DataFrame]:
        """See Result: the tidy table, one row per merge, and the short one for documents."""
        return {"table": self.full, "summary": self.summary}

    @cached_property
    def summary(self) -> pd.DataFrame:
        """The short table, which stands for the result."""
        return self.study.summary(self.full)

    @property
    def _shown(self) -> pd.DataFrame:
        return self.summary

    @cached_property
    def charts(self) -> Mapping[str, Chart]:
        """See Result."""
        return self.study.charts(self.full, False)

    def manifest(self, command: str = "") -> dict[str, Any]:
        """Return what `ri-analysis study --json` prints; `command` is what ran the study, if another than the usual."""
        return manifest(
            self.study,
            self.settings,
            self.evaluator,
            self.planned,
            command or self.study.command(self.suite, self.settings),
            self.seconds,
        )

    def write(self, folder: str | Path, *, images: bool = True, record: Mapping[str, Any] | None = None) -> None:
        """Write table, figures and manifest into a folder, as `ri-analysis study --out` does."""
        write(self.study, self.full, record or self.manifest(), Path(folder), images=images)
