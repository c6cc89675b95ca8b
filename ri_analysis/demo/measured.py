"""`python -m ri_analysis.demo.measured assets/demo`: measures a suite and writes the table into its README.

Merging by Task Arithmetic and TIES over a range of λ, before and after RI, on the test images; further seeds of RI show
the spread. Everything in the table between the two marks is computed here.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ri_analysis.engine import Evaluation, Evaluator, default_workspace
from ri_analysis.errors import InputError
from ri_analysis.markdown import markdown_table, write_section
from ri_analysis.measures import off_diagonal_mean
from ri_analysis.suite import ORIGINAL, open_suite

SCALES = tuple(round(0.1 * step, 1) for step in range(1, 11))
METHODS = ("task-arithmetic", "ties")
SECTION = "measured"  # of the README


def sweep(evaluator: Evaluator, method: str, experts: str, split: str = "test") -> dict[float, Evaluation]:
    """Return the evaluation at every scale."""
    recipes = {scale: evaluator.recipe(method, {"scale": scale}, experts=experts) for scale in SCALES}
    return {scale: evaluator.measure(recipe, split=split) for scale, recipe in recipes.items()}


def best_scale(evaluations: Mapping[float, Evaluation]) -> float:
    """Return the scale of the best mean accuracy."""
    return max(evaluations, key=lambda scale: evaluations[scale].mean_accuracy[0])


def sweep_row(evaluator: Evaluator, method: str, experts: str) -> dict[str, object]:
    """Return what one method makes of one expert set: at its best scale on the test images, and at 1."""
    found = sweep(evaluator, method, experts)
    best = best_scale(found)
    accuracy, (low, high) = found[best].mean_accuracy
    tuned = best_scale(sweep(evaluator, method, experts, "validation"))
    return {
        "method": method,
        "experts": experts,
        "best λ": best,
        "accuracy at best λ": f"{accuracy:.3f} [{low:.3f}, {high:.3f}]",
        "ξ at best λ (nats)": f"{found[best].mean_interference[0]:.3f}",
        "accuracy at λ = 1": f"{found[1.0].mean_accuracy[0]:.3f}",
        "ξ at λ = 1 (nats)": f"{found[1.0].mean_interference[0]:.3f}",
        "λ chosen on validation": tuned,
        "accuracy at that λ": f"{found[tuned].mean_accuracy[0]:.3f}",
    }


def task_table(evaluator: Evaluator, experts: str) -> pd.DataFrame:
    """Return per task the zero-shot, the original and the adapted expert's accuracy on the test images."""
    rows = []
    for task in evaluator.suite.tasks:
        alone = [
            evaluator.measure(evaluator.recipe("task-arithmetic", {"scale": 1.0}, experts=name, tasks=[task])).table
            for name in (ORIGINAL, experts)
        ]
        first = alone[0].iloc[0]
        rows.append(
            {
                "task": task,
                "classes": len(evaluator.heads[task].classes),
                "n": int(first.n),
                "zero-shot": first.zero_shot_accuracy,
                "expert": first.expert_accuracy,
                "expert after RI": alone[1].iloc[0].accuracy,
            }
        )
    table = pd.DataFrame(rows)
    mean = {"task": "**mean**", "classes": "", "n": int(table.n.sum())}
    return pd.concat([table, pd.DataFrame([mean | table.iloc[:, 3:].mean().to_dict()])], ignore_index=True)


def spread_table(evaluator: Evaluator, sets: Sequence[str]) -> pd.DataFrame:
    """Return how far apart several seeds of RI lie: per method at its best λ and at λ = 1, alone, and in crosstalk."""
    rows = []
    for method in METHODS:
        found = [sweep(evaluator, method, name) for name in sets]
        best = [evaluations[best_scale(evaluations)] for evaluations in found]
        rows += [
            _spread(f"{method}, accuracy at best λ", [item.mean_accuracy[0] for item in best]),
            _spread(f"{method}, ξ at best λ (nats)", [item.mean_interference[0] for item in best]),
            _spread(f"{method}, accuracy at λ = 1", [evaluations[1.0].mean_accuracy[0] for evaluations in found]),
        ]
    own = [task_table(evaluator, name)["expert after RI"].iloc[-1] for name in sets]
    crosstalk = [off_diagonal_mean(evaluator.crosstalk(name)) for name in sets]
    return pd.DataFrame([*rows, _spread("experts' own accuracy", own), _spread("mean crosstalk (nats)", crosstalk)])


def _spread(measure: str, values: Sequence[float]) -> dict[str, object]:
    return {"measure": measure, "mean": float(np.mean(values)), "lowest": min(values), "highest": max(values)}


def report(evaluator: Evaluator, seeds: Sequence[str]) -> str:
    """Return the measured section as Markdown; `seeds` are RI sets that differ from the default one in the seed."""
    suite = evaluator.suite
    default = suite.expert_set("ri")
    sets = (ORIGINAL, default)
    merges = pd.DataFrame([sweep_row(evaluator, method, name) for method in METHODS for name in sets])
    crosstalk = {name: off_diagonal_mean(evaluator.crosstalk(name)) for name in sets}
    parts = [
        f"Experts on their own test images, before and after RI (`{default}`):",
        markdown_table(task_table(evaluator, default)),
        "Merged models on the test images of all tasks, λ from 0.1 to 1.0; intervals are 95 % bootstrap intervals:",
        markdown_table(merges),
        f"Mean crosstalk off the diagonal: {crosstalk[ORIGINAL]:.4f} nats before RI, {crosstalk[default]:.4f} after, "
        f"{crosstalk[ORIGINAL] / crosstalk[default]:.1f} times less.",
    ]
    if seeds:
        names = [default, *seeds]
        parts += [f"Spread over {len(names)} seeds of RI:", markdown_table(spread_table(evaluator, names))]
    return "\n\n".join(parts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the measured section of a suite's README; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m ri_analysis.demo.measured", description=__doc__)
    parser.add_argument("suite", type=Path, help="folder of the suite")
    parser.add_argument("--seeds", nargs="*", default=[], help="expert sets resolved with other seeds")
    parser.add_argument("--workspace", type=Path, default=default_workspace())
    options = parser.parse_args(arguments)
    try:
        evaluator = Evaluator(open_suite(str(options.suite), options.workspace), options.workspace)
        write_section(options.suite / "README.md", SECTION, report(evaluator, options.seeds))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
