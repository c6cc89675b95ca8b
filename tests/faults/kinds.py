"""The faults: what happens to a command, how often, and what came of it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from damage import damage, damage_store, damage_store_in_use
from forked import Outcome
from works import WORKS, Answer, Room

SIGNALS = {"kill": (signal.SIGKILL,), "signals": (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}


@dataclass
class Tally:
    """What came of a fault's times: `said` counts commands that said more on stderr than undisturbed."""

    times: int = 0
    same: int = 0
    said: int = 0
    ended: int = 0
    left: int = 0  # temporary files and processes
    tracebacks: int = 0
    wrong: int = 0  # answers, files that are not whole, ways to end
    lost: int = 0  # files that were finished, and were not there later
    notes: list[str] = field(default_factory=list)

    @property
    def bad(self) -> int:
        return self.left + self.tracebacks + self.wrong + self.lost

    def judge(self, room: Room, outcome: Outcome, how: str, may_end: tuple[int, ...] = ()) -> None:
        """Count what a command came to: the same answer, one message and nothing half-written, or a signal's end."""
        answer, said = room.answer(outcome), room.said(outcome)
        before = self.bad
        half = any(room.whole.get(name, digest) != digest for name, digest in answer.items())
        half = half and not room.work.stages
        self.said += bool(said)
        self.left += outcome.processes
        self.tracebacks += "Traceback" in outcome.err
        if outcome.code == 0:
            self.same += answer == room.whole
            self.wrong += answer != room.whole
        elif outcome.code in may_end:
            self.ended += 1
            self.wrong += half
        else:
            self.wrong += outcome.code != 2 or outcome.err.count("ri-analysis: ") != 1 or half
        if self.bad > before:
            self.notes.append(f"{how}: exit code {outcome.code}: {' / '.join(said)[-600:]}")

    def look_for_parts(self, room: Room, how: str) -> None:
        parts = room.parts()
        self.left += len(parts)
        self.notes += [f"{how}: left {path.relative_to(room.folder)}" for path in parts]


def struck(room: Room, times: int, random: Random, signals: tuple[int, ...]) -> Tally:
    """End a command by a signal at a random moment, again and again, and run it to its end at last.

    It goes on in what the one before left, until it has finished. By SIGKILL temporary files may stay until later.
    """
    tally, finished = Tally(), Answer()
    room.clear()
    for _ in range(times):
        number, after = random.choice(signals), random.uniform(0, room.outcome.seconds)

        def strike(process: int, number: int = number, after: float = after) -> None:
            time.sleep(after)
            send = os.killpg if number == signal.SIGINT else os.kill  # a terminal's Ctrl-C goes to all
            with suppress(ProcessLookupError):
                send(process, number)

        outcome, how = room.run(strike), f"signal {number} after {after:.2f} s"
        tally.times += 1
        tally.judge(room, outcome, how, (-number, 128 + number))
        if signal.SIGKILL not in signals:
            tally.look_for_parts(room, how)
        tally.lost += (lost := _lost(room, finished))
        tally.notes += [f"{how}: lost work"] * bool(lost)
        finished = {name: digest for name, digest in room.files().items() if room.whole.get(name) == digest}
        if outcome.code in (0, 2):
            tally.wrong += finished != room.whole  # what else would it refuse to go on with?
            room.clear()
            finished = {}
    if room.answer(room.outcome) == room.whole:
        room.clear(only_made=True)
    room.age()
    tally.judge(room, room.run(), "to the end")
    if room.parts():  # they go when something is written beside them: have all be written again
        room.clear(only_made=True)
        for path in [each for each in room.workspace.rglob("*") if each.is_file() and each not in room.parts()]:
            path.unlink()
        tally.judge(room, room.run(), "to the end, all made again")
    tally.look_for_parts(room, "to the end")
    return tally


def _lost(room: Room, finished: Answer) -> int:
    now = room.files()
    return sum(now.get(name) != digest for name, digest in finished.items())


def damaged(room: Room, times: int, random: Random, hurt: Callable[[Path, Random], str], files: str) -> Tally:
    """Damage one of the `files` that an undisturbed command kept, run it again, twice."""
    tally, kept = Tally(), room.folder.with_name("kept")
    shutil.rmtree(kept, ignore_errors=True)
    room.folder.rename(kept)
    for _ in range(times):
        room.clear()
        shutil.copytree(kept, room.folder)
        path = random.choice([each for each in sorted(room.folder.rglob(files)) if each.stat().st_size])
        how = f"{path.name} {hurt(path, random)}"
        tally.times += 1
        for turn in ("", ", again"):
            if room.work.made:
                for made in room.files():
                    (room.out / made).unlink()
            tally.judge(room, room.run(), how + turn)
        tally.look_for_parts(room, how)
    return tally


