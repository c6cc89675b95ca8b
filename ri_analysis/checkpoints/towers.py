"""Where the vision towers of a checkpoint lie, by the names of its tensors, and which of several is meant."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch

from ri_analysis import limits
from ri_analysis.checkpoints.lazy import Tensors, outline
from ri_analysis.errors import InputError

PREFIX = "visual."  # open_clip's
HUGGING_FACE = "vision_model."
PROJECTION = "visual_projection.weight"
_MARKERS = ("conv1.weight", "class_embedding", "trunk.patch_embed.proj.weight")
_PATCHES = "embeddings.patch_embedding.weight"
_CHILDREN = ("embeddings.", "encoder.", "pre_layrnorm.", "post_layernorm.")
# Classes that hold a module and pass its calls on; they show in the names of its tensors.
_WRAPPERS = {
    *("_orig_mod", "_fsdp_wrapped_module", "_fpw_module", "_checkpoint_wrapped_module", "_forward_module"),
    "_ddp_wrapped_module",
}
_OPTIMISER = re.compile(
    r"(^|\.)(optim(i[sz]ers?)?(_\w+)?|\w*exp_avg\w*|exp_inf|momentum_buffer|square_avg|grad_avg)(\.|$)", re.IGNORECASE
)
_PARAMETRISED = re.compile(r"(^|\.)parametrizations\.|\.(weight|bias)_(g|v|orig|u|mask)$")


def is_optimiser(name: str) -> bool:
    """Whether `name`, a key or a path of keys, is that of an optimiser's state, which mirrors the model's names."""
    return _OPTIMISER.search(name) is not None


def without_wrappers(names: Iterable[str], source: str) -> dict[str, str]:
    """Return the tensors' names without those of wrapper classes (`_orig_mod.` …) → the names as they are.

    Raises InputError where two become one.
    """
    return _renamed(((bare_name(name), name) for name in names), source)


def bare_name(name: str) -> str:
    """Return `name` without the parts that are wrappers'."""
    return _without(name, _WRAPPERS)


def _without(name: str, parts: set[str]) -> str:
    return ".".join(part for part in name.split(".") if part not in parts)


