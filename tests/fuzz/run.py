"""Try readers on many damaged and hostile files, and print a table of what came of them.

    python tests/fuzz/run.py --examples 10000 --readers npz,arrow --seed 1 --keep /tmp/found

Each reader runs in a process of its own; `--keep` keeps the inputs that came to something else than a message or an
answer. The exit code is 1 where there are any.
"""

from __future__ import annotations

import argparse
import collections
import json
import multiprocessing
import shutil
import sys
import tempfile
import time
import warnings
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=1_000, help="inputs for each reader")
    parser.add_argument("--readers", help="names, separated by commas; all by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for inputs that a reader failed on")
    options = parser.parse_args()
    from readers import READERS

    names = options.readers.split(",") if options.readers else list(READERS)
    print("| reader | inputs | one message | opened | other | minutes |\n|---|---|---|---|---|---|", flush=True)
    bad = 0
    for name in names:
        started = time.monotonic()
        found, code = _apart(name, options.examples, options.seed, options.keep)
        minutes = (time.monotonic() - started) / 60
        refused, opened = (found.pop(word, 0) for word in ("refused", "opened"))
        other = sum(found.values()) + bool(code)
        bad += other
        total = refused + opened + other
        print(f"| {name} | {total:,} | {refused:,} | {opened:,} | {other:,} | {minutes:.1f} |", flush=True)
        if code:
            print(f"    the process ended with {code}", file=sys.stderr, flush=True)
        for what, count in sorted(found.items(), key=lambda item: -item[1])[:20]:
            print(f"    {count} × {what}", file=sys.stderr, flush=True)
    return 1 if bad else 0


def _apart(name: str, examples: int, seed: int, keep: Path | None) -> tuple[dict[str, int], int]:
    """Return the outcomes of a reader's inputs, tried in a process of its own, and that process's exit code."""
    with tempfile.TemporaryDirectory() as folder:
        note = Path(folder) / "counts.json"
        # A fork has everything imported already.
        context = multiprocessing.get_context("fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn")
        process = context.Process(target=_try, args=(name, examples, seed, keep, note))
        process.start()
        process.join()
        found: dict[str, int] = json.loads(note.read_text()) if note.exists() else {}
        return found, process.exitcode or 0


def _try(name: str, examples: int, seed: int, keep: Path | None, note: Path) -> None:
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as seeded
    from inputs import Files, written
    from readers import READERS, outcome, settle_at_once, watch

    settle_at_once()
    warnings.simplefilter("ignore")
    watch()
    reader, counts = READERS[name], collections.Counter[str]()
    home = Path(tempfile.mkdtemp())
    number = 0

    @seeded(seed)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(reader.draw())
    def tried(files: Files) -> None:
        nonlocal number
        number += 1
        folder = home / str(number)
        folder.mkdir()
        written(files, folder)
        found = outcome(reader, folder)
        counts[found] += 1
        if found not in ("opened", "refused") and keep is not None and counts[found] <= 3:
            shutil.copytree(folder, keep / name / str(number), dirs_exist_ok=True)
        shutil.rmtree(folder)
        if number % 100 == 0:
            note.write_text(json.dumps(counts))

    try:
        tried()
    finally:
        note.write_text(json.dumps(counts))
        shutil.rmtree(home)


if __name__ == "__main__":
    sys.exit(main())
