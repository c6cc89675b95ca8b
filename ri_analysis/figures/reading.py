"""The sentence beside a figure that says how to read it, where pages and reports share it."""

from __future__ import annotations

from ri_analysis.figures import words

HEADLINE = "Bars are means over the tasks, each counting the same; the lines across their ends are 95% intervals."
ACCURACY_BY_TASK = (
    "The band runs from zero-shot to the expert; the points are the merged models: the nearer to the band's right end, "
    "the less the merge lost."
)
INTERFERENCE_BY_TASK = "Shorter is better: at zero the merged model predicts like the task's own expert."


def resting_on(n: int, tasks: int, full: bool) -> str:
    """Say on how many images a figure is based where the others follow by themselves."""
    if not full:
        return f"A first look at {words.count(n, 'test image')} of {words.count(tasks, 'task')}; the rest follow."
    return based_on(n, tasks, full)


def based_on(n: int, tasks: int, full: bool, limit: int | None = None) -> str:
    """Say on how many images a figure is based, `limit` a task at most."""
    images = f"{'all ' if full else ''}{words.count(n, 'test image')} of {words.count(tasks, 'task')}"
    sample = "" if full else f", a fixed sample of at most {limit} a task"
    return f"Based on {images}{sample}; bars show 95% intervals."


def title(name: str) -> str:
    """Return the title of a figure by its name."""
    plain = name.removesuffix("-probe")
    return _TITLES.get(plain) or plain.replace("-", " ").capitalize()


_TITLES = {
    "headline": "Before and after RI",
    "accuracy-by-task": "Accuracy per task",
    "interference-by-task": "Interference per task",
    "crosstalk": "Who disturbs whom",
    "map-pca": "Images as the models see them (PCA)",
    "map-umap": "Images as the models see them (UMAP)",
    "sensitivity": "Sensitivity to hyperparameters",
}
