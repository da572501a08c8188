"""``python -m fastnn info``: versions, devices, threads, cache folder."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys

import numpy as np

from .. import threads
from .._version import __version__
from ..device import VARIABLE, devices, selected


def info() -> int:
    """Print what is here; return the exit code."""
    print(f"fastnn {__version__}")
    print(f"Python {platform.python_version()}, NumPy {np.__version__}, {_numba()}")
    print(f"{platform.platform()}, {sys.executable}")
    print(
        f"\ndevices ({VARIABLE} is {os.environ.get(VARIABLE) or 'not set'}; in use: {selected()})"
    )
    for device in devices():
        print(f"  {'+' if device.available else '-'} {device.name:8s} {device.detail}")
    try:
        from ..kernels.cpu import compiler, vectors
    except ImportError as error:
        print(f"\nthe CPU kernels cannot be loaded: {error}")
        return 1
    lanes = vectors.VECTOR_BYTES // 4
    print(f"\nvector registers: {lanes} float32 or {lanes // 2} float64 values")
    try:
        print(f"threads: up to {threads.count()}, where there is enough work to share")
    except ValueError as error:
        print(f"threads: {error}")
    folder = compiler.writable_cache_folder()
    print(f"cache folder: {folder or 'none is writable; each process compiles for itself'}")
    for place in compiler.cache_folders():
        files = list(place.glob("fastnn-*.nbc"))
        if files:
            size = sum(file.stat().st_size for file in files) / 1e6
            print(f"  {place}: {len(files)} compiled kernels, {size:.1f} MB")
    return 0


def _numba() -> str:
    try:
        return f"Numba {importlib.metadata.version('numba')}"
    except importlib.metadata.PackageNotFoundError:
        return "Numba is not installed"
