"""What an analysis is."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

import pandas as pd

from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.engine.measurement import Request
from ri_analysis.engine.outcomes import Section
from ri_analysis.engine.results import Kept
from ri_analysis.engine.store import Record
from ri_analysis.errors import InputError
from ri_analysis.figures.chart import Chart
from ri_analysis.hyperparameters import Hyperparameter, Value, suggest
from ri_analysis.merging import MergeRecipe
from ri_analysis.progress import Parts, Progress
from ri_analysis.sides import Sides

Result = TypeVar("Result")
Options = Mapping[str, Value]
FIRST_LOOK = 16  # images a task, where more follow
Limit = int | None
"""The most images a task to measure on; None for all."""


@dataclass(frozen=True)
class Option(Hyperparameter):
    """A choice that an analysis leaves to the reader.

    `notes` explain the choices. `measured` says that another choice is another measurement, not only another drawing.
    With `task` the choices are the merged tasks, except the one that the earlier option `other_than` has, and the
    default is the `task`-th. `address` is its name in a page's address, by default its own.
    """

    notes: tuple[str, ...] = ()
    measured: bool = False
    task: int | None = None
    other_than: str = ""
    address: str = ""

    def among(self, tasks: Sequence[str], chosen: Options) -> Option:
        """Return the option with its choices for a merge of `tasks`, given the earlier options' values."""
        if self.task is None:
            return self
        left = tuple(task for task in tasks if task != chosen.get(self.other_than))
        place = self.task if not self.other_than else 0
        return replace(self, choices=left, default=left[place])


def stacked(recipes: Sides[MergeRecipe], tables: Sides[pd.DataFrame]) -> pd.DataFrame:
    """Return each side's table in one, with a column `experts` that names the expert set."""
    named = [table.assign(experts=recipe.experts) for recipe, table in recipes.zip(tables)]
    return pd.concat(named, ignore_index=True)


def rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a table's rows as plain values."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict(orient="records")]


@dataclass(frozen=True)
class Answer(Generic[Result]):
    """What an analysis found of one merge, before RI and after where there is one: all that tables and charts need.

    `analysis` is its name; together with the rest it says how to ask again.
    """

    analysis: str
    recipes: Sides[MergeRecipe]
    results: Sides[Result]
    options: Options
    limit: Limit = None

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks merged."""
        return self.recipes.before.tasks

    def stacked(self, table: Callable[[Result], pd.DataFrame]) -> pd.DataFrame:
        """Return each side's table in one, with a column `experts` that names the expert set."""
        return stacked(self.recipes, self.results.map(table))


@dataclass(frozen=True)
class Columns:
    """What a row of a table is, and what its columns mean, in Markdown.

    `<stage>`, `<model>` and `<task>` in a column's name stand for each of them. The ends of an interval, `x_low` and
    `x_high`, go without saying, and so does what `experts`, `task` and `n` mean, which is the same in every table.
    """

    row: str
    meaning: Mapping[str, str]


def _always(_: Evaluator, __: MergeRecipe) -> str:
    return ""


def _itself(recipe: MergeRecipe) -> MergeRecipe:
    return recipe


def _test_images(evaluator: Evaluator, recipe: MergeRecipe) -> Sequence[Section]:
    return evaluator.sections(recipe.tasks)


