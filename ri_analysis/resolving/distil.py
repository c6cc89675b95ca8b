"""The paper's “after instead of before”: merge first, then teach the merged model what the experts answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import torch

from ri_analysis.checkpoints import write_safetensors
from ri_analysis.encoder import Encoder, load_heads
from ri_analysis.encoder.activation import fitting_architecture
from ri_analysis.encoder.device import within_memory
from ri_analysis.hyperparameters import Value, complete
from ri_analysis.progress import Progress
from ri_analysis.resolving import precision
from ri_analysis.resolving.together import taught
from ri_analysis.resolving.trainer import HYPERPARAMETERS, default_settings
from ri_analysis.suite import Suite
from ri_analysis.suite.images import in_memory
from ri_analysis.training.descent import Descent
from ri_analysis.training.start import begin, clear, room
from ri_analysis.training.variants import Variants


def distil(
    suite: Suite,
    merged: Callable[[], Iterable[tuple[str, torch.Tensor]]],
    output: Path,
    *,
    auxiliary: str,
    tasks: Sequence[str],
    settings: Mapping[str, Value] | None = None,
    device: str | torch.device = "cpu",
    seed: int = 0,
    progress: Progress | None = None,
) -> None:
    """Start at the merged model and minimise E_A 1/N Σ_t KL(h_t f(x;θ_t) ‖ h_t f(x;θ)); write the model to `output`.

    The natural reading of the paper's comparison (arXiv 2603.13467): the same auxiliary images and settings as RI,
    whose keep term this is, for all experts at once; α plays no part. A stopped run resumes from the state beside
    `output`. Precision "auto" is float32 here. `progress` counts steps and may raise Cancelled.
    """
    values = complete(HYPERPARAMETERS, {**default_settings(suite), **(settings or {})}, "distil")
    architecture = fitting_architecture(suite, tasks)
    encoder = Encoder(architecture, device, batch=int(values["batch"]))
    precision.compute_in(str(values["precision"]), encoder)
    variants = Variants(suite.auxiliary_data(auxiliary), int(values["views"]), seed)
    images = in_memory(variants, encoder.image_size, room())
    state, scratch = output.with_suffix(".pt"), output.with_suffix(".scratch")
    descent = Descent(encoder, len(images), values, (seed,), state)
    rows = descent.rows()
    loss = taught(suite, encoder, images, rows, load_heads(suite, architecture, tasks))

    def report(step: int, _losses: tuple[float, ...]) -> None:
        if progress is not None:
            progress(step, int(values["steps"]))

    with within_memory(encoder.device):
        start, _ = begin(encoder, merged(), images, rows, values, scratch, "merged model")
        descent.run(start, loss, report)
    suite.files.check()
    tensors = encoder.state()
    layout = {key: (tuple(tensor.shape), tensor.dtype) for key, tensor in tensors.items()}
    write_safetensors(output, layout, tensors.items(), {"method": "distilled"})
    clear(scratch)
    state.unlink(missing_ok=True)
