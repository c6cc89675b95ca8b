"""Damaged and hostile files, drawn by Hypothesis: each strategy gives the files of a folder, by name."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from checkpoint_formats import hugging_face, model, vision
from hypothesis import strategies as st
from PIL import Image
from pyarrow import feather
from python_2 import pickled_batch
from safetensors.torch import save
from scipy.io import savemat
from tiny import MODEL

from ri_analysis.engine.results import packed_table
from ri_analysis.engine.sealing import sealed

Files = dict[str, bytes]
Strategy = st.SearchStrategy[Files]

# --- what is drawn ------------------------------------------------------------------------------------------------

_TEXTS = (
    *("", " ", "a", "..", "../../etc/passwd", "/dev/zero", "/dev/null", "/dev/stdin", "~nosuchuser", "~", "a\0b"),
    *("\ud800", "é" * 200, "n" * 300, "x" * 20_000, "{}", "%s", "\n", "\x1b[31m", "-1", "1e999", "nan", "(a+)+$"),
    *("file:///etc/passwd", "hf-hub:x/y", "model.safetensors", "visual.conv1.weight", "quick_gelu", "LORA", "\u202e"),
)
_NUMBERS = (0, -1, 1, 2, 3, 7, 255, 256, 1_000, 65_536, 1 << 31, 1 << 40, (1 << 63) - 1, 1 << 63, 1 << 70, 10**400)
_FLOATS = (0.0, -0.0, 0.5, -1.5, 1e-320, 1e38, 1e308, float("inf"), float("-inf"), float("nan"))
LEAVES = st.one_of(
    *(st.none(), st.booleans(), st.sampled_from(_NUMBERS), st.sampled_from(_FLOATS), st.sampled_from(_TEXTS)),
    *(st.integers(-3, 40), st.text(max_size=8)),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(_TEXTS), inner, max_size=4),
    max_leaves=8,
)
DEEP = st.sampled_from([b"[" * 100_000, b'{"a":' * 5_000, b"[" * 150 + b"]" * 150, b"1" * 5_000, b'"\\ud800"', b"{}"])


@st.composite
def damaged(draw: st.DrawFn, whole: bytes, most: int = 3) -> bytes:
    """Bytes that were flipped, set to a telling value, cut out, doubled or cut off."""
    data = bytearray(whole)
    for kind, place, value, length in draw(st.lists(EDITS, min_size=1, max_size=most)):
        at = place * len(data) >> 16
        if kind == "flip" and data:
            data[min(at, len(data) - 1)] ^= 1 << value % 8
        elif kind == "set":
            data[at : at + 1] = bytes([value])
        elif kind == "number":
            data[at : at + length] = (_NUMBERS[value % len(_NUMBERS)] % (1 << 8 * length)).to_bytes(length, "little")
        elif kind == "cut":
            del data[at : at + length * value]
        elif kind == "double":
            data[at:at] = data[at : at + length * 8]
        elif kind == "end" and value < 20:
            del data[at:]
    return bytes(data)


EDITS = st.tuples(
    st.sampled_from(["flip", "flip", "set", "set", "number", "number", "cut", "double", "end"]),
    st.integers(0, (1 << 16) - 1),
    st.integers(0, 255),
    st.sampled_from([1, 2, 4, 8]),
)


@st.composite
def altered(draw: st.DrawFn, document: Any) -> Any:
    """A document with one to four of its values replaced, removed or added."""
    found = json.loads(json.dumps(document))
    for _ in range(draw(st.integers(1, 4))):
        holders = list(_holders(found))
        if not holders:
            return draw(VALUES)
        holder = draw(st.sampled_from(holders))
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        key = draw(st.sampled_from(keys)) if keys else None
        what = draw(st.integers(0, 9))
        if key is None or what == 0:
            if isinstance(holder, dict):
                holder[draw(st.sampled_from(_TEXTS))] = draw(VALUES)
            else:
                holder.append(draw(VALUES))
        elif what == 1:
            del holder[key]
        else:
            holder[key] = draw(VALUES)
    return found


def _holders(value: Any) -> Any:
    if isinstance(value, dict | list):
        yield value
        for item in value.values() if isinstance(value, dict) else value:
            yield from _holders(item)


@st.composite
def json_file(draw: st.DrawFn, document: Any) -> bytes:
    """JSON of a document, altered or damaged as text."""
    what = draw(st.integers(0, 9))
    if what == 0:
        return draw(DEEP)
    if what == 1:
        return draw(damaged(json.dumps(document).encode()))
    return json.dumps(draw(altered(document))).encode()


@st.composite
def mostly(draw: st.DrawFn, valid: bytes, other: st.SearchStrategy[bytes]) -> bytes:
    """Valid bytes three times out of four."""
    return valid if draw(st.integers(0, 3)) else draw(other)


# --- checkpoints --------------------------------------------------------------------------------------------------


@cache
def weights() -> dict[str, torch.Tensor]:
    """The vision tower of a tiny CLIP under open_clip's names."""
    return {key: value.contiguous() for key, value in vision(model()).items()}


