"""A transformer block that multiplies by each matrix once, also in training and under autocast."""

from __future__ import annotations

import torch
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch.nn.functional import linear, scaled_dot_product_attention
from torch.overrides import has_torch_function

from ri_analysis.encoder.last_block import ClassTokenBlock


class TrainingBlock(ResidualAttentionBlock):  # type: ignore[misc]
    """A block whose attention takes the batch as it lies: the same result up to rounding.

    PyTorch's attention exchanges batch and tokens first, unless it may take its inference path, which training,
    autocast and whatever watches PyTorch's functions forbid. In bfloat16 it then copies the matrix for every token: on
    ViT-B/32 that takes two thirds of a pass.
    """

    def forward(self, tokens: torch.Tensor, attn_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Return the tokens (n, tokens, width) after the block."""
        watched = torch.is_autocast_enabled(tokens.device.type) or has_torch_function((tokens,))
        if attn_mask is None and (torch.is_grad_enabled() or watched):
            tokens = tokens + self.ls_1(self._attended(self.ln_1(tokens)))
            result: torch.Tensor = tokens + self.ls_2(self.mlp(self.ln_2(tokens)))
        else:
            result = super().forward(tokens, attn_mask=attn_mask)
        return result

    def _attended(self, tokens: torch.Tensor) -> torch.Tensor:
        attention, (n, count, width) = self.attn, tokens.shape
        triple = linear(tokens, attention.in_proj_weight, attention.in_proj_bias)
        query, key, value = triple.view(n, count, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
        found = scaled_dot_product_attention(query, key, value)
        attended: torch.Tensor = attention.out_proj(found.transpose(1, 2).reshape(n, count, width))
        return attended


def multiply_once(tower: torch.nn.Module) -> None:
    """Let the blocks of a tower be TrainingBlocks, but for a last one that computes the class token alone."""
    if isinstance(tower, VisionTransformer):
        for block in tower.transformer.resblocks:
            plain = isinstance(block, ResidualAttentionBlock) and not isinstance(block, ClassTokenBlock)
            if plain and block.attn.batch_first:
                block.__class__ = TrainingBlock
