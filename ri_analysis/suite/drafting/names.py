"""What names of files and folders say: whose they are, which split, and which public data set is meant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePath

from ri_analysis.documents import read_toml
from ri_analysis.suite.suite import resource_root

TEST, VALIDATION, TRAIN = "test", "validation", "train"
_SPLITS = {
    **dict.fromkeys(("test", "testing", "t10k", "eval", "evaluation", "setid"), TEST),
    **dict.fromkeys(("val", "valid", "validation", "dev"), VALIDATION),
    **dict.fromkeys(("train", "training", "trainval", "extra"), TRAIN),
}
# Words that say what a file is, and not whose.
_KINDS = {
    *("finetuned", "nonlinear", "fine", "tuned", "model", "models", "pytorch", "open", "clip", "adapter", "lora"),
    *("checkpoint", "checkpoints", "ckpt", "epoch", "step", "best", "last", "final", "latest", "weights", "expert"),
    *("experts", "visual", "vision", "tower", "encoder", "image", "images", "head", "heads", "classifier", "data"),
    *("dataset", "datasets", "idx3", "ubyte", "raw", "npz", "batch", "gz", "classes", "classnames", "names", "class"),
    *("unlabelled", "unlabeled"),
}
_ZERO_SHOT = re.compile(r"zero_?shot|pre_?train|theta_?0$|^(base|init|initial|zs)(_model|_weights)?$")
_AUXILIARY = re.compile(r"aux(iliary)?|unlabell?ed|imagenet.*|ilsvrc.*|places.*|coco.*|laion.*|openimages.*|cc3m|cc12m")
_FULLY_TUNED = re.compile(r"fine_?tuned")
_HUB = re.compile(r"(models|datasets)--(.+)")


def plain(name: str) -> str:
    """Return a name's letters and digits, in lower case: two that are equal so are the same name."""
    return re.sub(r"[\W_]+", "", name.lower())


def words(name: str) -> list[str]:
    """Return the words of a name, in lower case."""
    return [word for word in re.split(r"[\W_]+", name.lower()) if word]


def stem(path: PurePath) -> str:
    """Return a file's or folder's name without its suffix; a hub cache's folder is called as its repository."""
    for part in path.parts:
        if found := _HUB.fullmatch(part):
            return found[2].rpartition("--")[2]
    # Only suffixes of letters are any: "v1.5" has none.
    return re.sub(r"(\.[a-z][a-z0-9]*)+$", "", path.name) or path.name


def whose(path: PurePath) -> str:
    """Return the part of a path that says whose weights these are: the file's name, or the folder's around it."""
    for part in (stem(path), *(stem(PurePath(parent.name)) for parent in path.parents if parent.name)):
        if any(word not in _KINDS and not word.isdigit() for word in words(part)):
            return part
    return stem(path)


def is_zero_shot(path: PurePath) -> bool:
    """Whether a file or folder is called like the model that experts start from."""
    return _ZERO_SHOT.search("_".join(words(stem(path)))) is not None


def is_fully_tuned(path: PurePath) -> bool:
    """Whether a file is called like the end of a fine-tuning, and not like a state on the way."""
    return _FULLY_TUNED.search("_".join(words(stem(path)))) is not None


def is_of_tall_masks(path: PurePath) -> bool:
    """Whether a file is called as tall_masks publishes checkpoints: plain weights of models that began as OpenAI's."""
    return path.name in ("nonlinear_zeroshot.pt", "nonlinear_finetuned.pt")


def is_auxiliary(path: PurePath) -> bool:
    """Whether some part of a path is called like a source of images of no task."""
    return any(_AUXILIARY.fullmatch(word) for part in path.parts for word in words(part))


def split_of(path: PurePath) -> str:
    """Return which split a file or folder is called after, "" where its name does not say."""
    found = [_SPLITS[word] for word in map(_unnumbered, words(path.name)) if word in _SPLITS]
    return found[0] if found else TRAIN if "databatch" in plain(path.name) else ""


def is_split(name: str) -> bool:
    """Whether a folder is called by the name of a split alone."""
    return _unnumbered(name.lower()) in _SPLITS


def _unnumbered(word: str) -> str:
    return word if word in _SPLITS else word.rstrip("0123456789")


def may_be_called(path: PurePath) -> list[str]:
    """Return, in plain form, what the data or head at `path` may be the one of; the innermost name comes first."""
    found = []
    for part in reversed([*path.parts[:-1], stem(path)]):
        hub = _HUB.fullmatch(part)
        own = words(hub[2].rpartition("--")[2] if hub else part)
        rest = "".join(word for word in own if word not in _KINDS and _unnumbered(word) not in _SPLITS)
        found += [name for name in ("".join(own), rest) if name]
    return list(dict.fromkeys(found))


