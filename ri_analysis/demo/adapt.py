"""The last stage of the recipe: RI on the built suites, as `ri-analysis resolve` runs it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from ri_analysis.demo.write import declare_resolved
from ri_analysis.hyperparameters import Value
from ri_analysis.resolving import Losses, resolve
from ri_analysis.suite import ORIGINAL, Suite, open_suite
from ri_analysis.suite.suite import RECORD

AUXILIARY = NAME = "mix"

# Chosen on the validation images of `demo`; the paper's rate and steps suit towers a hundred times this size. A small
# rate over many steps that see each variant about once, and α below 1, cost the experts least of their own task.
SETTINGS: Mapping[str, Value] = {
    "steps": 1200,
    "batch": 64,
    "lr": 3e-5,
    "alpha": 0.6,
    "views": 8,
    "schedule": "warm-cosine",
}


def adapt(folder: Path, settings: Mapping[str, Value], seed: int, report: Callable[[str], None]) -> None:
    """Resolves the experts of the suite in `folder` into `resolved/mix` there, unless an earlier run did."""
    suite = open_suite(str(folder / "suite.toml"))
    output = folder / "resolved" / NAME
    if not _is_of(suite, output / RECORD, settings, seed):
        if (output / RECORD).exists():
            shutil.rmtree(output)

        def note(now: Losses) -> None:
            if now.step == settings["steps"]:
                report(f"RI on {suite.name}, {now.task}: keep {now.keep:.3f}, free {now.free:.3f} nats")

        resolve(
            suite,
            auxiliary=AUXILIARY,
            name=NAME,
            settings=settings,
            directory=output,
            seed=seed,
            resume=True,
            report=note,
        )
    declare_resolved(folder, NAME)


def _is_of(suite: Suite, record: Path, settings: Mapping[str, Value], seed: int) -> bool:
    """Whether the set that was recorded came of these settings and of the experts that lie there now."""
    if not record.exists():
        return False
    found = json.loads(record.read_text(encoding="utf-8"))
    wanted = {**found["settings"], **settings}
    same = {key: found[key] for key in ("settings", "seed")} == {"settings": wanted, "seed": seed}
    return same and dict(found["weights"]) == suite.weight_digests(ORIGINAL)
