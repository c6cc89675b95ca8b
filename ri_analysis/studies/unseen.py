"""What becomes of images that no expert saw? Unseen domains, and tasks left out of the merge."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.engine.points import LEFT_OUT, UNSEEN, Outcome, Point
from ri_analysis.figures import spread, words
from ri_analysis.figures.compared import compared
from ri_analysis.hyperparameters import Hyperparameter, Value
from ri_analysis.merging import METHODS
from ri_analysis.statistics import wilson
from ri_analysis.studies.adapted import RI_SEEDS, expert_sets
from ri_analysis.studies.study import Chart, Rounds, Study, beside_the_paper, method_names, over_seeds

KINDS = {UNSEEN: "unseen domain", LEFT_OUT: "task left out"}


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
    outcomes: dict[Point, Outcome] = dict(zip(points, (yield points), strict=True))
    rows = []
    for (name, stage, on, merged), group in asked.items():
        for section in outcomes[group[0]].correct:
            correct = [outcomes[point].correct[section] for point in group]
            row = over_seeds("accuracy", [{section: part} for part in correct])
            row["accuracy_low"], row["accuracy_high"] = wilson(row["accuracy"] * len(correct[0]), len(correct[0]))
            rows.append(
                {
                    "kind": KINDS[on],
                    "images": section,
                    "merged": ",".join(merged),
                    "method": name,
                    "stage": stage,
                    **row,
                    "seeds": len(group),
                    "n": len(correct[0]),
                }
            )
    return pd.DataFrame(rows)


def _charts(table: pd.DataFrame, dark: bool) -> dict[str, Chart]:
    charts, zero_shot = {}, table[table["stage"] == "zero-shot"]
    for name in dict.fromkeys(table.loc[table["stage"] != "zero-shot", "method"]):
        part = pd.concat([zero_shot, table[table["method"] == name]])
        part = part.assign(row=part["images"] + " (" + part["kind"] + ")").sort_values("kind", kind="stable")
        text = (
            f"{METHODS[name].title} at its default: a merge that generalises stays right of the zero-shot mark on "
            f"unseen domains, and does not fall left of it on tasks that were left out. {spread.caption(part)} Hover "
            "for the number of images."
        )
        charts[f"unseen-{name}"] = Chart(compared(part, "row", dark=dark), text)
    return charts


def _means(table: pd.DataFrame) -> dict[tuple[str, str, str], float]:
    """Return the mean accuracy by kind, method and stage, every section counting equally."""
    means = table.groupby(["kind", "method", "stage"], sort=False)["accuracy"].mean().reset_index()
    return {(row["kind"], row["method"], row["stage"]): row["accuracy"] for row in means.to_dict(orient="records")}


def _summary(table: pd.DataFrame) -> pd.DataFrame:
    rows, means = [], _means(table)
    for (kind, name, stage), value in means.items():
        if stage != "before":
            continue
        cells = {"images": kind, "method": METHODS[name].title, "before": words.percent(value)}
        cells["zero-shot"] = words.percent(means[kind, "pretrained", "zero-shot"])
        if (after := means.get((kind, name, "after"))) is not None:
            cells |= {"after": words.percent(after), "change": words.points(after - value)}
        rows.append(cells)
    return pd.DataFrame(rows)


def _verdict(table: pd.DataFrame) -> str:
    if "after" not in set(table["stage"]):
        return "There is no RI-adapted expert set, so nothing to compare with."
    means, sentences, claims = _means(table), [], dict[str, bool]()
    for kind in dict.fromkeys(table["kind"]):
        changes = {
            name: value - means[of, name, "before"]
            for (of, name, stage), value in means.items()
            if stage == "after" and of == kind
        }
        listed = ", ".join(f"{METHODS[name].title} {words.points(change)}" for name, change in changes.items())
        if kind == KINDS[UNSEEN]:
            gaining = {"ties": "TIES gains", "averaging": "plain averaging gains"}
            claims |= {
                f"{text} on unseen domains": changes[name] > 0 for name, text in gaining.items() if name in changes
            }
            if "iso-c" in changes:
                claims["Iso-C stays within 1 point there"] = abs(changes["iso-c"]) <= 0.01
        sentences.append(f"On images of kind “{kind}”, RI changes mean accuracy by {listed}.")
    return " ".join([*sentences, beside_the_paper(claims)]).strip()


STUDY = Study(
    "unseen",
    "Unseen domains and tasks",
    "Does RI help on domains no expert saw, and how much zero-shot accuracy does a merge keep on tasks left out of it?",
    "DomainNet, 2 experts on disjoint halves of the classes, 5 unseen domains: TIES +2.3, averaging +2.0, Iso ≈ 0.",
    _rounds,
    _charts,
    _summary,
    _verdict,
    (Hyperparameter("methods", "methods, separated by commas", "averaging,task-arithmetic,ties,iso-c"), RI_SEEDS),
)
