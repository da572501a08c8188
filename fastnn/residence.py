"""Computation follows data: arrays in a GPU's memory are computed there, and the result stays.

An array of Numba, CuPy, PyTorch, JAX, or of any library that offers ``__cuda_array_interface__`` or
DLPack, is used where it stands, through a `DeviceArray` that knows its shape, type and strides:
checks copy nothing. NumPy arrays in the same call are sent when the kernels read them. Work is put
on the stream that the interface names, or on PyTorch's current one, so that it follows what its
producer still computes. Results are arrays of the first argument's library where that is CuPy or
PyTorch, of Numba else.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import validation as check
from .device import DeviceError, choose, missing_devices

Array = NDArray[Any]

# DLPack's numbers of CUDA devices: memory of a GPU, and managed memory.
_CUDA, _CUDA_MANAGED = 2, 13


class _Flags:
    """The memory order of an array, as NumPy tells it."""

    def __init__(self, shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> None:
        self.c_contiguous = _contiguous(shape[::-1], strides[::-1], itemsize)
        self.f_contiguous = _contiguous(shape, strides, itemsize)


def _contiguous(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> bool:
    """Return whether the first index moves by one item, the next by all of those, and so on."""
    for n, stride in zip(shape, strides, strict=True):
        if n != 1 and stride != itemsize:
            return False
        itemsize *= n
    return True


class DeviceArray:
    """What is to be known of an array to be read or written on a GPU.

    Attributes
    ----------
    owner : object
        The array as the caller has it; of an array of the host, the one it is sent beside.
    shape, dtype, strides
        As NumPy's; strides in bytes.
    address : int
        Where it stands; 0 for an array of the host.
    device : int
        The GPU's number.
    stream : int or None
        The stream on which its producer works, where it tells one.
    readonly : bool
        Whether it may not be written to.
    host : array or None
        A NumPy array that is yet to be sent.
    """

    def __init__(
        self,
        owner: Any,
        shape: tuple[int, ...],
        dtype: Any,
        strides: tuple[int, ...] | None,
        address: int,
        device: int,
        stream: int | None = None,
        readonly: bool = False,
        host: Array | None = None,
    ) -> None:
        self.owner = owner
        self.shape = tuple(int(n) for n in shape)
        self.dtype = np.dtype(dtype)
        if strides is None:
            sizes = [self.dtype.itemsize]
            for n in self.shape[:0:-1]:
                sizes.append(sizes[-1] * n)
            strides = tuple(sizes[: len(self.shape)][::-1])
        self.strides = tuple(int(s) for s in strides)
        self.address, self.device, self.stream = address, device, stream
        self.readonly, self.host = readonly, host

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of values."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def flags(self) -> _Flags:
        """The memory order."""
        return _Flags(self.shape, self.strides, self.dtype.itemsize)

    def with_shape(self, shape: tuple[int, ...], strides: tuple[int, ...]) -> DeviceArray:
        """Return a view of the same memory."""
        host = self.host
        if host is not None:
            host = np.lib.stride_tricks.as_strided(host, shape, strides, writeable=False)
        return DeviceArray(
            self.owner, shape, self.dtype, strides, self.address, self.device, self.stream,
            self.readonly, host,
        )  # fmt: skip

    @property
    def T(self) -> DeviceArray:
        """The transpose, a view."""
        return self.with_shape(self.shape[::-1], self.strides[::-1])

    def reach(self) -> tuple[int, int]:
        """Return the addresses of the first byte and of the one behind the last."""
        ends = [(n - 1) * s for n, s in zip(self.shape, self.strides, strict=True)]
        low = self.address + sum(e for e in ends if e < 0)
        return low, self.address + sum(e for e in ends if e > 0) + self.dtype.itemsize


def on_device(value: object) -> bool:
    """Return whether a value is an array in a GPU's memory."""
    if isinstance(value, np.ndarray | list | tuple | int | float):
        return False
    if isinstance(value, DeviceArray) or getattr(value, "__cuda_ndarray__", False):
        return True
    where = getattr(value, "__dlpack_device__", None)
    if where is None:
        return hasattr(value, "__cuda_array_interface__")
    try:
        return int(where()[0]) in (_CUDA, _CUDA_MANAGED)
    except BufferError:  # JAX: spread over several devices
        return False


