"""The pieces of the matrix product, emitted as LLVM vectors; ``product`` puts them together.

``tile``            C[i, j] from broadcast values of A and contiguous lines of B; after each
                    ``run`` of its columns, A goes on ``jump`` elements further
``dot_tile``        C[i, j] from contiguous rows of A and contiguous columns of B
``row_sums``        the sums of up to LANES rows, side by side
``transpose_tile``  a square block, turned in registers
``copy_lines``      lines of a matrix, to a panel; ``copy_pieces`` for short ones
``gather_lines``    lines of a matrix by their numbers, one after another

Operands are flat arrays, told by an offset and strides in elements. Sizes up to the full tile are
handled by masks, never value by value, and nothing outside of them is read or written. Each has a
plain Python stand-in, for ``NUMBA_DISABLE_JIT``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic

from .vectors import TILE_ROWS, TILE_VECTORS, VECTOR_BYTES, Vectors

# How a tile starts: from zeros, from what C holds, from the bias of its row, or (``dot_tile``)
# from a bias for each column.
ZERO, ACCUMULATE, BIAS, BIAS_EACH = 0, 1, 2, 3

# What ``tile`` does with the sums S in its registers: C = S; E = relu(S) and C = relu'(S);
# C = C * S; or C = C - bias S, where what is accumulated stands in E. The second and third write
# whole vectors: the lines of C and E must be that long.
STORE, ACTIVATE, MULTIPLY, DESCEND = 0, 1, 2, 3

# From sums of so many terms on, a tile asks for the next tile's part of C.
PREFETCH_LENGTH = 64

# So many tiles ahead ``dot_tile`` asks for columns, if it is to ask; in lines of so many bytes.
DOT_AHEAD, CACHE_LINE = 6, 64

# The largest ``dot_tile``: its accumulators, and a vector of each row and of one column, must fit
# in the registers. Its columns are at most LANES too, since their sums end in one vector.
DOT_ROWS, DOT_COLUMNS = (3, 8) if TILE_VECTORS == 4 else (2, 4)


class _Operand:
    """A matrix in flat memory: the addresses of its elements."""

    def __init__(self, v: Vectors, array: Any, offset: Any, row: Any, column: Any = None) -> None:
        self._v, self._row, self._column = v, row, column
        self._base = v.data(array, offset)

    def row(self, i: Any) -> Any:
        """Return the address of row i, a number of Python's or a value of the code."""
        return self._v.pointer(self._base, self._times(self._row, i))

    def at(self, i: int, line: Any) -> Any:
        """Return the address of the value in row i, of the column that starts at ``line``."""
        return self._v.pointer(line, self._times(self._row, i))

    def column(self, k: Any, beyond: Any = None) -> Any:
        """Return the address of column k in row 0, or so many elements beyond it."""
        offset = self._times(self._column, k)
        if beyond is not None:
            offset = self._v.builder.add(offset, beyond)
        return self._v.pointer(self._base, offset)

    def _times(self, stride: Any, i: Any) -> Any:
        factor = ir.Constant(stride.type, i) if isinstance(i, int) else i
        return self._v.builder.mul(stride, factor)


