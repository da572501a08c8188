"""How the kernels are compiled, and where their machine code is kept.

Two decorators: :func:`kernel` for the functions that Python calls, whose machine code is kept on
disk, and :func:`helper` for the functions that only kernels call.

Numba's own disk cache is not used, for three reasons. It dates a kernel by the file that defines
it, so a change in a helper of another file goes unnoticed; it fails at import where no folder is
writable, and does not read a warm cache there; and two processes that fill it at once can swap
their entries. Here one file holds one compiled signature, its name holds a digest of everything
that the machine code depends on, and it appears by an atomic rename.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import sys
import tempfile
import threading
from abc import abstractmethod
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
import numpy as np
from llvmlite.binding import Linkage
from numba import types
from numba.core import config
from numba.core.caching import _Cache
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler, CompileResult
from numba.core.serialize import dumps

# No fast-math flag: LLVM may then neither reorder a sum nor choose where to fuse a multiply and
# an add, so the bits of a result do not depend on what a function was compiled together with.
# Where an FMA or a sum in vectors is wanted, it is written. error_model="numpy" drops the zero
# test of each division, which keeps loops from vectorising.
#
# Without Numba's reference counts no kernel can allocate, and none need count: each slice, each
# access to a field and each call would else be an atomic operation or a call, a third of the time
# of a small step. The arrays belong to the caller.
OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "_nrt": False}

# A helper is called from compiled code alone: it needs no entry for Python, nor for C.
HELPER_OPTIONS: dict[str, Any] = {**OPTIONS, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}

ANNOUNCE_AFTER_SECONDS = 3.0

_KERNELS = Path(__file__).resolve().parent.parent


def unique(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Give a function made by a factory a name of its own, and return it.

    A symbol in machine code is made of a function's qualified name, its argument types and the
    number that the process happened to give it. Two functions of one name, out of two cache
    files, can so end up with one symbol, and one of them runs in the other's place.
    """
    function.__qualname__ = name
    key = (function.__module__, name)
    if key in _names:
        raise ImportError(f"two compiled functions are named {'.'.join(key)}")
    _names.add(key)
    return function


_names: set[tuple[str, str]] = set()


class _Codegen:
    """The code generator as a helper's library shows it."""

    def __init__(self, codegen: Any) -> None:
        self._codegen = codegen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._codegen, name)

    def set_env(self, name: str, env: Any) -> None:
        """Do nothing: what is not in memory has no place for it."""


class _HelperLibrary(JITCodeLibrary):
    """A helper's code as LLVM knows it, without machine code.

    Numba optimises and emits each function with all that it calls, though only the kernel at the
    end of the chain runs: a product that is called through six helpers is compiled seven times.
    Here a helper's code waits as it is, and is optimised within the kernel.
    """

    @property
    def codegen(self) -> Any:
        return _Codegen(self._codegen)

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        self._ensure_finalized()
        return 0


class _HelperCompiler(Compiler):
    """Numba's pipeline, into a library of that kind."""

    def __init__(self, typingctx: Any, targetctx: Any, library: Any, *others: Any) -> None:
        if library is None:
            library = _HelperLibrary(targetctx.codegen(), "fastnn.helper")
        super().__init__(typingctx, targetctx, library, *others)


class _KernelLibrary(JITCodeLibrary):
    """A kernel's code with that of its helpers, which nothing else can call.

    So LLVM drops the arguments that a helper does not use: an array is told by seven numbers, of
    which most need one or two, and a call of a tiny network is short beside so many.
    """

    def _optimize_final_module(self) -> None:
        for function in self._final_module.functions:
            if function.linkage == Linkage.linkonce_odr and not function.is_declaration:
                function.linkage = "internal"
        super()._optimize_final_module()


class _KernelCompiler(Compiler):
    """Numba's pipeline, into a library of that kind."""

    def __init__(self, typingctx: Any, targetctx: Any, library: Any, *others: Any) -> None:
        if library is None:
            library = _KernelLibrary(targetctx.codegen(), "fastnn.kernel")
            library.enable_object_caching()
        super().__init__(typingctx, targetctx, library, *others)


