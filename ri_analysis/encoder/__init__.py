"""Images → features through the vision tower; features → logits through the tasks' heads."""

from ri_analysis.encoder.architecture import Architecture, read_architecture
from ri_analysis.encoder.heads import Head, build_head, load_head, load_heads, save_head
from ri_analysis.encoder.tower import Encoder

__all__ = [
    "Architecture",
    "Encoder",
    "Head",
    "build_head",
    "load_head",
    "load_heads",
    "read_architecture",
    "save_head",
]