def _emit_tile(v: Vectors, rows: int, vectors: int, operands: Any) -> None:
    """Emit a tile of ``rows`` x ``vectors`` accumulators: the code that does the arithmetic."""
    builder = v.builder
    C, E, A, B, K, run, jump, columns, start, finish, bias = operands
    index = K.type
    before = ir.Constant(index, (vectors - 1) * v.lanes)
    rest = builder.sub(columns, before)
    # LLVM moves a comparison to where it is used, so that the loop would make the mask again for
    # each k. Two that are combined stay; K is never negative, which LLVM cannot know.
    again = builder.sub(rest, builder.ashr(K, ir.Constant(index, 63)))
    masks = [None] * (vectors - 1) + [builder.and_(v.first(rest), v.first(again))]
    sums = [[cgutils.alloca_once(builder, v.type) for _ in range(vectors)] for _ in range(rows)]

    def part(line: Any, n: int) -> Any:
        return v.pointer(line, ir.Constant(index, n * v.lanes))

    # What the next tile to the right adds to has this tile's whole time to arrive.
    with builder.if_then(builder.icmp_signed(">=", K, ir.Constant(index, PREFETCH_LENGTH))):
        for i in range(rows):
            for n in range(vectors):
                v.prefetch(part(C.row(i), vectors + n), write=True)

    with builder.if_else(builder.icmp_signed("==", start, ir.Constant(index, ACCUMULATE))) as (
        accumulate,
        fresh,
    ):
        with accumulate:
            descends = builder.icmp_signed("==", finish, ir.Constant(index, DESCEND))
            for i in range(rows):
                line = builder.select(descends, E.row(i), C.row(i))
                for n in range(vectors):
                    builder.store(v.load(part(line, n), masks[n]), sums[i][n])
        with fresh:
            with_bias = builder.icmp_signed("==", start, ir.Constant(index, BIAS))
            for i in range(rows):
                # Only where there is a bias is its address read.
                value = cgutils.alloca_once_value(builder, ir.Constant(v.element, 0.0))
                with builder.if_then(with_bias):
                    builder.store(builder.load(v.pointer(bias, ir.Constant(index, i))), value)
                vector = v.splat(builder.load(value))
                for n in range(vectors):
                    builder.store(vector, sums[i][n])

    with cgutils.for_range_slice(builder, ir.Constant(index, 0), K, run) as (first, count):
        left, beyond = builder.sub(K, first), builder.mul(count, jump)
        length = builder.select(builder.icmp_signed("<", left, run), left, run)
        with cgutils.for_range(builder, length) as loop:
            k = builder.add(first, loop.index)
            line = B.row(k)
            vectors_of_b = [v.load(part(line, n), masks[n]) for n in range(vectors)]
            column = A.column(k, beyond)
            for i in range(rows):
                weight = v.splat(builder.load(A.at(i, column)))
                for n in range(vectors):
                    total = v.fma(weight, vectors_of_b[n], builder.load(sums[i][n]))
                    builder.store(total, sums[i][n])

    def finished(how: int, then: Any, masks: Any = masks) -> None:
        with builder.if_then(builder.icmp_signed("==", finish, ir.Constant(index, how))):
            for i in range(rows):
                for n in range(vectors):
                    then(builder.load(sums[i][n]), i, n, masks[n])

    def store(total: Any, i: int, n: int, mask: Any) -> None:
        v.store(total, part(C.row(i), n), mask)

    def activate(z: Any, i: int, n: int, mask: Any) -> None:
        # NaN goes through, and its derivative is 0.
        below = builder.fcmp_ordered("<", z, v.zeros())
        v.store(builder.select(below, v.zeros(), z), part(E.row(i), n))
        above = builder.fcmp_ordered(">=", z, v.zeros())
        v.store(builder.select(above, v.ones(), v.zeros()), part(C.row(i), n))

    def multiply(total: Any, i: int, n: int, mask: Any) -> None:
        place = part(C.row(i), n)
        v.store(builder.fmul(v.load(place), total), place)

    def descend(total: Any, i: int, n: int, mask: Any) -> None:
        builder.store(v.fma(rate, total, v.load(part(C.row(i), n), mask)), sums[i][n])

    # Whole vectors without a mask: what a masked store wrote cannot be read again before it has
    # reached the cache.
    with builder.if_else(builder.icmp_signed("==", rest, ir.Constant(index, v.lanes))) as (
        full,
        ragged,
    ):
        with full:
            finished(STORE, store, [None] * vectors)
        with ragged:
            finished(STORE, store)
    finished(ACTIVATE, activate)
    finished(MULTIPLY, multiply)
    with builder.if_then(builder.icmp_signed("==", finish, ir.Constant(index, DESCEND))):
        rate = v.splat(builder.fneg(builder.load(bias)))
        # All are read before any is written: the end of one line and the start of the next may be
        # in one vector, and what a masked store wrote cannot be read before it is in the cache.
        finished(DESCEND, descend)
        finished(DESCEND, store)


