"""What stands between this process and a GPU: the package, the driver, its version, a device.

The driver is asked through its C library, before numba-cuda is loaded and without a context: no
memory of a GPU is taken.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import os
from functools import cache
from typing import Any, NamedTuple

INSTALL = 'pip install "numba-fastnn[cuda13]", or [cuda12] for a driver that knows CUDA 12 alone'

# The driver's attributes of a device: compute capability, major and minor.
_MAJOR, _MINOR = 75, 76
_NO_DEVICE = 100


class Found(NamedTuple):
    """What is here, as far as the one before it is; None for what was not asked."""

    package: bool  # numba-cuda
    toolkit: int | None  # the major version of CUDA that its packages are of
    library: bool  # the driver's
    version: int | None  # the driver's, 1000 major + 10 minor
    error: int | None  # that the driver answers when it is started
    gpus: int | None  # how many
    forked: bool = False  # from a process that had started the driver


def explain(found: Found) -> str | None:
    """Return what is missing and what to do, or None: a pure function of what is here.

    Examples
    --------
    >>> explain(Found(True, 13, True, 13000, 0, 1))
    >>> explain(Found(True, 13, True, 13000, 0, 0))[:31]
    'the NVIDIA driver finds no GPU:'
    """
    if not found.package:
        return f"the package numba-cuda is not installed: {INSTALL}."
    if not found.library:
        return "no NVIDIA driver was found: a GPU needs it, and fastnn cannot install it."
    if found.version is not None and found.toolkit and found.version // 1000 < found.toolkit:
        major, minor = found.version // 1000, found.version % 1000 // 10
        return (
            f"the NVIDIA driver is too old: it knows CUDA {major}.{minor}, but CUDA"
            f" {found.toolkit} is installed. Update the driver, or"
            f' pip install "numba-fastnn[cuda{major}]".'
        )
    if found.forked:
        return (
            "this process was forked from one that had started the GPU's driver, which a forked"
            " process cannot use. Start it by multiprocessing's 'spawn' or 'forkserver' instead."
        )
    if found.error == _NO_DEVICE or (found.error == 0 and not found.gpus):
        return (
            "the NVIDIA driver finds no GPU: is one there, and does CUDA_VISIBLE_DEVICES hide it?"
        )
    if found.error:
        return (
            f"the NVIDIA driver does not start, error {found.error}: does nvidia-smi work? A"
            " process that was forked from one that used a GPU cannot use it."
        )
    return None


def simulated() -> bool:
    """Return whether numba-cuda's simulator stands for the GPU."""
    try:
        return bool(int(os.environ.get("NUMBA_ENABLE_CUDASIM", "0") or "0"))
    except ValueError:
        return False


class _Fork:
    """Whether this process was forked from one that had started the driver."""

    seen = False
    _watched = False

    @classmethod
    def watch(cls) -> None:
        """From now on, let children know: what was found here does not hold for them."""
        if not cls._watched and hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=cls._note)
        cls._watched = True

    @classmethod
    def _note(cls) -> None:
        cls.seen = True
        missing.cache_clear()


@cache
def missing() -> str | None:
    """Return what is missing for a GPU, and what to do, or None."""
    if simulated() and _package():
        return None
    return explain(_look())


def _package() -> bool:
    return importlib.util.find_spec("numba_cuda") is not None


def _toolkit() -> int | None:
    """Return the major version of the CUDA bindings, which the toolkit's packages follow."""
    try:
        return int(importlib.metadata.version("cuda-bindings").partition(".")[0])
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None


def _library() -> Any:
    """Return the driver's library, or None."""
    try:
        return ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return None


def _look() -> Found:
    package, library = _package(), _library()
    if not package or library is None:
        return Found(package, _toolkit(), library is not None, None, None, None)
    number = ctypes.c_int(0)
    library.cuDriverGetVersion(ctypes.byref(number))
    version = number.value
    if _Fork.seen:
        return Found(True, _toolkit(), True, version, None, None, forked=True)
    error = int(library.cuInit(0))
    if error == 0:
        _Fork.watch()
    count = ctypes.c_int(0)
    if error == 0:
        error = int(library.cuDeviceGetCount(ctypes.byref(count)))
    return Found(True, _toolkit(), True, version, error, count.value)


@cache
def gpus() -> tuple[str, ...]:
    """Return what each GPU is: name, compute capability and memory. They must be there."""
    if simulated():
        return ("numba-cuda's simulator: Python stands for the GPU, to test and debug",)
    library = _library()
    count = ctypes.c_int(0)
    library.cuDeviceGetCount(ctypes.byref(count))
    return tuple(_describe(library, index) for index in range(count.value))


def _describe(library: Any, index: int) -> str:
    device, memory = ctypes.c_int(0), ctypes.c_size_t(0)
    name = ctypes.create_string_buffer(128)
    library.cuDeviceGet(ctypes.byref(device), index)
    library.cuDeviceGetName(name, len(name), device)
    library.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    capability = []
    for attribute in (_MAJOR, _MINOR):
        number = ctypes.c_int(0)
        library.cuDeviceGetAttribute(ctypes.byref(number), attribute, device)
        capability.append(str(number.value))
    return (
        f"{name.value.decode(errors='replace')}, compute capability {'.'.join(capability)},"
        f" {memory.value / 2**30:.1f} GiB"
    )
