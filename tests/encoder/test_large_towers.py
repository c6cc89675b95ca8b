"""What is done otherwise in large towers, and must come to the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ri_analysis.encoder import Architecture, Encoder, architecture, products, read_architecture
from ri_analysis.encoder.last_block import ClassTokenBlock
from ri_analysis.encoder.training_block import TrainingBlock

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)


@pytest.fixture(params=[{}, {"ls_init_value": 0.5, "mlp_ratio": 2.0, "head_width": 8}, {"pool_type": "avg"}])
def described(request: pytest.FixtureRequest, tiny: Path) -> Architecture:
    path = tiny.parent / "model.json"
    document = json.loads(path.read_text())
    document["model_cfg"]["vision_cfg"] |= request.param
    path.write_text(json.dumps(document))
    return read_architecture("model.json", tiny.parent)


def pass_and_gradients(encoder: Encoder) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    encoder.module.requires_grad_(True)
    encoder.module.zero_grad(set_to_none=True)
    features = encoder.forward(encoder.preprocess(PIXELS))
    (features * torch.arange(features.shape[1])).sum().backward()
    found = {name: item.grad.clone() for name, item in encoder.module.named_parameters() if item.grad is not None}
    return features.detach(), found


def kinds(encoder: Encoder) -> set[type]:
    return {type(block) for block in encoder.blocks}


def both(described: Architecture, monkeypatch: pytest.MonkeyPatch) -> tuple[Encoder, Encoder]:
    """Return the same tower as a small one and as a large one."""
    torch.manual_seed(0)
    weights = described.build().get_submodule("visual").state_dict()
    small = Encoder(described)
    monkeypatch.setattr(architecture, "LARGE", 0)
    large = Encoder(described)
    for encoder in (small, large):
        encoder.load(weights)
    assert TrainingBlock not in kinds(small)
    assert TrainingBlock in kinds(large) <= {TrainingBlock, ClassTokenBlock}
    return small, large


@pytest.mark.parametrize(("autocast", "apart"), [(None, 1e-5), (torch.bfloat16, 3e-2)])
def test_a_block_that_multiplies_once_changes_no_feature_and_no_gradient(
    described: Architecture, autocast: torch.dtype | None, apart: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, large = both(described, monkeypatch)
    small.autocast = large.autocast = autocast
    (expected, gradients), (features, found) = map(pass_and_gradients, (small, large))
    torch.testing.assert_close(features, expected, rtol=0, atol=apart)
    assert found.keys() == gradients.keys()
    for name, gradient in gradients.items():
        assert (found[name] - gradient).norm() <= apart * gradient.norm() + 1e-4, name


def test_measuring_takes_pytorchs_inference_path_as_before(
    described: Architecture, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, large = both(described, monkeypatch)
    with torch.inference_mode():
        inputs = small.preprocess(PIXELS)
        assert torch.equal(small.forward(inputs), large.forward(inputs))


@pytest.mark.parametrize("recompute", [True, False])
def test_layers_by_onednn_are_layers(described: Architecture, recompute: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("this PyTorch has no oneDNN")
    calls = list[torch.Size]()
    plain = products._layer

    def counted(*given: Any) -> torch.Tensor:
        calls.append(given[1].shape)
        return plain(*given)

    monkeypatch.setattr(products, "_layer", counted)
    _, encoder = both(described, monkeypatch)
    expected, gradients = pass_and_gradients(encoder)
    assert not calls
    encoder.onednn, encoder.recompute = True, recompute
    features, found = pass_and_gradients(encoder)
    assert len(calls) >= 3 * 4  # of a block: forward, and both gradients
    torch.testing.assert_close(features, expected, rtol=1e-5, atol=1e-6)
    for name, gradient in gradients.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-5)


def test_autocast_keeps_the_sum_that_blocks_add_to_in_float32(
    described: Architecture, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, encoder = both(described, monkeypatch)
    encoder.autocast = torch.bfloat16
    with torch.no_grad():
        assert encoder.forward_to(1, encoder.preprocess(PIXELS)).dtype == torch.float32


def test_onednn_is_for_processors_on_which_it_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    spent = iter([3.0] * 4 + [2.0] * 4 + [2.5] * 4 + [2.0] * 4)
    monkeypatch.setattr(products, "_seconds", lambda work: next(spent))
    assert products.pays.__wrapped__()
    assert not products.pays.__wrapped__()
