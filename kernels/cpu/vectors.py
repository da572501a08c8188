"""The few pieces of LLVM that Numba has no words for, and a plain Python stand-in for each.

``fma``, ``bits``, ``from_bits``, ``select``, ``polynomial`` and ``paired_polynomial`` serve the
vector mathematics. ``never_inline`` keeps a large function from being copied into each of its
callers. ``widest_vectors`` has LLVM fill the widest registers in a function's loops, where for
some processors with AVX-512 it would choose half of them; the kernels there run in whole registers
in any case, so nothing is to be gained in clock frequency by going without. ``tile``,
``transpose_tile``, ``vector_sum`` and ``vector_dot`` work on explicit vectors of LANES values, so
that the widest registers are used whatever LLVM would have chosen.

The stand-ins do the same with NumPy when ``NUMBA_DISABLE_JIT`` is set: to debug the kernels line
by line, and to measure which lines the tests reach.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.core.errors import TypingError
from numba.extending import intrinsic

# ------------------------------------------------------------------ what the processor has


def _host_features() -> set[str]:
    """Return the vector features of the processor that Numba compiles for."""
    if config.CPU_FEATURES is not None:
        return {f[1:] for f in config.CPU_FEATURES.split(",") if f.startswith("+")}
    if config.CPU_NAME not in (None, "host"):
        return set()
    return {name for name, present in llvm.get_host_cpu_features().items() if present}


_FEATURES = _host_features()

# Width of a vector register in bytes, and the tile of the matrix product: TILE_ROWS x TILE_VECTORS
# accumulators, which with one row of B and one broadcast value must fit in the registers: 32 of
# them with AVX-512 and NEON (24 + 4 + 1), 16 elsewhere (12 + 2 + 1).
if "avx512f" in _FEATURES:
    VECTOR_BYTES, TILE_ROWS, TILE_VECTORS = 64, 6, 4
elif "avx2" in _FEATURES or "avx" in _FEATURES:
    VECTOR_BYTES, TILE_ROWS, TILE_VECTORS = 32, 6, 2
elif "neon" in _FEATURES:
    VECTOR_BYTES, TILE_ROWS, TILE_VECTORS = 16, 6, 4
else:
    VECTOR_BYTES, TILE_ROWS, TILE_VECTORS = 16, 6, 2

# How a tile starts: from zeros, from what C holds, or from the bias of its row.
ZERO, ACCUMULATE, BIAS = 0, 1, 2


# ------------------------------------------------------------------ scalars


@intrinsic
def _fma(typingctx, a, b, c):
    if not (isinstance(a, types.Float) and a == b == c):
        raise TypingError("fma takes three floats of one type")

    def codegen(context, builder, signature, args):
        return builder.fma(*args)

    return a(a, a, a), codegen


@intrinsic
def _bits(typingctx, x):
    integer = {types.float32: types.int32, types.float64: types.int64}[x]

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], context.get_value_type(signature.return_type))

    return integer(x), codegen


@intrinsic
def _from_bits(typingctx, i):
    real = {types.int32: types.float32, types.int64: types.float64}[i]

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], context.get_value_type(signature.return_type))

    return real(i), codegen


@intrinsic
def _select(typingctx, condition, a, b):
    if condition != types.boolean or a != b:
        raise TypingError("select takes a boolean and two values of one type")

    def codegen(context, builder, signature, args):
        return builder.select(*args)

    return a(condition, a, b), codegen


@intrinsic
def _polynomial(typingctx, x, coefficients):
    # Unrolled here: LLVM leaves a loop over a long tuple as a loop, which does not vectorise.
    if not isinstance(coefficients, types.UniTuple) or coefficients.dtype != x:
        raise TypingError("polynomial takes a float and a tuple of floats of its type")

    def codegen(context, builder, signature, args):
        x, values = args
        total = builder.extract_value(values, 0)
        for i in range(1, len(coefficients)):
            total = builder.fma(total, x, builder.extract_value(values, i))
        return total

    return x(x, coefficients), codegen


@intrinsic
def _paired_polynomial(typingctx, x, square, coefficients):
    # The same sum as (a x + b) x^2 + (c x + d) ...: as many FMAs, since the pairs need x^2 alone,
    # which the callers have anyway, but half as many that wait for one another.
    if not isinstance(coefficients, types.UniTuple) or not x == square == coefficients.dtype:
        raise TypingError("paired_polynomial takes two floats and a tuple of floats of their type")

    def codegen(context, builder, signature, args):
        x, square, values = args
        count = len(coefficients)
        c = [builder.extract_value(values, i) for i in range(count)]
        total = c[0] if count % 2 else builder.fma(c[0], x, c[1])
        for i in range(2 - count % 2, count, 2):
            total = builder.fma(total, square, builder.fma(c[i], x, c[i + 1]))
        return total

    return x(x, square, coefficients), codegen


def _python_polynomial(x: Any, coefficients: Any) -> Any:
    total = coefficients[0]
    for c in coefficients[1:]:
        total = _python_fma(total, x, c)
    return total


def _python_paired_polynomial(x: Any, square: Any, c: Any) -> Any:
    odd = len(c) % 2
    total = c[0] if odd else _python_fma(c[0], x, c[1])
    for i in range(2 - odd, len(c), 2):
        total = _python_fma(total, square, _python_fma(c[i], x, c[i + 1]))
    return total


def _python_select(condition: Any, a: Any, b: Any) -> Any:
    return a if condition else b


def _python_fma(a: Any, b: Any, c: Any) -> Any:
    # In the next wider type the product is exact for float32, and nearly so for float64.
    wide = np.float64 if isinstance(a, np.float32) else np.longdouble
    return type(a)(wide(a) * wide(b) + wide(c))


def _python_bits(x: Any) -> Any:
    return x.view(np.int32 if isinstance(x, np.float32) else np.int64)


def _python_from_bits(i: Any) -> Any:
    return i.view(np.float32 if isinstance(i, np.int32) else np.float64)


@intrinsic
def _never_inline(typingctx):
    def codegen(context, builder, signature, args):
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), codegen


def _python_never_inline() -> None:
    """Do nothing: the compiled form keeps LLVM from copying the function into its callers."""


@intrinsic
def _widest_vectors(typingctx):
    def codegen(context, builder, signature, args):
        # Narrower registers LLVM fills unasked. llvmlite lists the attributes that it lets
        # through, and this one, which LLVM reads as text, is not on its list: hence set's own add.
        if VECTOR_BYTES == 64:
            set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), codegen


def _python_widest_vectors() -> None:
    """Do nothing: the compiled form has LLVM use whole registers in the function's loops."""


