"""Where the machine code of a kernel for GPUs is kept: one file for one kernel, type and GPU.

Numba's own cache names a function made by a factory after what it encloses, which differs from
process to process. Here a file's name holds a digest of all that the code depends on, as for the
CPU.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import pickle
import sys
from functools import cache
from pathlib import Path
from typing import Any

from ..cpu.compiler import CodeCache

_HERE = Path(__file__).resolve().parent

# What else the machine code depends on, by the names of their distributions.
_COMPILERS = ("numba", "numba-cuda", "llvmlite", "cuda-core", "cuda-bindings")


@cache
def _source_digest() -> str:
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


class CudaCache(CodeCache):
    """The machine code of one kernel for one float type, on the current GPU."""

    # Not "fastnn-cuda": the CPU's kernels tidy up what begins with "fastnn-".
    family = "fastnn_cuda"

    def __init__(self, name: str) -> None:
        super().__init__(name, "this GPU")

    def _digest(self) -> str:
        return _source_digest()

    def _facts(self, signature: Any, target_context: Any) -> tuple[Any, ...]:
        from numba.cuda.dispatcher import get_current_device

        capability = get_current_device().compute_capability
        return self._name, str(signature), capability, _versions()

    def _packed(self, compiled: Any) -> bytes:
        """Return the kernel's bytes: the machine code, without what it was made from."""
        from numba.cuda.serialize import dumps

        library = compiled._codelibrary
        before = library._llvm_strs, library._ptx_cache
        library._llvm_strs, library._ptx_cache = [], {}
        try:
            found: bytes = dumps(compiled._reduce_states())
            return found
        finally:
            library._llvm_strs, library._ptx_cache = before

    def _unpacked(self, target_context: Any, packed: bytes) -> Any:
        from numba.cuda.dispatcher import _Kernel

        return _Kernel._rebuild(**pickle.loads(packed))