def helper(function: Callable[..., Any]) -> Any:
    """Compile a function that only kernels call; its code becomes a part of theirs."""
    if "<locals>" in function.__qualname__:
        raise ImportError(f"{function.__qualname__} needs a name of its own: see unique()")
    compiled = numba.njit(pipeline_class=_HelperCompiler, **HELPER_OPTIONS)(function)
    if not config.DISABLE_JIT:
        # Numba would compile a helper again for each constant that it is called with.
        for_types = compiled.get_call_template

        def get_call_template(args: Any, kws: Any) -> Any:
            plain = {name: types.unliteral(value) for name, value in kws.items()}
            return for_types(tuple(types.unliteral(value) for value in args), plain)

        compiled.get_call_template = get_call_template
    return compiled


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function that Python calls, and keep its machine code on disk."""
    compiled = numba.njit(pipeline_class=_KernelCompiler, **OPTIONS)(function)
    if not config.DISABLE_JIT:
        compiled._cache = KernelCache(function)
    return compiled


@cache
def source_digest() -> str:
    """Return a digest of the sources of all CPU kernels: they compile into one another."""
    digest = hashlib.blake2b(digest_size=6)
    for path in sorted([*_KERNELS.glob("*.py"), *_KERNELS.glob("cpu/*.py")]):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def cache_folders() -> list[Path]:
    """Return the folders in which machine code is looked for, in order.

    ``NUMBA_CACHE_DIR`` alone where it is set; else beside the sources, then the user's own
    cache folder, for installations that the user may not write to.
    """
    if config.CACHE_DIR:
        return [Path(config.CACHE_DIR) / "fastnn"]
    if sys.platform == "win32":
        user = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        user = Path.home() / "Library" / "Caches"
    else:
        user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return [_KERNELS / "__pycache__", user / "fastnn"]


def writable_cache_folder() -> Path | None:
    """Return the first folder of :func:`cache_folders` that can be written to, or None."""
    for folder in cache_folders():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError:
            continue
        return folder
    return None


class Announcement:
    """What is said when a compilation takes long."""

    def __init__(self, name: str, where: str) -> None:
        self._name, self._where = name, where
        self._timer: threading.Timer | None = None

    def _say(self) -> None:
        folder = writable_cache_folder()
        kept = f"kept in {folder}" if folder else "no cache folder is writable: not kept"
        print(
            f"fastnn: compiling '{self._name}' for {self._where}, once ({kept}) ...",
            file=sys.stderr,
            flush=True,
        )

    def begin(self) -> None:
        """Say it in some seconds, unless the end comes before."""
        self.end()
        self._timer = threading.Timer(ANNOUNCE_AFTER_SECONDS, self._say)
        self._timer.daemon = True
        self._timer.start()

    def end(self) -> None:
        """Say it no more."""
        if self._timer is not None:
            self._timer.cancel()


class CodeCache(_Cache):
    """The compiled signatures of one kernel, one file each; of what kind, subclasses say.

    ``family`` is how the names of its files begin, before a dash: those of one family were made
    from sources of one digest.
    """

    family: str

    def __init__(self, name: str, where: str) -> None:
        self._name = name
        self._enabled = True
        self._announcement = Announcement(name, where)

    @abstractmethod
    def _digest(self) -> str:
        """Return a digest of all sources that the kernel may be made from."""

    @abstractmethod
    def _facts(self, signature: Any, target_context: Any) -> tuple[Any, ...]:
        """Return everything else that the machine code depends on."""

    @abstractmethod
    def _packed(self, compiled: Any) -> bytes:
        """Return what the compiler made as bytes."""

    @abstractmethod
    def _unpacked(self, target_context: Any, packed: bytes) -> Any:
        """Return what the compiler made out of its bytes."""

    @property
    def cache_path(self) -> str:
        return str(cache_folders()[0])

    def enable(self) -> None:
        self._enabled = True

    def disable(self) -> None:
        self._enabled = False

    def flush(self) -> None:
        for folder in cache_folders():
            for path in folder.glob(f"{self.family}-*-{self._name}-*.nbc"):
                path.unlink(missing_ok=True)

    def _file_name(self, signature: Any, target_context: Any) -> str:
        facts = self._facts(signature, target_context)
        key = hashlib.blake2b(repr(facts).encode(), digest_size=12).hexdigest()
        return f"{self.family}-{self._digest()}-{self._name}-{key}.nbc"

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the compiled signature from disk, or None where it must be compiled."""
        if self._enabled:
            target_context.refresh()
            name = self._file_name(sig, target_context)
            for folder in cache_folders():
                try:
                    return self._unpacked(target_context, (folder / name).read_bytes())
                except (OSError, EOFError, pickle.UnpicklingError):
                    continue  # absent, unreadable or cut short: the next folder, or compile
        self._announcement.begin()
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep the compiled signature, where a folder for it can be written to."""
        self._announcement.end()
        folder = writable_cache_folder() if self._enabled else None
        if folder is None:
            return
        # The folder beside the sources serves this installation alone: what other sources
        # left there can never be used again.
        if folder.parent == _KERNELS:
            for path in folder.glob(f"{self.family}-*.nbc"):
                if not path.name.startswith(f"{self.family}-{self._digest()}-"):
                    path.unlink(missing_ok=True)
        target = folder / self._file_name(sig, data.target_context)
        try:
            descriptor, temporary = tempfile.mkstemp(dir=folder, suffix=".tmp")
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(self._packed(data))
                os.replace(temporary, target)
            except BaseException:
                os.unlink(temporary)
                raise
        except OSError:
            return  # a full disk costs the next process a compilation, not this one its result


class KernelCache(CodeCache):
    """The compiled signatures of one kernel for the CPU."""

    family = "fastnn"

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function.__name__, "this processor")
        self._function = function

    def _digest(self) -> str:
        return source_digest()

    def _facts(self, signature: Any, target_context: Any) -> tuple[Any, ...]:
        # The processor and its features included.
        return (
            self._function.__module__,
            self._function.__qualname__,
            str(signature),
            target_context.codegen().magic_tuple(),
            numba.__version__,
            np.__version__,
            sys.implementation.cache_tag,
            config.BOUNDSCHECK,
            str(config.OPT),
            config.DEBUGINFO_DEFAULT,
            config.LOOP_VECTORIZE,
            config.SLP_VECTORIZE,
        )

    def _packed(self, compiled: Any) -> bytes:
        found: bytes = dumps(compiled._reduce())
        return found

    def _unpacked(self, target_context: Any, packed: bytes) -> Any:
        return CompileResult._rebuild(target_context, *pickle.loads(packed))
