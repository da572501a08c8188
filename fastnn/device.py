"""Which backend runs: an argument beats the context manager, which beats ``FASTNN_DEVICE``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from . import cuda_driver

VARIABLE = "FASTNN_DEVICE"
KNOWN = ("auto", "cpu", "cuda", "cuda:N", "numpy")

_context: ContextVar[str | None] = ContextVar("fastnn_device", default=None)


class DeviceError(RuntimeError):
    """A device was asked for by name and is not there."""


@dataclass(frozen=True)
class Device:
    """A device, and what is to be known about it.

    Attributes
    ----------
    name : str
        As :func:`use_device` takes it.
    available : bool
        Whether it can be used now.
    detail : str
        What it is, or what is missing.
    """

    name: str
    available: bool
    detail: str


def parse(asked: object, source: str) -> str:
    """Return the name if it names a device; ``source`` says who asked."""
    if not isinstance(asked, str):
        raise TypeError(f"{source} must be a name, got {type(asked).__name__}")
    if asked in ("auto", "cpu", "cuda", "numpy") or re.fullmatch(r"cuda:[0-9]+", asked):
        return asked
    raise ValueError(f"{source} names the unknown device {asked!r}; known are {', '.join(KNOWN)}")


def choose(
    argument: str | None,
    context: str | None,
    variable: str | None,
    missing: Mapping[str, str],
) -> str:
    """Return the device to use: a pure function of what was asked and what is there.

    Parameters
    ----------
    argument, context, variable : str or None
        What the call, the context manager and ``FASTNN_DEVICE`` ask for; the first that asks wins.
    missing : mapping
        For each family of devices that is not there, the sentence that says why.

    Returns
    -------
    str
        ``"cpu"``, ``"numpy"`` or ``"cuda:N"``.

    Raises
    ------
    ValueError
        If the name is unknown.
    DeviceError
        If that device is not there. Only ``"auto"`` chooses.

    Examples
    --------
    >>> choose(None, "numpy", "cpu", {})
    'numpy'
    >>> choose(None, None, None, {"cuda": "no driver"})
    'cpu'
    """
    for asked, source in (
        (argument, "device"),
        (context, "use_device"),
        (variable or None, VARIABLE),
    ):
        if asked is not None:
            name = parse(asked, source)
            break
    else:
        name, source = "auto", "the default"
    if name == "auto":
        return "cpu"
    family = name.partition(":")[0]
    if family in missing:
        raise DeviceError(f"{source} asks for {name!r}, which is not available: {missing[family]}")
    return "cuda:0" if name == "cuda" else name


def automatic() -> bool:
    """Return whether nobody asked for a device by its name, so that several may be looked at."""
    return next(filter(None, (_context.get(), os.environ.get(VARIABLE))), "auto") == "auto"


def computing() -> list[str]:
    """Return the devices that a look at everything is about: the chosen one, or the CPU and GPUs.

    Examples
    --------
    >>> import fastnn
    >>> with fastnn.use_device("numpy"):
    ...     computing()
    ['numpy']
    """
    chosen = [selected()]
    if automatic():
        chosen += [d.name for d in devices() if d.available and d.name.startswith("cuda:")]
    return chosen


def missing_devices() -> Mapping[str, str]:
    """Return why each family of devices that is not there is missing. Starts no GPU."""
    reason = cuda_driver.missing()
    return {} if reason is None else {"cuda": f"{reason} Or use 'cpu', 'numpy' or 'auto'"}


def selected(device: str | None = None) -> str:
    """Return the name of the device that a call with this ``device`` argument would use."""
    asked = device, _context.get(), os.environ.get(VARIABLE)
    name = _KNOWN_ANSWERS.get(asked)
    return _present(choose(*asked, _missing_for(*asked))) if name is None else name


def _present(name: str) -> str:
    """Return the name of a device, if it is not that of a GPU beyond the last one."""
    family, _, index = name.partition(":")
    if family == "cuda" and int(index) >= (count := len(cuda_driver.gpus())):
        raise DeviceError(f"{name!r} is not here: there are {count} GPUs, the first is 'cuda:0'")
    return name


def _missing_for(*asked: object) -> Mapping[str, str]:
    """Return the missing devices, if one that may be missing is asked for."""
    return missing_devices() if any("cuda" in str(name) for name in asked) else {}


# What is asked mostly, answered without a look at what it does not need.
_KNOWN_ANSWERS: dict[tuple[str | None, ...], str] = {
    (None, None, None): "cpu",
    ("cpu", None, None): "cpu",
    (None, None, "cpu"): "cpu",
}


def backend(device: str | None = None) -> Any:
    """Return what computes on the device, loaded when first asked for."""
    return _functions(selected(device))


@cache
def _functions(name: str) -> Any:
    family, _, index = name.partition(":")
    module = import_module(f"fastnn.backends.{family}")
    return module.on(int(index)) if index else module


@contextmanager
def use_device(device: str) -> Iterator[str]:
    """Compute on this device within the ``with`` block.

    Parameters
    ----------
    device : str
        ``"auto"``, ``"cpu"``, ``"numpy"``, ``"cuda"`` or ``"cuda:1"``.

    Yields
    ------
    str
        The device that was chosen.

    Raises
    ------
    ValueError
        If the name is unknown.
    DeviceError
        If that device is not there; the sentence says what is missing.

    Notes
    -----
    The choice belongs to the thread, or asynchronous task, that makes it.

    Examples
    --------
    >>> import fastnn
    >>> import fastnn.functional as F
    >>> with fastnn.use_device("numpy") as name:
    ...     A = F.sigmoid([0.0])
    >>> name, A
    ('numpy', array([0.5]))
    """
    name = parse(device, "use_device")
    chosen = _present(choose(None, name, None, _missing_for(name)))
    token = _context.set(device)
    try:
        yield chosen
    finally:
        _context.reset(token)


def devices() -> list[Device]:
    """Return the devices that fastnn knows, and whether each is here.

    Returns
    -------
    list of Device

    Examples
    --------
    >>> import fastnn
    >>> [d.name for d in fastnn.devices() if d.available][:2]
    ['cpu', 'numpy']
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    missing = missing_devices()
    found = [
        Device("cpu", True, f"kernels compiled by Numba; {cores} cores may be used"),
        Device("numpy", True, "the reference formulas, computed in float64"),
    ]
    if "cuda" in missing:
        found.append(Device("cuda", False, missing["cuda"]))
        return found
    for index, detail in enumerate(cuda_driver.gpus()):
        found.append(Device(f"cuda:{index}", True, detail))
    return found
