"""The one module that imports ``numba.cuda``: how kernels are declared, named and launched.

A kernel is made by a factory, once per float type, since the memory that it keeps in registers is
declared with a type. Its signature is a string of letters, so that the kernel can be compiled
ahead of time, without a GPU; in the simulator, which checks no types, each launch is held against
it.

    V D J R I   arrays and numbers: ``structures``
    M N E U S   several together, likewise
"""

from __future__ import annotations

import functools
import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import cuda
from numba.core import types
from numba.cuda.core import config
from numba.cuda.extending import intrinsic, overload

from .cache import CudaCache
from .structures import TYPES

__all__ = ["ALIGNMENT", "SIMULATED", "cuda", "device", "intrinsic", "kernel", "overload", "types"]

# Whether NUMBA_ENABLE_CUDASIM lets Python stand for the GPU.
SIMULATED = bool(config.ENABLE_CUDASIM)

# Of shared memory, for 16-byte accesses; the simulator's allows none to be asked for.
ALIGNMENT = None if SIMULATED else 16
BYTES = 16

# Shared memory of a block that needs no asking for, and what every GPU of compute capability 7.5
# and later gives, both with 1 KiB to spare for what a kernel declares itself.
SURELY_SHARED, MOST_SHARED = 47 * 1024, 63 * 1024

# Threads of a block that works value by value or sums. The simulator runs each thread of a GPU as
# one of Python's: few of them let small arrays cross the borders of blocks.
THREADS = 4 if SIMULATED else 256
# Threads of a block that goes through a whole network, or settles its parameters.
TEAM = 4 if SIMULATED else 128
# Blocks that a kernel that strides over its grid is started with at most.
MOST_BLOCKS = 3 if SIMULATED else 4096
# The most blocks of a grid in its second dimension.
MOST_DOWN = 2 if SIMULATED else 65535


class Place(NamedTuple):
    """A place in flat memory, where an array begins."""

    values: Any
    place: int = 0


_settings = threading.Lock()


class Kernel:
    """A kernel for float32 and float64, compiled for a type when first launched with it."""

    def __init__(
        self, name: str, signature: str, limits: tuple[int, int, int] | None, factory: Any
    ) -> None:
        self.name = name
        self._limits = limits
        self.signature = signature
        self.functions = functools.cache(self._make)
        self._jitted = functools.cache(self._jit)
        self._factory = factory
        self._allowed: dict[tuple[Any, int], int] = {}

    def _make(self, real: Any) -> Any:
        function = self._factory(real)
        function.__name__ = function.__qualname__ = f"{self.name}_{real.__name__}"
        return function

    def limits(self, real: Any) -> tuple[int, int] | None:
        """Return the threads of a block, and the blocks that should fit on a multiprocessor.

        ptxas keeps to the registers that this leaves.
        """
        if self._limits is None:
            return None
        threads, of_float32, of_float64 = self._limits
        return threads, of_float32 if real is np.float32 else of_float64

    def compiled(self, real: Any) -> Any:
        """Return Numba's dispatcher, for GPUs of the current one's compute capability."""
        return self._jitted(real, compute_capability())

    def _jit(self, real: Any, capability: Any) -> Any:
        function = self.functions(real)
        if SIMULATED:
            return cuda.jit(function)
        compiled = cuda.jit(launch_bounds=self.limits(real))(function)
        compiled._cache = CudaCache(function.__name__)
        return compiled

    def types(self, real: Any) -> tuple[Any, ...]:
        """Return Numba's types of the arguments."""
        number = types.float32 if real is np.float32 else types.float64
        known = {
            "V": types.Array(number, 1, "C"),
            "D": types.Array(types.float64, 1, "C"),
            "J": types.Array(types.int64, 1, "C"),
            "R": number,
            "I": types.int64,
        }
        for letter, (kind, fields) in TYPES.items():
            known[letter] = types.NamedTuple(tuple(known[field] for field in fields), kind)
        return tuple(known[letter] for letter in self.signature)

    def launch(
        self, grid: Any, threads: int, stream: Any, real: Any, *arguments: Any, shared: int = 0
    ) -> None:
        """Start the kernel on that stream; a block has ``shared`` bytes besides its own."""
        if SIMULATED:
            self._check(real, arguments)
        elif shared > SURELY_SHARED:
            self._allow(real, current_gpu(), shared)
        self._configured(real, grid, threads, stream, shared)(*arguments)

    def prepare(self, real: Any) -> None:
        """Compile the kernel for the current GPU, or find it where it is kept."""
        if not SIMULATED:
            self._overload(real)

    def at_once(self, real: Any, threads: int, shared: int) -> int:
        """Return how many blocks the current GPU works on at once."""
        if SIMULATED:
            return 1
        if shared > SURELY_SHARED:
            self._allow(real, current_gpu(), shared)
        blocks = self._overload(real).max_cooperative_grid_blocks(threads, shared)
        return int(blocks)

    def _overload(self, real: Any) -> Any:
        return self.compiled(real).compile(self.types(real))

    def _allow(self, real: Any, gpu: int, shared: int) -> None:
        # More than every GPU has must be asked for, kernel by kernel and GPU by GPU.
        if self._allowed.get((real, gpu), 0) >= shared:
            return
        from cuda.bindings import driver as bindings

        attribute = bindings.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        function = self._overload(real)._codelibrary.get_cufunc().kernel.handle
        (error,) = bindings.cuKernelSetAttribute(attribute, shared, function, gpu)
        if int(error) != 0:
            raise RuntimeError(
                f"{self.name} needs {shared:,} bytes of shared memory a block, which cuda:{gpu}"
                " does not give: GPUs of compute capability 7.5 and later do"
            )
        self._allowed[real, gpu] = shared

    def _configured(self, real: Any, grid: Any, threads: int, stream: Any, shared: int = 0) -> Any:
        # Numba warns of every grid that leaves most of a GPU idle, as a small array's must; the
        # warning is left as it was for the kernels of others.
        with _settings:
            before = config.CUDA_LOW_OCCUPANCY_WARNINGS
            config.CUDA_LOW_OCCUPANCY_WARNINGS = 0
            try:
                return self.compiled(real)[grid, threads, stream, shared]
            finally:
                config.CUDA_LOW_OCCUPANCY_WARNINGS = before

    def _check(self, real: Any, arguments: tuple[Any, ...]) -> None:
        assert len(arguments) == len(self.signature), self.name
        for letter, value in zip(self.signature, arguments, strict=True):
            fields = TYPES[letter][1] if letter in TYPES else letter
            parts = zip(fields, value if letter in TYPES else [value], strict=True)
            for kind, part in parts:
                assert _is_of(kind, part, real), f"{self.name}: {letter}, {kind} is not {part!r}"


