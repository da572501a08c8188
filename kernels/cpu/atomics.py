"""What threads tell one another through an array of integers.

``atomic_load``, ``atomic_store``, ``atomic_add`` and ``atomic_swap`` on one element, each seen by
all threads in one order, with all that was written before it. ``pause`` waits some dozen cycles
without holding up the other thread of the core; ``give_way`` lets the system run another thread.
"""

from __future__ import annotations

import platform
import sys
import threading
import time
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic

_ORDER = "seq_cst"
_ALIGN = 8  # bytes: the elements are int64


def _address(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    return builder.gep(context.make_array(kind)(context, builder, array).data, [index])


@intrinsic
def _load(typingctx, array, index):
    def codegen(context, builder, signature, args):
        place = _address(context, builder, signature.args[0], *args)
        return builder.load_atomic(place, _ORDER, _ALIGN)

    return types.int64(array, types.intp), codegen


@intrinsic
def _store(typingctx, array, index, value):
    def codegen(context, builder, signature, args):
        place = _address(context, builder, signature.args[0], *args[:2])
        builder.store_atomic(args[2], place, _ORDER, _ALIGN)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.int64), codegen


@intrinsic
def _add(typingctx, array, index, value):
    """Add to the element; return what it was."""

    def codegen(context, builder, signature, args):
        place = _address(context, builder, signature.args[0], *args[:2])
        return builder.atomic_rmw("add", place, args[2], _ORDER)

    return types.int64(array, types.intp, types.int64), codegen


@intrinsic
def _swap(typingctx, array, index, old, new):
    """Replace the element if it is ``old``; return whether it was."""

    def codegen(context, builder, signature, args):
        place = _address(context, builder, signature.args[0], *args[:2])
        found = builder.cmpxchg(place, args[2], args[3], _ORDER, _ORDER)
        return builder.extract_value(found, 1)

    return types.boolean(array, types.intp, types.int64, types.int64), codegen


@intrinsic
def _pause(typingctx):
    machine = platform.machine().lower()

    def codegen(context, builder, signature, args):
        nothing = ir.VoidType()
        if machine in ("x86_64", "amd64", "i386", "i686"):
            kind = ir.FunctionType(nothing, [])
            hint = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse2.pause")
            builder.call(hint, [])
        elif machine in ("aarch64", "arm64"):
            kind = ir.FunctionType(nothing, [ir.IntType(32)])
            hint = cgutils.get_or_insert_function(builder.module, kind, "llvm.aarch64.hint")
            builder.call(hint, [ir.Constant(ir.IntType(32), 1)])  # yield
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def _give_way(typingctx):
    # Of the C library, or of kernel32: both are in every process.
    name = "SwitchToThread" if sys.platform == "win32" else "sched_yield"

    def codegen(context, builder, signature, args):
        kind = ir.FunctionType(ir.IntType(32), [])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [])
        return context.get_dummy_value()

    return types.void(), codegen


_lock = threading.Lock()


def _python_load(array: Any, index: Any) -> Any:
    return array[index]


def _python_store(array: Any, index: Any, value: Any) -> None:
    array[index] = value


def _python_add(array: Any, index: Any, value: Any) -> Any:
    with _lock:
        before = int(array[index])
        array[index] = before + value
    return before


def _python_swap(array: Any, index: Any, old: Any, new: Any) -> bool:
    with _lock:
        same = bool(array[index] == old)
        if same:
            array[index] = new
    return same


def _python_wait() -> None:
    time.sleep(0)


if config.DISABLE_JIT:
    atomic_load, atomic_store, atomic_add = _python_load, _python_store, _python_add
    atomic_swap, pause, give_way = _python_swap, _python_wait, _python_wait
else:
    atomic_load, atomic_store, atomic_add = _load, _store, _add
    atomic_swap, pause, give_way = _swap, _pause, _give_way
