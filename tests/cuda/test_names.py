"""One name, every floor: the CUDA kernels and their backend beside those of the CPU."""

from __future__ import annotations

import importlib
import inspect

import pytest

pytest.importorskip("numba_cuda", reason="needs numba-cuda")

from fastnn.kernels.cpu.compiler import KernelCache

MODULES = ("activations", "linear", "losses", "optimizers", "query", "training")


def cpu_kernels():
    found = set()
    for name in MODULES:
        module = importlib.import_module(f"fastnn.kernels.cpu.{name}")
        for each, value in vars(module).items():
            own = getattr(value, "__module__", None) == module.__name__
            if own and isinstance(getattr(value, "_cache", None), KernelCache):
                found.add((name, each))
    return found


def test_every_kernel_of_the_cpu_has_its_like():
    missing = set()
    for module, name in cpu_kernels():
        try:
            found = importlib.import_module(f"fastnn.kernels.cuda.{module}")
        except ModuleNotFoundError:
            found = None
        if not inspect.isfunction(getattr(found, name, None)):
            missing.add(name)
    assert missing == set()
    assert {"linear_forward", "cost", "gradient_step"} <= {name for _, name in cpu_kernels()}


def test_the_backend_has_the_functions_of_the_cpu():
    cpu, cuda = (importlib.import_module(f"fastnn.backends.{name}") for name in ("cpu", "cuda"))
    there = {function.__name__: function for function in cuda._FUNCTIONS}
    names = {
        name
        for name, value in vars(cpu).items()
        if inspect.isfunction(value) and value.__module__ == cpu.__name__ and name[0] != "_"
    }
    assert names == set(there)
    for name, function in there.items():
        ours, theirs = inspect.signature(function), inspect.signature(getattr(cpu, name))
        assert list(ours.parameters) == list(theirs.parameters), name