def _is_of(letter: str, value: Any, real: Any) -> bool:
    if letter in "VDJ":
        dtype = np.dtype({"V": real, "D": np.float64, "J": np.int64}[letter])
        return value.ndim == 1 and value.dtype == dtype and value.is_c_contiguous()
    return type(value) is (int if letter == "I" else real)


def dynamic(real: Any) -> Any:
    """Return the type of shared memory whose size a launch decides."""
    return np.dtype(real) if SIMULATED else real


# Every kernel by its name: tests compile them all.
KERNELS: dict[str, Kernel] = {}


def kernel(
    name: str, signature: str, limits: tuple[int, int, int] | None = None
) -> Callable[[Callable[..., Any]], Kernel]:
    """Declare the kernel that a factory makes: ``factory(real)`` returns a function.

    ``limits`` are the threads of a block, and the blocks that should fit on a multiprocessor, for
    float32 and for float64.
    """

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


if SIMULATED:
    # It runs one block after another, so that a grid that waits has one.
    grid_barrier = barrier

else:

    @device
    def grid_barrier():
        """Wait for all threads of the grid, all of which must run at once."""
        cuda.cg.this_grid().sync()


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


def compute_capability() -> Any:
    """Return that of the current GPU: machine code is for one."""
    return None if SIMULATED else tuple(cuda.get_current_device().compute_capability)


def current_gpu() -> int:
    """Return the number of the current GPU."""
    return 0 if SIMULATED else int(cuda.get_current_device().id)


def stream_of(handle: int | None) -> Any:
    """Return a stream by its handle; None is the default stream."""
    return 0 if not handle or SIMULATED else cuda.external_stream(handle)


def handle_of(stream: Any) -> int:
    """Return a stream's handle; that of the default stream, and in the simulator, is 0."""
    return 0 if not stream or SIMULATED else int(stream)


def wait_for(stream: Any) -> None:
    """Wait for what was put on that stream."""
    if stream:
        stream.synchronize()


# While a stream is recorded, no other thread may begin to, nor wait for all of the GPU.
_recording = threading.Lock()


def new_stream() -> Any:
    """Return a stream of one's own, whose work follows what is on the default stream now."""
    if SIMULATED:
        return cuda.stream()
    from cuda.bindings import driver as bindings

    # One that does not wait for the default stream by itself: nobody could use that one while this
    # is recorded.
    flags = bindings.CUstream_flags.CU_STREAM_NON_BLOCKING
    handle = _done(bindings.cuStreamCreate(flags))
    stream = cuda.external_stream(int(handle))
    weakref.finalize(stream, bindings.cuStreamDestroy, handle)
    before = Event()
    before.record(0)
    before.wait(stream)
    return stream


