"""`python -m ri_analysis.demo.answers demo demo-halves`: measures what pages ask first, and ships it with the suites.

Every answer is measured in a workspace of its own, a fresh one unless `--work` names one to resume in; then the same is
asked once more, and what was read to answer it is written to `answers.arrow` beside the suite file.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pyarrow as pa
import torch

from ri_analysis.analyses import ANALYSES, Analysis
from ri_analysis.analyses.analysis import Options
from ri_analysis.engine import Evaluator, Store
from ri_analysis.engine.gram import kept_gram, task_vector_gram
from ri_analysis.engine.sealing import Arrays, sealed
from ri_analysis.engine.shipped import FILE, Made, Shippable, write_shipped
from ri_analysis.errors import InputError
from ri_analysis.hyperparameters import Value
from ri_analysis.merging import MergeRecipe
from ri_analysis.sides import Sides
from ri_analysis.studies import STUDIES, Study, sensitivity
from ri_analysis.studies.conducting.conduct import conduct, plan
from ri_analysis.studies.conducting.tables import KeptTable
from ri_analysis.studies.study import Rounds
from ri_analysis.suite import ORIGINAL, open_suite, suite_path

COMMAND = "python -m ri_analysis.demo.answers demo demo-halves"
METHOD = "task-arithmetic"  # the recipe that pages begin with


@dataclass(frozen=True)
class FirstLook:
    """Something that pages show of a suite before the reader has chosen anything.

    `ask` measures it, or finds it; `known` says whether it would find all of it.
    """

    kind: str
    name: str
    ask: Callable[[Evaluator], object]
    known: Callable[[Evaluator], bool]


def first_recipes(evaluator: Evaluator) -> Sides[MergeRecipe]:
    """Return what pages begin with, before and after RI."""
    return Sides(ORIGINAL, evaluator.suite.default_resolved).map(evaluator.recipe(METHOD).with_experts)


def first_looks(evaluator: Evaluator, studies: Sequence[str] = tuple(STUDIES)) -> Iterator[FirstLook]:
    """Yield all that pages and commands ask first of a suite: every analysis, the surface, and every study."""
    recipes = first_recipes(evaluator)
    for analysis in ANALYSES.values():
        if analysis.limits and not analysis.refusal(evaluator, recipes.before):
            yield from _of_analysis(analysis, recipes)
    yield FirstLook("weights", "task vectors", partial(_grams, recipes), partial(_grams_known, recipes))
    yield _of_table("sensitivity", "surface", _surface)
    for name in studies:
        yield _of_table("studies", name, partial(_study, STUDIES[name]))


def _of_analysis(analysis: Analysis[Any], recipes: Sides[MergeRecipe]) -> Iterator[FirstLook]:
    """Yield an analysis at its default options, on the images that pages and the command line look at.

    Of options that are measured, every choice that is the same for all suites.
    """
    usual = analysis.settled(recipes.before.tasks, {})
    listed = [option for option in analysis.options if option.measured and option.choices]
    for limit in dict.fromkeys([analysis.limits[-1], analysis.limit]):
        for values in product(*(option.choices for option in listed)):
            chosen: dict[str, Value] = dict(zip((option.name for option in listed), values, strict=True))
            name = " ".join([analysis.name, *values, f"on {limit or 'all'} images a task"])
            asked = (analysis, recipes, usual | chosen, limit)
            yield FirstLook(analysis.name, name, partial(_ask, *asked), partial(_known, *asked))


def _ask(
    analysis: Analysis[Any], recipes: Sides[MergeRecipe], options: Options, limit: int | None, evaluator: Evaluator
) -> object:
    return recipes.map(lambda recipe: analysis.result(evaluator, recipe, options, limit, None))


def _known(
    analysis: Analysis[Any], recipes: Sides[MergeRecipe], options: Options, limit: int | None, evaluator: Evaluator
) -> bool:
    return all(analysis.known(evaluator, recipe, options, limit) for recipe in recipes)


def _grams(recipes: Sides[MergeRecipe], evaluator: Evaluator) -> object:
    return recipes.map(lambda recipe: task_vector_gram(evaluator.suite, evaluator.store, recipe.experts))


def _grams_known(recipes: Sides[MergeRecipe], evaluator: Evaluator) -> bool:
    return all(kept_gram(evaluator.suite, evaluator.store, recipe.experts) is not None for recipe in recipes)


class Wanted(NamedTuple):
    """A table that is wanted: where it is kept, and the rounds that make it."""

    place: KeptTable
    rounds: Callable[[], Rounds]


def _surface(evaluator: Evaluator) -> Wanted:
    recipes = first_recipes(evaluator)
    x, y, *_ = [*sensitivity.axes_of(recipes.before), None]
    wanted = sensitivity.fields_of(recipes, str(x), y)
    return Wanted(sensitivity.kept_table(evaluator, wanted), lambda: sensitivity.study_field(wanted))


def _study(study: Study, evaluator: Evaluator) -> Wanted:
    settings = {item.name: item.default for item in study.settings}
    return Wanted(KeptTable.of_study(study, settings, evaluator), lambda: study.rounds(evaluator, settings))


def _of_table(kind: str, name: str, find: Callable[[Evaluator], Wanted]) -> FirstLook:
    def ask(evaluator: Evaluator) -> object:
        wanted, started = find(evaluator), time.monotonic()
        found = wanted.place.find()
        if found is not None:
            return found.table
        planned = plan(wanted.rounds(), evaluator)
        table = conduct(wanted.rounds(), evaluator, planned=planned)
        return wanted.place.keep(table, planned.works, time.monotonic() - started)

    return FirstLook(kind, name, ask, lambda evaluator: find(evaluator).place.find() is not None)


class Noting(Store):
    """A store that notes which answers are read."""

    def __init__(self, workspace: Path) -> None:
        super().__init__(workspace)
        self.read: dict[tuple[str, int | None], Arrays] = {}

    def get(self, key: str) -> Arrays | None:
        """See Store."""
        return self._noted(key, None, super().get(key))

    def nested(self, key: str, count: int) -> tuple[int, Arrays] | None:
        """See Store."""
        found = super().nested(key, count)
        if found is not None:
            self._noted(key, *found)
        return found

    def _noted(self, key: str, count: int | None, arrays: Arrays | None) -> Arrays | None:
        if arrays is not None:
            self.read[key, count] = arrays
        return arrays


def gather(suite: str, work: Path, studies: Sequence[str], report: Callable[[str], None]) -> dict[str, list[Shippable]]:
    """Measure in `work` what pages ask first of a suite; return the answers that were read for it, by kind."""
    evaluator = Evaluator(open_suite(suite, work), work, "cpu", number_format=torch.float32, fresh=True)
    for look in first_looks(evaluator, studies):
        started = time.monotonic()
        look.ask(evaluator)
        report(f"{suite}: {look.name}, {time.monotonic() - started:.1f} s")
    found: dict[str, list[Shippable]] = {}
    seen: set[tuple[str, int | None]] = set()
    for look in first_looks(evaluator, studies):
        store = Noting(work)
        look.ask(Evaluator(open_suite(suite, work), None, "cpu", number_format=torch.float32, store=store))
        store.close()
        new = {name: arrays for name, arrays in store.read.items() if name not in seen}
        seen |= set(new)
        found.setdefault(look.kind, []).extend(Shippable(*name, arrays) for name, arrays in new.items())
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the answers of suites; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m ri_analysis.demo.answers", description=__doc__)
    parser.add_argument("suites", nargs="+", help="embedded suites, suite files or their folders")
    parser.add_argument("--work", type=Path, help="workspace to measure in, and to resume in (default: a fresh one)")
    parser.add_argument("--studies", nargs="*", default=list(STUDIES), help="studies to ship (default: all)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    started = time.monotonic()

    def report(line: str) -> None:
        print(f"[{time.monotonic() - started:6.0f} s] {line}", file=sys.stderr, flush=True)

    with ExitStack() as stack:
        work = options.work or Path(stack.enter_context(TemporaryDirectory()))
        try:
            for suite in options.suites:
                found = gather(suite, work, options.studies, report)
                path = suite_path(suite).parent / FILE
                write_shipped(path, [answer for answers in found.values() for answer in answers], Made.here())
                print(_sizes(path, found))
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
    return 0


def _sizes(path: Path, found: dict[str, list[Shippable]]) -> str:
    """Return how many bytes each kind of answer takes, compressed by itself: together they take less."""
    sizes = Counter[str]()
    for kind, answers in found.items():
        sizes[kind] = len(
            pa.compress(b"".join(sealed(each.arrays, each.key) for each in answers), "zstd", asbytes=True)
        )
    lines = [f"{size:>9,} bytes  {kind}, {len(found[kind])} answers" for kind, size in sizes.most_common()]
    return "\n".join([*lines, f"{path.stat().st_size:>9,} bytes  {path}"])


if __name__ == "__main__":
    sys.exit(main())
