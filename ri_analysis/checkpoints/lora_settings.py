"""What `adapter_config.json` says about a LoRA adapter, as PEFT means it; kinds not computed are refused."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ri_analysis import limits
from ri_analysis.errors import InputError

_parser: Any = vars(re)["_parser"]  # the parsed form is not public
_NAME, _LONGEST = 100, 300  # characters of a module's name, usual and at most where patterns are matched with it
_MERGE = "merge it into its model first"
_CONVERT = f"save it with PEFT's path_initial_model_for_weight_conversion, or {_MERGE}"
_LOST_STARTS = {
    "pissa_niter_": f"by a randomised decomposition that can't be repeated; {_CONVERT}",
    "corda": f"by statistics of data that the adapter does not hold; {_CONVERT}",
    "lora_ga": f"by gradients that the adapter does not hold; {_CONVERT}",
    "loftq": f"by rounding them to a few bits; {_MERGE}",
}
_REPEATED_STARTS = ("pissa", "olora")
_HARMLESS_STARTS = ("gaussian", "eva", "orthogonal", "mica")
_VARIANTS = {
    "alora_invocation_tokens": "is active only after certain tokens, so no single set of weights is its model",
    "arrow_config": "chooses among adapters for every token, so no single set of weights is its model",
    "kasa_config": "changes the pretrained weights before training",
    "layer_replication": "is made for a model that repeats layers of the pretrained one",
    "megatron_config": "is made for Megatron's layers, which split weights over devices",
    "monteclora_config": "draws its factors at random",
    "target_parameters": "does not say in its file which parameter of a layer it changes",
    "use_bdlora": "has block-diagonal factors, which are not B A of plain LoRA",
    "use_qalora": "pools a layer's inputs, so its change is not B A",
}


@dataclass(frozen=True)
class Settings:
    """The settings of a LoRA adapter.

    `rank` and `alpha` are what `ranks` and `alphas` (by pattern of module names) do not set. `start` is how the
    factors were initialised where that changed the pretrained weights ("pissa", "olora"), otherwise empty. `model`
    and `library` name the class that was adapted, empty where the file does not say.
    """

    rank: int
    alpha: float
    ranks: Mapping[str, int]
    alphas: Mapping[str, float]
    rank_stabilised: bool
    dora: bool
    fan_in_fan_out: bool
    biases: str
    start: str
    model: str
    library: str

    def scaling(self, module: str, rank: int, source: str) -> float:
        """Return lora_alpha / r (/ √r for rank-stabilised LoRA) of `module`, whose factors have `rank`."""
        if (self.ranks or self.alphas) and len(module) > _LONGEST:
            raise InputError(
                f"{source}: expected names of at most {_LONGEST} characters beside patterns, found {module!r}"
            )
        declared = _match(self.ranks, module, self.rank)
        if declared != rank:
            raise InputError(
                f"{source}: adapter_config.json says r = {declared} for {module!r}, the factors have {rank}"
            )
        return _match(self.alphas, module, self.alpha) / (math.sqrt(rank) if self.rank_stabilised else rank)


def read_settings(config: Mapping[str, Any], source: str) -> Settings:
    """Return the adapter's settings. Raises InputError for a kind that is not computed, and for unusable values."""
    kind = config.get("peft_type", "LORA")
    if kind != "LORA":
        raise InputError(f"{source}: expected a LoRA adapter, found peft_type {kind!r}")
    for name, reason in _VARIANTS.items():
        if config.get(name):
            raise InputError(f"{source}: an adapter with {name!r} {reason}; {_MERGE} where PEFT can")
    if "r" not in config or "lora_alpha" not in config:
        raise InputError(f"{source}: expected 'r' and 'lora_alpha' in adapter_config.json, found none")
    made_for = config.get("auto_mapping")
    made_for = made_for if isinstance(made_for, dict) else {}
    return Settings(
        _rank(config["r"], "'r'", source),
        _alpha(config["lora_alpha"], "'lora_alpha'", source),
        {key: _rank(value, where, source) for key, where, value in _patterns(config, "rank_pattern", source)},
        {key: _alpha(value, where, source) for key, where, value in _patterns(config, "alpha_pattern", source)},
        _flag(config, "use_rslora", source),
        _flag(config, "use_dora", source),
        _flag(config, "fan_in_fan_out", source),
        str(config.get("bias") or "none"),
        _start(config.get("init_lora_weights"), source),
        str(made_for.get("base_model_class") or ""),
        str(made_for.get("parent_library") or ""),
    )


