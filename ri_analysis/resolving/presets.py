"""Named settings of RI, each for a purpose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ri_analysis.encoder import Architecture
from ri_analysis.errors import InputError
from ri_analysis.hyperparameters import Value, complete, suggest
from ri_analysis.resolving.settings import HYPERPARAMETERS
from ri_analysis.training.settings import LARGE_RATE

_SMALL: dict[str, Value] = {
    "steps": 1200,
    "alpha": 0.6,
    "lr": 3e-5,
    "batch": 64,
    "views": 8,
    "schedule": "warm-cosine",
}


@dataclass(frozen=True)
class Preset:
    """Settings under a name: `purpose` says in a sentence what they are for, `changed` which are not the defaults.

    `large` are those that differ for a large tower.
    """

    name: str
    purpose: str
    changed: Mapping[str, Value]
    large: Mapping[str, Value] = field(default_factory=dict)

    def settings(self, architecture: Architecture) -> dict[str, Value]:
        """Return every hyperparameter with its value for such a tower."""
        changed = {**self.changed, **(self.large if architecture.large else {})}
        return complete(HYPERPARAMETERS, changed, f"preset {self.name}")


PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            "quick",
            "A first result in minutes: a few steps for the last two blocks, with a lower learning rate for large "
            "towers.",
            _SMALL | {"steps": 120, "lr": 3e-4, "parameters": "last-blocks", "blocks": 2},
            {"lr": 2e-5},
        ),
        Preset(
            "paper",
            "The paper's settings for CLIP's ViT-B/32: all weights, 2,500 steps of 128 images; best run on a GPU.",
            {},
        ),
        Preset(
            "small",
            "Our settings for small towers, used for the embedded suites' RI sets.",
            _SMALL,
            {"lr": LARGE_RATE},
        ),
        Preset(
            "together",
            "Small, then a second stage for the experts' sum: better merges on demo, at a λ that "
            "the Sensitivity page finds without labels.",
            _SMALL | {"together": 600},
            {"lr": LARGE_RATE, "together_lr": LARGE_RATE},
        ),
        Preset(
            "quick-together",
            "A few steps for all weights, then the second stage: quicker than small, for a λ found the same way.",
            _SMALL | {"steps": 60, "lr": 1e-4, "together": 400, "together_lr": 2e-4, "together_scale": 0.7},
            {"lr": LARGE_RATE, "together_lr": LARGE_RATE},
        ),
    )
}


def find_preset(name: str) -> Preset:
    """Return the preset of that name. Raises InputError when there is none."""
    if name not in PRESETS:
        raise InputError(f"unknown preset {name!r}; {suggest(name, list(PRESETS))}")
    return PRESETS[name]
