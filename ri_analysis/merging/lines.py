"""LiNeS: scale a merged task vector by depth."""

from __future__ import annotations

import re

_BLOCK = re.compile(r"(?:resblocks|trunk\.blocks|encoder\.layers?)\.(\d+)\.")


def block_index(name: str) -> int | None:
    """Return the transformer block that tensor `name` belongs to, None outside the blocks."""
    match = _BLOCK.search(name)
    return int(match.group(1)) if match else None


def lines_factor(name: str, blocks: int, alpha: float, beta: float) -> float:
    """Return α + β·l/(L−1) for a tensor of block l of L, α outside the blocks (Wang et al. 2024, arXiv 2410.17146)."""
    block = block_index(name)
    if block is None or blocks < 2:
        return alpha
    return alpha + beta * block / (blocks - 1)
