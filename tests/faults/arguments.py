"""Give commands hostile arguments and variables, and print a table of what came of them (Linux).

    python tests/faults/arguments.py --times 200 --seed 1
    python tests/faults/arguments.py --commands resolve,report --times 1000

Each time one or two options of a command on the tiny suite, an argument, or a variable of the environment are others:
not numbers, huge ones, control characters, paths that are pipes or devices, 100,000 letters. A command is to give an
answer or one message of printable lines and bounded length, within a minute, and to leave nothing behind where it
refuses. The exit code is 1 where one did not; stderr then says which.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]
from forked import Outcome, load, run  # noqa: E402

COMMANDS = {
    "measure": "measure {suite} --limit 4",
    "interference": "interference {suite} --only crosstalk --limit 4",
    "compare": "compare {suite} --recipe averaging",
    "merge": "merge {suite} --out {out}/m.safetensors",
    "resolve": "resolve {suite} --auxiliary noise --name x --steps 2 --dry-run",
    "report": "report {suite} --out {out}/r.html",
    "study": "study alone {suite} --no-images --dry-run --out {out}/s",
    "check": "check {suite}",
    "init": "init {folder} --out {out}/suite.toml",
    "new": "new method mine --folder {out}/new",
}
VARIABLES = (
    *("RI_ANALYSIS_LIMITS", "RI_ANALYSIS_MEMORY", "RI_ANALYSIS_PLUGINS", "RI_ANALYSIS_WORKSPACE", "RI_ANALYSIS_TOKEN"),
    *("HOME", "TMPDIR", "XDG_DATA_HOME", "LC_ALL", "LANG", "COLUMNS", "LINES", "TERM", "NO_COLOR", "CHROMIUM", "PATH"),
    *("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "PYTHONIOENCODING"),
)
TEXTS = (
    *("nan", "inf", "-1", "0", "1e999", "1e-320", "9" * 30, "9" * 5_000, "0x10", "1_0", "\u0663", "[1]", '{"a": 1}'),
    *("", " ", ",", "=", "==", "-", "--", "*", "**", "x" * 300, "x" * 100_000, "None", "True", "a,b", "a=b,c=d"),
    *("\x1b[31m", "a\nb", "\u202e", os.fsdecode(b"caf\xe9\xff"), "\U0001f642", "all", "ties", "ri", "Reds", "noise"),
    *("~", "~nobody-x", ".", "/dev/zero", "/dev/full", "/dev/stdin", "/proc/self/mem", "{suite}", "{folder}"),
    *("{folder}/model.json", "{folder}/none.toml", "{odd}/pipe", "{odd}/loop", "{odd}/empty", "{odd}/\u202e.py"),
)  # fmt: skip
KEYS = ("scale", "seed", "images", "lr", "alpha", "batch", "blocks", "steps", "together", "rank", "Reds", "x", "tasks")
LONGEST = 12_000  # characters that a command may say on stderr; a usage is 3,000
SECONDS = 60.0


def drawn(random: Random, places: dict[str, object]) -> str:
    """Return a hostile value, alone or as one of a pair."""
    value = random.choice(TEXTS)
    for name, path in places.items():
        value = value.replace(f"{{{name}}}", str(path))
    return random.choice([value] * 3 + [f"{random.choice(KEYS)}={value}"] * 2 + [f"ties {random.choice(KEYS)}={value}"])


def changed(command: list[str], options: list[str], random: Random, places: dict[str, object]) -> list[str]:
    """Return a command of which one or two options, or an argument, are others."""
    command = list(command)
    if random.random() < 0.1:
        arguments = range(1, next((n for n, part in enumerate(command) if part.startswith("--")), len(command)))
        command[random.choice(arguments)] = drawn(random, places)
        return command
    for option in random.sample(options, min(len(options), random.choice([1, 1, 1, 2]))):
        if option in command:
            place = command.index(option)
            del command[
                place : place
                + (1 if command[place + 1 : place + 2] == [] or command[place + 1].startswith("--") else 2)
            ]
        command.append(f"{option}={drawn(random, places)}")
    return command


def what_is_wrong(outcome: Outcome, left: list[str], inputs_changed: bool) -> str:
    """Return what a command must not have done, an empty text where it did nothing of that."""
    err, lines = outcome.err, outcome.err.splitlines()
    faults = {
        f"exit code {outcome.code}": outcome.code not in (0, 1, 2) or (outcome.code == 1 and not err),
        "a traceback": "Traceback" in err,
        f"{len(err):,} characters": len(err) > LONGEST,
        "what can't be printed": any(not sign.isprintable() for line in lines for sign in line.replace("\t", "")),
        # What `check` finds is its answer.
        "no message": outcome.code == 2 and not (outcome.out or any(line.startswith("ri-analysis") for line in lines)),
        f"left {', '.join(left[:3])}": outcome.code == 2 and bool(left),
        "inputs changed": inputs_changed,
        "processes left": outcome.processes > 0,
        f"{outcome.seconds:.0f} s": outcome.seconds > SECONDS,
    }
    return ", ".join(fault for fault, found in faults.items() if found)


def attack(command: str, options: list[str], home: Path, suite: Path, times: int, seed: int) -> Counter[str]:
    """Give one command other arguments so many times; return how often it gave an answer, a message, or neither."""
    random, found, out = Random(f"{seed} {command}"), Counter[str](), home / "out"
    places: dict[str, object] = {"suite": suite, "folder": suite.parent, "out": out, "odd": home / "odd"}
    usual = [part.format(**places) for part in COMMANDS[command].split()]
    if command not in ("init", "new"):
        usual += ["--device", "cpu", "--workspace", str(home / "ws")]
    inputs = {path: path.read_bytes() for path in suite.parent.rglob("*") if path.is_file()}
    for _ in range(times):
        out.mkdir()
        variables = {random.choice(VARIABLES): drawn(random, places)} if random.random() < 0.2 else {}
        arguments = usual if variables else changed(usual, options, random, places)
        outcome = run(arguments, environment=variables, folder=out)
        # A workspace under another name is one that is kept.
        left = [path.name for path in out.rglob("*") if path.is_file() and not path.name.startswith("store.sqlite")]
        now = {path: path.read_bytes() if path.is_file() else b"" for path in inputs}
        wrong = what_is_wrong(outcome, left, now != inputs)
        found["other" if wrong else "answer" if outcome.code == 0 else "message"] += 1
        if wrong:
            parts = [*(f"{name}={value}" for name, value in variables.items()), *arguments]
            said = " ".join(f"{part[:60]!a}" for part in parts)
            print(f"    {wrong}: {said}\n        {outcome.err[-500:]!a}", file=sys.stderr, flush=True)
        for path in inputs if now != inputs else ():
            path.write_bytes(inputs[path])
        shutil.rmtree(out)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commands", default=",".join(COMMANDS), help="separated by commas; all by default")
    parser.add_argument("--times", type=int, default=100, help="for each command")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    bad = 0
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        for folder in ("home", "odd"):
            (home / folder).mkdir()
        os.environ["HOME"] = str(home / "home")
        os.mkfifo(home / "odd" / "pipe")
        (home / "odd" / "loop").symlink_to("loop")
        (home / "odd" / "empty").touch()
        load(home / "home")
        from tiny import make_suite

        from ri_analysis.cli.run import build_parser

        suite = make_suite(home / "suite")
        parsers = next(each for each in build_parser()._actions if isinstance(each, argparse._SubParsersAction)).choices
        print("| command | times | answer | one message | other | seconds |\n|---|---|---|---|---|---|", flush=True)
        for command in chosen.commands.split(","):
            taking = [each for each in parsers[command]._actions if each.nargs != 0 and each.option_strings]
            started = time.monotonic()
            found = attack(
                command, [each.option_strings[-1] for each in taking], home, suite, chosen.times, chosen.seed
            )
            counts = " | ".join(f"{found[kind]:,}" for kind in ("answer", "message", "other"))
            print(f"| {command} | {chosen.times:,} | {counts} | {time.monotonic() - started:.0f} |", flush=True)
            bad += found["other"]
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
