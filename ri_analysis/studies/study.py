"""What a study is."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ri_analysis import plugins
from ri_analysis.allowed import told
from ri_analysis.engine.evaluation import paired_differences
from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.engine.outcomes import Outcomes
from ri_analysis.figures import words
from ri_analysis.figures.chart import Chart
from ri_analysis.hyperparameters import Hyperparameter, Value, complete, listed
from ri_analysis.intervals import bootstrap_mean
from ri_analysis.merging import METHODS, Method
from ri_analysis.sides import Sides
from ri_analysis.studies.conducting.work import Work
from ri_analysis.suite import ORIGINAL, Suite

Rounds = Generator[Sequence[Work], list[Any], pd.DataFrame]
"""Yields work, is sent its results in the same order, and so on; returns the tidy table."""
Part = Generator[Sequence[Work], list[Any], None]
"""Some of a study's rounds."""


@dataclass(frozen=True)
class Setting(Hyperparameter):
    """A setting whose choices, by name with their titles, depend on the suite and on the settings before it."""

    among: Callable[[Suite, Mapping[str, object]], Mapping[str, str]] = field(kw_only=True)

    def on(self, suite: Suite, chosen: Mapping[str, object]) -> Hyperparameter:
        """Return the setting with its choices; the default is the first one where it is none of them."""
        found = self.among(suite, chosen)
        default = self.default if self.default in found else next(iter(found), self.default)
        return replace(self, choices=tuple(found), titles=tuple(found.values()), default=default)


@dataclass(frozen=True)
class Study:
    """A question that takes many merges.

    `rounds(evaluator, settings)` says what is to be measured, round by round: a later round may depend on the results
    of the earlier ones. `charts(table, dark)` draws the tidy table, `summary(table)` is the short one for documents,
    and `verdict(table)` says in a sentence or two what was found, to stand beside `finding`, what the paper reports
    (not re-run by us), "" where it reports nothing. With a `version` the finished table is kept, under a name that
    covers settings and suite: raise it whenever the same settings mean another table. Without one it is made again
    from its points, which suits a study that is still being written. `every_method` says that it is about all merging
    methods there are; `source` is the digest of the plug-in that declares it.
    """

    name: str
    title: str
    question: str
    finding: str
    rounds: Callable[[Evaluator, Mapping[str, Value]], Rounds]
    charts: Callable[[pd.DataFrame, bool], dict[str, Chart]]
    summary: Callable[[pd.DataFrame], pd.DataFrame]
    verdict: Callable[[pd.DataFrame], str]
    settings: tuple[Hyperparameter, ...] = ()
    version: str = ""
    every_method: bool = False
    source: str = ""

    def declared(self, suite: Suite, given: Mapping[str, object]) -> list[Hyperparameter]:
        """Return the settings with the choices they have for this suite, given values of some."""
        chosen: dict[str, object] = {}
        found = []
        for item in self.settings:
            found.append(item.on(suite, chosen) if isinstance(item, Setting) else item)
            chosen[item.name] = given.get(item.name, found[-1].default)
        return found

    def complete(self, suite: Suite, given: Mapping[str, object]) -> dict[str, Value]:
        """Return every setting with its given or default value. Raises InputError for what this suite does not have."""
        return complete(self.declared(suite, given), given, self.name)

    def command(self, suite: str, settings: Mapping[str, Value]) -> str:
        """Return the shell command that runs the study with these settings and writes its figures as files."""
        parts = ["ri-analysis", "study", self.name, told(suite), "--out", f"studies/{self.name}"]
        for item in self.settings:
            if settings[item.name] != item.default:
                parts += ["--set", f"{item.name}={words.exact(settings[item.name])}"]
        named = [METHODS[name].source for name in METHODS if self.every_method or names_method(settings, name)]
        return shlex.join([*parts, *plugins.flags(self.source, *named)])


def names_method(settings: object, method: str) -> bool:
    """Whether settings, however deep, hold a method's name, alone or among several."""
    if isinstance(settings, Mapping):
        return any(names_method(value, method) for value in settings.values())
    if isinstance(settings, list | tuple):
        return any(names_method(value, method) for value in settings)
    return isinstance(settings, str) and method in listed(settings)


def before_and_after(evaluator: Evaluator) -> dict[str, list[str]]:
    """Return the expert sets to compare by stage, "before" and "after" RI; only the former where there is no RI set."""
    sides = Sides(ORIGINAL, evaluator.suite.default_resolved)
    return {stage: [experts] for stage, experts in sides.stages.items()}


class _OfMethods(Sequence[str]):
    """A text of each merging method, in their order; those that plug-ins add are among them."""

    def __init__(self, text: Callable[[Method], str]) -> None:
        self._text = text

    def __getitem__(self, place: Any) -> Any:
        return [self._text(method) for method in METHODS.values()][place]

    def __len__(self) -> int:
        return len(METHODS)


METHOD = Hyperparameter(
    "method",
    "merging method",
    "task-arithmetic",
    choices=_OfMethods(lambda method: method.name),
    titles=_OfMethods(lambda method: method.title),
)


def methods(*default: str) -> Hyperparameter:
    """Declare the setting `methods`, which `method_names` reads."""
    return Hyperparameter("methods", "merging methods to compare", ",".join(default), each=METHOD)


def method_names(settings: Mapping[str, Value]) -> list[str]:
    """Return the methods that the setting `methods` names."""
    return listed(settings["methods"])


def measured(*outcomes: Outcomes) -> dict[str, float]:
    """Return the columns that every table has of a merge, measured once or with several seeds.

    `accuracy` and `interference` are means over the seeds; `_low` and `_high` the 95 % interval over images of that
    mean, `_seed_low` and `_seed_high` the lowest and the highest seed. `seeds` counts them, and `n` the images.
    """
    return {
        **over_seeds("accuracy", [outcome.correct for outcome in outcomes]),
        **over_seeds("interference", [outcome.divergence for outcome in outcomes]),
        "seeds": len(outcomes),
        "n": outcomes[0].n,
    }


def changed(
    before: Sequence[Outcomes],
    after: Sequence[Outcomes],
    accuracy: str = "gain",
    interference: str = "interference_change",
) -> dict[str, float]:
    """Return the columns of two changes, as `measured` has them, paired by image and seed.

    One outcome before is compared with every seed's after.
    """
    pairs = [(before[number % len(before)], outcome) for number, outcome in enumerate(after)]
    return {
        **over_seeds(accuracy, [paired_differences(old.correct, new.correct) for old, new in pairs]),
        **over_seeds(interference, [paired_differences(old.divergence, new.divergence) for old, new in pairs]),
    }


def over_seeds(name: str, by_seed: Sequence[Mapping[str, npt.NDArray[Any]]]) -> dict[str, float]:
    """Return `measured`'s columns of one quantity, given the value of each image, by task and seed."""
    groups = [np.stack([values[task] for values in by_seed]).astype(np.float64) for task in by_seed[0]]
    means = np.mean([group.mean(axis=1) for group in groups], axis=0)
    low, high = bootstrap_mean([group.mean(axis=0) for group in groups])
    return {
        name: float(means.mean()),
        f"{name}_low": low,
        f"{name}_high": high,
        f"{name}_seed_low": float(means.min()),
        f"{name}_seed_high": float(means.max()),
    }
