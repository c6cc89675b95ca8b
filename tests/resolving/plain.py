"""RI as the paper writes it, as plainly as it can be written: three forward passes a step, a loop over heads."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch.nn.functional import normalize

from ri_analysis.encoder import Encoder, architecture_of, load_heads
from ri_analysis.suite import Suite

State = dict[str, torch.Tensor]


def plain_run(
    suite: Suite,
    task: str,
    auxiliary: str,
    trains: Callable[[str, torch.Tensor], bool],
    *,
    steps: int,
    batch: int,
    lr: float,
    alpha: float = 1.0,
    low_rank: dict[str, tuple[torch.Tensor, torch.Tensor]] | None = None,
) -> tuple[State, list[tuple[float, float]]]:
    """Return the adapted tower and each step's keep and free; `trains` says which weights AdamW moves.

    With `low_rank`, factors (B, A) by name, they are moved instead and added to the weights by autograd itself.
    """
    architecture = architecture_of(suite)
    model = architecture.build().visual  # as open_clip builds it
    vectors, heads = suite.task_vectors(), load_heads(suite, architecture)
    expert = {name.removeprefix("visual."): vectors.expert(name, task) for name in vectors.names}
    pretrained = {name.removeprefix("visual."): vectors.pretrained(name) for name in vectors.names}
    moved = {name: torch.nn.Parameter(tensor.clone()) for name, tensor in expert.items() if trains(name, tensor)}
    factors = {name: tuple(map(torch.nn.Parameter, pair)) for name, pair in (low_rank or {}).items()}
    leaves = [item for pair in factors.values() for item in pair] or list(moved.values())
    optimizer = torch.optim.AdamW(leaves, lr=lr, weight_decay=1e-4)
    images, encoder = suite.auxiliary_data(auxiliary), Encoder(architecture)
    generator, order, losses = np.random.default_rng((0, *task.encode())), np.zeros(0, np.int64), []

    def features(state: State, x: torch.Tensor) -> torch.Tensor:
        return normalize(torch.func.functional_call(model, state, (x,)), dim=-1)

    def kl(head: torch.Tensor, teacher: torch.Tensor, student: torch.Tensor) -> torch.Tensor:
        p = torch.softmax(teacher @ head.T, dim=1)
        return (p * (p.log() - torch.log_softmax(student @ head.T, dim=1))).sum(dim=1).mean()

    for _ in range(steps):
        if len(order) < batch:
            order = np.concatenate([order, generator.permutation(len(images))])
        rows, order = order[:batch], order[batch:]
        x = encoder.preprocess(images.pixels(rows, architecture.image_size))
        state = expert | moved | {name: expert[name] + left @ right for name, (left, right) in factors.items()}
        with torch.no_grad():
            own, other = features(expert, x), features(pretrained, x)
        found = features(state, x)
        keep = kl(heads[task].weight, own, found)
        free = sum(kl(head.weight, other, found) for name, head in heads.items() if name != task) / (len(heads) - 1)
        optimizer.zero_grad()
        (keep + alpha * free).backward()
        optimizer.step()
        losses.append((keep.item(), free.item()))
    state = expert | moved | {name: expert[name] + left @ right for name, (left, right) in factors.items()}
    return {name: tensor.detach() for name, tensor in state.items()}, losses