@intrinsic
def _tile(
    typingctx, rows, columns, K, start, finish, C, c, c_row, E,
    A, a, a_row, a_col, run, jump, B, b, b_row, bias, o,
):  # fmt: skip
    i = types.intp
    signature = types.void(i, i, i, i, i, C, i, i, E, A, i, i, i, i, i, B, i, i, bias, i)

    def codegen(context, builder, signature, args):
        rows, columns, K, start, finish, vC, c, c_row, vE, *rest = args
        vA, a, a_row, a_col, run, jump, vB, b, b_row, vbias, o = rest
        v = Vectors(context, builder, C)
        operands = (
            _Operand(v, vC, c, c_row),
            _Operand(v, vE, c, c_row),
            _Operand(v, vA, a, a_row, a_col),
            _Operand(v, vB, b, b_row),
            K,
            run,
            jump,
            columns,
            start,
            finish,
            v.data(vbias, o),
        )
        index = K.type
        vectors = builder.sdiv(
            builder.add(columns, ir.Constant(index, v.lanes - 1)), ir.Constant(index, v.lanes)
        )
        # One copy of the code for each number of rows and of vectors, so that every size up to
        # the full tile keeps its accumulators in registers.
        end = builder.append_basic_block("end")
        which = builder.add(builder.mul(rows, ir.Constant(index, TILE_VECTORS + 1)), vectors)
        switch = builder.switch(which, end)
        for r in range(1, TILE_ROWS + 1):
            for n in range(1, TILE_VECTORS + 1):
                block = builder.append_basic_block(f"tile_{r}x{n}")
                switch.add_case(ir.Constant(index, r * (TILE_VECTORS + 1) + n), block)
                with builder.goto_block(block):
                    _emit_tile(v, r, n, operands)
                    builder.branch(end)
        builder.position_at_end(end)
        return context.get_dummy_value()

    return signature, codegen


def _python_tile(
    rows, columns, K, start, finish, C, c, c_row, E,
    A, a, a_row, a_col, run, jump, B, b, b_row, bias, o,
):  # fmt: skip
    for i in range(rows):
        line = slice(c + i * c_row, c + i * c_row + columns)
        if start == ACCUMULATE:
            total = (E if finish == DESCEND else C)[line].copy()
        else:
            total = np.full(columns, bias[o + i] if start == BIAS else 0, C.dtype)
        for k in range(K):
            place = a + i * a_row + k * a_col + k // run * jump
            total += A[place] * B[b + k * b_row : b + k * b_row + columns]
        if finish == ACTIVATE:
            E[line] = np.where(total < 0, 0, total)
            total = total >= 0
        elif finish == MULTIPLY:
            total = C[line] * total
        elif finish == DESCEND:
            total = C[line] - bias[o] * total
        C[line] = total


# ------------------------------------------------------------------ sums of products


