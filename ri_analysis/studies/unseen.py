"""What becomes of images that no expert saw? Unseen domains, and tasks left out of the merge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from ri_analysis.engine.evaluation import paired_differences
from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.engine.outcomes import Flags, Outcomes
from ri_analysis.engine.sections import LEFT_OUT, UNSEEN
from ri_analysis.figures import spread, words
from ri_analysis.figures.chart import Chart
from ri_analysis.figures.compared import compared
from ri_analysis.hyperparameters import Value
from ri_analysis.intervals import wilson
from ri_analysis.merging import METHODS
from ri_analysis.studies.adapted import RI_SEEDS, expert_sets
from ri_analysis.studies.conducting.point import Point
from ri_analysis.studies.study import Rounds, Study, method_names, methods, over_seeds
from ri_analysis.studies.surface import MARGIN
from ri_analysis.studies.verdicts import NOTHING, above, beside_the_paper, in_points, mean_over, within
from ri_analysis.suite.spec import MEAN

KINDS = {UNSEEN: "unseen domain", LEFT_OUT: "task left out"}
KINDS_IN_WORDS = {"unseen domain": "unseen domains", "task left out": "tasks left out of the merge"}
Correct = dict[tuple[str, str, str], list[dict[str, Flags]]]
"""Which predictions are right, by method, stage and kind of images: a mapping from sections of it for each seed."""


def _rounds(evaluator: Evaluator, settings: Mapping[str, Value]) -> Rounds:
    tasks = evaluator.suite.tasks
    sets = yield from expert_sets(evaluator, settings)
    halves = [part for part in (tasks[::2], tasks[1::2]) if part and len(tasks) > 1]
    merges = [(UNSEEN, tasks), *((LEFT_OUT, half) for half in halves)]
    asked: dict[tuple[str, str, str, tuple[str, ...]], list[Point]] = {}
    for on, merged in merges:
        zero_shot = evaluator.recipe("task-arithmetic", {"scale": 0.0}, tasks=merged)
        asked["pretrained", "zero-shot", on, merged] = [Point(zero_shot, on)]
        for name in method_names(settings):
            for stage, names in sets.items():
                recipe = evaluator.recipe(name, tasks=merged)
                asked[name, stage, on, merged] = [Point(recipe.with_experts(experts), on) for experts in names]
    points = [point for group in asked.values() for point in group]
    outcomes: dict[Point, Outcomes] = dict(zip(points, (yield points), strict=True))
    correct: Correct = {}
    merged_of: dict[tuple[str, str], str] = {}
    for (name, stage, on, merged), group in asked.items():
        merged_of |= {(on, section): ",".join(merged) for section in outcomes[group[0]].correct}
        found = correct.setdefault((name, stage, on), [{} for _ in group])
        for sections, point in zip(found, group, strict=True):
            sections.update(outcomes[point].correct)
    return pd.DataFrame(_rows(correct, merged_of))


def _rows(correct: Correct, merged_of: Mapping[tuple[str, str], str]) -> Iterator[dict[str, object]]:
    """Yield a row for every section, and one for the mean of all sections of a kind."""
    for (name, stage, on), by_seed in correct.items():
        every = list(by_seed[0])
        groups = {section: [section] for section in every} | ({MEAN: every} if len(every) > 1 else {})
        for images, sections in groups.items():
            chosen = [_only(sections, one) for one in by_seed]
            row = over_seeds("accuracy", chosen) | {"seeds": len(chosen), "n": sum(map(len, chosen[0].values()))}
            if images != MEAN:
                row["accuracy_low"], row["accuracy_high"] = wilson(row["accuracy"] * row["n"], int(row["n"]))
            if stage == "after":
                [before] = correct[name, "before", on]
                row |= over_seeds("gain", [paired_differences(_only(sections, before), one) for one in chosen])
            merged = "; ".join(dict.fromkeys(merged_of[on, section] for section in sections))
            yield {"kind": KINDS[on], "images": images, "merged": merged, "method": name, "stage": stage, **row}


def _only(sections: Sequence[str], correct: Mapping[str, Flags]) -> dict[str, Flags]:
    return {section: correct[section] for section in sections}


def _charts(table: pd.DataFrame, dark: bool) -> dict[str, Chart]:
    charts, zero_shot = {}, table[table["stage"] == "zero-shot"]
    for name in dict.fromkeys(table.loc[table["stage"] != "zero-shot", "method"]):
        part = pd.concat([zero_shot, table[table["method"] == name]])
        part = part.assign(row=part["images"] + " (" + part["kind"] + ")").sort_values("kind", kind="stable")
        text = (
            f"{METHODS[name].title} at its default λ. A merge that generalises is to the right of the zero-shot mark "
            f"on unseen domains, and not to the left of it on tasks left out of the merge. {spread.caption(part)} "
            "Hover for the number of images."
        )
        charts[f"unseen-{name}"] = Chart(compared(part, "row", dark=dark), text, METHODS[name].title)
    return charts


def _means(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows about all images of a kind together, every section counting equally."""
    alone = table.groupby("kind")["images"].transform("nunique") == 1
    return table[(table["images"] == MEAN) | alone]


def _summary(table: pd.DataFrame) -> pd.DataFrame:
    rows, means = [], _means(table)
    pretrained = means[means["stage"] == "zero-shot"]
    zero_shot = dict(zip(pretrained["kind"], pretrained["accuracy"], strict=True))
    for (kind, name), part in means[means["stage"] != "zero-shot"].groupby(["kind", "method"], sort=False):
        stages = {str(row["stage"]): row for row in part.to_dict(orient="records")}
        cells = {"images": f"{kind} (n = {int(part['n'].iloc[0])})", "method": METHODS[str(name)].title}
        cells |= {"zero-shot": words.percent(zero_shot[kind]), "before": words.percent(stages["before"]["accuracy"])}
        if "after" in stages:
            after = stages["after"]
            cells |= {"after": words.percent(after["accuracy"]), "change": spread.cell(after, "gain")}
        rows.append(cells)
    return pd.DataFrame(rows)


def _verdict(table: pd.DataFrame) -> str:
    if "after" not in set(table["stage"]):
        return NOTHING
    means, sentences, claims = _means(table), [], dict[str, bool | None]()
    for kind, part in means[means["stage"] == "after"].groupby("kind", sort=False):
        changes = {str(name): mean_over(row, "gain") for name, row in part.groupby("method", sort=False)}
        listed = ", ".join(f"{in_points(change)} for {METHODS[name].title}" for name, change in changes.items())
        if kind == KINDS[UNSEEN]:
            gaining = {"ties": "TIES gains", "averaging": "averaging gains"}
            claims |= {
                f"{text} on unseen domains": above(changes[name]) for name, text in gaining.items() if name in changes
            }
            if "iso-c" in changes:
                claims["Iso-C changes by at most 1 point there"] = within(changes["iso-c"], MARGIN)
        sentences.append(f"On {KINDS_IN_WORDS[str(kind)]}, RI changes mean accuracy by {listed}.")
    return " ".join([*sentences, beside_the_paper(claims)]).strip()


STUDY = Study(
    "unseen",
    "Unseen domains and tasks",
    "Does RI help on domains that no expert saw, and on tasks left out of the merge?",
    "DomainNet, 2 experts on disjoint halves of the classes, 5 unseen domains: TIES +2.3 points, averaging +2.0, Iso-C "
    "about 0.",
    _rounds,
    _charts,
    _summary,
    _verdict,
    (methods("averaging", "task-arithmetic", "ties", "iso-c"), RI_SEEDS),
    version="1",
)
