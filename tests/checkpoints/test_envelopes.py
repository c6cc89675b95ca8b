"""Towers inside envelopes and wrappers of any depth, and data beside them that is skipped."""

from __future__ import annotations

import argparse
import collections
import datetime
import decimal
import enum
import functools
import sys
import types
import uuid
import zoneinfo
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from checkpoint_formats import foreign, hugging_face, model, vision
from safetensors.torch import save_file

from ri_analysis.checkpoints import Tower, read_checkpoint, read_tower
from ri_analysis.encoder import load_head
from ri_analysis.errors import InputError

Tensors = dict[str, torch.Tensor]
WEIGHTS = vision(model())


def read(tree: Any, folder: Path, *, old: bool = False) -> Tower:
    torch.save(tree, folder / "x.pt", _use_new_zipfile_serialization=not old)
    return read_tower(read_checkpoint(folder / "x.pt"))


def assert_is_the_tower(tower: Tower) -> None:
    assert tower.tensors.keys() == WEIGHTS.keys()
    assert all(torch.equal(tower.tensors[key], WEIGHTS[key]) for key in WEIGHTS)


def state() -> Tensors:
    return dict(model().state_dict())


def moments() -> Tensors:
    return {key: value + 1 for key, value in state().items()}


ENVELOPES: dict[str, Callable[[], Any]] = {
    "none": state,
    "model / state_dict": lambda: {"model": {"state_dict": state()}},
    "state_dict / module": lambda: {"state_dict": {"module": state()}, "epoch": 1},
    "only the average": lambda: {"model_ema": state(), "args": {"lr": 1e-5}},
    "Lightning": lambda: {
        "state_dict": {f"model.{key}": value for key, value in state().items()},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"params": [0]}]}],
        "callbacks": {"checkpoint": {"best": torch.tensor(0.5)}},
        "pytorch-lightning_version": "2.1",
    },
    "torch distributed": lambda: {
        "app": {"model": state(), "optim": {"state": {k: {"exp_avg": v} for k, v in moments().items()}}}
    },
    "moments by the model's names": lambda: {
        "net": state(),
        "optimizer": {"exp_avg": moments(), "exp_avg_sq": moments()},
    },
    "an optimiser of another name": lambda: {"net": state(), "trainer": {"state": moments(), "param_groups": []}},
    "a list": lambda: {"models": [state()]},
    "five deep": lambda: {"a": {"b": {"c": {"d": {"e.f": state()}}}}, "rng": torch.get_rng_state()},
    "a defaultdict": lambda: {"weights": collections.defaultdict(list, state())},
    "a namespace": lambda: argparse.Namespace(weights=state(), lr=1e-5),
    "a whole module": lambda: {"epoch": 3, "ema": {"inner": model()}},
}


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("name", ENVELOPES)
def test_the_tower_is_found_whatever_holds_it(name: str, old: bool, tmp_path: Path) -> None:
    assert_is_the_tower(read(ENVELOPES[name](), tmp_path, old=old))


def test_what_was_beside_the_tower_is_named_once(tmp_path: Path) -> None:
    tree = {
        "a": {"model": dict(WEIGHTS), "step": 3},
        "args": {"lr": 1, "deep": {"er": 2}},
        "optimizer": {"exp_avg": WEIGHTS},
    }
    tower = read(tree, tmp_path)
    assert tower.ignored == ("a.step", "args", "optimizer")


def test_flat_names_of_an_optimiser_are_no_tower(tmp_path: Path) -> None:
    flat = {f"model.{key}": value for key, value in WEIGHTS.items()}
    for part in ("optimizer.exp_avg.", "optim.state.exp_avg_sq.", "optimizer_states.0."):
        flat |= {f"{part}{key}": value + 1 for key, value in WEIGHTS.items()}
    flat |= {f"optim.state.{key}.exp_avg": value + 1 for key, value in WEIGHTS.items()}
    save_file(flat, tmp_path / "x.safetensors")
    assert_is_the_tower(read_tower(read_checkpoint(tmp_path / "x.safetensors")))


