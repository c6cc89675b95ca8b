"""A GPU that is not there: tensors that say they are on `cuda:0`, compute on the CPU, and refuse what a GPU's would.

torch's FakeTensorMode knows where tensors are but not what they hold, so nothing that reads a number runs on it. Here
each tensor on the GPU wraps one of the CPU. Operations that mix the two raise, as on a GPU (a CPU tensor of one number
may mix, and so may indices into a tensor of the GPU), and so do NumPy's looks into a tensor and random generators of
the CPU. What is computed is what the CPU computes.

It can't show: how CUDA's kernels round, operations that CUDA lacks, clocks that do not wait for the GPU, its memory,
several GPUs.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_iter, tree_map

GPU, CPU = torch.device("cuda", 0), torch.device("cpu")
_ANYWHERE = (torch.ops.aten.copy_.default, torch.ops.aten._to_copy.default)  # from any device to any
_INDEXED = (torch.ops.aten.index.Tensor, torch.ops.aten.index_put_.default)  # their indices may lie on the CPU


class OnGPU(torch.Tensor):
    """A tensor on the pretended GPU; `held` lies on the CPU. Only Python is told so: autograd and autocast are not."""

    held: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    def __new__(cls, held: torch.Tensor) -> OnGPU:
        layout = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype}
        found: OnGPU = torch.Tensor._make_wrapper_subclass(cls, held.size(), device=CPU, **layout)
        found.held = held
        return found

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _carry_out(func, args, kwargs or {})

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return GPU

    @property
    def data(self) -> torch.Tensor:  # type: ignore[override]
        return self.detach()

    @data.setter
    def data(self, other: OnGPU) -> None:
        assert isinstance(other, OnGPU)
        assert (self.shape, self.dtype) == (other.shape, other.dtype)
        self.held = other.held

    def untyped_storage(self) -> torch.UntypedStorage:
        return self.held.untyped_storage()

    def numpy(self, *_: Any, **__: Any) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first")

    __array__ = numpy

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.held.__reduce_ex__(protocol)


class _Computing(TorchDispatchMode):
    """Computes on the CPU what is on the GPU."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _carry_out(func, args, kwargs or {})


class _Moving(TorchFunctionMode):
    """Moves tensors between the devices: below Python, all lie on the CPU."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.tensor and _on_gpu(kwargs.get("device")):
            return OnGPU(func(*args, **{**kwargs, "device": CPU}))
        if func is torch.Tensor.cpu:
            return _moved(args[0], CPU)
        if func is torch.Tensor.to:
            tensor, *rest = args
            like = next((item for item in rest if isinstance(item, torch.Tensor)), None)
            device, dtype = torch._C._nn._parse_to(*rest, **kwargs)[:2]
            return _moved(tensor, device if like is None else like.device, dtype)
        return func(*args, **kwargs)


def _moved(tensor: torch.Tensor, device: torch.device | None, dtype: torch.dtype | None = None) -> torch.Tensor:
    device, dtype = tensor.device if device is None else device, dtype or tensor.dtype
    if (device.type, dtype) == (tensor.device.type, tensor.dtype):
        return tensor
    found: torch.Tensor = torch.ops.aten._to_copy.default(tensor, dtype=dtype, device=device)
    return found


def _carry_out(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    tensors = [item for item in tree_iter((args, kwargs)) if isinstance(item, torch.Tensor)]
    there = any(isinstance(item, OnGPU) for item in tensors)
    named = kwargs.get("device")
    gpu = there if named is None else _on_gpu(named)
    if tensors:
        _RECENT.on_gpu = there
    if torch._C._current_graph_task_id() >= 0:  # autograd takes all for the CPU's, and names that as a new one's device
        gpu = _RECENT.on_gpu
    looked_at = args[0] if func in _INDEXED else (args, kwargs)
    if there and func not in _ANYWHERE and any(map(_apart, tree_iter(looked_at))):
        raise RuntimeError(f"{func}: expected all tensors on one device, found cpu and {GPU}")
    if gpu and kwargs.get("generator") is not None:
        raise RuntimeError(f"{func}: expected a 'cuda' device type for generator but found 'cpu'")
    if named is not None and gpu:
        kwargs = {**kwargs, "device": CPU}
    if gpu:
        _CARRIED_OUT[str(func._overloadpacket)] += 1
    result = func(*tree_map(_held, args), **tree_map(_held, kwargs))
    if func is torch.ops.aten.copy_.default:
        return args[0]
    if not gpu:
        return result
    placed = tree_map(lambda item: OnGPU(item) if isinstance(item, torch.Tensor) else item, result)
    return return_and_correct_aliasing(func, args, kwargs, placed) if there else placed


def _on_gpu(device: Any) -> bool:
    return device is not None and torch.device(device).type == GPU.type


def _apart(item: Any) -> bool:
    return isinstance(item, torch.Tensor) and not isinstance(item, OnGPU) and item.ndim > 0


def _held(item: Any) -> Any:
    return item.held if isinstance(item, OnGPU) else item


def _load(path: Any, map_location: Any = None, **options: Any) -> Any:
    found = _LOAD(path, map_location=CPU, **options)
    return tree_map(lambda item: item.to(map_location) if isinstance(item, torch.Tensor) else item, found)


def _autocast(device: str, *args: Any, **options: Any) -> Any:
    return _AUTOCAST(CPU.type if _on_gpu(device) else device, *args, **options)


def _submit(pool: ThreadPoolExecutor, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
    def inside() -> Any:
        with _Moving(), _Computing():  # modes are of one thread
            return work(*args, **kwargs)

    return _SUBMIT(pool, inside)


_CARRIED_OUT: Counter[str] = Counter()
_RECENT = threading.local()  # where the last operation's tensors were
_LOAD, _AUTOCAST, _SUBMIT = torch.load, torch.autocast, ThreadPoolExecutor.submit


@contextmanager
def pretend_gpu() -> Iterator[Counter[str]]:
    """Have torch find one GPU, in this thread and in those of executors; yield what it carries out, by operation."""
    _CARRIED_OUT.clear()
    torch._C._ensureCUDADeviceGuardSet()  # one that does nothing, as FakeTensorMode has it
    future = torch.__future__
    before = future.get_overwrite_module_params_on_conversion()
    future.set_overwrite_module_params_on_conversion(True)
    try:
        with (
            mock.patch.object(torch.cuda, "_lazy_init", return_value=None),
            mock.patch.object(torch.cuda, "is_available", return_value=True),
            mock.patch.object(torch.cuda, "device_count", return_value=1),
            mock.patch.object(torch.cuda, "is_current_stream_capturing", return_value=False),
            mock.patch.object(torch, "load", _load),
            mock.patch.object(torch, "autocast", _autocast),
            mock.patch.object(torch, "inference_mode", torch.no_grad),  # it refuses views of wrappers
            mock.patch.object(ThreadPoolExecutor, "submit", _submit),
            _Moving(),
            _Computing(),
        ):
            yield _CARRIED_OUT
    finally:
        future.set_overwrite_module_params_on_conversion(before)