def _renamed(pairs: Iterable[tuple[str, str]], source: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for new, old in pairs:
        if new in found:
            raise InputError(
                f"{source}: tensors {found[new]!r} and {old!r} are both {new!r} without the names of wrappers; "
                f"write the wanted ones to a file of their own"
            )
        found[new] = old
    return found


@dataclass(frozen=True)
class Place:
    """A vision tower: what stands before its own names, and whether those are Hugging Face's."""

    prefix: str
    hugging_face: bool

    @property
    def wrapper(self) -> str:
        """What stands before the names of the whole CLIP."""
        for inner in (PREFIX, HUGGING_FACE):
            if _ends(self.prefix, inner):
                return self.prefix.removesuffix(inner)
        return self.prefix


def find_towers(names: Iterable[str]) -> tuple[Place, ...]:
    """Return the vision towers among tensors of these names, in the order of their prefixes."""
    ordered = sorted(name for name in names if not is_optimiser(name))
    found = set()
    for name in ordered:
        if name == _PATCHES or name.endswith("." + _PATCHES):
            found.add(Place(_before(name, _PATCHES, HUGGING_FACE), True))
        for marker in _MARKERS:
            if name == marker or name.endswith("." + marker):
                prefix = _before(name, marker, PREFIX)
                if _ends(prefix, PREFIX) or _any_starts(ordered, f"{prefix}transformer."):
                    found.add(Place(prefix, False))
    return tuple(sorted(found, key=lambda place: (place.prefix, place.hugging_face)))


def _ends(prefix: str, inner: str) -> bool:
    return prefix == inner or prefix.endswith("." + inner)


def _before(name: str, marker: str, inner: str) -> str:
    """Return what stands before `marker`; a wrapped tower (`visual.module.`) begins at its own name."""
    prefix = bare = name.removesuffix(marker)
    while _ends(bare, "module."):
        bare = bare.removesuffix("module.")
    return bare if _ends(bare, inner) else prefix


def _any_starts(ordered: Sequence[str], beginning: str) -> bool:
    at = bisect_left(ordered, beginning)
    return at < len(ordered) and ordered[at].startswith(beginning)


def tower_names(names: Collection[str], place: Place, towers: Sequence[Place], source: str) -> dict[str, str]:
    """Return the names of the tensors of the tower at `place`: below `visual.` or `vision_model.` → as they are.

    Hugging Face's projection beside the tower is part of it. Raises InputError where two become one.
    """
    inner = HUGGING_FACE if place.hugging_face else PREFIX
    pairs = []
    for name in _own(names, place.prefix, place, towers):
        rest = _without(name.removeprefix(place.prefix), {"module"})
        # Without a prefix a tower's names lie among all others.
        if not (place.hugging_face and place.prefix == "") or rest.startswith(_CHILDREN):
            pairs.append((inner + rest, name))
    found = _renamed(pairs, source)
    if place.hugging_face and place.wrapper + PROJECTION in set(names):
        found[PROJECTION] = place.wrapper + PROJECTION
    return found


def model_names(names: Collection[str], place: Place, towers: Sequence[Place], source: str) -> dict[str, str]:
    """Return the names of the tensors of the whole CLIP around the tower at `place`, likewise."""
    tower = tower_names(names, place, towers, source)
    used = set(tower.values())
    rest = (name for name in _own(names, place.wrapper, place, towers) if name not in used)
    return {**tower, **_renamed(((_without(n.removeprefix(place.wrapper), {"module"}), n) for n in rest), source)}


def _own(names: Iterable[str], prefix: str, place: Place, towers: Sequence[Place]) -> list[str]:
    """Return the names below `prefix` that are not another, inner model's or an optimiser's."""
    others = {other.wrapper or other.prefix for other in towers if other != place}
    inner = tuple(other for other in others if other.startswith(prefix) and other != prefix)
    inside = (name for name in names if name.startswith(prefix) and not is_optimiser(name))
    return [name for name in inside if not name.startswith(inner)]


def choose_tower(tensors: Mapping[str, torch.Tensor], wanted: str | None, source: str) -> Place | None:
    """Return which vision tower of a checkpoint is meant, None where there is none and none was asked for.

    `wanted` is a tower's prefix, or enough of one. Without it there must be one tower, or several that are bitwise the
    same. Raises InputError that names the prefixes otherwise.
    """
    towers = find_towers(tensors)
    limits.require("towers", len(towers), source)
    if wanted is not None:
        return _wanted(towers, wanted, source)
    if len(towers) < 2:
        return towers[0] if towers else None
    first, *others = (tower_names(tensors, place, towers, source) for place in towers)
    if all(_equal(tensors, first, other) for other in others):
        return towers[0]
    labels = _labels(towers)
    raise InputError(
        f"{source}: expected one vision tower, found {len(towers)} that differ, {_listing(labels)}; choose with "
        f"tower = {_quoted(labels[0])} beside 'expert' or 'pretrained' in the suite file (--tower beside --merged), "
        f"or write the wanted one to a file of its own"
    )


def _wanted(towers: Sequence[Place], wanted: str, source: str) -> Place:
    prefix = wanted if wanted == "" or wanted.endswith(".") else f"{wanted}."
    exact = [place for place in towers if prefix in (place.prefix, place.wrapper)]
    found = exact or [place for place in towers if place.prefix.startswith(prefix)]
    if len(found) == 1:
        return found[0]
    there = _listing(_labels(towers)) if towers else "none"
    meant = "no vision tower has" if not found else f"{len(found)} vision towers have"
    raise InputError(f"{source}: tower = {_quoted(wanted)}: {meant} this prefix; those of the file: {there}")


def _labels(towers: Sequence[Place]) -> list[str]:
    short = [place.wrapper for place in towers]
    return short if len(set(short)) == len(short) else [place.prefix for place in towers]


def _listing(labels: Sequence[str]) -> str:
    return ", ".join(_quoted(label) for label in labels[:5]) + (f" and {len(labels) - 5} more" if labels[5:] else "")


def _quoted(text: str) -> str:
    return f'"{text}"'


def _equal(tensors: Tensors, one: Mapping[str, str], two: Mapping[str, str]) -> bool:
    """Whether two towers hold the same names and the same bits."""
    return one.keys() == two.keys() and all(_same(tensors, one[name], two[name]) for name in one)


def _same(tensors: Tensors, *names: str) -> bool:
    outlines = [outline(tensors, name) for name in names]
    if outlines[0].shape != outlines[1].shape or outlines[0].dtype != outlines[1].dtype:
        return False
    one, two = (tensors[name] for name in names)
    if one.data_ptr() == two.data_ptr() and one.stride() == two.stride():
        return True
    return torch.equal(one.reshape(-1).view(torch.uint8), two.reshape(-1).view(torch.uint8))


def refuse_parametrised(names: Iterable[str], source: str) -> None:
    """Raise InputError where weights are kept as factors from which a module computes them as it runs."""
    found = next((name for name in names if _PARAMETRISED.search(name)), None)
    if found is not None:
        raise InputError(
            f"{source}: tensor {found!r} belongs to a parametrisation (weight norm, spectral norm, pruning), from "
            f"which the module computes its weight as it runs; remove it (remove_parametrizations) and save again"
        )
