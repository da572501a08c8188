"""The one module that imports ``numba.cuda``: how kernels are declared, named and launched.

A kernel is made by a factory, once per float type, since the memory that it keeps in registers is
declared with a type. Its signature is a string of letters, so that the kernel can be compiled
ahead of time, without a GPU; in the simulator, which checks no types, each launch is held against
it.

    V   a flat array of the kernel's float type, in C order
    D   a flat array of float64
    R   a number of the kernel's float type
    I   an integer
    M   a `Matrix` of the kernel's float type
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import cuda
from numba.core import types
from numba.cuda.core import config
from numba.cuda.extending import intrinsic, overload

__all__ = ["ALIGNMENT", "SIMULATED", "cuda", "device", "intrinsic", "kernel", "overload", "types"]

# Whether NUMBA_ENABLE_CUDASIM lets Python stand for the GPU.
SIMULATED = bool(config.ENABLE_CUDASIM)

# Of shared memory, for 16-byte accesses; the simulator's allows none to be asked for.
ALIGNMENT = None if SIMULATED else 16
BYTES = 16

# Threads of a block that works value by value or sums. The simulator runs each thread of a GPU as
# one of Python's: few of them let small arrays cross the borders of blocks.
THREADS = 4 if SIMULATED else 256
# Blocks that a kernel that strides over its grid is started with at most.
MOST_BLOCKS = 3 if SIMULATED else 4096


class Matrix(NamedTuple):
    """A matrix in flat memory, one operand of a product.

    Its element at ``line`` and ``depth``, the index that is summed over, stands at
    ``values[place + line * by_line + depth * by_depth]``. ``mode`` says how it is read: `mode_of`.
    """

    values: Any
    place: int
    by_line: int
    by_depth: int
    mode: int


class Place(NamedTuple):
    """A place in flat memory, where an array begins."""

    values: Any
    place: int = 0


_settings = threading.Lock()


class Kernel:
    """A kernel for float32 and float64, compiled for a type when first launched with it."""

    def __init__(
        self, name: str, signature: str, limits: tuple[int, int] | None, factory: Any
    ) -> None:
        self.name = name
        # Threads of a block, and blocks that should fit on a multiprocessor: ptxas keeps to the
        # registers that this leaves.
        self.limits = limits
        self.signature = signature
        self.functions = functools.cache(self._make)
        self.compiled = functools.cache(self._jit)
        self._factory = factory

    def _make(self, real: Any) -> Any:
        function = self._factory(real)
        function.__name__ = function.__qualname__ = f"{self.name}_{real.__name__}"
        return function

    def _jit(self, real: Any) -> Any:
        options = {} if SIMULATED else {"launch_bounds": self.limits}
        return cuda.jit(**options)(self.functions(real))

    def types(self, real: Any) -> tuple[Any, ...]:
        """Return Numba's types of the arguments."""
        number = types.float32 if real is np.float32 else types.float64
        vector = types.Array(number, 1, "C")
        integer = types.int64
        known = {
            "V": vector,
            "D": types.Array(types.float64, 1, "C"),
            "R": number,
            "I": integer,
            "M": types.NamedTuple((vector, integer, integer, integer, integer), Matrix),
        }
        return tuple(known[letter] for letter in self.signature)

    def launch(self, grid: Any, threads: int, stream: Any, real: Any, *arguments: Any) -> None:
        """Start the kernel on that stream; an empty grid is no work."""
        if SIMULATED:
            self._check(real, arguments)
        self._configured(real, grid, threads, stream)(*arguments)

    def _configured(self, real: Any, grid: Any, threads: int, stream: Any) -> Any:
        # Numba warns of every grid that leaves most of a GPU idle, as a small array's must; the
        # warning is left as it was for the kernels of others.
        with _settings:
            before = config.CUDA_LOW_OCCUPANCY_WARNINGS
            config.CUDA_LOW_OCCUPANCY_WARNINGS = 0
            try:
                return self.compiled(real)[grid, threads, stream]
            finally:
                config.CUDA_LOW_OCCUPANCY_WARNINGS = before

    def _check(self, real: Any, arguments: tuple[Any, ...]) -> None:
        assert len(arguments) == len(self.signature), self.name
        for letter, value in zip(self.signature, arguments, strict=True):
            parts = zip("VIIII", value, strict=True) if letter == "M" else [(letter, value)]
            for kind, part in parts:
                assert _is_of(kind, part, real), f"{self.name}: {letter} is not {part!r}"


