"""Inject faults into commands on the tiny suite, and print a table of what came of them (Linux).

    python tests/faults/run.py --faults kill,store,shared,statistics,state,disk,signals --times 30 --seed 1
    python tests/faults/run.py --faults kill --works "resolve,resolve --alpha" --times 100

Ended by SIGKILL, or by SIGINT, SIGTERM and SIGHUP, at random moments; the store of answers (also while two commands
use it), kept statistics or saved training states damaged; a disk that is soon full (as root). What a command comes to
afterwards is held against what it comes to undisturbed. Slow works meet with a fifth of `--times`. The exit code is 1
where an answer was wrong, something was left behind or lost, or Python's traceback was shown; stderr then says how.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

HEADINGS = "fault | work | times | same answer | said | ended | left | tracebacks | wrong | lost | seconds"


def main() -> int:
    from forked import load
    from kinds import KINDS, why_not
    from works import WORKS, Room

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", default=",".join(KINDS), help="kinds, separated by commas; all by default")
    parser.add_argument("--works", help="commands, separated by commas; by default all that a fault is for")
    parser.add_argument("--times", type=int, default=30, help="faults for each work")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chosen = options.works.split(",") if options.works else list(WORKS)
    bad = 0
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        load(home / "home")
        from tiny import make_suite

        suite = make_suite(home / "suite")
        print(f"| {HEADINGS} |\n|{'---|' * (HEADINGS.count('|') + 1)}", flush=True)
        for fault in options.faults.split(","):
            inject, works = KINDS[fault]
            if reason := why_not(fault, home):
                print(f"    {fault} is left out: {reason}", file=sys.stderr, flush=True)
                continue
            for work in [each for each in works if each in chosen]:
                started = time.monotonic()
                times = max(1, options.times // 5) if WORKS[work].slow else options.times
                room = Room(WORKS[work], suite, home / "room")
                found = inject(room, times, random.Random(f"{options.seed} {fault} {work}"))
                room.clear()
                bad += found.bad
                counts = found.times, found.same, found.said, found.ended, found.left, found.tracebacks, found.wrong
                numbers = " | ".join(f"{count:,}" for count in (*counts, found.lost))
                print(f"| {fault} | {work} | {numbers} | {time.monotonic() - started:.0f} |", flush=True)
                for note in found.notes[:20]:
                    print(f"    {note}", file=sys.stderr, flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
