"""Checkpoints on disk ↔ the canonical open_clip `visual.` state dict."""

from ri_analysis.checkpoints.canonical import vision_tower
from ri_analysis.checkpoints.reader import Checkpoint, read_checkpoint
from ri_analysis.checkpoints.writer import read_metadata, write_safetensors

__all__ = ["Checkpoint", "read_checkpoint", "read_metadata", "vision_tower", "write_safetensors"]