@dataclass(frozen=True)
class Analysis(Generic[Result]):
    """A question about one merge.

    What it is: `name` (of the command line), `title`, `question` (a sentence or two), `formula` (Markdown with LaTeX,
    source included), `options`; `columns` explains every table.

    How it is measured: `measure(evaluator, recipe, options, limit, progress)` returns whatever the other functions
    want to know of one side. `limits` are the images a task on a page, for a first look and then for more where
    there are two, () where it looks at no images; the command line takes all images, or the last of these where it
    is `capped`. `refusal(evaluator, recipe)` says why it can't be measured of a merge, "" where it can;
    `cost(evaluator, recipe)` says what it takes where it is to be asked for first, by a button named `button`.
    `of_merge` is False where only the experts matter, not how they are merged. `requests` are the measurements that
    it needs, so that what is known already is shown at once. `images(evaluator, recipe)` are the sections it looks at,
    by default the tasks' test images; recipes of one `subject(recipe)` share an answer. `kept` says how what was
    measured is kept; without it the analysis is made again from outcomes each time. A kept result is named by all that
    it depends on: tower, images, heads, original experts, the merge (or the experts, where only they matter), the
    images' number, and the options that are `measured`.

    What it says: `tables(answer)` by the name of their file, `charts(answer, dark)` by the table that they draw,
    `says(answer)` the result in a sentence. `contract` are the entries of the command line's JSON that are promised.

    Where it stands: on `page`, in the order of `place`; "" for none. `source` is the digest of the plug-in that
    declares it.
    """

    name: str
    title: str
    question: str
    measure: Callable[[Evaluator, MergeRecipe, Options, Limit, Progress | None], Result]
    tables: Callable[[Answer[Result]], dict[str, pd.DataFrame]]
    charts: Callable[[Answer[Result], bool], dict[str, Chart]]
    says: Callable[[Answer[Result]], str]
    columns: Mapping[str, Columns]
    formula: str = ""
    options: tuple[Option, ...] = ()
    limits: tuple[Limit, ...] = (None,)
    capped: bool = False
    refusal: Callable[[Evaluator, MergeRecipe], str] = _always
    cost: Callable[[Evaluator, MergeRecipe], str] = _always
    button: str = "Compute"
    of_merge: bool = True
    requests: Callable[[Evaluator, MergeRecipe, Options, Limit], Sequence[Request]] | None = None
    images: Callable[[Evaluator, MergeRecipe], Sequence[Section]] = _test_images
    subject: Callable[[MergeRecipe], MergeRecipe] = _itself
    kept: Kept[Result] | None = None
    contract: Mapping[str, Callable[[Result], Any]] = field(default_factory=dict)
    page: str = "interference"
    place: int = 100
    source: str = ""

    @property
    def limit(self) -> Limit:
        """The images a task that the command line measures on, where it is not told."""
        return self.limits[-1] if self.capped else None

    def settled(self, tasks: Sequence[str], given: Mapping[str, object]) -> dict[str, Value]:
        """Return every option with its given or default value. Raises InputError for one that there is not."""
        names = [option.name for option in self.options]
        for name in given:
            if name not in names:
                raise InputError(f"{self.name}: unknown option {name!r}; {suggest(name, names)}")
        chosen: dict[str, Value] = {}
        for option in self.options:
            item = option.among(tasks, chosen)
            chosen[item.name] = item.validate(given.get(item.name, item.default), self.name)
        return chosen

    def known(self, evaluator: Evaluator, recipe: MergeRecipe, options: Options, limit: Limit) -> bool:
        """Whether nothing has to be encoded to measure one side."""
        if not evaluator.number_format_chosen:
            return False
        if self.kept is not None and evaluator.store.has(self.key(evaluator, recipe, options, limit)):
            return True
        return self.requests is not None and evaluator.known(self.requests(evaluator, recipe, options, limit))

    def shipped(self, evaluator: Evaluator, recipe: MergeRecipe, options: Options, limit: Limit) -> bool:
        """Whether one side is known from answers that came with the suite."""
        if not evaluator.number_format_chosen:
            return False
        if self.kept is not None:
            return evaluator.store.is_shipped(self.key(evaluator, recipe, options, limit))
        asked = () if self.requests is None else self.requests(evaluator, recipe, options, limit)
        return evaluator.measurement.shipped(asked)

    def key(self, evaluator: Evaluator, recipe: MergeRecipe, options: Options, limit: Limit) -> str:
        """Return the name under which the result of one side is kept: it changes with all that it depends on."""
        assert self.kept is not None  # asked only where something is kept
        recipe = self.subject(recipe)
        if self.of_merge:
            of: list[object] = [evaluator.digest(recipe), {**recipe.to_dict(), "experts": ""}]
        else:
            weights = evaluator.suite.weight_digests(recipe.experts)
            of = [weights["pretrained"], [[task, weights[task]] for task in recipe.tasks]]
        chosen = [[option.name, options[option.name]] for option in self.options if option.measured]
        images = [evaluator.measurement.images_name(part, limit) for part in self.images(evaluator, recipe)]
        own = [self.source] if self.source else []
        return self.kept.key(json.dumps([of, chosen, images, *own], sort_keys=True))

    def result(
        self, evaluator: Evaluator, recipe: MergeRecipe, options: Options, limit: Limit, progress: Progress | None
    ) -> Result:
        """Return what is kept of one side, or measure and keep it; the number format is chosen by then."""
        if self.kept is None:
            return self.measure(evaluator, recipe, options, limit, progress)
        key, started = self.key(evaluator, recipe, options, limit), time.perf_counter()
        found = self.kept.find(evaluator.store, key)
        if found is None:
            found = self.measure(evaluator, recipe, options, limit, progress)
            about = {"suite": evaluator.suite.name, "analysis": self.name, "recipe": recipe.to_dict(), "limit": limit}
            found = self.kept.keep(evaluator.store, key, found, Record.of(about, time.perf_counter() - started))
        return found

    def ask(
        self,
        evaluator: Evaluator,
        recipes: Sides[MergeRecipe],
        given: Mapping[str, object] | None = None,
        limit: Limit = None,
        progress: Progress | None = None,
    ) -> Answer[Result]:
        """Measure both sides. Raises InputError where the analysis does not apply, or for a wrong option."""
        for recipe in recipes:
            if why := self.refusal(evaluator, recipe):
                raise InputError(f"{self.name}: {why}")
        options = self.settled(recipes.before.tasks, given or {})
        if self.limits:
            evaluator.choose_number_format(None if progress is None else lambda *_: progress(0, 0))
        parts = Parts(progress, len(recipes))
        found = Sides.of(
            self.result(evaluator, recipe, options, limit, parts.part(place)) for place, recipe in enumerate(recipes)
        )
        return Answer(self.name, recipes, found, options, limit)