def view(name: str, value: Any, types: Sequence[np.dtype[Any]] = check.FLOATS) -> DeviceArray:
    """Return what is to be known of an array in a GPU's memory; nothing is copied.

    It must be of one of the ``types``, or of any where there are none.

    Raises
    ------
    DeviceError
        If fastnn cannot compute on that GPU.
    TypeError
        If its values are not float32 or float64 in the machine's byte order.
    """
    if isinstance(value, DeviceArray):
        return value
    if (missing := missing_devices().get("cuda")) is not None:
        raise DeviceError(f"{name} is on a GPU, where fastnn cannot compute: {missing}")
    driver = _driver()
    interface = driver.interface_of(value) if driver.is_own(value) else _interface(name, value)
    address, readonly = interface["data"]
    found = DeviceArray(
        value,
        interface["shape"],
        interface["typestr"],
        interface.get("strides"),
        address,
        driver.device_of(value, address) if address else 0,
        interface.get("stream") or _current_stream(value),
        readonly,
    )
    if interface.get("mask") is not None:
        raise TypeError(f"{name} is a masked array; fill or drop the masked values first")
    if types and found.dtype not in types:
        raise TypeError(
            f"{name} has type {found.dtype} and is on cuda:{found.device}, where only float32 and"
            " float64 are taken"
        )
    if any(s % found.dtype.itemsize for s in (*found.strides, address)):
        raise ValueError(f"{name} is not aligned in memory: its strides are {found.strides} bytes")
    return found


def _driver() -> Any:
    return import_module("fastnn.kernels.cuda.driver")


def _interface(name: str, value: Any) -> dict[str, Any]:
    if _library(value) in ("jax", "jaxlib"):
        # Its interface names no stream, so that what it still computes would not be waited for.
        return _through_dlpack(value)
    try:
        interface: dict[str, Any] = value.__cuda_array_interface__
    except AttributeError:
        return _through_dlpack(value)
    except RuntimeError as error:  # PyTorch: a tensor that requires a gradient
        raise TypeError(f"{name} cannot be read: {error}") from None
    return interface


def _through_dlpack(value: Any) -> dict[str, Any]:
    """Return the interface of an array that offers DLPack alone."""
    memory = import_module("cuda.core.utils").StridedMemoryView
    # The producer lets the default stream, 1 to DLPack, wait for its own.
    seen = memory.from_dlpack(value, 1)
    dtype = np.dtype(seen.dtype)
    strides = seen.strides and tuple(s * dtype.itemsize for s in seen.strides)
    return {
        "shape": seen.shape,
        "strides": strides,
        "typestr": dtype.str,
        "data": (seen.ptr, seen.readonly),
        "version": 3,
    }


def _library(value: object) -> str:
    return type(value).__module__.partition(".")[0]


def _current_stream(value: Any) -> int | None:
    """Return PyTorch's current stream for its tensors: their interface tells none."""
    if _library(value) != "torch":
        return None
    handle = sys.modules["torch"].cuda.current_stream(value.device).cuda_stream
    return int(handle) or None


# ------------------------------------------------------------------ what the functions call


def arrays(dtype: Any = None, **values: object) -> list[Array]:
    """Return arrays of one float type, as `validation.arrays`; all for a GPU if one is on it.

    Those for a GPU are a `DeviceArray` each, which is asked what NumPy's arrays are asked.
    """
    if (plain := check.plain_arrays(dtype, values)) is not None:
        return plain
    there = {name: view(name, value) for name, value in values.items() if on_device(value)}
    if not there:
        return check.arrays(dtype, **values)
    first, one = next(iter(there.items()))
    if dtype is not None and one.dtype != dtype:
        raise TypeError(
            f"{first} has type {one.dtype}, but the network's parameters are {np.dtype(dtype)}"
        )
    for name, other in there.items():
        if other.device != one.device:
            raise ValueError(
                f"{first} is on cuda:{one.device}, but {name} is on cuda:{other.device}; copy one"
                " of them to the other's device"
            )
        if other.dtype != one.dtype:
            raise TypeError(f"{first} has type {one.dtype}, but {name} has type {other.dtype}")
    found: list[Any] = []
    for name, value in values.items():
        array: Any
        if name in there:
            array = there[name]
        else:
            host = check.host_array(name, value)
            own = check.own_type(value, host)
            if own is not None and own != one.dtype:
                raise TypeError(f"{first} has type {one.dtype}, but {name} has type {own}")
            array = for_device(host.astype(one.dtype, copy=False), one)
        check.filled(name, array)
        found.append(array)
    return found