def test_a_name_that_only_begins_like_an_optimiser_is_an_envelope(tmp_path: Path) -> None:
    assert_is_the_tower(read({"optimal_model": dict(WEIGHTS), "epoch": 1}, tmp_path))


# --- wrappers -----------------------------------------------------------------------------------------------------


def renamed(change: Callable[[str], str], tensors: Tensors) -> Tensors:
    return {change(key): value for key, value in tensors.items()}


BLOCK = "resblocks.0."
WRAPPED: dict[str, Callable[[str], str]] = {
    "compiled": lambda key: f"_orig_mod.{key}",
    "compiled, then distributed": lambda key: f"module._orig_mod.{key}",
    "a compiled tower": lambda key: key.replace("visual.", "visual._orig_mod.", 1),
    "a compiled block": lambda key: key.replace(BLOCK, f"{BLOCK}_orig_mod."),
    "a checkpointed block": lambda key: key.replace(BLOCK, f"{BLOCK}_checkpoint_wrapped_module."),
    "FSDP": lambda key: (
        "_fsdp_wrapped_module."
        + key.replace("visual.", "visual._fsdp_wrapped_module.", 1).replace(
            BLOCK, f"{BLOCK}_fsdp_wrapped_module._checkpoint_wrapped_module."
        )
    ),
    "FSDP of a leaf": lambda key: key.replace("conv1.", "conv1._fsdp_wrapped_module."),
    "Fabric": lambda key: f"_forward_module.model.{key}",
    "a distributed block": lambda key: key.replace(BLOCK, f"{BLOCK}module."),
    "a distributed tower": lambda key: key.replace("visual.", "visual.module.", 1),
}


@pytest.mark.parametrize("form", ["torch", "safetensors", "envelope"])
@pytest.mark.parametrize("name", WRAPPED)
def test_names_of_wrappers_are_left_out(name: str, form: str, tmp_path: Path) -> None:
    tensors = renamed(WRAPPED[name], dict(WEIGHTS))
    if form == "safetensors":
        save_file(tensors, tmp_path / "x.safetensors")
        assert_is_the_tower(read_tower(read_checkpoint(tmp_path / "x.safetensors")))
    else:
        assert_is_the_tower(read({"model": tensors, "epoch": 1} if form == "envelope" else tensors, tmp_path))


def test_real_wrappers_of_torch(tmp_path: Path) -> None:
    compiled = torch.compile(model(), backend="eager")
    parallel = torch.nn.DataParallel(model())
    inside = model()
    blocks = inside.visual.transformer.resblocks
    blocks[0] = torch.compile(blocks[0], backend="eager")
    for clip in (compiled, parallel, inside):
        assert_is_the_tower(read({"state_dict": clip.state_dict()}, tmp_path))
    assert any("resblocks.0._orig_mod." in key for key in inside.state_dict())


@pytest.mark.parametrize(
    "change",
    [
        lambda key: key.replace("encoder.layers.0.", "encoder.layers.0._checkpoint_wrapped_module."),
        lambda key: key.replace("encoder.layers.0.", "encoder.layers.0.module."),
        lambda key: key.replace("vision_model.", "vision_model.module.", 1),
        lambda key: f"module._orig_mod.clip.{key}",
    ],
)
def test_wrappers_around_names_of_hugging_face(change: Callable[[str], str], tmp_path: Path) -> None:
    assert_is_the_tower(read(renamed(change, hugging_face(WEIGHTS)), tmp_path))


@pytest.mark.parametrize("wrapper", ["_orig_mod.", "module."])
def test_names_that_become_one_are_an_error(wrapper: str, tmp_path: Path) -> None:
    key = "visual.transformer.resblocks.0.ln_1.weight"
    tensors = WEIGHTS | {key.replace("ln_1.", f"{wrapper}ln_1."): torch.zeros(16)}
    with pytest.raises(InputError, match=f"x.pt: tensors '{key}' and '.*{wrapper}ln_1.weight' are both '"):
        read(tensors, tmp_path)


def test_a_compiled_head_is_a_head(tmp_path: Path) -> None:
    torch.save({"_orig_mod.weight": torch.ones(3, 16)}, tmp_path / "head.pt")
    assert load_head(tmp_path / "head.pt", None, 16).weight.shape == (3, 16)


