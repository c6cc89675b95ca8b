"""Damage the small files that pages keep in a workspace, one at a time, and look at all pages.

    python tests/faults/pages.py --times 100 --seed 1

Pinned figures, the table of recipes, suites opened last, plans, records and experts of RI runs, and statistics of
Fisher merging; the store is what `run.py` damages.
A page is to open, or to say in one message why not, and every number in it that is in no message, no time and no size
must be one of those shown where nothing is damaged. The exit code is 1 where that was not so; stderr then says where.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
from streamlit.testing.v1 import AppTest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]
from damage import damage  # noqa: E402
from running import app_on, register_each_run  # noqa: E402
from shown import text  # noqa: E402
from tiny import make_suite  # noqa: E402

from ri_analysis.engine import Evaluator  # noqa: E402
from ri_analysis.errors import Cancelled  # noqa: E402
from ri_analysis.resolving import resolve  # noqa: E402
from ri_analysis.suite import Suite, open_suite  # noqa: E402
from ri_analysis.ui import opening, pace  # noqa: E402
from ri_analysis.views import estimate  # noqa: E402

PAGES = [file.name for file in sorted((Path(__file__).parents[2] / "pages").glob("*.py"))]
TELLING = (
    *(None, True, -1, 0, 1e308, float("nan")),
    *("", "\0", "\ud800", "../../x", "x" * 20_000),
    *([], {}, [[]], {"": None}),
)
KINDS = re.compile(r"[0-9a-f]{12,}|\d{4}-\d\d-\d\d\S*")
"""Parts of file names that are other in each run."""
PASSING = re.compile(r"[\d.]+ (?:s|ms|min|hours?|seconds?|minutes?|[kMG]?B|bytes)\b|line \d+ column \d+ \(char \d+\)")
"""Times and sizes, which may be others, and places in a damaged file."""


def kept(home: Path) -> tuple[Path, Path]:
    """Make a suite, and a workspace in which each kind of file is; return both."""
    suite, workspace = make_suite(home / "suite"), home / "whole"
    other = make_suite(home / "other", seed=1)
    opened = open_suite(str(suite), workspace)
    for name, share in (("whole", 1.0), ("half", 0.4)):
        resolved(opened, name, share)
    evaluator = Evaluator(open_suite(str(suite), workspace), workspace, "cpu")
    evaluator.measure(evaluator.recipe("fisher", {"images": 4}))
    with pytest.MonkeyPatch.context() as patch:
        app = app_on(suite, workspace, patch).run()
        press(app, "pin.headline", "pin.accuracy-by-task")
        app.switch_page("pages/compare.py").run()
        field(app, "compare.add.text").set_value("averaging scale=0.5,1")
        press(app, "compare.add.submit")
        app.switch_page("pages/experts.py").run()
        field(app, "widget.experts.path").set_value(str(other))
        press(app, "experts.open")
        app.run()
    return suite, workspace


def resolved(suite: Suite, name: str, share: float) -> None:
    """Make a set by RI, or stop after a share of the steps."""

    def stop(done: int, total: int) -> None:
        if done > total * share:
            raise Cancelled

    settings = {"steps": 2, "lr": 3e-5, "views": 8}
    with suppress(Cancelled):
        resolve(suite, auxiliary="noise", name=name, settings=settings, progress=stop)


def field(app: AppTest, key: str) -> object:
    return next(each for each in app.text_input if each.key == key)


def press(app: AppTest, *keys: str) -> None:
    for key in keys:
        next(each for each in app.button if each.key == key).click().run()


def hurt(path: Path, random: Random) -> str:
    """Damage a file's bytes, or one value of its JSON; return how."""
    if path.suffix != ".json" or random.random() < 0.4:
        return damage(path, random)
    document = json.loads(path.read_text())
    places = [*_places(document)]
    if not places:
        return damage(path, random)
    holder, key = random.choice(places)
    value = random.choice(TELLING)
    holder[key] = value
    path.write_text(json.dumps(document))
    return f"{key!r} is {value!r:.40}"


def _places(value: object) -> list[tuple[object, object]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, item in items for place in ((value, key), *_places(item))]


def looked_at(suite: Path, workspace: Path) -> tuple[dict[str, set[str]], list[str], set[str]]:
    """Return the numbers that each page says, the tracebacks there are, and the error messages."""
    numbers, tracebacks, messages = dict[str, set[str]](), list[str](), set[str]()
    with pytest.MonkeyPatch.context() as patch:
        app = app_on(suite, workspace, patch)
        for page in PAGES:
            (app if page == "overview.py" else app.switch_page(f"pages/{page}")).run()
            tracebacks += [f"{page}: {each.message or each.value}: {each.stack_trace[-3:]}" for each in app.exception]
            said = f"{text(app)} {' '.join(f'{each.value} {each.delta}' for each in app.metric)}"
            for each in app.error:
                messages.add(str(each.value))
                said = said.replace(str(each.value), "")
            said = PASSING.sub("", KINDS.sub("", said.replace(str(workspace), "").replace(workspace.name, "")))
            numbers[page] = {*re.findall(r"\d+(?:\.\d+)?", said)}
    return numbers, tracebacks, messages


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=50, help="files to damage")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    random, bad = Random(options.seed), 0
    counts = defaultdict[str, list[float]](lambda: [0.0] * 5)
    opening.PATIENCE = estimate.PATIENCE = 60.0
    pace.SHORT = -1.0  # what is long waits for its button
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        home = Path(name)
        patch.setenv("XDG_DATA_HOME", str(home / "data"))
        register_each_run(patch)
        suite, whole = kept(home)
        files = [path for path in sorted(whole.rglob("*")) if path.is_file() and path.stat().st_size]
        files = [path.relative_to(whole) for path in files if not path.name.startswith("store.")]
        looked_at(suite, shutil.copytree(whole, home / "first"))
        known, *wrong = looked_at(suite, shutil.copytree(whole, home / "second"))
        if any(wrong):
            raise SystemExit(f"errors where nothing is damaged: {wrong}")
        for number in range(options.times):
            started, file = time.monotonic(), random.choice(files)
            workspace = shutil.copytree(whole, home / f"damaged-{number}")
            how = f"{file}: {hurt(workspace / file, random)}"
            numbers, tracebacks, messages = looked_at(suite, workspace)
            other = {page: found for page in PAGES if (found := numbers[page] - known[page])}
            count = counts[KINDS.sub("…", str(file))]
            found = (1, bool(messages), bool(tracebacks), bool(other), time.monotonic() - started)
            for place, more in enumerate(found):
                count[place] += more
            bad += bool(tracebacks) + bool(other)
            notes = [*messages, *tracebacks, *[f"other numbers: {other}"] * bool(other)]
            print("".join(f"    {how}: {each[:1500]}\n" for each in notes), end="", file=sys.stderr, flush=True)
            shutil.rmtree(workspace)
        print("| file | times | messages | tracebacks | other numbers | seconds |\n|---|---|---|---|---|---|")
        for shown, found_of in sorted(counts.items()):
            print(f"| {shown} | {' | '.join(f'{each:.0f}' for each in found_of)} |")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