def for_device(host: Array, beside: DeviceArray) -> DeviceArray:
    """Return a NumPy array as one that is to be sent where ``beside`` is."""
    return DeviceArray(
        beside.owner, host.shape, host.dtype, host.strides, 0, beside.device, beside.stream,
        host=host,
    )  # fmt: skip


def output(out: Any, shape: tuple[int, ...], dtype: np.dtype[Any], order: str, beside: Any) -> Any:
    """Return the array to write to, where ``beside``, an input, is: ``out`` or a new one."""
    if isinstance(beside, np.ndarray):
        return check.output(out, shape, dtype, order)
    if out is None:
        return _new(shape, dtype, order, beside)
    if not on_device(out):
        raise TypeError(
            f"out is a {type(out).__name__} of the host, but the inputs are on"
            f" cuda:{beside.device}; give an array on that device, or none"
        )
    found = view("out", out)
    if found.device != beside.device:
        raise ValueError(
            f"out is on cuda:{found.device}, but the inputs are on cuda:{beside.device}"
        )
    if found.dtype != dtype:
        raise TypeError(f"out has type {found.dtype}, but the result has type {dtype}")
    if found.shape != shape:
        raise ValueError(f"out has shape {found.shape}, but the result has shape {shape}")
    if found.readonly:
        raise ValueError("out is read-only")
    return found


def _new(
    shape: tuple[int, ...], dtype: np.dtype[Any], order: str, beside: DeviceArray
) -> DeviceArray:
    """Return a new array of the library and device of ``beside``."""
    maker: Callable[..., Any] = _MAKERS.get(_library(beside.owner), _numba_array)
    made = maker(shape, dtype, order, beside)
    found = view("out", made)
    found.stream = beside.stream
    return found


def _numba_array(
    shape: tuple[int, ...], dtype: np.dtype[Any], order: str, beside: DeviceArray
) -> Any:
    driver = _driver()
    with driver.gpu(beside.device):
        told = {"order": order, "stream": driver.stream_of(beside.stream)}
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        return driver.allocated(lambda: driver.cuda.device_array(shape, dtype, **told), size)


def _cupy_array(
    shape: tuple[int, ...], dtype: np.dtype[Any], order: str, beside: DeviceArray
) -> Any:
    cupy = import_module("cupy")
    with cupy.cuda.Device(beside.device):
        return cupy.empty(shape, dtype, order)


def _torch_array(
    shape: tuple[int, ...], dtype: np.dtype[Any], order: str, beside: DeviceArray
) -> Any:
    torch = import_module("torch")
    made = torch.empty(
        shape if order == "C" else shape[::-1],
        dtype=getattr(torch, dtype.name),
        device=beside.owner.device,
    )
    return made if order == "C" else made.permute(*reversed(range(len(shape))))


_MAKERS: dict[str, Callable[..., Any]] = {"cupy": _cupy_array, "torch": _torch_array}


def backend(device: str | None, beside: Any) -> Any:
    """Return the functions that compute where ``beside`` is; ``device`` must not say otherwise."""
    here = f"cuda:{beside.device}"
    if device not in (None, "auto", "cuda", here):
        choose(device, None, None, {})  # an unknown name says so itself
        raise DeviceError(
            f"device asks for {device!r}, but an argument is on {here}; copy it where it is to be"
            " computed, or leave the device out"
        )
    return import_module("fastnn.backends.cuda").on(beside.device)


def result(array: Any) -> Array:
    """Return what the caller gets: the library's own array, where there is one."""
    found: Array = array if isinstance(array, np.ndarray) else array.owner
    return found


def to_host(name: str, value: Any) -> Any:
    """Return a value, copied to the host if it is an array on a GPU."""
    if not on_device(value):
        return value
    there = view(name, value, ())
    return import_module("fastnn.backends.cuda").copy_to_host(there)
