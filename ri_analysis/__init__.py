"""Cross-task interference in model merging: measure it, resolve it before merging, look at it.

    import ri_analysis as ri

    suite = ri.open_suite("demo")
    suite.measure("ties", scale=0.5, experts="ri")

Notation follows Ramesh et al., "Resolving Interference" (arXiv 2603.13467): θ₀ pretrained weights, θ_t = θ₀ + τ_t
the expert of task t with task vector τ_t, h_t its frozen head, θ_m the merged model, f(x; θ) the L2-normalised
output of the vision tower.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ri_analysis.api import InputError as InputError
    from ri_analysis.api import MergeRecipe as MergeRecipe
    from ri_analysis.api import OpenedSuite as OpenedSuite
    from ri_analysis.api import all_analyses as all_analyses
    from ri_analysis.api import all_methods as all_methods
    from ri_analysis.api import all_studies as all_studies
    from ri_analysis.api import open_suite as open_suite

__version__ = "0.1.0"

_DOOR = ("InputError", "MergeRecipe", "OpenedSuite", "all_analyses", "all_methods", "all_studies", "open_suite")


def __getattr__(name: str) -> Any:
    """Return a part of the front door: torch and plotly are loaded with the first one that is used."""
    if name not in _DOOR:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("ri_analysis.api"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_DOOR])