@pytest.mark.parametrize("names", [lambda tensors: tensors, hugging_face])
def test_weights_that_are_computed_from_others_are_refused_with_the_reason(
    names: Callable[[Tensors], Tensors], tmp_path: Path
) -> None:
    tensors = names(dict(WEIGHTS))
    for key in [key for key in tensors if key.endswith(("mlp.c_fc.weight", "mlp.fc1.weight", "conv1.weight"))]:
        for ends in (
            ("_g", "_v"),
            ("_orig", "_mask"),
            ("_orig", "_u"),
            (".original0", ".original1"),
            (".original", ".0._u"),
        ):
            stem = key.removesuffix("weight") + ("parametrizations.weight" if ends[0][0] == "." else "weight")
            changed = {k: v for k, v in tensors.items() if k != key}
            changed |= {f"{stem}{end}": tensors[key] for end in ends}
            with pytest.raises(InputError, match="belongs to a parametrisation"):
                read(changed, tmp_path)
    elsewhere = tensors | {"projector.weight_g": torch.ones(3)}
    assert read(elsewhere, tmp_path).tensors.keys() == WEIGHTS.keys()


def test_real_parametrisations_of_torch(tmp_path: Path) -> None:
    for change in (torch.nn.utils.parametrizations.spectral_norm, torch.nn.utils.parametrizations.weight_norm):
        clip = model()
        change(clip.visual.conv1)
        with pytest.raises(InputError, match=r"conv1\.parametrizations\.weight\.original0?' belongs to a param"):
            read(clip.state_dict(), tmp_path)


# --- data beside the weights --------------------------------------------------------------------------------------


class Plain:
    def __init__(self) -> None:
        self.a = 1


@dataclass
class Settings:
    lr: float = 0.1


@dataclass(slots=True)
class Slotted:
    lr: float = 0.1


class Kind(enum.Enum):
    A = 1


class Own(dict):  # type: ignore[type-arg]
    pass


class OwnOrder(collections.OrderedDict):  # type: ignore[type-arg]
    pass


Point = collections.namedtuple("Point", "x y")


def made_by_a_function() -> Any:
    class Made:
        def __reduce__(self) -> Any:
            return sys.modules["src.modeling"].restore_settings, (1,)

    return Made()


def restore_settings(_: int) -> Plain:
    return Plain()


EXTRAS: dict[str, Callable[[], Any]] = {
    "path": lambda: Path("/somewhere"),
    "generator": lambda: np.random.default_rng(1),
    "old generator": lambda: np.random.RandomState(1),
    "bit generator": lambda: np.random.PCG64(1),
    "state of numpy": np.random.get_state,
    "timestamp": lambda: pd.Timestamp("2024-01-01", tz="Europe/Berlin"),
    "timedelta": lambda: pd.Timedelta(1, "s"),
    "scalar": lambda: np.float32(1),
    "date of numpy": lambda: np.datetime64("2024-01-01"),
    "array": lambda: np.arange(3),
    "table": lambda: pd.DataFrame([1, 2]),
    "namespace": lambda: argparse.Namespace(a=1),
    "simple namespace": lambda: types.SimpleNamespace(a=1),
    "object": Plain,
    "dataclass": Settings,
    "dataclass with slots": Slotted,
    "enum": lambda: Kind.A,
    "dict": lambda: Own(a=1),
    "ordered dict": lambda: OwnOrder(a=1),
    "named tuple": lambda: Point(1, 2),
    "datetime": lambda: datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC),
    "delta": lambda: datetime.timedelta(1),
    "zone": lambda: zoneinfo.ZoneInfo("UTC"),
    "decimal": lambda: decimal.Decimal("1.5"),
    "uuid": uuid.uuid4,
    "partial": lambda: functools.partial(Settings, lr=1),
    "counter": lambda: collections.Counter("aab"),
    "deque": lambda: collections.deque([1, 2]),
    "keys that are tuples": lambda: {("a", "b"): 1, (("c",), 2): 2, frozenset("d"): 3},
    "a set": lambda: {1, ("a", "b")},
    "a frozen set": lambda: frozenset([1, ("a", "b")]),
    "number of another size": lambda: torch.ones(2, dtype=torch.uint16),
    "float8": lambda: torch.ones(2).to(torch.float8_e5m2),
    "complex": lambda: torch.ones(2, dtype=torch.complex64),
    "sparse": lambda: torch.eye(3).to_sparse(),
    "quantised": lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
    "meta": lambda: torch.ones(2, device="meta"),
    "function": lambda: torch.nn.functional.relu,
    "dtype": lambda: torch.float16,
    "made by a function": made_by_a_function,
}


