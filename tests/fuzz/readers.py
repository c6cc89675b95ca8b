"""Every reader of strangers' files, with the inputs it is tried on: what may come of one is a message, or an answer."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import inputs
import numpy as np
import torch

from ri_analysis.checkpoints import read_checkpoint, read_tower, whole_model
from ri_analysis.documents import read_toml
from ri_analysis.encoder import load_head, read_architecture
from ri_analysis.engine import Store
from ri_analysis.engine.results import kept_table
from ri_analysis.errors import InputError
from ri_analysis.export import facts
from ri_analysis.figures import loss_curves
from ri_analysis.files import write_text
from ri_analysis.resolving.record import read_plan, record_of
from ri_analysis.suite import open_suite, suite_path
from ri_analysis.suite.data import read_images
from ri_analysis.suite.drafting import draft, to_toml
from ri_analysis.suite.preprocessing import read_preprocessing

SLOW = 20.0  # seconds of the processor that no input of this size may take


@dataclass(frozen=True)
class Reader:
    """`draw` gives the files of a folder; `use` reads them as the program does, and uses what was read."""

    draw: Callable[[], inputs.Strategy]
    use: Callable[[Path], object]


def _tower(path: Path) -> None:
    checkpoint = read_checkpoint(path)
    for name in checkpoint.tensors:
        _ = checkpoint.tensors[name].shape
    tensors = read_tower(checkpoint, inputs.weights()).tensors
    for name in tensors:
        tensors[name].float().sum().item()
    if "peft_type" not in checkpoint.config:
        whole = whole_model(checkpoint)
        for name in whole:
            _ = whole[name].shape


def _architecture(folder: Path) -> None:
    read_preprocessing("model.json", "x.pt", folder)
    found = read_architecture("model.json", folder)
    if sum(map(np.prod, map(tuple, found.tower_shapes().values()))) < 1_000_000:
        found.build_tower()


def _suite(folder: Path) -> None:
    suite = open_suite(str(folder / "suite.toml"))
    suite.task_vectors()
    for task in suite.tasks:
        suite.task_data(task).pixels([0], 8)
        suite.class_names(task)
        load_head(suite.task(task).head or folder, None, 16)
    for item in suite.spec.auxiliary:
        suite.auxiliary_data(item.name).pixels([0], 8)
    for domain in suite.spec.unseen:
        suite.unseen_data(domain.name).pixels([0], 8)
    for name in suite.expert_sets:
        suite.set_tasks(name)
    suite.digest()


def _draft(folder: Path) -> None:
    drafted = draft(folder)
    for out in (folder / "drafted.toml", folder.parent / f"{folder.name}.toml"):
        write_text(out, to_toml(drafted, out))
        said = read_toml(out)
        assert [task["name"] for task in said["task"]] == [task["name"].value for task in drafted.tasks]
        out.unlink()


def _record(folder: Path) -> None:
    inputs.written(inputs._beside(), folder)
    inputs.written({"suite.toml": inputs._toml(inputs._SUITE)}, folder)
    inputs.written({"mild/resolve.json": (folder / "resolve.json").read_bytes()}, folder)
    suite = open_suite(str(folder / "suite.toml"), folder / "workspace")
    inputs.written({"workspace/resolved/tiny/own/resolve.json": (folder / "resolve.json").read_bytes()}, folder)
    _ = suite.expert_sets
    read_plan(folder / "plan.json")
    record = record_of(suite, "mild")
    assert facts.record_in_words(record)
    history, looks = facts.history_table(record), facts.looks_table(record)
    if len(history):
        loss_curves(history, suite.tasks, held_out=looks)
    if {"auxiliary", "tasks", "settings", "seed"} <= set(record) and "name" in record["auxiliary"]:
        facts.resolve_command("suite.toml", "mild", record)


def _answers(folder: Path) -> None:
    store, table = Store(folder / "workspace", shipped=folder / "answers.arrow"), kept_table("fuzz")
    assert store.shipped is not None
    listed = store.shipped.keys()
    for key, count in listed:
        store.get(key) if count is None else store.nested(key, count)
        table.find(store, key)
    _ = store.shipped.made and store.shipped.made.says
    store.close()
    if store.shipped.problem:
        raise InputError(store.shipped.problem)


def _images(name: str | None = None) -> Callable[[Path], None]:
    def use(folder: Path) -> None:
        path = folder if name is None else folder / name
        if name == "*":
            path = next(item for item in sorted(folder.rglob("*")) if item.is_file() and item.name in _SPLITS)
        for labelled in (True, False):
            found = read_images(path, labelled=labelled)
            for index in range(min(4, len(found))):
                assert found.pixels([index], 8).shape == (1, 8, 8, 3)

    return use


_SPLITS = (
    *("test_32x32.mat", "setid.mat", "cars_test_annos_withlabels.mat", "GT-final_test.csv", "fer.csv", "test.txt"),
    *("t10k-images-idx3-ubyte", "t10k-images-idx3-ubyte.gz", "test_X.bin"),
)

READERS: dict[str, Reader] = {
    "torch-zip": Reader(inputs.torch_zip, lambda folder: _tower(folder / "x.pt")),
    "torch-legacy": Reader(inputs.torch_legacy, lambda folder: _tower(folder / "x.pt")),
    "pickles": Reader(inputs.pickles, lambda folder: _tower(folder / "x.pt")),
    "safetensors": Reader(inputs.safetensors, lambda folder: _tower(folder / "x.safetensors")),
    "hugging-face": Reader(inputs.hugging_face_folder, _tower),
    "adapter": Reader(inputs.adapter, _tower),
    "head": Reader(inputs.head, lambda folder: load_head(folder / "head", None, 16)),
    "model-config": Reader(inputs.model_config, _architecture),
    "suite": Reader(inputs.suite, _suite),
    "record": Reader(inputs.record, _record),
    "anything": Reader(inputs.anything, lambda folder: suite_path(str(folder / "x"))),
    "draft": Reader(inputs.folder, _draft),
    "npz": Reader(inputs.npz, _images("x.npz")),
    "arrow": Reader(inputs.arrow, _images()),
    "parquet": Reader(inputs.parquet, _images("x.parquet")),
    "answers": Reader(inputs.answers, _answers),
    "matlab": Reader(inputs.matlab, _images("*")),
    "tables": Reader(inputs.tables, _images("*")),
    "idx": Reader(inputs.idx, _images("*")),
    "cifar": Reader(inputs.cifar, _images("test_batch")),
    "pictures": Reader(inputs.pictures, _images("set")),
}


def outcome(reader: Reader, folder: Path) -> str:
    """Return "opened" or "refused"; anything else is what must not be, in words."""
    started, torch_threads = time.process_time(), torch.get_num_threads()
    _started.clear()
    try:
        reader.use(folder)
        found = "opened"
    except InputError as error:
        found = _message(str(error))
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        found = f"{type(error).__name__}: {str(error)[:200]}"
    if _started:
        found = f"started {_started[0]}"
    if time.process_time() - started > SLOW:
        found = f"took {time.process_time() - started:.0f} s"
    assert torch.get_num_threads() == torch_threads
    return found


def _message(text: str) -> str:
    lines = text.split("\n")
    if len(text) > 10_000 or max(map(len, lines)) > 800 or not all(line.isprintable() for line in lines):
        return f"a message of {len(text)} characters"
    return "refused"


_started: list[str] = []
_PROGRAMS = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "socket.connect", "pty.spawn")


def watch() -> None:
    """Note from now on every program that is started, other than our own child, and every connection."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _PROGRAMS or (event == "subprocess.Popen" and "trial_child.py" not in str(arguments)):
            _started.append(f"{event} {str(arguments)[:200]}")

    sys.addaudithook(hook)


def settle_at_once() -> None:
    """Have new files not waited for: each input lies in a folder of its own."""
    from ri_analysis import stamps

    stamps._SETTLED = 0
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
