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
    found = context.make_array(array_type)(context, builder, array)
    if array_type.layout == "C":
        return builder.gep(found.data, [index])
    bytes_on = builder.mul(index, builder.extract_value(found.strides, 0))
    space = found.data.type.addrspace
    start = builder.bitcast(found.data, ir.IntType(8).as_pointer(space))
    return builder.bitcast(builder.gep(start, [bytes_on]), found.data.type)


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

    def is_aligned16(source, i):
        """Return whether source[i] stands at a multiple of 16 bytes."""
        start = source.__array_interface__["data"][0]
        return (start + i * source.dtype.itemsize) % BYTES == 0

    def quad(source, i):
        """Return the four values from source[i] on, which stands at a multiple of 16 bytes."""
        assert is_aligned16(source, i)
        return source[i], source[i + 1], source[i + 2], source[i + 3]

    def store_quad(target, i, values):
        """Put four values from target[i] on, which stands at a multiple of 16 bytes."""
        assert is_aligned16(target, i)
        for k in range(4):
            target[i + k] = values[k]

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

    @intrinsic
    def is_aligned16(typingctx, source, i):
        """Return whether source[i] stands at a multiple of 16 bytes."""

        def codegen(context, builder, signature, arguments):
            place = _element(context, builder, signature.args[0], *arguments)
            number = builder.ptrtoint(place, ir.IntType(64))
            rest = builder.and_(number, ir.Constant(ir.IntType(64), BYTES - 1))
            return builder.icmp_unsigned("==", rest, ir.Constant(ir.IntType(64), 0))

        return types.boolean(source, types.int64), codegen

    def _pieces_of_quad(context, builder, array_type, array, i):
        # One pointer to 16 bytes for float32, two for float64.
        count = BYTES * 8 // array_type.dtype.bitwidth
        place = _element(context, builder, array_type, array, i)
        for first in range(0, 4, count):
            at = builder.gep(place, [ir.Constant(ir.IntType(64), first)])
            yield first, count, _wide(builder, at, array_type, context)

    @intrinsic
    def quad(typingctx, source, i):
        """Return the four values from source[i] on, which stands at a multiple of 16 bytes."""
        kind = types.UniTuple(source.dtype, 4)

        def codegen(context, builder, signature, arguments):
            found = []
            parts = _pieces_of_quad(context, builder, signature.args[0], *arguments)
            for _, count, pointer in parts:
                vector = builder.load(pointer, align=BYTES)
                lanes = [ir.Constant(ir.IntType(32), k) for k in range(count)]
                found += [builder.extract_element(vector, lane) for lane in lanes]
            return context.make_tuple(builder, kind, found)

        return kind(source, types.int64), codegen

    @intrinsic
    def store_quad(typingctx, target, i, values):
        """Put four values from target[i] on, which stands at a multiple of 16 bytes."""

        def codegen(context, builder, signature, arguments):
            array, i, values = arguments
            for first, count, pointer in _pieces_of_quad(
                context, builder, signature.args[0], array, i
            ):
                vector = ir.Constant(pointer.type.pointee, ir.Undefined)
                for k in range(count):
                    one = builder.extract_value(values, first + k)
                    vector = builder.insert_element(vector, one, ir.Constant(ir.IntType(32), k))
                builder.store(vector, pointer, align=BYTES)
            return context.get_dummy_value()

        return types.void(target, types.int64, types.UniTuple(target.dtype, 4)), codegen