def _done(answer: tuple[Any, ...]) -> Any:
    """Return what a call of the driver answered, if it was no error."""
    error, *found = answer
    if int(error) != 0:
        raise RuntimeError(f"CUDA: {error.name}")
    return found[0] if found else None


class Recording:
    """What a function puts on a stream, to be put there again by one launch: a CUDA graph.

    Arrays that it works on must live as long. In the simulator the function is called again.
    """

    def __init__(self, stream: Any, put: Callable[[], None]) -> None:
        self._stream, self._graph = stream, None
        self._put: Callable[[], None] | None = put
        if SIMULATED:
            return
        from cuda.bindings import driver as bindings

        self._put = None  # what it works on would else live as long as this
        mode = bindings.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED
        handle = int(stream)
        with _recording, cuda.defer_cleanup():
            _done(bindings.cuStreamBeginCapture(handle, mode))
            try:
                put()
            finally:
                graph = _done(bindings.cuStreamEndCapture(handle))
        self._graph = _done(bindings.cuGraphInstantiate(graph, 0))
        _done(bindings.cuGraphDestroy(graph))
        weakref.finalize(self, bindings.cuGraphExecDestroy, self._graph)

    def launch(self) -> None:
        """Do it again."""
        if self._put is not None:
            self._put()
            return
        from cuda.bindings import driver as bindings

        _done(bindings.cuGraphLaunch(self._graph, int(self._stream)))


_OUT_OF_MEMORY = 2


def allocated(make: Callable[[], Any], size: int) -> Any:
    """Return the memory that ``make`` returns, of so many bytes.

    Raises
    ------
    MemoryError
        If the GPU has not so much, whatever Python had yet to give back included.
    """
    try:
        return make()
    except Exception as error:
        if getattr(error, "code", None) != _OUT_OF_MEMORY:
            raise
    gc.collect()
    try:
        return make()
    except Exception as error:
        if getattr(error, "code", None) != _OUT_OF_MEMORY:
            raise
        free, total = cuda.current_context().get_memory_info()
        raise MemoryError(
            f"the GPU cuda:{current_gpu()} has no {size:,} bytes left: {free:,} of {total:,} are"
            " free"
        ) from None


def free_memory() -> float:
    """Return the bytes of the current GPU that are free; infinity in the simulator."""
    return float(cuda.current_context().get_memory_info()[0])


def empty(count: int, real: Any, stream: Any) -> Any:
    """Return new memory for so many values, as a flat array.

    Raises
    ------
    MemoryError
        If the GPU has not so much.
    """
    size = count * np.dtype(real).itemsize
    return allocated(lambda: cuda.device_array(count, real, stream=stream), size)


def send(values: Any, stream: Any) -> Any:
    """Return a copy, in the GPU's memory, of a flat array of NumPy's.

    Raises
    ------
    MemoryError
        If the GPU has not so much.
    """
    return allocated(lambda: cuda.to_device(values, stream=stream), values.nbytes)


class Event:
    """A point in the work of a stream, for others to wait for; in the simulator all is done."""

    def __init__(self) -> None:
        self._event = None if SIMULATED else cuda.event(timing=False)

    def record(self, stream: Any) -> None:
        """Be the point at which the stream stands now."""
        if self._event is not None:
            self._event.record(stream)

    def wait(self, stream: Any) -> None:
        """Let the stream wait; for a point that was never recorded there is no wait."""
        if self._event is not None:
            self._event.wait(stream)

    def synchronize(self) -> None:
        """Wait."""
        if self._event is not None:
            self._event.synchronize()


class Pinned:
    """Memory of the host that a GPU reads by itself: sending from it does not wait."""

    def __init__(self, count: int, dtype: Any) -> None:
        self._values = cuda.pinned_array(count, dtype)
        self._sent = Event()

    def free(self) -> Any:
        """Return the memory, once what was sent from it has arrived."""
        self._sent.synchronize()
        return self._values

    def send(self, to: Any, count: int, stream: Any) -> None:
        """Copy the first values to the first of an array in the GPU's memory."""
        to[:count].copy_to_device(self._values[:count], stream=stream)
        self._sent.record(stream)


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


def device_of(array: Any, place: int) -> int:
    """Return the number of the GPU in whose memory an array is, which begins at that address."""
    if SIMULATED:
        return 0
    if is_own(array):
        return int(array.gpu_data.context.device.id)
    from cuda.bindings import driver as bindings

    ordinal = bindings.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
    error, found = bindings.cuPointerGetAttribute(ordinal, place)
    if int(error) != 0:
        with cuda.gpus[0]:  # a context, where the thread has none
            error, found = bindings.cuPointerGetAttribute(ordinal, place)
    if int(error) != 0:
        raise ValueError(f"address {place:#x} is in no GPU's memory: {error.name}")
    return int(found)