def _start(value: object, source: str) -> str:
    # PEFT takes "olora" in any case, as "OLoRA" in older documentation.
    name = value.lower() if isinstance(value, str) else ""
    lost = next((reason for prefix, reason in _LOST_STARTS.items() if name.startswith(prefix)), None)
    if lost is not None:
        raise InputError(
            f"{source}: init_lora_weights {value!r} changed the pretrained weights before training, {lost}"
        )
    if name in _REPEATED_STARTS:
        return name
    if value is None or isinstance(value, bool) or name in _HARMLESS_STARTS:
        return ""
    raise InputError(
        f"{source}: init_lora_weights {value!r} is not known, and may have changed the pretrained weights; {_MERGE}"
    )


def _rank(value: object, where: str, source: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(
            f"{source}: expected {where} in adapter_config.json to be an integer of at least 1, {_found(value)}"
        )
    return value


def _alpha(value: object, where: str, source: str) -> float:
    largest = torch.finfo(torch.float32).max
    if isinstance(value, bool) or not isinstance(value, int | float) or not -largest <= value <= largest:
        raise InputError(f"{source}: expected {where} in adapter_config.json to be a finite number, {_found(value)}")
    return float(value)


def _flag(config: Mapping[str, Any], name: str, source: str) -> bool:
    value = config.get(name)
    if value is not None and not isinstance(value, bool):
        raise InputError(f"{source}: expected {name!r} in adapter_config.json to be true or false, {_found(value)}")
    return bool(value)


def _found(value: object) -> str:
    text = repr(value)
    return f"found {text if len(text) <= 40 else text[:40] + ' …'}"


def _patterns(config: Mapping[str, Any], name: str, source: str) -> list[tuple[str, str, object]]:
    """Return (pattern, where it stands, value) of a mapping from patterns; None is an empty one."""
    given = config.get(name) or {}
    if not isinstance(given, dict):
        raise InputError(
            f"{source}: expected {name!r} in adapter_config.json to map patterns to values, {_found(given)}"
        )
    for pattern in given:
        try:
            ways = _ways(_parser.parse(_anchored(pattern)))
        except (re.error, OverflowError, RecursionError) as error:
            raise InputError(f"{source}: {name} {pattern!r} is no regular expression: {error}") from error
        limits.require("pattern-ways", ways, f"{source}: {name} {pattern!r}")
    return [(pattern, f"{name} {pattern!r}", value) for pattern, value in given.items()]


def _ways(parsed: Any) -> float:
    """Return in how many ways, roughly, a parsed regular expression can be tried on a name: some take for ever."""
    ways = 1.0
    for kind, argument in parsed:
        if str(kind).endswith("REPEAT"):
            least, most, inner = argument
            ways *= _sum_of_powers(_ways(inner), least, min(most, least + _NAME))
        elif str(kind) == "BRANCH":
            ways *= sum(map(_ways, argument[1]))
        else:  # a group, a look ahead, a letter
            parts = argument if isinstance(argument, tuple) else (argument,)
            ways *= math.prod(_ways(part) for part in parts if isinstance(part, _parser.SubPattern))
    return ways


def _sum_of_powers(base: float, low: int, high: int) -> float:
    try:
        return sum(base**power for power in range(low, high + 1))
    except OverflowError:
        return math.inf


def _anchored(pattern: str) -> str:
    # As PEFT's get_pattern_key: the first pattern that matches whole components at the end of a module's name.
    return rf"(.*\.)?({pattern})$"


def _match(patterns: Mapping[str, float], module: str, default: float) -> float:
    return next((value for key, value in patterns.items() if re.match(_anchored(key), module)), default)