# ------------------------------------------------------------------ vectors


class _Vectors:
    """Emits loads and stores of LANES values for one array element type."""

    def __init__(self, context: Any, builder: Any, array_type: Any) -> None:
        self.builder = builder
        self.element = context.get_value_type(array_type.dtype)
        self.lanes = VECTOR_BYTES // (array_type.dtype.bitwidth // 8)
        self.type = ir.VectorType(self.element, self.lanes)
        self.align = array_type.dtype.bitwidth // 8
        self.kind = f"v{self.lanes}f{array_type.dtype.bitwidth}"
        self.mask_type = ir.VectorType(ir.IntType(1), self.lanes)

    def pointer(self, base: Any, offset: Any) -> Any:
        return self.builder.gep(base, [offset])

    def splat(self, value: Any) -> Any:
        zero = ir.Constant(ir.IntType(32), 0)
        one = self.builder.insert_element(ir.Constant(self.type, ir.Undefined), value, zero)
        order = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(one, one, order)

    def _as_vector(self, pointer: Any) -> Any:
        return self.builder.bitcast(pointer, self.type.as_pointer())

    def load(self, pointer: Any, mask: Any = None) -> Any:
        pointer = self._as_vector(pointer)
        if mask is None:
            return self.builder.load(pointer, align=self.align)
        zeros = ir.Constant(self.type, [0.0] * self.lanes)
        arguments = [pointer, self._align(), mask, zeros]
        return self._call(f"masked.load.{self.kind}.p0", self.type, arguments)

    def store(self, value: Any, pointer: Any, mask: Any = None) -> None:
        pointer = self._as_vector(pointer)
        if mask is None:
            self.builder.store(value, pointer, align=self.align)
        else:
            arguments = [value, pointer, self._align(), mask]
            self._call(f"masked.store.{self.kind}.p0", ir.VoidType(), arguments)

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        return self._call(f"fma.{self.kind}", self.type, [a, b, c])

    def _align(self) -> Any:
        return ir.Constant(ir.IntType(32), self.align)

    def _call(self, name: str, result: Any, arguments: list[Any]) -> Any:
        function_type = ir.FunctionType(result, [a.type for a in arguments])
        module = self.builder.module
        function = cgutils.get_or_insert_function(module, function_type, f"llvm.{name}")
        return self.builder.call(function, arguments)

    def first(self, count: Any) -> Any:
        """Return the mask of the first ``count`` lanes."""
        integers = ir.VectorType(count.type, self.lanes)
        zero = ir.Constant(ir.IntType(32), 0)
        one = self.builder.insert_element(ir.Constant(integers, ir.Undefined), count, zero)
        order = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        counts = self.builder.shuffle_vector(one, one, order)
        numbers = ir.Constant(integers, list(range(self.lanes)))
        return self.builder.icmp_signed("<", numbers, counts)