def _sums_of(v: Vectors, vectors: list[Any]) -> Any:
    """Emit the sums of some vectors' lanes, as one vector with a lane for each of them."""
    # Each round halves the number of vectors: two become one, whose segments of ``size`` lanes
    # are the halves of theirs, added.
    size = v.lanes
    while len(vectors) > 1:
        half = size // 2
        low = [
            vector * v.lanes + segment * size + lane
            for vector in (0, 1)
            for segment in range(v.lanes // size)
            for lane in range(half)
        ]
        high = [lane + half for lane in low]
        vectors = [
            v.builder.fadd(v.shuffle(x, y, low), v.shuffle(x, y, high))
            for x, y in zip(vectors[0::2], vectors[1::2], strict=True)
        ]
        size = half
    (total,) = vectors
    while size > 1:
        half = size // 2
        segments = range(v.lanes // size)
        low = [segment * size + lane for segment in segments for lane in range(half)]
        high = [lane + half for lane in low]
        total = v.builder.fadd(v.shuffle(total, total, low), v.shuffle(total, total, high))
        v, size = v.narrowed(v.lanes // 2), half
    return total


def _lines(v: Vectors, operand: _Operand, count: Any, most: int) -> list[Any]:
    """Emit the addresses of ``most`` rows; those beyond ``count`` are the last one again."""
    builder, last = v.builder, v.builder.sub(count, ir.Constant(count.type, 1))
    numbers = [ir.Constant(count.type, i) for i in range(most)]
    return [
        operand.row(builder.select(builder.icmp_signed("<", n, count), n, last)) for n in numbers
    ]


def _along(v: Vectors, length: Any, add: Any) -> None:
    """Emit ``add(place)`` for each whole vector of a line, ``add(place, mask)`` for the rest."""
    builder, zero, lanes = v.builder, *(ir.Constant(length.type, n) for n in (0, v.lanes))
    whole = builder.mul(builder.sdiv(length, lanes), lanes)
    with cgutils.for_range_slice(builder, zero, whole, lanes) as (place, _):
        add(place)
    with builder.if_then(builder.icmp_signed("<", whole, length)):
        add(whole, v.first(builder.sub(length, whole)))


def _emit_dot_tile(v: Vectors, rows: int, operands: Any) -> None:
    builder = v.builder
    C, A, B, K, columns, start, ask, bias = operands
    index = K.type
    width = min(v.lanes, DOT_COLUMNS)
    sums = [
        [cgutils.alloca_once_value(builder, v.zeros()) for _ in range(width)] for _ in range(rows)
    ]
    lines_of_b = _lines(v, B, columns, width)
    lines_of_a = [A.row(i) for i in range(rows)]

    # Of many short columns, one behind another, the processor does not foresee enough.
    cells = builder.mul(K, ir.Constant(index, width))
    ahead = B.row(ir.Constant(index, DOT_AHEAD * width))
    step = ir.Constant(index, CACHE_LINE // v.align)
    with (
        builder.if_then(builder.icmp_signed("!=", ask, ir.Constant(index, 0))),
        cgutils.for_range_slice(builder, ir.Constant(index, 0), cells, step) as (place, _),
    ):
        v.prefetch(v.pointer(ahead, place), write=False)

    def add(k: Any, mask: Any = None) -> None:
        a = [v.load(v.pointer(line, k), mask) for line in lines_of_a]
        for j, line in enumerate(lines_of_b):
            b = v.load(v.pointer(line, k), mask)
            for i in range(rows):
                builder.store(v.fma(a[i], b, builder.load(sums[i][j])), sums[i][j])

    _along(v, K, add)
    out = v.narrowed(width)
    mask = out.first(columns)
    for i in range(rows):
        total = cgutils.alloca_once_value(builder, _sums_of(v, [builder.load(x) for x in sums[i]]))
        place = C.row(i)

        def begin_with(mode: int, value: Any, total: Any = total) -> None:
            with builder.if_then(builder.icmp_signed("==", start, ir.Constant(index, mode))):
                builder.store(builder.fadd(builder.load(total), value()), total)

        begin_with(ACCUMULATE, lambda place=place: out.load(place, mask))
        one = v.pointer(bias, ir.Constant(index, i))
        begin_with(BIAS, lambda one=one: out.splat(builder.load(one)))
        begin_with(BIAS_EACH, lambda: out.load(bias, mask))
        out.store(builder.load(total), place, mask)


@intrinsic
def _dot_tile(
    typingctx, rows, columns, K, start, C, c, c_row, A, a, a_row, B, b, b_col, bias, o, ask
):  # fmt: skip
    i = types.intp
    signature = types.void(i, i, i, i, C, i, i, A, i, i, B, i, i, bias, i, i)

    def codegen(context, builder, signature, args):
        rows, columns, K, start, vC, c, c_row, vA, a, a_row, vB, b, b_col, vbias, o, ask = args
        v = Vectors(context, builder, C)
        operands = (
            _Operand(v, vC, c, c_row),
            _Operand(v, vA, a, a_row),
            _Operand(v, vB, b, b_col),
            K,
            columns,
            start,
            ask,
            v.data(vbias, o),
        )
        end = builder.append_basic_block("end")
        switch = builder.switch(rows, end)
        for r in range(1, DOT_ROWS + 1):
            block = builder.append_basic_block(f"dot_tile_{r}")
            switch.add_case(ir.Constant(K.type, r), block)
            with builder.goto_block(block):
                _emit_dot_tile(v, r, operands)
                builder.branch(end)
        builder.position_at_end(end)
        return context.get_dummy_value()

    return signature, codegen


def _python_dot_tile(rows, columns, K, start, C, c, c_row, A, a, a_row, B, b, b_col, bias, o, ask):
    for i in range(rows):
        for j in range(columns):
            place = c + i * c_row + j
            x = A[a + i * a_row : a + i * a_row + K]
            total = (x * B[b + j * b_col : b + j * b_col + K]).sum()
            if start == ACCUMULATE:
                total += C[place]
            elif start != ZERO:
                total += bias[o + i] if start == BIAS else bias[o + j]
            C[place] = total


# ------------------------------------------------------------------ sums of rows


@intrinsic
def _row_sums(typingctx, rows, columns, start, T, t, D, d, d_row):
    i = types.intp
    signature = types.void(i, i, i, T, i, D, i, i)

    def codegen(context, builder, signature, args):
        rows, columns, start, vT, t, vD, d, d_row = args
        v = Vectors(context, builder, T)
        D, target = _Operand(v, vD, d, d_row), v.data(vT, t)
        index = rows.type
        lines = _lines(v, D, rows, v.lanes)
        sums = [cgutils.alloca_once_value(builder, v.zeros()) for _ in lines]

        def add(k: Any, mask: Any = None) -> None:
            for line, total in zip(lines, sums, strict=True):
                value = v.load(v.pointer(line, k), mask)
                builder.store(builder.fadd(builder.load(total), value), total)

        _along(v, columns, add)
        total = cgutils.alloca_once_value(builder, _sums_of(v, [builder.load(x) for x in sums]))
        mask = v.first(rows)
        accumulate = builder.icmp_signed("==", start, ir.Constant(index, ACCUMULATE))
        with builder.if_then(accumulate):
            builder.store(builder.fadd(v.load(target, mask), builder.load(total)), total)
        v.store(builder.load(total), target, mask)
        return context.get_dummy_value()

    return signature, codegen


def _python_row_sums(rows, columns, start, T, t, D, d, d_row):
    for i in range(rows):
        total = D[d + i * d_row : d + i * d_row + columns].sum()
        T[t + i] = total + T[t + i] if start == ACCUMULATE else total


# ------------------------------------------------------------------ copies


@intrinsic
def _transpose_tile(typingctx, T, t, t_row, S, s, s_row, rows, columns):
    i = types.intp
    signature = types.void(T, i, i, S, i, i, i, i)

    def codegen(context, builder, signature, args):
        vT, t, t_row, vS, s, s_row, rows, columns = args
        v = Vectors(context, builder, T)
        target, source = _Operand(v, vT, t, t_row), _Operand(v, vS, s, s_row)
        nothing = ir.Constant(ir.VectorType(ir.IntType(1), v.lanes), [0] * v.lanes)

        def turn(vectors: list[Any]) -> list[Any]:
            # log2(LANES) perfect shuffles of rows i and i + LANES/2 turn rows to columns.
            half = v.lanes // 2
            low = [x for i in range(half) for x in (i, i + v.lanes)]
            high = [x + half for x in low]
            for _ in range(v.lanes.bit_length() - 1):
                pairs = zip(vectors[:half], vectors[half:], strict=True)
                vectors = [v.shuffle(x, y, pick) for x, y in pairs for pick in (low, high)]
            return vectors

        def masks(count: Any, other: Any) -> list[Any]:
            inside = v.first(other)
            return [
                builder.select(
                    builder.icmp_signed("<", ir.Constant(count.type, i), count), inside, nothing
                )
                for i in range(v.lanes)
            ]

        lanes = ir.Constant(rows.type, v.lanes)
        whole = builder.and_(
            builder.icmp_signed("==", rows, lanes), builder.icmp_signed("==", columns, lanes)
        )
        with builder.if_else(whole) as (all_of_them, some):
            with all_of_them:
                vectors = turn([v.load(source.row(i)) for i in range(v.lanes)])
                for i, vector in enumerate(vectors):
                    v.store(vector, target.row(i))
            with some:
                read, write = masks(rows, columns), masks(columns, rows)
                vectors = turn([v.load(source.row(i), mask) for i, mask in enumerate(read)])
                for i, vector in enumerate(vectors):
                    v.store(vector, target.row(i), write[i])
        return context.get_dummy_value()

    return signature, codegen


def _python_transpose_tile(T, t, t_row, S, s, s_row, rows, columns):
    for i in range(rows):
        for j in range(columns):
            T[t + j * t_row + i] = S[s + i * s_row + j]


def _copier(longest: int) -> Any:
    """Return the intrinsic that copies ``rows`` lines of up to ``longest`` bytes."""

    @intrinsic
    def copy(typingctx, T, t, t_row, S, s, s_row, rows, columns):
        i = types.intp
        signature = types.void(T, i, i, S, i, i, i, i)

        def codegen(context, builder, signature, args):
            vT, t, t_row, vS, s, s_row, rows, columns = args
            v = Vectors(context, builder, T)
            target, source = _Operand(v, vT, t, t_row), _Operand(v, vS, s, s_row)
            count = -(-longest // VECTOR_BYTES)
            places = [ir.Constant(rows.type, n * v.lanes) for n in range(count)]

            def emit(masks: list[Any]) -> None:
                with cgutils.for_range(builder, rows) as loop:
                    read, write = source.row(loop.index), target.row(loop.index)
                    for place, mask in zip(places, masks, strict=True):
                        v.store(v.load(v.pointer(read, place), mask), v.pointer(write, place), mask)

            full = builder.icmp_signed("==", columns, ir.Constant(rows.type, count * v.lanes))
            with builder.if_else(full) as (whole, ragged):
                # Whole lines without masks: what a masked store wrote cannot be read again
                # before it has reached the cache.
                with whole:
                    emit([None] * count)
                with ragged:
                    emit([v.first(builder.sub(columns, place)) for place in places])
            return context.get_dummy_value()

        return signature, codegen

    return copy


@intrinsic
def _gather_lines(typingctx, T, t, S, order, first, rows, columns):
    i = types.intp
    signature = types.void(T, i, S, order, i, i, i)

    def codegen(context, builder, signature, args):
        vT, t, vS, vorder, first, rows, columns = args
        v = Vectors(context, builder, T)
        zero = ir.Constant(first.type, 0)
        target, source = _Operand(v, vT, t, columns), _Operand(v, vS, zero, columns)
        numbers = context.make_array(signature.args[3])(context, builder, vorder).data
        with cgutils.for_range(builder, rows) as loop:
            place = builder.add(first, loop.index)
            number = builder.load(builder.gep(numbers, [place]))
            read, write = source.row(number), target.row(loop.index)

            def copy(k: Any, mask: Any = None, read: Any = read, write: Any = write) -> None:
                v.store(v.load(v.pointer(read, k), mask), v.pointer(write, k), mask)

            _along(v, columns, copy)
        return context.get_dummy_value()

    return signature, codegen


def _python_gather_lines(T, t, S, order, first, rows, columns):
    for j in range(rows):
        source = order[first + j] * columns
        T[t + j * columns : t + (j + 1) * columns] = S[source : source + columns]


def _python_copy(T, t, t_row, S, s, s_row, rows, columns):
    for i in range(rows):
        T[t + i * t_row : t + i * t_row + columns] = S[s + i * s_row : s + i * s_row + columns]


if config.DISABLE_JIT:
    tile, dot_tile, transpose_tile = _python_tile, _python_dot_tile, _python_transpose_tile
    copy_lines, copy_pieces, row_sums = _python_copy, _python_copy, _python_row_sums
    gather_lines = _python_gather_lines
else:
    tile, dot_tile, transpose_tile, row_sums = _tile, _dot_tile, _transpose_tile, _row_sums
    # Lines as wide as a tile, and pieces of a value for each row of a tile.
    copy_lines = _copier(TILE_VECTORS * VECTOR_BYTES)
    copy_pieces = _copier(TILE_ROWS * 8)
    gather_lines = _gather_lines