def source_name(path: PurePath) -> str:
    """Return what a source of images is called: the innermost name that is more than a split's or "images"."""
    for part in (stem(path), *(parent.name for parent in path.parents)):
        hub = _HUB.fullmatch(part)
        own = words(hub[2].rpartition("--")[2] if hub else part)
        if rest := [word for word in own if word not in _KINDS and _unnumbered(word) not in _SPLITS]:
            return "-".join(rest)
    return stem(path) or "images"


def tasks_of(names: Sequence[str], origin: str = "") -> list[str]:
    """Return what tasks are called whose experts have these `names`, without what all of them share.

    `origin` is the name of the model that they start from: a hub's `clip-vit-base-patch32` for
    `clip-vit-base-patch32_mnist`. Only whole words are dropped, and "Val", with which tall_masks ends all names.
    """
    found = list(names)
    if origin and all(_after(name, origin) for name in found):
        found = [_after(name, origin) for name in found]
    if all(re.search(r"\wVal$", name) for name in found):
        found = [name.removesuffix("Val") for name in found]
    different = {name: re.split(r"([\W_]+)", name) for name in found}
    if len(different) > 1:
        for from_the_end in (False, True):
            different = _without_shared(different, from_the_end=from_the_end)
    cleaned = {name: _without_kinds(parts) for name, parts in different.items()}
    if len(set(map(plain, cleaned.values()))) < len(cleaned):
        cleaned = {name: name for name in cleaned}
    return [re.sub(r"[^\w.-]+", "-", cleaned[name]).strip("-_.") or "task" for name in found]


def _after(name: str, origin: str) -> str:
    rest = name[len(origin) :]
    return rest.lstrip("-_.") if name.lower().startswith(origin.lower()) and rest[:1] in ("-", "_", ".") else ""


def _without_shared(parts: Mapping[str, list[str]], *, from_the_end: bool) -> dict[str, list[str]]:
    """Drop words that all names begin (or end) with, while what is left of each is more than a number."""
    kept = {name: list(reversed(words)) if from_the_end else list(words) for name, words in parts.items()}
    while len({tuple(each[:2]) for each in kept.values()}) == 1:
        shorter = {name: each[2:] for name, each in kept.items()}
        if any(not plain("".join(each)) or plain("".join(each)).isdigit() for each in shorter.values()):
            break
        kept = shorter
    return {name: list(reversed(each)) if from_the_end else each for name, each in kept.items()}


def _without_kinds(parts: list[str]) -> str:
    """Return a name without words such as "finetuned", unless nothing else is in it."""
    own = [word for word in parts[::2] if word and word.lower() not in _KINDS]
    if not own or all(word.isdigit() for word in own):
        return "".join(parts)
    first, last = parts.index(own[0]), len(parts) - 1 - parts[::-1].index(own[-1])
    return "".join(parts[first : last + 1])


# --- public data sets -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Known:
    """A public data set, as the suites of the benchmarks name it.

    `names` are what it is called, in plain form; `data` is where the loaders of task_vectors look for its test split;
    `templates` and `classes` (a file) are what a head of FusionBench's models is built from, whose data sets may order
    their classes in another way than the authors' files, which `own_classes` is for.
    """

    name: str
    names: frozenset[str]
    data: str
    templates: tuple[str, ...]
    classes: Path
    own_classes: Path


def known(names: Iterable[str]) -> Known | None:
    """Return the public data set that one of `names`, in plain form, stands for."""
    sets = _public()
    return next((sets[name] for name in names if name in sets), None)


@lru_cache(maxsize=1)
def _public() -> dict[str, Known]:
    """Return the data sets of the public benchmarks by all their names."""
    folder = resource_root() / "assets" / "benchmarks"
    hub, own = (read_toml(folder / layout / "ViT-B-32-20.toml")["task"] for layout in ("hugging_face", "task_vectors"))
    found: dict[str, Known] = {}
    for there, here in zip(hub, own, strict=True):
        data = str(here["data"]).removeprefix("data/")
        names = {plain(name) for name in (here["name"], there["expert"].partition("_")[2], data.partition("/")[0])}
        classes = [(folder / "hugging_face" / row["classes"]).resolve() for row in (there, here)]
        one = Known(here["name"], frozenset(names), data, tuple(there["templates"]), *classes)
        found |= dict.fromkeys(names, one)
    return found
