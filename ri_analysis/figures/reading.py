"""The sentence beside a figure that says how to read it, where pages and reports share it."""

from __future__ import annotations

import pandas as pd

from ri_analysis.figures import words

HEADLINE = "Bars are means over the tasks, each counting the same; the lines across their ends are 95% intervals."
ACCURACY_BY_TASK = (
    "The band runs from zero-shot to the expert; the points are the merged models: the nearer to the band's right end, "
    "the less the merge lost."
)
INTERFERENCE_BY_TASK = "Shorter is better: at zero the merged model answers like the task's own expert."
CROSSTALK = (
    "Each row is an expert on its own, each column a task whose outputs it moves away from the pretrained model's; "
    "darker is less. Both matrices share one scale, the diagonal (what an expert learned for itself) is left out."
)


def resting_on(n: int, tasks: int, full: bool) -> str:
    """Say on how many images a figure rests."""
    images = words.count(n, "test image")
    if not full:
        return f"A first look at {images} of {words.count(tasks, 'task')}; all of them follow."
    return f"Rests on all {images} of {words.count(tasks, 'task')}; bars show 95% intervals."


def crosstalk_rests_on(table: pd.DataFrame) -> str:
    """Say on how many images a crosstalk table rests."""
    images = words.count(int(table["n"].max()), "test image")
    return f"Rests on up to {images} for each of {len(table)} pairs of expert and task."


def title(name: str) -> str:
    """Return the title of a figure by its name."""
    plain = name.removesuffix("-probe")
    return _TITLES.get(plain) or plain.replace("-", " ").capitalize()


_TITLES = {
    "headline": "Before and after RI",
    "accuracy-by-task": "Accuracy per task",
    "interference-by-task": "Interference per task",
    "crosstalk": "Who disturbs whom",
    "map-pca": "Images as two models see them (PCA)",
    "map-umap": "Images as two models see them (UMAP)",
    "sensitivity": "Sensitivity to hyperparameters",
}