def _data(context: Any, builder: Any, array_type: Any, value: Any) -> Any:
    return context.make_array(array_type)(context, builder, value).data


def _emit_tile(v: _Vectors, index: Any, rows: int, vectors: int, operands: Any) -> None:
    """Emit a tile of ``rows`` x ``vectors`` accumulators: the code that does the arithmetic."""
    builder = v.builder
    pC, c_row, pA, a_row, a_col, pB, b_row, K, columns, start, pbias = operands
    before = ir.Constant(index, (vectors - 1) * v.lanes)
    masks = [None] * (vectors - 1) + [v.first(builder.sub(columns, before))]
    sums = [[cgutils.alloca_once(builder, v.type) for _ in range(vectors)] for _ in range(rows)]

    def at(row: Any, n: int) -> Any:
        return v.pointer(row, ir.Constant(index, n * v.lanes))

    def step(base: Any, stride: Any, i: int) -> Any:
        return v.pointer(base, builder.mul(stride, ir.Constant(index, i)))

    with builder.if_else(builder.icmp_signed("==", start, ir.Constant(index, ACCUMULATE))) as (
        accumulate,
        fresh,
    ):
        with accumulate:
            for i in range(rows):
                for n in range(vectors):
                    builder.store(v.load(at(step(pC, c_row, i), n), masks[n]), sums[i][n])
        with fresh:
            with_bias = builder.icmp_signed("==", start, ir.Constant(index, BIAS))
            for i in range(rows):
                # Only where there is a bias is its address read.
                value = cgutils.alloca_once_value(builder, ir.Constant(v.element, 0.0))
                with builder.if_then(with_bias):
                    builder.store(builder.load(v.pointer(pbias, ir.Constant(index, i))), value)
                vector = v.splat(builder.load(value))
                for n in range(vectors):
                    builder.store(vector, sums[i][n])

    with cgutils.for_range(builder, K) as loop:
        row = v.pointer(pB, builder.mul(loop.index, b_row))
        vectors_of_b = [v.load(at(row, n), masks[n]) for n in range(vectors)]
        column = v.pointer(pA, builder.mul(loop.index, a_col))
        for i in range(rows):
            weight = v.splat(builder.load(step(column, a_row, i)))
            for n in range(vectors):
                total = v.fma(weight, vectors_of_b[n], builder.load(sums[i][n]))
                builder.store(total, sums[i][n])

    for i in range(rows):
        for n in range(vectors):
            v.store(builder.load(sums[i][n]), at(step(pC, c_row, i), n), masks[n])