def shared(room: Room, times: int, random: Random) -> Tally:
    """Damage the store while two commands use it, one of which began a moment later; run it once more after them."""
    tally = Tally()
    store = room.workspace / "store.sqlite"
    for _ in range(times):
        if random.random() < 0.5:  # else they find answers there
            room.clear()
        told: list[str] = []

        def strike(_: int, told: list[str] = told) -> None:
            time.sleep(random.uniform(0, room.outcome.seconds / 2))
            tally.judge(room, room.run(lambda _: told.append(hurt())), "the second")

        def hurt() -> str:
            time.sleep(random.uniform(0, room.outcome.seconds))
            with suppress(OSError, IndexError):  # there is no store yet
                return damage_store_in_use(store, random)
            return "nothing"

        outcome = room.run(strike)
        tally.times += told != ["nothing"]
        tally.judge(room, outcome, f"the first: {told}")
        tally.judge(room, room.run(), f"after both: {told}")
    tally.look_for_parts(room, "to the end")
    return tally


def stopped(room: Room, times: int, random: Random) -> Tally:
    """Damage the state from which a command that trains would go on."""
    tally, kept = Tally(), room.folder.with_name("kept")
    room.clear()
    shutil.rmtree(kept, ignore_errors=True)

    def strike(process: int) -> None:
        until = time.monotonic() + 2 * room.outcome.seconds
        while not states() and time.monotonic() < until:
            time.sleep(0.002)
        os.kill(process, signal.SIGTERM)

    def states() -> list[Path]:
        return [path for path in room.folder.rglob("*.pt") if ".part" not in path.name]

    room.run(strike)
    if not states():
        raise SystemExit(f"{room.work.command}: ended before there was a state of its training")
    room.folder.rename(kept)
    for _ in range(times):
        room.clear()
        shutil.copytree(kept, room.folder)
        path = states()[0]
        how = f"{path.name} {damage(path, random)}"
        tally.times += 1
        tally.judge(room, room.run(), how)
        tally.look_for_parts(room, how)
    return tally


def full(room: Room, times: int, random: Random) -> Tally:
    """Run a command where the disk is soon full, and again once it has room."""
    tally = Tally()
    room.clear()
    for _ in range(times):
        size = int(4096 * 2 ** random.uniform(0, 10))
        with disk(room.folder, size):
            tally.times += 1
            tally.judge(room, room.run(), f"{size:,} bytes")
            tally.look_for_parts(room, f"{size:,} bytes")
            _mount("-o", "remount,size=256m", str(room.folder))
            if room.files() != room.whole:
                tally.judge(room, room.run(), f"{size:,} bytes, then more")
    return tally


@contextmanager
def disk(folder: Path, size: int) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={size}", "ri-analysis-faults", str(folder))
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


def why_not(fault: str, home: Path) -> str:
    """Return why a fault can't be made here, or an empty text."""
    if fault == "disk":
        try:
            with disk(home / "disk", 2**20):
                return ""
        except (OSError, subprocess.CalledProcessError):
            return "a full disk is a small tmpfs, which only root may mount"
    return ""


KINDS: dict[str, tuple[Callable[[Room, int, Random], Tally], tuple[str, ...]]] = {
    "kill": (lambda *given: struck(*given, SIGNALS["kill"]), tuple(list(WORKS)[3:])),
    "signals": (lambda *given: struck(*given, SIGNALS["signals"]), tuple(list(WORKS)[3:])),
    "store": (
        lambda *given: damaged(*given, damage_store, "store.sqlite"),
        ("measure", "measure fisher", "interference"),
    ),
    "shared": (shared, ("measure", "measure fisher", "interference")),
    "statistics": (lambda *given: damaged(*given, damage, "statistics/*"), ("measure fisher", "merge fisher")),
    "state": (stopped, ("resolve", "resolve --alpha", "merge distilled")),
    "disk": (full, tuple(work for work in WORKS if work != "resolve --jobs 2")),
}
