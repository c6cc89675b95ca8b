"""The last block of a vision transformer, for the class token alone: what it makes of the patches nothing reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch.nn.functional import linear, scaled_dot_product_attention


class ClassTokenBlock(ResidualAttentionBlock):  # type: ignore[misc]
    """A block that returns the class token alone, which attends to all tokens: (n, tokens, width) to (n, 1, width).

    Of the block's 12 width² multiplications a token, 2 are left, for keys and values. The same result up to rounding.
    """

    def forward(self, tokens: torch.Tensor, attn_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Return the class token after the block; a mask can't be given."""
        if attn_mask is not None:
            raise ValueError("a vision tower's tokens all see each other: expected no mask")
        token = tokens[:, :1]
        token = token + self.ls_1(self._attended(self.ln_1(tokens)))
        result: torch.Tensor = token + self.ls_2(self.mlp(self.ln_2(token)))
        return result

    def _attended(self, tokens: torch.Tensor) -> torch.Tensor:
        attention, (n, count, width) = self.attn, tokens.shape
        heads, weight, bias = attention.num_heads, attention.in_proj_weight, attention.in_proj_bias
        query = linear(tokens[:, :1], weight[:width], bias[:width])
        pair = linear(tokens, weight[width:], bias[width:]).view(n, count, 2, heads, -1)
        key, value = pair.permute(2, 0, 3, 1, 4)
        found = scaled_dot_product_attention(query.view(n, 1, heads, -1).transpose(1, 2), key, value)
        attended: torch.Tensor = attention.out_proj(found.transpose(1, 2).reshape(n, 1, width))
        return attended


def spare_patches(tower: torch.nn.Module) -> None:
    """Let a tower's last block compute the class token alone, if that is all that is read of it."""
    if isinstance(tower, VisionTransformer) and tower.pool_type == "tok" and tower.attn_pool is None:
        last = tower.transformer.resblocks[-1]
        if isinstance(last, ResidualAttentionBlock) and last.attn.batch_first:
            last.__class__ = ClassTokenBlock


@contextmanager
def every_token(tower: torch.nn.Module) -> Iterator[None]:
    """See Encoder.every_token."""
    spared = [block for block in tower.modules() if isinstance(block, ClassTokenBlock)]
    for block in spared:
        block.__class__ = ResidualAttentionBlock
    try:
        yield
    finally:
        for block in spared:
            block.__class__ = ClassTokenBlock