@intrinsic
def _tile(
    typingctx, rows, columns, K, start, C, c, c_row, A, a, a_row, a_col, B, b, b_row, bias, o
):
    """C[i, j] = start + sum over k of A[i, k] B[k, j], for i < rows and j < columns.

    One copy of the code for each number of rows and of vectors, so that every size up to the full
    tile keeps its accumulators in registers; the last vector of a row is masked.
    """
    i = types.intp
    signature = types.void(i, i, i, i, C, i, i, A, i, i, i, B, i, i, bias, i)

    def codegen(context, builder, signature, args):
        rows, columns, K, start, vC, c, c_row, vA, a, a_row, a_col, vB, b, b_row, vbias, o = args
        v = _Vectors(context, builder, C)
        index = K.type
        operands = (
            v.pointer(_data(context, builder, C, vC), c),
            c_row,
            v.pointer(_data(context, builder, A, vA), a),
            a_row,
            a_col,
            v.pointer(_data(context, builder, B, vB), b),
            b_row,
            K,
            columns,
            start,
            v.pointer(_data(context, builder, bias, vbias), o),
        )
        vectors = builder.sdiv(
            builder.add(columns, ir.Constant(index, v.lanes - 1)), ir.Constant(index, v.lanes)
        )
        end = builder.append_basic_block("end")
        which = builder.add(builder.mul(rows, ir.Constant(index, TILE_VECTORS + 1)), vectors)
        switch = builder.switch(which, end)
        for r in range(1, TILE_ROWS + 1):
            for n in range(1, TILE_VECTORS + 1):
                block = builder.append_basic_block(f"tile_{r}x{n}")
                switch.add_case(ir.Constant(index, r * (TILE_VECTORS + 1) + n), block)
                with builder.goto_block(block):
                    _emit_tile(v, index, r, n, operands)
                    builder.branch(end)
        builder.position_at_end(end)
        return context.get_dummy_value()

    return signature, codegen


def _python_tile(rows, columns, K, start, C, c, c_row, A, a, a_row, a_col, B, b, b_row, bias, o):
    for i in range(rows):
        line = slice(c + i * c_row, c + i * c_row + columns)
        if start == ACCUMULATE:
            total = C[line].copy()
        else:
            total = np.full(columns, bias[o + i] if start == BIAS else 0, C.dtype)
        for k in range(K):
            total += A[a + i * a_row + k * a_col] * B[b + k * b_row : b + k * b_row + columns]
        C[line] = total


def _emit_sum(context: Any, builder: Any, X: Any, x: Any, factor: Any = None) -> Any:
    """Emit the sum of a flat array, or of its products with another of the same length.

    In the arrays' own type, and in an order that depends on LANES alone.
    """
    v = _Vectors(context, builder, X)
    array = context.make_array(X)(context, builder, x)
    other = None if factor is None else context.make_array(X)(context, builder, factor)
    index = array.nitems.type
    zeros = ir.Constant(v.type, [0.0] * v.lanes)
    # Four sums side by side, since each addition waits for the one before it.
    sums = [cgutils.alloca_once_value(builder, zeros) for _ in range(4)]

    def add(total: Any, place: Any, mask: Any = None) -> None:
        value = v.load(v.pointer(array.data, place), mask)
        if other is None:
            result = builder.fadd(builder.load(total), value)
        else:
            result = v.fma(value, v.load(v.pointer(other.data, place), mask), builder.load(total))
        builder.store(result, total)

    step = ir.Constant(index, 4 * v.lanes)
    whole = builder.mul(builder.sdiv(array.nitems, step), step)
    with cgutils.for_range_slice(builder, ir.Constant(index, 0), whole, step) as (i, _):
        for n, total in enumerate(sums):
            add(total, builder.add(i, ir.Constant(index, n * v.lanes)))
    lanes = ir.Constant(index, v.lanes)
    with cgutils.for_range_slice(builder, whole, array.nitems, lanes) as (i, _):
        add(sums[0], i, v.first(builder.sub(array.nitems, i)))
    a, b, c, d = (builder.load(total) for total in sums)
    total = builder.fadd(builder.fadd(a, b), builder.fadd(c, d))
    width = v.lanes
    while width > 1:
        width //= 2
        order = ir.VectorType(ir.IntType(32), width)
        low = builder.shuffle_vector(total, total, ir.Constant(order, list(range(width))))
        high = ir.Constant(order, list(range(width, 2 * width)))
        total = builder.fadd(low, builder.shuffle_vector(total, total, high))
    return builder.extract_element(total, ir.Constant(ir.IntType(32), 0))


