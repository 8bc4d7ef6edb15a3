"""Import torch and the libraries on it without torch's compiler, for processes that never compile.

The compiler, `torch._dynamo`, takes 150 MiB and seconds to import. torchvision needs one of its
functions, timm a decorator, and torch's optimizers mark methods by it; none of them compiles
anything by itself.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from threading import Lock
from types import ModuleType
from typing import Any
from unittest.mock import patch

_LIBRARIES = ("torchvision", "timm", "open_clip")
_importing = Lock()  # a second thread would see the stubs of the first


def import_light() -> None:
    """Import torch, torchvision, timm and open_clip; without the compiler, if that is possible."""
    with _importing:
        _import_light()


def _import_light() -> None:
    import torch

    if "torch._dynamo" in sys.modules:
        return
    try:
        with _stubs(), patch.object(torch.compiler, "disable", _unchanged):
            for name in _LIBRARIES:
                import_module(name)
    except (ImportError, AttributeError):  # another version, which needs more of the compiler
        for name in _LIBRARIES:
            import_module(name)
    # These are marked as not to be compiled at their first call, and what is then called is kept in
    # this attribute: here the method itself.
    for name in ("add_param_group", "zero_grad"):
        method = getattr(getattr(torch.optim.Optimizer, name), "__wrapped__", None)
        if method is not None:
            method.__dynamo_disable = method


@contextmanager
def _stubs() -> Iterator[None]:
    package, utils = ModuleType("torch._dynamo"), ModuleType("torch._dynamo.utils")
    package.__path__ = []
    utils.is_compile_supported = lambda device: False  # type: ignore[attr-defined]
    modules = {module.__name__: module for module in (package, utils)}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in modules:
            sys.modules.pop(name, None)


def _unchanged(function: Callable[..., Any] | None = None, *_: Any, **__: Any) -> Any:
    """`torch.compiler.disable`, as a function or with arguments as a decorator."""
    return function if function is not None else lambda function: function
