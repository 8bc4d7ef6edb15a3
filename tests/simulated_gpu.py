"""A GPU that is simulated on the CPU: it refuses to mix devices and counts synchronisations.

    with SimulatedGpu() as gpu:
        backbone = gpu.move(backbone)
        tune(dataset, config, backbone=backbone)
    gpu.waits  # Counter: where the program waited for the GPU -> how often

Tensors on it are CPU tensors of the class `OnGpu`, whose `device` is cuda:0. As on a GPU, an
operation on tensors of both devices raises RuntimeError (except scalars, copies and indices), and
numpy does not take them. A program waits for a GPU when it reads a value, copies a tensor without
`non_blocking`, or calls an operation whose result has a size that depends on values. What happens
inside one operation is not seen; nor is the time of anything.
"""

from __future__ import annotations

import copy
import dataclasses
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

import dspt
from dspt.backbones.base import Backbone

DEVICE = torch.device("cuda:0")
_SOURCE = str(Path(dspt.__file__).parent)

_READS = {"item", "tolist", "__bool__", "__float__", "__int__", "__index__", "is_nonzero", "equal"}
_COPIES = {"cpu", "tensor", "as_tensor", "new_tensor"}
_SIZED_BY_VALUES = {
    "nonzero", "argwhere", "masked_select", "unique", "unique_consecutive", "_unique2", "bincount",
}  # fmt: skip
_CHECKED = {"solve", "inv", "cholesky", "lstsq", "linalg_solve", "linalg_inv"}
"""They read from the GPU whether the matrix was singular."""
_NO_NUMPY = {"numpy", "__array__"}
_TAKES_BOTH = {"copy_", "to", "__set__", "__get__", "_has_compatible_shallow_copy_type"}
_INDEXING = {"__getitem__", "__setitem__"}


class OnGpu(Tensor):
    """A tensor on the simulated GPU."""


class SimulatedGpu(TorchFunctionMode):
    """Everything that this thread does while it is entered may use the device cuda:0."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()

    def move(self, backbone: Backbone) -> Backbone:
        """Return a copy of `backbone` whose towers are on the GPU."""
        before = torch.__future__.get_overwrite_module_params_on_conversion()
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        try:
            text_tower: Any = copy.deepcopy(backbone.text_tower)
            moved: list[nn.Module] = [text_tower._text, copy.deepcopy(backbone.image_tower)]
            for module in moved:
                module.to(DEVICE)
        finally:
            torch.__future__.set_overwrite_module_params_on_conversion(before)
        self.waits.clear()
        return dataclasses.replace(backbone, image_tower=moved[1], text_tower=text_tower)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        tensors = [*_tensors(args), *_tensors(kwargs.values())]
        on_gpu = any(isinstance(tensor, OnGpu) for tensor in tensors)
        with torch._C.DisableTorchFunctionSubclass():
            if name == "__get__" and on_gpu:
                return self._attribute(func, args, kwargs)
            target = self._target(name, args, kwargs, on_gpu)
            if not on_gpu and not target:
                return func(*args, **kwargs)
            if on_gpu:
                self._check(name, tensors)
            self._count(name, args, kwargs, on_gpu=on_gpu, target=target)
            if name in ("to", "cpu", "cuda"):
                found = _converted(args, kwargs)
                if found is args[0] and on_gpu != target:
                    found = found.clone()
            else:
                if isinstance(kwargs.get("device"), torch.device | str):
                    kwargs["device"] = "cpu"
                found = func(*args, **kwargs)
        convert = _to_gpu if target else _to_cpu
        if isinstance(found, Tensor):
            return convert(found)
        return pytree.tree_map_only(Tensor, convert, found)

    def _attribute(self, func: Any, args: Any, kwargs: Any) -> Any:
        attribute = getattr(getattr(func, "__self__", None), "__name__", "")
        if attribute == "device":
            return DEVICE
        if attribute == "is_cuda":
            return True
        found = func(*args, **kwargs)
        return _to_gpu(found) if isinstance(found, Tensor) else found

    def _target(self, name: str, args: Any, kwargs: Any, on_gpu: bool) -> bool:
        """Whether the result is on the GPU."""
        if name == "cpu":
            return False
        if name == "cuda":
            return True
        device = kwargs.get("device")
        if name == "to":
            device = next(
                (a for a in args[1:] if isinstance(a, str | torch.device | Tensor)), device
            )
        if isinstance(device, Tensor):
            return isinstance(device, OnGpu)
        return on_gpu if device is None else torch.device(device).type == "cuda"

    def _check(self, name: str, tensors: list[Tensor]) -> None:
        if name in _NO_NUMPY:
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        others = [each for each in tensors if not isinstance(each, OnGpu) and each.dim()]
        if others and name not in _TAKES_BOTH | _INDEXING:
            raise RuntimeError(f"{name} got tensors on cuda:0 and on the CPU")

    def _count(self, name: str, args: Any, kwargs: Any, *, on_gpu: bool, target: bool) -> None:
        waits = name in _READS | _COPIES | _SIZED_BY_VALUES | _CHECKED
        if name == "to":
            waits = on_gpu != target and not kwargs.get("non_blocking")
        if name == "copy_":
            waits = len({isinstance(each, OnGpu) for each in args[:2]}) == 2
        if name in _INDEXING:
            index = args[1] if isinstance(args[1], tuple) else (args[1],)
            waits = any(
                (
                    isinstance(each, Tensor)
                    and (each.dtype == torch.bool or not isinstance(each, OnGpu))
                )
                or (not isinstance(each, Tensor) and hasattr(each, "__len__"))
                for each in index
            )
        if waits:
            self.waits[f"{_place()} {name}"] += 1


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    """Tensors among `values`, in their lists and tuples too; no operation takes them in a dict."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def _to_gpu(tensor: Tensor) -> Tensor:
    return tensor if isinstance(tensor, OnGpu) else tensor.as_subclass(OnGpu)


def _to_cpu(tensor: Tensor) -> Tensor:
    return tensor.as_subclass(Tensor) if isinstance(tensor, OnGpu) else tensor


def _converted(args: Any, kwargs: Any) -> Tensor:
    """`to` without the device: of another dtype and memory format."""
    given = [*args[1:], *kwargs.values()]
    dtypes = [each.dtype if isinstance(each, Tensor) else each for each in given]
    dtype = next((each for each in dtypes if isinstance(each, torch.dtype)), args[0].dtype)
    layouts = [each for each in given if isinstance(each, torch.memory_format)]
    found: Tensor = args[0].to(dtype)
    return found.contiguous(memory_format=layouts[0]) if layouts else found


def _place() -> str:
    """File and line of the code of dspt that is running."""
    return next(_frames(), "tests")


def _frames() -> Iterator[str]:
    frame = sys._getframe()
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(_SOURCE):
            yield f"{file[len(_SOURCE) + 1 :]}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
