"""Where the machine code of a kernel for GPUs is kept: one file for one kernel, type and GPU.

Numba's own cache names a function made by a factory after what it encloses, which differs from
process to process. Here, as for the CPU, a file's name holds a digest of all that the code depends
on, and it appears by an atomic rename.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import pickle
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from numba.core.caching import _Cache

from ..cpu.compiler import Announcement, cache_folders, writable_cache_folder

_HERE = Path(__file__).resolve().parent

# What else the machine code depends on, by the names of their distributions.
_COMPILERS = ("numba", "numba-cuda", "llvmlite", "cuda-core", "cuda-bindings")


@cache
def _digest() -> str:
    """Return a digest of the sources of all CUDA kernels: they compile into one another."""
    digest = hashlib.blake2b(digest_size=6)
    for path in sorted([*_HERE.glob("*.py"), *_HERE.parent.glob("*.py")]):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


@cache
def _versions() -> tuple[str, ...]:
    found = [sys.implementation.cache_tag or ""]
    for name in _COMPILERS:
        try:
            found.append(importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            found.append("none")
    return tuple(found)


class CudaCache(_Cache):
    """The machine code of one kernel for one float type."""

    def __init__(self, name: str) -> None:
        self._name, self._enabled = name, True
        self._announcement = Announcement(name, "this GPU")

    @property
    def cache_path(self) -> str:
        """Where Numba may say that the files are."""
        return str(cache_folders()[0])

    def enable(self) -> None:
        """Read and keep files."""
        self._enabled = True

    def disable(self) -> None:
        """Neither read nor keep files."""
        self._enabled = False

    def flush(self) -> None:
        """Remove the kernel's files."""
        for folder in cache_folders():
            for path in folder.glob(f"fastnn-cuda-*-{self._name}-*.nbc"):
                path.unlink(missing_ok=True)

    def _file_name(self, signature: Any, capability: Any) -> str:
        facts = self._name, str(signature), capability, _versions()
        key = hashlib.blake2b(repr(facts).encode(), digest_size=12).hexdigest()
        return f"fastnn-cuda-{_digest()}-{self._name}-{key}.nbc"

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the kernel from disk, or None where it must be compiled."""
        from numba.cuda.dispatcher import _Kernel, get_current_device

        if self._enabled:
            target_context.refresh()
            name = self._file_name(sig, get_current_device().compute_capability)
            for folder in cache_folders():
                try:
                    states = pickle.loads((folder / name).read_bytes())
                    return _Kernel._rebuild(**states)
                except (OSError, EOFError, pickle.UnpicklingError):
                    continue  # absent, unreadable or cut short: the next folder, or compile
        self._announcement.begin()
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep the kernel, where a folder for it can be written to."""
        from numba.cuda.dispatcher import get_current_device

        self._announcement.end()
        folder = writable_cache_folder() if self._enabled else None
        if folder is None:
            return
        name = self._file_name(sig, get_current_device().compute_capability)
        try:
            descriptor, temporary = tempfile.mkstemp(dir=folder, suffix=".tmp")
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(_packed(data))
                os.replace(temporary, folder / name)
            except BaseException:
                os.unlink(temporary)
                raise
        except OSError:
            return  # a full disk costs the next process a compilation, not this one its result


def _packed(kernel: Any) -> bytes:
    """Return the kernel's bytes: the machine code, without what it was made from."""
    from numba.cuda.serialize import dumps

    library = kernel._codelibrary
    before = library._llvm_strs, library._ptx_cache
    library._llvm_strs, library._ptx_cache = [], {}
    try:
        found: bytes = dumps(kernel._reduce_states())
        return found
    finally:
        library._llvm_strs, library._ptx_cache = before
