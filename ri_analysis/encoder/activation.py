"""The activation that weights were made for: quick-GELU or GELU. With the other one a tower computes something else."""

from __future__ import annotations

from collections.abc import Iterable

from ri_analysis.checkpoints import Tower
from ri_analysis.encoder.architecture import Architecture, architecture_of
from ri_analysis.errors import InputError
from ri_analysis.suite import Suite
from ri_analysis.suite.preprocessing import preprocessing_config


def fitting_architecture(suite: Suite, tasks: Iterable[str] = ()) -> Architecture:
    """Return a suite's architecture.

    Raises InputError where the pretrained model, or the original expert of one of `tasks`, was made for another
    activation.
    """
    architecture = architecture_of(suite)
    require_tags_activation(suite, architecture)
    require_activation(str(suite.pretrained.path), suite.tower(suite.pretrained), architecture)
    for task in tasks:
        expert = suite.expert(task)
        require_activation(str(expert.path), suite.tower(expert), architecture)
    return architecture


def require_activation(source: str, tower: Tower, architecture: Architecture) -> None:
    """Raise InputError where a tower says that it was made for another activation than the architecture computes."""
    if tower.quick_gelu is not None and tower.quick_gelu != architecture.quick_gelu:
        words = ("quick-GELU", "GELU") if tower.quick_gelu else ("GELU", "quick-GELU")
        name = architecture.name.removesuffix("-quickgelu") + ("-quickgelu" if tower.quick_gelu else "")
        raise InputError(
            f"{source}: was made with {words[0]}, but the architecture {architecture.name} computes {words[1]}; "
            f"use the architecture {name!r}, or 'quick_gelu' in its JSON"
        )


def require_tags_activation(suite: Suite, architecture: Architecture) -> None:
    """Raise InputError where the pretrained tag's weights were made for another activation."""
    config = preprocessing_config(suite.spec.architecture, suite.spec.pretrained, suite.spec.path.parent)
    if config.get("quick_gelu") and not architecture.quick_gelu:
        raise InputError(
            f"pretrained tag {suite.spec.pretrained!r} was made with quick-GELU, but the architecture "
            f"{architecture.name} computes GELU; use '{architecture.name}-quickgelu'"
        )
