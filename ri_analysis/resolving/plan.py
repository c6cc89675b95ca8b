"""What decides an RI run, noted in the folder of its set: begun, found again when it was stopped, or deleted."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from ri_analysis.caches import altered, discard_seal, seal
from ri_analysis.errors import InputError, WriteError
from ri_analysis.files import in_words, write_text
from ri_analysis.hyperparameters import Value
from ri_analysis.json_text import to_json
from ri_analysis.resolving.record import Plan, read_plan
from ri_analysis.resolving.settings import AS_EVER
from ri_analysis.stamps import Stamp
from ri_analysis.suite import ORIGINAL, ImageSet, Suite
from ri_analysis.suite.spec import RESERVED_SETS
from ri_analysis.suite.suite import RECORD

PLAN = "run.json"
_FINISHED = "a step of an RI run"
_LOCK = ".lock"


def expert_path(folder: Path, task: str) -> Path:
    """Return the file of an adapted expert: it is there once the expert is finished."""
    return folder / f"{task}.safetensors"


def is_finished(path: Path) -> bool:
    """Whether a file is there, and holds what a run wrote; that of an earlier version's run has no seal."""
    return path.exists() and not altered(path, _FINISHED)


@contextmanager
def sealing(path: Path) -> Iterator[None]:
    """Seal a finished file once the block has written it; a kill in between leaves it without a seal."""
    discard_seal(path)
    yield
    seal(path, _FINISHED)


def state_path(folder: Path, task: str) -> Path:
    """Return the file from which the run of an expert resumes."""
    return folder / f"{task}-state.pt"


def together_path(folder: Path) -> Path:
    """Return the folder of what the second stage keeps until the set is finished; see `together`."""
    return folder / ".together"


def together_state(folder: Path) -> Path:
    """Return the file from which the second stage resumes."""
    return together_path(folder) / "steps" / "state.pt"


def history_path(folder: Path, task: str) -> Path:
    """Return the file with a finished expert's losses, of which the record is made."""
    return folder / f"{task}-history.json"


def looks_path(folder: Path, task: str) -> Path:
    """Return the file with what a finished expert made of held-out images, of which the record is made."""
    return folder / f"{task}-looks.json"


@dataclass(frozen=True)
class Unfinished:
    """A run that was stopped half way: the name and folder of its set, and what was planned.

    `plan` is empty where the folder does not say it, which `damage` explains.
    """

    name: str
    folder: Path
    plan: Plan
    damage: str = ""

    @property
    def settings(self) -> dict[str, Value]:
        """The settings of the run."""
        return dict(self.plan.get("settings", {}))

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks whose experts are adapted."""
        return tuple(self.plan.get("tasks", ()))

    @property
    def finished(self) -> tuple[str, ...]:
        """The tasks whose experts are adapted already."""
        return tuple(task for task in self.tasks if expert_path(self.folder, task).exists())

    @property
    def step(self) -> int:
        """The step from which the expert under way resumes, or all of them together."""
        states = [*(state_path(self.folder, task) for task in self.tasks), together_state(self.folder)]
        return max(map(_step, states))

    @property
    def share(self) -> float:
        """How much of the run is done."""
        each = int(self.settings.get("steps", 0))
        steps = each * len(self.tasks) + int(self.settings.get("together", 0))
        return (len(self.finished) * each + self.step) / steps if steps else 0.0

    @property
    def running(self) -> bool:
        """Whether a process is at it right now."""
        if not (self.folder / _LOCK).exists():
            return False
        try:
            with FileLock(self.folder / _LOCK, timeout=0):
                return False
        except Timeout:
            return True
        except OSError:
            return False

    def obstacle(self, suite: Suite) -> str:
        """Return why the run can't be resumed on a suite as it is now; empty where it can."""
        if self.damage:
            return self.damage
        try:
            source, seed = str(self.plan["auxiliary"]["name"]), int(self.plan["seed"])
            now = plan(suite, source, suite.auxiliary_data(source), self.tasks, self.settings, seed)
        except InputError as error:
            return str(error)
        differing = ["auxiliary images" if key == "auxiliary" else key for key in _differing(now, self.plan)]
        return f"it was begun with other {' and '.join(differing)} than the suite has now" if differing else ""

    def delete(self) -> None:
        """Delete the folder with all that was made. Raises InputError while a process is at it."""
        if self.running:
            raise InputError(f"{self.folder}: is being worked on by another process; stop it first")
        try:
            shutil.rmtree(self.folder)
        except OSError as error:
            raise WriteError(f"{self.folder}: can't be deleted: {in_words(error)}") from error


