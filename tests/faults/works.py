"""The commands that meet with faults, each in a room of its own, and what they are to come to."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from forked import Outcome, run

Answer = dict[str, str]  # digests of files, by their names in the folder; or of the standard output
_PASSING = re.compile(rb"\d{4}-\d\d-\d\dT[\d:]+\+00:00|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Work:
    """A command: `{suite}` and `{out}` are its suite file and folder, `made` what it makes there, else it prints."""

    command: str
    made: str = ""
    slow: bool = False  # it meets with a fifth of the faults
    stages: bool = False  # its files change until it has ended


_RESOLVE = "resolve {suite} --auxiliary noise --name x --steps 6 --set batch=16 --resume --out {out}/x"
_MERGE = "merge {suite} --out {out}/m.safetensors"
WORKS = {
    "measure": Work("measure {suite} --json"),
    "measure fisher": Work("measure {suite} --json --method fisher --set images=4"),
    "interference": Work("interference {suite} --json --only crosstalk"),
    "merge": Work(_MERGE, "m.safetensors"),
    "merge open-clip": Work(_MERGE + " --layout open-clip", "m.safetensors"),
    "merge hugging-face": Work("merge {suite} --layout hugging-face --out {out}/hf", "hf"),
    "merge fisher": Work(_MERGE + " --method fisher --set images=4", "m.safetensors"),
    "merge adamerging": Work(_MERGE + " --method adamerging --set steps=3", "m.safetensors"),
    "merge distilled": Work(_MERGE + " --method distilled --set steps=30", "m.safetensors"),
    "resolve": Work(_RESOLVE, "x"),
    "resolve --alpha": Work(_RESOLVE + " --alpha Reds=0.5 --set together=6 --set held_out=0.25", "x", stages=True),
    "resolve --jobs 2": Work(_RESOLVE + " --jobs 2", "x", slow=True),
    "study": Work("study alone {suite} --no-images --set images=8 --out {out}/s", "s"),
    "report": Work("report {suite} --out {out}/r.html", "r.html", slow=True),
    "init": Work("init {folder} --overwrite --out {out}/suite.toml", "suite.toml"),
}


class Room:
    """A folder in which a command runs, always the same one, as some files name others; `whole` is undisturbed."""

    def __init__(self, work: Work, suite: Path, folder: Path) -> None:
        self.work, self.folder, self.out, self.workspace = work, folder, folder / "out", folder / "ws"
        places = {"suite": suite, "folder": suite.parent, "out": self.out}
        self.arguments = [part.format(**places) for part in work.command.split()]
        if self.arguments[0] != "init":
            self.arguments += ["--device", "cpu", "--workspace", str(self.workspace)]
        self.clear()
        self.outcome = self.run()
        self.whole = self.answer(self.outcome)
        if self.outcome.code or not self.whole:
            raise SystemExit(f"{work.command}: ended with {self.outcome.code} undisturbed: {self.outcome.err}")

    def run(self, strike: Callable[[int], None] | None = None) -> Outcome:
        return run(self.arguments, strike)

    def answer(self, outcome: Outcome) -> Answer:
        """Return digests of what the command came to, without the moments at which that was made."""
        if not self.work.made:
            return {"stdout": _digest(outcome.out.encode())} if outcome.code == 0 else {}
        return self.files()

    def files(self) -> Answer:
        """Return digests of what there is of the command's files; records (JSON) say how long it took."""
        made = self.out / self.work.made
        found = [made] if made.is_file() else sorted(path for path in made.rglob("*") if path.suffix != ".json")
        return {str(path.relative_to(self.out)): _digest(path.read_bytes()) for path in found if path.is_file()}

    def said(self, outcome: Outcome) -> list[str]:
        """Return the lines that the command said on stderr, and not when it was undisturbed."""
        usual = set(self.outcome.err.splitlines())
        return [line for line in outcome.err.splitlines() if line.strip() and line not in usual]

    def parts(self) -> list[Path]:
        """Return the temporary files that there are."""
        return [path for path in self.folder.rglob(".*") if ".part" in path.name]

    def age(self) -> None:
        """Make temporary files so old that the next command takes them for left behind."""
        for path in self.parts():
            os.utime(path, (path.stat().st_mtime - 7200,) * 2)

    def clear(self, only_made: bool = False) -> None:
        """Remove what the command made, and by default all else, too."""
        place = self.out / self.work.made if only_made else self.folder
        if place.is_file():
            place.unlink()
        else:
            shutil.rmtree(place, ignore_errors=True)


def _digest(data: bytes) -> str:
    return hashlib.sha256(_PASSING.sub(b"", data)).hexdigest()
