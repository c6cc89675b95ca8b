"""Everything that runs a model, on a pretended GPU: nothing is left behind, and the numbers are those of the CPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from pretend_gpu import GPU, pretend_gpu
from safetensors.torch import load_file
from tiny import without_keys

from ri_analysis.checkpoints import vision_tower
from ri_analysis.cli.run import main
from ri_analysis.encoder import Encoder, pick_device
from ri_analysis.encoder.device import within_memory
from ri_analysis.engine import Evaluator
from ri_analysis.errors import Cancelled, InputError
from ri_analysis.live.probe import LiveProbe
from ri_analysis.merging import METHODS
from ri_analysis.resolving import resolve
from ri_analysis.suite import open_suite
from ri_analysis.training import descent
from ri_analysis.training.parameters import CHOICES

pytestmark = pytest.mark.long

QUICK = {"steps": 4, "lr": 1e-3, "batch": 8, "blocks": 1, "rank": 2}
OPTIONS = {"adamerging": {"steps": 2, "batch": 4}, "fisher": {"images": 4}, "regmean": {"images": 4}}
OPTIONS |= {"regmean-plusplus": OPTIONS["regmean"], "nsc": OPTIONS["adamerging"]}
OPTIONS |= {"distilled": {"steps": 4, "batch": 8, "views": 2, "lr": 1e-5}}

Opened = Callable[[str], Evaluator]


@pytest.fixture
def gpu() -> Iterator[Counter[str]]:
    with pretend_gpu() as carried_out:
        yield carried_out


@pytest.fixture
def opened(tiny: Path, tmp_path: Path) -> Opened:
    """Open the suite for a device, each with a workspace of its own."""
    return lambda device: Evaluator(open_suite(str(tiny), tmp_path / device), tmp_path / device, device)


@pytest.mark.parametrize(
    "mistake",
    [
        lambda there: there + torch.ones(3),
        lambda there: torch.ones(3)[there.long()],
        lambda there: torch.stack([there, torch.ones(3)]),
        lambda there: torch.ones(3).add_(there),
        lambda there: there.numpy(),
        lambda there: np.asarray(there),
        lambda there: torch.randn(3, device=there.device, generator=torch.Generator()),
        lambda there: torch.nn.Linear(3, 2)(there),
    ],
)
def test_the_pretended_gpu_refuses_what_a_gpu_refuses(mistake: Callable[[torch.Tensor], object], gpu: Counter[str]):
    with pytest.raises((RuntimeError, TypeError), match="device"):
        mistake(torch.ones(3).to("cuda"))


def test_the_pretended_gpu_computes_what_the_cpu_computes(gpu: Counter[str]):
    there = torch.arange(3.0, device="cuda")
    assert (there.device, (there + there).device) == (GPU, GPU)
    assert there.to(GPU) is there
    assert (2 * there)[torch.tensor([2, 0])].cpu().tolist() == [4.0, 0.0]  # indices may lie on the CPU
    weight = torch.nn.Parameter(torch.ones(3).to("cuda"))
    (weight * there).square().sum().backward()
    assert weight.grad is not None
    assert weight.grad.device == GPU
    assert weight.grad.cpu().tolist() == [0.0, 2.0, 8.0]
    with torch.autocast("cuda", torch.bfloat16):
        product = torch.nn.functional.linear(there, torch.ones(2, 3).to("cuda"))
    assert (product.dtype, product.device) == (torch.bfloat16, GPU)
    assert gpu["aten.mul"] > 0


def test_features_and_tokens(opened: Opened, gpu: Counter[str]):
    here = opened("cpu")
    images, weights = here.suite.task_data("Reds"), vision_tower(here.suite.pretrained)
    for dtype in (torch.float32, torch.bfloat16):
        near, far = (Encoder(here.architecture, device, batch=10, dtype=dtype) for device in ("cpu", "cuda"))
        assert far.device.type == next(far.module.parameters()).device.type == "cuda"
        assert torch.equal(near.features(weights, images), far.features(weights, images))
        sets = [(images, None), (images, [3, 1])]
        for one, other in zip(
            near.block_tokens_of_many(weights, sets), far.block_tokens_of_many(weights, sets), strict=True
        ):
            assert all(torch.equal(mine, theirs) for mine, theirs in zip(one, other, strict=True))
        assert far.state().keys() == near.state().keys()
        assert all(tensor.device.type == "cpu" for tensor in far.state().values())
    assert gpu["aten.convolution"] > 0


@pytest.fixture(scope="module")
def opened_once(tiny_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """Open the suite for a device with a workspace that all tests share: experts are encoded once."""
    folder = tmp_path_factory.mktemp("shared")
    suite = open_suite(str(tiny_template), folder)
    return cache(lambda device: Evaluator(suite, folder / device, device))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_measured(method: str, opened_once: Opened, gpu: Counter[str]):
    tasks = ("Reds", "Blues") if METHODS[method].counts[1] == 2 else None
    found = []
    for device in ("cpu", "cuda"):
        evaluator = opened_once(device)
        recipe = evaluator.recipe(method, OPTIONS.get(method), tasks=tasks)
        assert gpu["aten.convolution"] == 0
        found.append(evaluator.measure(recipe, limit=8))
    assert gpu["aten.convolution"] > 0
    for task in found[0].correct:
        assert (found[0].correct[task] == found[1].correct[task]).all()
        tolerance = 1e-5 if method == "distilled" else 0  # a GPU's fused AdamW rounds otherwise
        np.testing.assert_allclose(found[0].divergence[task], found[1].divergence[task], rtol=0, atol=tolerance)


def printed(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    code = main(command)
    out, err = capsys.readouterr()
    assert code == 0, err
    return out


def test_every_analysis_and_command(tiny: Path, tmp_path: Path, gpu: Counter[str], capsys: pytest.CaptureFixture[str]):
    def run(device: str, command: str, *flags: str) -> str:
        return printed(
            capsys, command, str(tiny), "--workspace", str(tmp_path / device), "--device", device, "--fresh", *flags
        )

    merged = tmp_path / "merged.safetensors"
    for command, *flags in (
        ("check",),
        ("measure", "--method", "ties", "--limit", "6", "--json"),
        ("interference", "--method", "ties", "--limit", "6", "--json"),
        ("merge", "--method", "regmean", "--set", "images=3", "--out", str(merged)),
        ("measure", "--merged", str(merged), "--limit", "6", "--json"),
    ):
        expected = run("cpu", command, *flags)
        before = sum(gpu.values())
        assert run("cuda", command, *flags) == expected
        assert sum(gpu.values()) > before, command


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("choice", CHOICES)
def test_ri_trains(choice: str, precision: str, opened: Opened, gpu: Counter[str]):
    compare_runs(opened, {"parameters": choice, "precision": precision})
    assert gpu["aten._fused_adamw_"] > 0


@pytest.mark.parametrize("settings", [{"memory": 1e-6}, {"precision": "auto", "views": 2}, {"distance": "mse"}])
def test_ri_trains_otherwise(settings: dict[str, object], opened: Opened, gpu: Counter[str]):
    compare_runs(opened, settings)


def compare_runs(opened: Opened, settings: dict[str, object]) -> None:
    found = []
    for device in ("cpu", "cuda"):
        evaluator = opened(device)
        folder = resolve(
            evaluator.suite,
            auxiliary="noise",
            name="made",
            settings=QUICK | settings,
            tasks=("Reds", "Blues"),
            device=evaluator.device,
        )
        found.append(load_file(folder / "Reds.safetensors"))
    for name, tensor in found[0].items():
        # Fused, AdamW rounds otherwise.
        other = without_keys(name, found[1][name])
        torch.testing.assert_close(other, without_keys(name, tensor), rtol=1e-4, atol=1e-4)


def test_ri_resumes(opened: Opened, gpu: Counter[str], monkeypatch: pytest.MonkeyPatch):
    evaluator = opened("cuda")
    given = {"auxiliary": "noise", "settings": QUICK, "tasks": ("Reds",), "device": evaluator.device}
    whole = resolve(evaluator.suite, name="whole", **given)
    monkeypatch.setattr(descent, "SAVE_SECONDS", 0.0)

    def stop(done: int, total: int) -> None:
        if done == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        resolve(evaluator.suite, name="half", progress=stop, **given)
    half = resolve(evaluator.suite, name="half", resume=True, **given)
    first, second = (load_file(folder / "Reds.safetensors") for folder in (whole, half))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_distillation(opened: Opened, gpu: Counter[str]):
    before, after = (
        dict(evaluator.merged(evaluator.recipe("distilled", OPTIONS["distilled"])))
        for evaluator in map(opened, ("cpu", "cuda"))
    )
    for name, tensor in before.items():
        torch.testing.assert_close(after[name], tensor, rtol=1e-4, atol=1e-4)
    assert gpu["aten._fused_adamw_"] > 0


@pytest.mark.parametrize("method", ["task-arithmetic", "ties", "fisher"])
def test_live_estimates(method: str, opened: Opened, gpu: Counter[str]):
    evaluator = opened("cuda")
    probe, recipe = LiveProbe(evaluator, 8), evaluator.recipe(method, OPTIONS.get(method))
    (found,), measured = probe.look([recipe]), opened("cpu").measure(recipe, limit=8)
    assert gpu["aten.convolution"] > 0
    for task in recipe.tasks:
        assert (found.correct[task] == measured.correct[task]).all()
        assert found.divergence[task] == pytest.approx(measured.divergence[task], abs=1e-4)


# --- devices that are not there -------------------------------------------------------------------------------


def test_auto_is_the_gpu_where_there_is_one(gpu: Counter[str]):
    assert pick_device("auto").type == pick_device("cuda").type == pick_device("cuda:0").type == "cuda"
    assert pick_device("cpu").type == "cpu"


@pytest.mark.parametrize("name", ["cuda:7", "cuda:2", "meta", "abacus", "cuda:-1", ""])
def test_a_gpu_too_many_is_one_message(name: str, gpu: Counter[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(InputError, match=rf"--device: expected .*cuda:0, cuda:1\), found '{name}'"):
        pick_device(name)


COMMANDS = {
    "check": [],
    "measure": [],
    "interference": [],
    "merge": ["--out", "merged.safetensors"],
    "resolve": ["--auxiliary", "noise", "--name", "x"],
    "study": ["methods", "--out", "out"],
    "report": ["--out", "report.html"],
    "app": [],
}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize("command", COMMANDS)
def test_no_gpu_is_one_message_of_every_command(
    command: str, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    for name in ("SUITE", "WORKSPACE", "DEVICE"):
        monkeypatch.setenv(f"RI_ANALYSIS_{name}", "")
    suite, flags = [str(tiny)], COMMANDS[command]
    if command == "study":
        suite, flags = [flags[0], str(tiny)], flags[1:]
    code = main([command, *suite, *flags, "--workspace", str(tmp_path / "w"), "--device", "cuda"])
    last = capsys.readouterr().err.splitlines()[-1]
    assert (code, last) == (
        2,
        "ri-analysis: --device: expected auto, cpu (PyTorch finds no GPU on this machine), found 'cuda'",
    )
    assert not [path for path in tmp_path.iterdir() if path.name not in ("suite", "w", "data")]


def test_full_memory_is_one_message(opened: Opened, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total …")

    evaluator = opened("cpu")
    fisher = evaluator.recipe("fisher", OPTIONS["fisher"])
    evaluator.measure(evaluator.recipe("ties"), limit=2)
    monkeypatch.setattr(Encoder, "forward", full)
    words = r"cpu: expected room .* found the GPU's memory full \(CUDA out of memory\); .* --device cpu"
    with pytest.raises(InputError, match=words):
        evaluator.measure(evaluator.recipe("averaging"), limit=2)
    with pytest.raises(InputError, match=words):
        evaluator.statistics(fisher)
    with pytest.raises(InputError, match=words):
        resolve(evaluator.suite, auxiliary="noise", name="made", settings=QUICK, device="cpu")
    with pytest.raises(InputError, match=words), within_memory(evaluator.device):
        full()


def test_float32_means_float32_on_a_gpu(opened: Opened, gpu: Counter[str]):
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32, cudnn.benchmark, cudnn.deterministic
    try:
        cudnn.allow_tf32 = matmul.allow_tf32 = cudnn.benchmark = True
        Encoder(opened("cpu").architecture, "cuda")
        assert not (cudnn.allow_tf32)
        assert not (matmul.allow_tf32)
        assert not (cudnn.benchmark)
        assert cudnn.deterministic
    finally:
        cudnn.allow_tf32, matmul.allow_tf32, cudnn.benchmark, cudnn.deterministic = before
