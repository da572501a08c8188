"""What the tests on a GPU share: whether one is there, sizes, arrays in its memory."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastnn import cuda_driver

ROOT = Path(__file__).resolve().parent.parent.parent
SIMULATED = cuda_driver.simulated()

# (what was measured, type): the largest error found and the largest allowed, shown at the end.
WORST: dict[tuple[str, str], tuple[float, float]] = {}


def why_not() -> str | None:
    """Return why nothing can be computed on a GPU here, or None."""
    return cuda_driver.missing()


def sized(real: Any, small: Any) -> Any:
    """Return what is for a GPU, or the smaller thing that the simulator can do."""
    return small if SIMULATED else real


def library(name: str) -> Any:
    """Return a library that can compute on the GPU here, or skip the test with the reason."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(name)
        except ImportError as error:
            pytest.skip(f"{name} cannot be imported: {error}")


def run_script(text: str, timeout: float = 300, **variables: str) -> subprocess.CompletedProcess:
    """Run Python code in a process of its own, and return it, done."""
    path = os.pathsep.join([str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    return subprocess.run(
        [sys.executable, "-c", text],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path, **variables},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


class Strided:
    """A copy on the GPU of an array of the host, with the memory layout and surroundings it has.

    What it is a view of is sent as a whole, so that strides and offsets are the same there.
    """

    def __init__(self, array: np.ndarray) -> None:
        from fastnn.kernels.cuda import driver

        base = array
        while isinstance(base.base, np.ndarray):
            base = base.base
        base = base if base.flags.c_contiguous else base.T
        assert base.flags.c_contiguous
        self.dtype, self.shape, self.strides = array.dtype, array.shape, array.strides
        self._offset = _address(array) - _address(base)
        self._memory = driver.send(base.reshape(-1), 0)
        self._interface = driver.interface_of(self._memory)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "strides": self.strides,
            "typestr": self.dtype.str,
            "data": (self._interface["data"][0] + self._offset, False),
            "version": 3,
        }

    def __array__(self, *arguments: Any, **options: Any) -> Any:
        raise AssertionError("copied to the host without being asked")

    def surroundings(self) -> tuple[np.ndarray, np.ndarray]:
        """Return all of the memory, copied to the host, and this array as a view of it."""
        base = self._memory.copy_to_host()
        return base, np.ndarray(self.shape, self.dtype, base, self._offset, self.strides)

    def host(self) -> np.ndarray:
        """Return a copy on the host."""
        return self.surroundings()[1].copy()


def _address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def to_host(array: Any) -> np.ndarray:
    """Return a copy on the host of what a function returned."""
    if isinstance(array, np.ndarray):
        return array
    return array.host() if isinstance(array, Strided) else array.copy_to_host()