def _is_of(letter: str, value: Any, real: Any) -> bool:
    if letter in "VD":
        dtype = np.dtype(np.float64 if letter == "D" else real)
        return value.ndim == 1 and value.dtype == dtype and value.is_c_contiguous()
    return type(value) is (int if letter == "I" else real)


# Every kernel by its name: tests compile them all.
KERNELS: dict[str, Kernel] = {}


def kernel(
    name: str, signature: str, limits: tuple[int, int] | None = None
) -> Callable[[Callable[..., Any]], Kernel]:
    """Declare the kernel that a factory makes: ``factory(real)`` returns a function."""

    def declare(factory: Callable[..., Any]) -> Kernel:
        if name in KERNELS:
            raise ImportError(f"two kernels are named {name}")
        KERNELS[name] = Kernel(name, signature, limits, factory)
        return KERNELS[name]

    return declare


def device(function: Callable[..., Any]) -> Any:
    """Compile a function that only kernels call, as a part of them.

    It must not name ``cuda``, to which the simulator gives its meaning in the modules of kernels
    that run alone: it is told its thread, and calls `barrier`.
    """
    return function if SIMULATED else cuda.jit(device=True, forceinline=True)(function)


if SIMULATED:

    def barrier():
        """Wait for all threads of the block."""
        threading.current_thread().syncthreads()

else:

    @device
    def barrier():
        """Wait for all threads of the block."""
        cuda.syncthreads()


def blocks_for(count: int, per_block: int) -> int:
    """Return how many blocks stride over so many values: by their number alone."""
    return max(1, min(-(-count // per_block), MOST_BLOCKS))


def is_wide(at: Place, pitch: int = 0) -> bool:
    """Return whether 16 bytes at once can be read there, and at every multiple of ``pitch``."""
    size = at.values.dtype.itemsize
    return (address(at.values) + at.place * size) % BYTES == 0 and pitch * size % BYTES == 0


def address(values: Any) -> int:
    """Return where an array stands in the GPU's memory."""
    if SIMULATED:
        return int(values.ctypes.data)
    return int(values.device_ctypes_pointer.value or 0)


def real_of(array: Any) -> Any:
    """Return np.float32 or np.float64, the type of an array's values."""
    return array.dtype.type


# ------------------------------------------------------------------ memory, streams, devices


def gpu(index: int) -> Any:
    """Return the context manager within which that GPU is the current one."""
    return cuda.gpus[index]


def stream_of(handle: int | None) -> Any:
    """Return a stream by its handle; None is the default stream."""
    return 0 if not handle or SIMULATED else cuda.external_stream(handle)


def wait_for(stream: Any) -> None:
    """Wait for what was put on that stream."""
    if stream:
        stream.synchronize()


def empty(count: int, real: Any, stream: Any) -> Any:
    """Return new memory for so many values, as a flat array."""
    return cuda.device_array(count, real, stream=stream)


def send(values: Any, stream: Any) -> Any:
    """Return a copy, in the GPU's memory, of a flat array of NumPy's."""
    return cuda.to_device(values, stream=stream)


def flat_memory(place: int, count: int, dtype: Any, owner: Any) -> Any:
    """Return the memory at an address as a flat array; ``owner`` lives as long."""
    interface = {
        "shape": (count,),
        "strides": None,
        "typestr": dtype.str,
        "data": (place, False),
        "version": 3,
    }
    if SIMULATED:
        from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray

        return FakeCUDAArray(np.asarray(_Simulated(interface, owner)))
    return cuda.from_cuda_array_interface(interface, owner, sync=False)


class _Simulated:
    """Memory of the simulated GPU, which is the host's."""

    def __init__(self, interface: dict[str, Any], owner: Any) -> None:
        self.owner = owner
        self.__array_interface__ = interface


def is_own(array: Any) -> bool:
    """Return whether an array is one of Numba's in a GPU's memory."""
    return bool(getattr(array, "__cuda_ndarray__", False))


def interface_of(array: Any) -> dict[str, Any]:
    """Return the CUDA array interface of one of Numba's arrays, the simulator's included."""
    if not SIMULATED:
        found: dict[str, Any] = array.__cuda_array_interface__
        return found
    return {**array._ary.__array_interface__, "stream": None}


def device_of(place: int) -> int:
    """Return the number of the GPU in whose memory an address is."""
    if SIMULATED:
        return 0
    from cuda.bindings import driver as bindings

    ordinal = bindings.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
    with cuda.gpus[0]:  # the driver must have been started
        error, found = bindings.cuPointerGetAttribute(ordinal, place)
    if error != bindings.CUresult.CUDA_SUCCESS:
        raise ValueError(f"address {place:#x} is in no GPU's memory: {error.name}")
    return int(found)
