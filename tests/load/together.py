"""Serve two apps and run a study on one workspace at the same time, to the study's end, and hold it against each alone.

    python tests/load/together.py                                # on the tiny suite
    python tests/load/together.py --suite demo-halves --study tuning

Both apps have sessions that go from page to page until the study has ended. Then the same study runs in a workspace of
its own, and one session after the other opens the same pages there. Held against those are the study's table, and every
answer that is kept; against one session alone, each figure and headline number that the sessions were shown.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from sessions import Seen, compare, hold, served
from tiny import make_suite

from ri_analysis.engine.sealing import Arrays, unsealed

SAME = 1e-5  # between answers that were measured in batches of other sizes


async def study(name: str, suite: str, workspace: Path, out: Path) -> int:
    """Run a study; return its exit code."""
    command = ["-m", "ri_analysis.cli", "study", name, suite, "--out", str(out), "--no-images"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, "--workspace", str(workspace), stdout=asyncio.subprocess.DEVNULL
    )
    return await process.wait()


async def together(
    ports: tuple[int, int], sessions: int, name: str, suite: str, folder: Path
) -> tuple[int, list[Seen]]:
    """Run a study beside the sessions of two apps; return its exit code and what the sessions met with."""
    over, seen = asyncio.Event(), [Seen(), Seen()]
    held = [asyncio.create_task(hold(port, sessions, 60, each, over)) for port, each in zip(ports, seen, strict=True)]
    code = await study(name, suite, folder / "shared", folder / "beside")
    over.set()
    await asyncio.gather(*held)
    return code, seen


def answers(workspace: Path) -> Iterator[tuple[str, Arrays | None]]:
    """Yield the answers that a workspace keeps, under their names; None where one is not what it was."""
    with sqlite3.connect(workspace / "store.sqlite") as store:
        for table, name in (("answers", "key"), ("outcomes", "key || ':' || count")):
            for key, value in store.execute(f"SELECT {name}, value FROM {table}"):
                yield f"{table} {key}", unsealed(value, key)


def equal(one: Arrays | None, other: Arrays | None) -> bool:
    """Whether two answers are the same, up to the last digits."""
    if one is None or other is None or set(one) != set(other):
        return False
    return all(_equal(array, other[name]) for name, array in one.items())


def _equal(one: np.ndarray, other: np.ndarray) -> bool:
    if one.dtype.kind == "f" and one.shape == other.shape:
        return bool(np.allclose(one, other, rtol=SAME, atol=SAME, equal_nan=True))
    return np.array_equal(one, other)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", help="by default the tiny one of the tests")
    parser.add_argument("--study", default="alone")
    parser.add_argument("--sessions", type=int, default=4, help="of each app")
    options = parser.parse_args()
    problems = list[str]()
    with tempfile.TemporaryDirectory() as new:
        folder = Path(new)
        suite = options.suite or str(make_suite(folder / "suite"))
        started = time.monotonic()
        with served(suite, str(folder / "shared")) as (one, _), served(suite, str(folder / "shared")) as (two, _):
            code, seen = asyncio.run(together((one, two), options.sessions, options.study, suite, folder))
        print(f"together: {time.monotonic() - started:.0f} s, exit code {code}", flush=True)
        alone = asyncio.run(study(options.study, suite, folder / "alone", folder / "by-itself"))
        tables = [(folder / name / "table.csv").read_text() for name in ("beside", "by-itself")]
        rows = tables[0].count("\n") - 1
        print(f"the study's table: {rows} rows, {'the same' if tables[0] == tables[1] else 'others'} alone", flush=True)
        problems += ["a study failed"] * bool(code or alone) + ["the tables differ"] * (tables[0] != tables[1])
        expected = set(dict(answers(folder / "alone")))
        for workspace in ("shared", "alone"):  # the sessions' recipes are measured alone, too
            for each in seen:
                found = replace(each, crosstalk=Counter())
                compared = compare(suite, str(folder / workspace), options.sessions, found)
                if workspace == "shared":
                    print(f"an app: {sum(map(len, each.drawn.values()))} pages drawn; {compared}", flush=True)
                    problems += [*each.errors, *each.crosstalk, *found.crosstalk]
        shared, alone_too = dict(answers(folder / "shared")), dict(answers(folder / "alone"))
        lost = expected - set(shared)
        both = set(shared) & set(alone_too)
        other = [key for key in both if not equal(shared[key], alone_too[key])]
        print(f"{len(shared)} answers kept; of the study's {len(expected)}, {len(lost)} lost")
        print(f"{len(both)} of them measured alone, too: {len(other)} are others there")
        problems += [*(f"lost: {key}" for key in lost), *(f"other: {key}" for key in other)]
    print("\n".join(problems[:20]) or "nothing lost, no other number, no error")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
