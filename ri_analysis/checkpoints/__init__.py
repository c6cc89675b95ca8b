"""Checkpoints on disk ↔ the canonical open_clip `visual.` state dict."""

from ri_analysis.checkpoints.canonical import Tower, read_tower, vision_tower, whole_model
from ri_analysis.checkpoints.classifier import classifier_weight
from ri_analysis.checkpoints.lazy import Tensors, is_in_order, outline, outlines, pieces
from ri_analysis.checkpoints.reader import Checkpoint, is_model_folder, look_into, read_checkpoint
from ri_analysis.checkpoints.writer import read_metadata, write_safetensors

__all__ = [
    "Checkpoint",
    "Tensors",
    "Tower",
    "classifier_weight",
    "is_in_order",
    "is_model_folder",
    "look_into",
    "outline",
    "outlines",
    "pieces",
    "read_checkpoint",
    "read_metadata",
    "read_tower",
    "vision_tower",
    "whole_model",
    "write_safetensors",
]