@cache
def saved(old: bool) -> bytes:
    """Those weights as torch writes them."""
    stream = io.BytesIO()
    torch.save(
        {"state_dict": weights(), "epoch": 3, "optimizer": {"state": {}}},
        stream,
        _use_new_zipfile_serialization=not old,
    )
    return stream.getvalue()


def zipped(parts: dict[str, bytes]) -> bytes:
    """A zip archive of stored parts."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return stream.getvalue()


@cache
def _parts() -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(saved(False))) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _main() -> str:
    return next(name for name in _parts() if name.endswith("/data.pkl"))


def torch_zip() -> Strategy:
    """Torch's zip files, damaged anywhere, or in their pickle alone."""
    inner = damaged(_parts()[_main()]).map(lambda data: zipped({**_parts(), _main(): data}))
    return st.one_of(damaged(saved(False)), inner, inner).map(lambda data: {"x.pt": data})


def torch_legacy() -> Strategy:
    """The format before torch 1.6."""
    return damaged(saved(True)).map(lambda data: {"x.pt": data})


_OPCODES = (
    *(b"(", b".", b"0", b"1", b"2", b"N", b"\x88", b"\x89", b")", b"]", b"}", b"\x8f", b"a", b"e", b"s", b"u", b"d"),
    *(b"l", b"t", b"\x85", b"\x86", b"\x87", b"R", b"\x81", b"\x92", b"b", b"Q", b"\x90", b"\x91", b"\x93", b"\x94"),
    *(b"K\x01", b"K\x00", b"J\xff\xff\xff\xff", b"M\x00\x01", b"G?\xf0\0\0\0\0\0\0", b"\x8a\x09" + b"\xff" * 9),
    *(b"X\x01\x00\x00\x00a", b"X\x02\x00\x00\x00os", b"\x8c\x06system", b"\x8c\x05torch", b"U\x01a", b"C\x02ab"),
    *(b"q\x00", b"q\x01", b"h\x00", b"h\x01", b"r\xff\xff\xff\x7f", b"cos\nsystem\n", b"ccollections\nOrderedDict\n"),
    *(b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch\nFloatStorage\n", b"ctorch\nSize\n", b"cbuiltins\ngetattr\n"),
    *(
        b"cfoo\nBar\n",
        b"iposix\nabort\n",
        b"o",
        b"X\x07\x00\x00\x00storage",
        b"X\x01\x00\x00\x000",
        b"\x95" + b"\0" * 8,
    ),
    *(b"cnumpy\ndtype\n", b"cnumpy._core.multiarray\n_reconstruct\n", b"ctorch._utils\n_rebuild_parameter\n"),
    *(b"S'a'\n", b"I01\n", b"L9999999999999999L\n", b"F1e999\n", b"\x80\x04", b"\x82\x01", b"\x97", b"\x98"),
)


def pickles() -> Strategy:
    """Programs of random operations, alone and in torch's two formats."""
    program = st.lists(st.sampled_from(_OPCODES), max_size=30).map(lambda parts: b"\x80\x02" + b"".join(parts) + b".")
    heads = [pickle.dumps(item, 2) for item in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    forms: list[Callable[[bytes], bytes]] = [
        lambda data: data,
        lambda data: zipped({**_parts(), _main(): data}),
        lambda data: b"".join([*heads, data, pickle.dumps(["0"], 2), b"\0" * 64]),
    ]
    return st.tuples(program, st.sampled_from(forms)).map(lambda made: {"x.pt": made[1](made[0])})


@st.composite
def safetensors(draw: st.DrawFn) -> Files:
    """Safetensors whose bytes, or whose header alone, are damaged."""
    whole = save(weights())
    if draw(st.booleans()):
        return {"x.safetensors": draw(damaged(whole))}
    length = int.from_bytes(whole[:8], "little")
    header = draw(json_file(json.loads(whole[8 : 8 + length])))
    said = draw(st.sampled_from([len(header)] * 6 + [0, 8, max(0, len(header) - 1), 1 << 40, (1 << 64) - 1]))
    return {"x.safetensors": struct.pack("<Q", said) + header + whole[8 + length :]}


_TYPES = [
    *(torch.float32, torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn),
    *(torch.float8_e5m2, torch.int8, torch.bool, torch.complex64),
]


@st.composite
def reshaped(draw: st.DrawFn, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors of which a few have another shape, type or name, are gone or not finite."""
    found = dict(tensors)
    for _ in range(draw(st.integers(0, 3))):
        key = draw(st.sampled_from(sorted(found)))
        what = draw(st.integers(0, 5))
        if what == 0 and len(found) > 1:
            del found[key]
        elif what == 1:
            found[draw(st.sampled_from([*sorted(found), "a", "weight", "x.y", "é", "n" * 2_000]))] = found[key]
        elif what == 2:
            found[key] = torch.zeros(draw(st.lists(st.integers(0, 5), max_size=5)))
        elif what == 3:
            found[key] = found[key].float() * float("nan")
        else:
            found[key] = found[key].float().to(draw(st.sampled_from(_TYPES)))
    return {key: value.contiguous().clone() for key, value in found.items()}


@cache
def _hugging_face() -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    tensors = {key: value.contiguous() for key, value in hugging_face(vision(model())).items()}
    return tensors, {"model_type": "clip_vision_model", "architectures": ["CLIPVisionModel"], "hidden_act": "gelu"}


@st.composite
def hugging_face_folder(draw: st.DrawFn) -> Files:
    """A folder of a Hugging Face model, in one file or in shards."""
    tensors, config = _hugging_face()
    files = {"config.json": draw(mostly(json.dumps(config).encode(), json_file(config)))}
    found = draw(reshaped(tensors))
    if draw(st.booleans()):
        data = save(found)
        return {**files, "model.safetensors": draw(mostly(data, damaged(data)))}
    keys = sorted(found)
    names = [f"model-{number:05d}-of-00002.safetensors" for number in (1, 2)]
    index = {"metadata": {}, "weight_map": {key: names[place % 2] for place, key in enumerate(keys)}}
    for place, name in enumerate(names):
        files[name] = save({key: found[key] for key in keys[place::2]})
    return {**files, "model.safetensors.index.json": draw(mostly(json.dumps(index).encode(), json_file(index)))}


@st.composite
def adapter(draw: st.DrawFn) -> Files:
    """A LoRA adapter of the tiny tower."""
    generator = torch.Generator().manual_seed(0)
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["c_fc"], "bias": "none"}
    config |= {"rank_pattern": {}, "alpha_pattern": {}, "init_lora_weights": True, "use_dora": False}
    tensors = {}
    for block in (0, 1):
        stem = f"base_model.model.visual.transformer.resblocks.{block}.mlp.c_fc"
        tensors[f"{stem}.lora_A.weight"] = torch.randn(2, 32, generator=generator)
        tensors[f"{stem}.lora_B.weight"] = torch.randn(128, 2, generator=generator)
    data = save(draw(reshaped(tensors)))
    return {
        "adapter_config.json": draw(mostly(json.dumps(config).encode(), json_file(config))),
        "adapter_model.safetensors": draw(mostly(data, damaged(data))),
    }


@st.composite
def head(draw: st.DrawFn) -> Files:
    """A head of four classes."""
    found = draw(reshaped({"weight": torch.eye(16)[:4], "bias": torch.zeros(4)}))
    if draw(st.booleans()):
        return {"head": draw(mostly(save(found), damaged(save(found))))}
    stream = io.BytesIO()
    torch.save(found, stream)
    return {"head": draw(mostly(stream.getvalue(), damaged(stream.getvalue())))}


# --- texts --------------------------------------------------------------------------------------------------------


def model_config() -> Strategy:
    """A model config for open_clip."""
    return json_file(MODEL).map(lambda data: {"model.json": data})


_SUITE: dict[str, Any] = {
    "name": "tiny",
    "model": {"architecture": "model.json", "pretrained": "pretrained.safetensors"},
    "task": [
        {
            "name": task,
            "expert": f"{task}.safetensors",
            "head": f"head-{task}.safetensors",
            "classes": f"{task}.txt",
            "templates": ["a photo of {}"],
            "data": f"{task}.npz",
            "images_per_class": 3,
            "logit_scale": 2.5,
        }
        for task in ("A", "B")
    ],
    "auxiliary": [{"name": "noise", "generator": "noise", "seed": 3, "count": 4}],
    "unseen": [{"name": "dim", "tasks": ["A"], "data": "A.npz"}],
    "resolved": [{"name": "mild", "directory": "mild", "default": True}],
}


def _toml(document: Any) -> bytes:
    lines = [f"{_key(key)} = {_inline(value)}" for key, value in document.items()] if isinstance(document, dict) else []
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _key(key: str) -> str:
    return json.dumps(key, ensure_ascii=False) if key.isprintable() else json.dumps(key)


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(key)} = {_inline(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return (
        {None: '""', True: "true", False: "false"}.get(value, json.dumps(value))
        if value in (None, 0, 1)
        else json.dumps(value)
    )


@st.composite
def suite(draw: st.DrawFn) -> Files:
    """A suite file beside the files of a suite that it names."""
    what = draw(st.integers(0, 9))
    keys = st.sampled_from([b"a" + b".a" * 20_000 + b" = 1", b"x = " + b"[" * 5_000, b"x = 0x" + b"f" * 5_000, b"\xff"])
    made = keys if what == 0 else damaged(_toml(_SUITE)) if what == 1 else altered(_SUITE).map(_toml)
    return {**_beside(), "suite.toml": draw(made)}


@cache
def _beside() -> Files:
    images = io.BytesIO()
    np.savez(images, images=np.zeros((6, 8, 8, 3), np.uint8), labels=np.arange(6) % 3)
    files = {"model.json": json.dumps(MODEL).encode(), "pretrained.safetensors": save(weights())}
    for task in ("A", "B"):
        files[f"{task}.safetensors"] = save(weights())
        files[f"head-{task}.safetensors"] = save({"weight": torch.eye(16)[:3].clone()})
        files[f"{task}.txt"] = b"one\ntwo\nthree\n"
        files[f"{task}.npz"] = images.getvalue()
    return files


_RECORD = {
    "name": "mild",
    "suite": "tiny",
    "weights": {"pretrained": "00", "A": "11"},
    "auxiliary": {"name": "noise", "images": 32, "oracle": False},
    "tasks": ["A", "B"],
    "seed": 0,
    "settings": {"steps": 3, "distance": "kl", "batch": 16},
    "history": {"A": [[1, 0.5, 0.1, 0.6], [2, 0.4, 0.1, 0.5]]},
    "held_out": {"images": 4, "looks": {"A": [[0, 0.5, 0.1, 0.6, 0.1]]}},
    "seconds": 3.5,
    "made": "2026-11-30T00:00:00+00:00",
}


def record() -> Strategy:
    """The record and the plan of an RI run, one of them as it should be."""
    whole = st.just(json.dumps(_RECORD).encode())
    return st.one_of(st.tuples(json_file(_RECORD), whole), st.tuples(whole, json_file(_RECORD))).map(
        lambda two: {"resolve.json": two[0], "plan.json": two[1]}
    )


# --- images -------------------------------------------------------------------------------------------------------

_KINDS = [np.uint8] * 4 + [np.int64, np.float32, np.bool_, np.dtype("U3"), np.dtype("S2"), np.complex64, np.uint16]


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    """An array of some type and a small shape."""
    shape = draw(st.sampled_from([(6, 8, 8, 3), (6, 8, 8), (6,), (5, 0), (0,), (), (6, 8, 8, 4), (2, 1, 1, 3)]))
    return np.zeros(shape, draw(st.sampled_from(_KINDS)))


@st.composite
def npz(draw: st.DrawFn) -> Files:
    """An npz file: damaged, of odd arrays, a bare array, one that says it is encrypted or unpacks to much."""
    what = draw(st.integers(0, 5))
    stream = io.BytesIO()
    images, labels = np.zeros((6, 8, 8, 3), np.uint8), np.arange(6) % 3
    if what == 0:
        np.save(stream, draw(arrays()))
        return {"x.npz": stream.getvalue()}
    if what == 1:
        images, labels = draw(arrays()), draw(arrays())
    save_arrays = np.savez_compressed if draw(st.booleans()) else np.savez
    save_arrays(stream, images=images, labels=labels)
    whole = stream.getvalue()
    if what == 2:
        with zipfile.ZipFile(io.BytesIO(whole)) as archive:
            parts = {name: draw(damaged(archive.read(name))) for name in archive.namelist()}
        whole = zipped(parts)
    if what == 3:
        marked = bytearray(whole)
        for mark, place in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
            marked[marked.find(mark) + place] |= 1
        return {"x.npz": bytes(marked)}
    return {"x.npz": whole if what < 3 else draw(damaged(whole))}


@cache
def _png() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(stream, "PNG")
    return stream.getvalue()


@cache
def _table() -> pa.Table:
    image = pa.array([{"bytes": _png(), "path": None}] * 4)
    return pa.table({"image": image, "label": [0, 1, 2, 1]})


_FEATURES = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["a", "b", "c"]}}


@st.composite
def arrow(draw: st.DrawFn) -> Files:
    """A data set as `save_to_disk` leaves it."""
    stream = io.BytesIO()
    with pa.ipc.new_stream(stream, _table().schema) as writer:
        writer.write_table(_table())
    state = {"_data_files": [{"filename": "data.arrow"}], "_indices_data_files": None}
    info = {"features": _FEATURES}
    return {
        "data.arrow": draw(damaged(stream.getvalue())),
        "state.json": draw(mostly(json.dumps(state).encode(), json_file(state))),
        "dataset_info.json": draw(mostly(json.dumps(info).encode(), json_file(info))),
    }


@st.composite
def parquet(draw: st.DrawFn) -> Files:
    """A parquet file as the hub mirrors it."""
    meta = {"info": {"features": _FEATURES}}
    return {"x.parquet": draw(damaged(_parquet(draw(mostly(json.dumps(meta).encode(), json_file(meta))))))}


@lru_cache(maxsize=1)  # most hold the same
def _parquet(meta: bytes) -> bytes:
    stream = io.BytesIO()
    pq.write_table(_table().replace_schema_metadata({b"huggingface": meta}), stream)
    return stream.getvalue()


@cache
def _packed() -> bytes:
    return packed_table(pd.DataFrame({"task": ["A", "B"], "n": [1, None], "maybe": [True, None]})).tobytes()


@st.composite
def answers(draw: st.DrawFn) -> Files:
    """The answers beside a suite file: damaged as a whole, or soundly sealed with damage or other values within."""
    what = draw(st.integers(0, 3))
    packed = draw(damaged(_packed())) if what == 1 else _packed()
    words = draw(st.integers(1, 2))
    names = draw(st.sampled_from([("table", "words"), ("table", "words"), ("table",), ("words",)]))
    made = {"day": "2026-11-28", "version": "0", "torch": "2", "processor": "x", "cores": 2, "system": "Linux"}
    whole = _answers(packed, words, names, draw(json_file(made)) if what == 2 else json.dumps(made).encode())
    return {"answers.arrow": draw(damaged(whole)) if what in (0, 3) else whole}


@lru_cache(maxsize=16)  # half of them hold the same
def _answers(packed: bytes, words: int, names: tuple[str, ...], made: bytes) -> bytes:
    arrays = {"table": np.frombuffer(packed, np.uint8), "words": np.array(["a", "b"][:words])}
    arrays = {name: arrays[name] for name in names}
    table = pa.table(
        {
            "key": pa.array(["a", "b"]),
            "count": pa.array([-1, 4], pa.int64()),
            "value": pa.array([sealed(arrays, "a"), sealed(arrays, "b:4")], pa.large_binary()),
        }
    )
    stream = io.BytesIO()
    feather.write_feather(table.replace_schema_metadata({b"made": made}), stream, "zstd")
    return stream.getvalue()


@cache
def _matlab() -> dict[str, bytes]:
    annotations = np.zeros(2, [("fname", object), ("class", object)])
    annotations["fname"], annotations["class"] = ["a.png", "b.png"], [1, 2]
    made = {
        "test_32x32.mat": {"X": np.zeros((32, 32, 3, 4), np.uint8), "y": np.arange(1, 5)},
        "setid.mat": {"tstid": np.arange(1, 3)},
        "imagelabels.mat": {"labels": np.arange(1, 5)},
        "cars_test_annos_withlabels.mat": {"annotations": annotations},
    }
    found = {}
    for name, values in made.items():
        for packed in (False, True):
            stream = io.BytesIO()
            savemat(stream, values, do_compression=packed)
            found[f"{'z' if packed else ''}{name}"] = stream.getvalue()
    return found


@st.composite
def matlab(draw: st.DrawFn) -> Files:
    """SVHN, Flowers102 and Cars."""
    name = draw(st.sampled_from(["test_32x32.mat", "setid.mat", "cars_test_annos_withlabels.mat"]))
    packed = draw(st.sampled_from(["", "z"]))
    other = _matlab()[f"{packed}imagelabels.mat"]
    return {
        name: draw(damaged(_matlab()[packed + name])),
        "imagelabels.mat": draw(mostly(other, damaged(other))),
        **{f"{folder}/{file}": _png() for folder, file in (("cars_test", "a.png"), ("cars_test", "b.png"))},
        **{f"jpg/image_{number:05d}.jpg": _png() for number in range(1, 5)},
    }


@st.composite
def tables(draw: st.DrawFn) -> Files:
    """Lists of images and tables in text."""
    pixels = " ".join(["7"] * 48 * 48)
    texts = {
        "GT-final_test.csv": b"Filename;ClassId\na.png;0\nb.png;1\n",
        "fer.csv": f"emotion,pixels,Usage\n1,{pixels},PrivateTest\n0,{pixels},PrivateTest\n".encode(),
        "test.txt": b"a.png\nb.png\n",
        "annotations/test.txt": b"a 1 1 1\nb 2 1 1\n",
    }
    name = draw(st.sampled_from(sorted(texts)))
    data = draw(damaged(texts[name]) if draw(st.integers(0, 3)) else st.binary(max_size=200))
    return {name: data, "a.png": _png(), "b.png": _png(), "images/a.png": _png(), "images/b.png": _png()}


@st.composite
def idx(draw: st.DrawFn) -> Files:
    """MNIST's files, packed or not, and STL10's."""
    if draw(st.integers(0, 3)) == 0:
        return {
            "test_X.bin": draw(st.binary(max_size=100)) + bytes(96 * 96 * 3),
            "test_y.bin": draw(st.binary(max_size=3)),
        }
    images = struct.pack(">HBB3I", 0, 8, 3, 4, 5, 5) + bytes(100)
    labels = struct.pack(">HBBI", 0, 8, 1, 4) + bytes([0, 1, 2, 1])
    images, labels = draw(mostly(images, damaged(images))), draw(mostly(labels, damaged(labels)))
    if not draw(st.booleans()):
        return {"t10k-images-idx3-ubyte": images, "t10k-labels-idx1-ubyte": labels}
    packed = draw(mostly(gzip.compress(images, 1), damaged(gzip.compress(images, 1))))
    return {"t10k-images-idx3-ubyte.gz": packed, "t10k-labels-idx1-ubyte.gz": gzip.compress(labels, 1)}


@st.composite
def cifar(draw: st.DrawFn) -> Files:
    """CIFAR's pickles, as Python 2 or 3 made them: edited anywhere, or around the pixels alone."""
    data, names = np.arange(3 * 3072).astype(np.uint8).reshape(3, 3072), {"label_names": ["a", "b"]}
    old = pickled_batch(data, [0, 1, 1], "labels")
    batch = old if draw(st.integers(0, 3)) else pickle.dumps({"data": data, "labels": [0, 1, 1]})
    before, pixels, after = batch.partition(data.tobytes())
    around = [st.tuples(damaged(before), st.just(after)), st.tuples(st.just(before), damaged(after))]
    edited = st.one_of(damaged(batch), *(pair.map(lambda two: two[0] + pixels + two[1]) for pair in around))
    return {"test_batch": draw(edited), "batches.meta": draw(mostly(pickle.dumps(names), damaged(pickle.dumps(names))))}


@cache
def _pictures() -> dict[str, bytes]:
    random = np.random.default_rng(0)
    colour = Image.fromarray(random.integers(0, 256, (12, 9, 3), dtype=np.uint8))
    deep = Image.fromarray(random.integers(0, 1 << 16, (12, 9), dtype=np.uint16))
    kinds: list[tuple[str, Image.Image, dict[str, Any]]] = [
        *(("PNG", colour, {}), ("JPEG", colour, {}), ("JPEG", colour, {"progressive": True}), ("BMP", colour, {})),
        *(("GIF", colour, {}), ("WEBP", colour, {}), ("TIFF", colour, {}), ("TIFF", deep, {}), ("PPM", colour, {})),
        *(("TIFF", colour, {"compression": "tiff_lzw"}), ("TIFF", colour, {"compression": "jpeg"})),
        *(("TIFF", colour, {"compression": "tiff_deflate"}), ("JPEG2000", colour, {}), ("PNG", deep, {})),
        *(("GIF", colour, {"save_all": True, "append_images": [colour.rotate(90)]}), ("AVIF", colour, {})),
        *(("PNG", colour.convert("P"), {}), ("PNG", colour, {"save_all": True, "append_images": [colour]})),
    ]
    found = {}
    for number, (kind, image, options) in enumerate(kinds):
        stream = io.BytesIO()
        try:
            image.save(stream, kind, **options)
        except (KeyError, OSError):  # a kind that this Pillow does not write
            continue
        found[f"{number}.{kind.lower()}"] = stream.getvalue()
    return found


_EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(x) (w) file closefile\nshowpage\n%%EOF\n"


@st.composite
def pictures(draw: st.DrawFn) -> Files:
    """A folder of two classes: a whole image, and a damaged one of some format."""
    kind = draw(st.sampled_from(sorted(_pictures())))
    data = draw(damaged(_pictures()[kind]) if draw(st.integers(0, 9)) else st.just(_EPS))
    suffix = draw(st.sampled_from([".png", ".jpg", ".tif", ".gif", ".webp", ".jp2", ".avif", ".ppm"]))
    return {"set/a/whole.png": _png(), f"set/b/x{suffix}": data}


def anything() -> Strategy:
    """What somebody may give in a suite file's place."""
    starts = [saved(False)[:600], save(weights())[:600], _png(), b"PK\x03\x04", b"\x93NUMPY", b"RIFF", b"name = 1"]
    return st.one_of(st.binary(max_size=600), *(damaged(start) for start in starts)).map(lambda data: {"x": data})


_NAMES = (
    *("x", 'q"u]o.t#e', "back\\slash", "\u202eevil", "tab\there", "~x", "-rf", " ", "[[task]]", "é" * 60, "resolved"),
    *("test", "zeroshot", "A", "head_A", "<b>", "$(id)", "models--a--b", "snapshots", "\x7f"),
)


@st.composite
def folder(draw: st.DrawFn) -> Files:
    """A folder to draft a suite file from: a suite's files beside damaged ones of any kind, under telling names."""
    known = (torch_zip(), safetensors(), hugging_face_folder(), adapter(), head(), model_config(), record(), npz())
    found = dict(_beside())
    for _ in range(draw(st.integers(1, 3))):
        place = "below/" + "/".join(draw(st.lists(st.sampled_from(_NAMES), min_size=1, max_size=3)))
        beside = draw(st.one_of(*known, arrow(), parquet(), matlab(), tables(), idx(), cifar(), pictures(), anything()))
        found |= {f"{place}/{name}": data for name, data in beside.items()}
    if draw(st.booleans()):  # one of the suite's own, renamed
        name = draw(st.sampled_from(sorted(found)))
        found[f"{draw(st.sampled_from(_NAMES))}{PurePath(name).suffix}"] = found.pop(name)
    folders = {str(parent) for name in found for parent in PurePath(name).parents}
    return {name: data for name, data in found.items() if name not in folders}


def written(files: Files, folder: Path) -> None:
    """Write the files."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
