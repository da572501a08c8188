"""16 bytes at a time, the widest access that a thread has."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir

from .driver import BYTES, SIMULATED, intrinsic, types


def vector_length(real: Any) -> int:
    """Return how many values 16 bytes hold."""
    return BYTES // np.dtype(real).itemsize


def _element(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    # Without the test for a negative index that Numba's own access makes.
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [index])


def _wide(builder: Any, pointer: Any, array_type: Any, context: Any) -> Any:
    value = context.get_data_type(array_type.dtype)
    vector = ir.VectorType(value, 8 * BYTES // array_type.dtype.bitwidth)
    return builder.bitcast(pointer, vector.as_pointer(pointer.type.addrspace))


if SIMULATED:

    def copy16(target, i, source, j):
        """Copy the 16 bytes at source[j] to target[i]; both stand at multiples of 16 bytes."""
        n = BYTES // target.dtype.itemsize
        assert i % n == 0
        for p in range(n):
            target[i + p] = source[j + p]

    def value(source, i):
        """Return source[i], with i at least 0."""
        assert i >= 0
        return source[i]

    def store(target, i, value):
        """Do target[i] = value, with i at least 0."""
        assert i >= 0
        target[i] = value

else:

    @intrinsic
    def copy16(typingctx, target, i, source, j):
        """Copy the 16 bytes at source[j] to target[i]; both stand at multiples of 16 bytes."""

        def codegen(context, builder, signature, arguments):
            target_type, _, source_type, _ = signature.args
            to, i, origin, j = arguments
            origin = _element(context, builder, source_type, origin, j)
            to = _element(context, builder, target_type, to, i)
            value = builder.load(_wide(builder, origin, source_type, context), align=BYTES)
            builder.store(value, _wide(builder, to, target_type, context), align=BYTES)
            return context.get_dummy_value()

        return types.void(target, types.int64, source, types.int64), codegen

    @intrinsic
    def value(typingctx, source, i):
        """Return source[i], with i at least 0."""

        def codegen(context, builder, signature, arguments):
            return builder.load(_element(context, builder, signature.args[0], *arguments))

        return source.dtype(source, types.int64), codegen

    @intrinsic
    def store(typingctx, target, i, value):
        """Do target[i] = value, with i at least 0."""

        def codegen(context, builder, signature, arguments):
            to = _element(context, builder, signature.args[0], arguments[0], arguments[1])
            builder.store(arguments[2], to)
            return context.get_dummy_value()

        return types.void(target, types.int64, target.dtype), codegen