@contextmanager
def modelling() -> Iterator[None]:
    with foreign(Plain, Settings, Slotted, Kind, Own, OwnOrder, Point):
        module = sys.modules["src.modeling"]
        module.restore_settings = restore_settings  # type: ignore[attr-defined]
        restore_settings.__module__ = "src.modeling"
        yield


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("name", EXTRAS)
def test_data_beside_the_weights_is_skipped(name: str, old: bool, tmp_path: Path) -> None:
    with modelling():
        torch.save(
            {"model": dict(WEIGHTS), "extra": EXTRAS[name](), "z": 1},
            tmp_path / "x.pt",
            _use_new_zipfile_serialization=not old,
        )
    checkpoint = read_checkpoint(tmp_path / "x.pt")
    tower = read_tower(checkpoint)
    assert_is_the_tower(tower)
    assert "extra" in tower.ignored
    assert bool(tower.remarks) is (name == "made by a function")
    if name == "made by a function":
        said = f"{tmp_path / 'x.pt'}: holds data made by src.modeling.restore_settings; nothing was called, "
        assert tower.remarks[0].startswith(said)


def test_a_path_of_python_3_13_is_skipped(tmp_path: Path) -> None:
    class Local:
        def __reduce__(self) -> Any:
            return sys.modules["pathlib._local"].PosixPath, ("/", "tmp")

    class PosixPath: ...

    PosixPath.__module__, PosixPath.__qualname__ = "pathlib._local", "PosixPath"
    sys.modules["pathlib._local"] = types.ModuleType("pathlib._local")
    sys.modules["pathlib._local"].PosixPath = PosixPath  # type: ignore[attr-defined]
    try:
        torch.save({"model": dict(WEIGHTS), "path": Local()}, tmp_path / "x.pt")
    finally:
        del sys.modules["pathlib._local"]
    tower = read_tower(read_checkpoint(tmp_path / "x.pt"))
    assert_is_the_tower(tower)
    assert (tower.ignored, tower.remarks) == (("path",), ())


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize("kind", ["quantised", "sparse", "meta", "array"])
@pytest.mark.parametrize("key", ["visual.proj", "visual.extra"])
@pytest.mark.parametrize("prefix", ["", "a.visual."])
def test_a_part_of_the_tower_that_is_no_plain_tensor_is_an_error(
    kind: str, key: str, prefix: str, tmp_path: Path
) -> None:
    if prefix == "" and key == "visual.extra":
        key = "transformer.extra"
    tensors: dict[str, Any] = {prefix + name.removeprefix("visual."): value for name, value in WEIGHTS.items()}
    name = prefix + key.removeprefix("visual.")
    tensors[name] = EXTRAS[kind]()
    if name == "proj":
        return  # missing, as the pretrained model's names show
    with pytest.raises(InputError, match=rf"x\.pt: '{name}' must be a plain tensor, found one made by .*"):
        read(tensors, tmp_path)


def test_a_projection_that_is_not_read_is_not_filled(tmp_path: Path) -> None:
    tensors: dict[str, Any] = hugging_face(WEIGHTS)
    tensors["visual_projection.weight"] = tensors["visual_projection.weight"].numpy()
    torch.save(tensors, tmp_path / "x.pt")
    with pytest.raises(InputError, match=r"'visual_projection\.weight' must be a plain tensor"):
        read_tower(read_checkpoint(tmp_path / "x.pt"), WEIGHTS)