def unfinished(suite: Suite) -> dict[str, Unfinished]:
    """Return the runs in the workspace that were stopped half way, by the name of their set."""
    folder = suite.resolved_folder
    found = sorted(folder.glob(f"*/{PLAN}")) if folder is not None else []
    return {path.parent.name: _unfinished(path) for path in found if not (path.parent / RECORD).exists()}


def _unfinished(path: Path) -> Unfinished:
    try:
        return Unfinished(path.parent.name, path.parent, read_plan(path))
    except InputError as error:
        return Unfinished(path.parent.name, path.parent, {}, str(error))


def _step(path: Path) -> int:
    try:
        return _step_of(path, Stamp.of(path))
    except OSError:
        return 0


@lru_cache(maxsize=256)
def _step_of(path: Path, _: Stamp) -> int:
    try:
        return int(torch.load(path, map_location="cpu", mmap=True, weights_only=True)["step"])
    except Exception:  # a damaged file fails in many ways, and says why when the run is resumed
        return 0


# --- beginning ------------------------------------------------------------------------------------------------


def folder_of(suite: Suite, name: str, directory: Path | None = None) -> Path:
    """Return the folder of a new set, by default in the workspace. Raises InputError for a name that it can't have."""
    if not re.fullmatch(r"[\w.-]+", name) or name in (*RESERVED_SETS, ".", ".."):
        raise InputError(
            f"name {name!r}: expected letters, digits, '.', '_' and '-', and none of {', '.join(RESERVED_SETS)}"
        )
    if directory is not None:
        return directory
    if name in suite.expert_sets:
        raise InputError(f"expert set {name!r} exists already; choose another name")
    if suite.resolved_folder is None:
        raise InputError("expected a workspace or a directory for the new expert set, found neither")
    return suite.resolved_folder / name


def check_free(folder: Path) -> None:
    """Raise InputError where a new run can't begin in a folder."""
    if (folder / RECORD).exists():
        raise InputError(f"{folder}: holds a finished expert set; choose another name or directory")
    if (folder / PLAN).exists():
        raise InputError(f"{folder}: holds an unfinished run; resume it, or delete the folder to start over")
    if folder.exists() and any(item.name != _LOCK for item in folder.iterdir()):
        raise InputError(f"{folder}: expected an empty or new folder, found other files in it")


def plan(
    suite: Suite, auxiliary: str, images: ImageSet, tasks: Sequence[str], settings: Mapping[str, Value], seed: int
) -> dict[str, Any]:
    """Return what decides a run's outcome: a run is resumed only when all of it is the same."""
    digests = suite.weight_digests(ORIGINAL)
    for task in tasks:
        suite.task(task)
    return {
        "suite": suite.name,
        "tasks": list(tasks),
        "auxiliary": {
            "name": auxiliary,
            "images": len(images),
            "digest": images.digest,
            "oracle": suite.auxiliary(auxiliary).oracle,
        },
        "settings": dict(settings),
        "seed": seed,
        "weights": {key: digests[key] for key in ("pretrained", *tasks)},
    }


@contextmanager
def begun(folder: Path, wanted: Mapping[str, Any], resume: bool) -> Iterator[None]:
    """Note the plan in `folder`, or check it against the run that lies there; others keep out until the block ends."""
    path = folder / PLAN
    _check_fits(folder, wanted, resume)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / _LOCK, timeout=0)
        lock.acquire()
    except Timeout:
        raise InputError(f"{folder}: is being worked on by another process") from None
    except NotImplementedError:
        pass  # a file system without locks
    except OSError as error:
        raise WriteError(f"{folder}: can't be written: {in_words(error)}") from error
    try:
        _check_fits(folder, wanted, resume)  # another process may have finished the run before it let go
        if not path.exists():
            write_text(path, to_json(wanted))
        yield
    finally:
        with suppress(OSError):  # some systems keep what is open
            (folder / _LOCK).unlink()
        lock.release()


def _check_fits(folder: Path, wanted: Mapping[str, Any], resume: bool) -> None:
    """Raise InputError where a folder neither is free nor, with `resume`, holds the run that is wanted, unfinished."""
    path = folder / PLAN
    if not (resume and path.exists()):
        check_free(folder)
    elif differing := _differing(wanted, read_plan(path)):
        raise InputError(f"{folder}: the unfinished run there differs in {', '.join(differing)}; it can't be resumed")


def _differing(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    wanted, found = ({**each, "settings": {**AS_EVER, **each.get("settings", {})}} for each in (wanted, found))
    return [key for key, value in wanted.items() if found.get(key) != json.loads(json.dumps(value))]


def decided(folder: Path, name: str, decide: Callable[[], str]) -> str:
    """Return what `decide` said when the run in `folder` began, so that it goes on with it wherever it is resumed."""
    found = dict(read_plan(folder / PLAN))
    if name not in found:
        found[name] = decide()
        write_text(folder / PLAN, to_json(found))
    return str(found[name])
