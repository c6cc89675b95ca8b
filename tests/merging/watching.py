"""What a statistic of task images is computed from, taken from the tiny suite."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from ri_analysis.encoder import Encoder
from ri_analysis.engine import Evaluator
from ri_analysis.merging.method import Observed


def watch(evaluator: Evaluator, *tasks: str, seen: Callable[[int], None] = lambda count: None) -> Observed:
    return Observed(
        Encoder(evaluator.architecture, batch=7),
        evaluator.suite.task_vectors("original", tasks),
        {task: evaluator.heads[task] for task in tasks},
        {task: evaluator.suite.task_data(task, "validation") for task in tasks},
        seen,
        folder := Path(tempfile.mkdtemp()),
        evaluator.suite.task_vectors("original", tasks),
        folder / "state.pt",
    )