@intrinsic
def _vector_sum(typingctx, X):
    """The sum of a flat array."""

    def codegen(context, builder, signature, args):
        return _emit_sum(context, builder, X, args[0])

    return X.dtype(X), codegen


@intrinsic
def _vector_dot(typingctx, X, Y):
    """The sum of the products of two flat arrays of one length."""

    def codegen(context, builder, signature, args):
        return _emit_sum(context, builder, X, *args)

    return X.dtype(X, Y), codegen


def _python_vector_sum(x: Any) -> Any:
    return x.sum()


def _python_vector_dot(x: Any, y: Any) -> Any:
    return (x * y).sum()


@intrinsic
def _transpose_tile(typingctx, T, t, t_row, S, s, s_row, rows, columns):
    integer = types.intp
    signature = types.void(T, integer, integer, S, integer, integer, integer, integer)

    def codegen(context, builder, signature, args):
        vT, t, t_row, vS, s, s_row, rows, columns = args
        v = _Vectors(context, builder, T)
        index = rows.type
        pT = v.pointer(_data(context, builder, T, vT), t)
        pS = v.pointer(_data(context, builder, S, vS), s)
        zeros = ir.Constant(v.mask_type, [0] * v.lanes)
        in_columns = v.first(columns)
        in_rows = v.first(rows)
        vectors = []
        for i in range(v.lanes):
            number = ir.Constant(index, i)
            mask = builder.select(builder.icmp_signed("<", number, rows), in_columns, zeros)
            vectors.append(v.load(v.pointer(pS, builder.mul(s_row, number)), mask))
        # log2(LANES) rounds of a perfect shuffle of rows i and i + LANES/2 turn rows to columns.
        half = v.lanes // 2
        low = [x for i in range(half) for x in (i, i + v.lanes)]
        high = [x + half for x in low]
        order = ir.VectorType(ir.IntType(32), v.lanes)
        for _ in range(v.lanes.bit_length() - 1):
            shuffled = []
            for i in range(half):
                for pick in (low, high):
                    shuffled.append(
                        builder.shuffle_vector(
                            vectors[i], vectors[i + half], ir.Constant(order, pick)
                        )
                    )
            vectors = shuffled
        for i, vector in enumerate(vectors):
            number = ir.Constant(index, i)
            mask = builder.select(builder.icmp_signed("<", number, columns), in_rows, zeros)
            v.store(vector, v.pointer(pT, builder.mul(t_row, number)), mask)
        return context.get_dummy_value()

    return signature, codegen


def _python_transpose_tile(T, t, t_row, S, s, s_row, rows, columns):
    for i in range(rows):
        for j in range(columns):
            T[t + j * t_row + i] = S[s + i * s_row + j]


if config.DISABLE_JIT:
    fma, bits, from_bits, select = _python_fma, _python_bits, _python_from_bits, _python_select
    polynomial, paired_polynomial = _python_polynomial, _python_paired_polynomial
    never_inline, widest_vectors = _python_never_inline, _python_widest_vectors
    tile, transpose_tile = _python_tile, _python_transpose_tile
    vector_sum, vector_dot = _python_vector_sum, _python_vector_dot
else:
    fma, bits, from_bits, select = _fma, _bits, _from_bits, _select
    polynomial, paired_polynomial = _polynomial, _paired_polynomial
    never_inline, widest_vectors = _never_inline, _widest_vectors
    tile, transpose_tile = _tile, _transpose_tile
    vector_sum, vector_dot = _vector_sum, _vector_dot
