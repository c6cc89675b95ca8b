"""Images → features through the vision tower; features → logits through the tasks' heads."""

from ri_analysis.encoder.architecture import Architecture, architecture_of, read_architecture
from ri_analysis.encoder.device import pick_device
from ri_analysis.encoder.heads import Head, HeadLoader, build_head, load_head, load_heads, save_head
from ri_analysis.encoder.tower import Encoder, Trace, check_fit, require_directions

__all__ = [
    "Architecture",
    "Encoder",
    "Head",
    "HeadLoader",
    "Trace",
    "architecture_of",
    "build_head",
    "check_fit",
    "load_head",
    "load_heads",
    "pick_device",
    "read_architecture",
    "require_directions",
    "save_head",
]
