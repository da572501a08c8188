"""Products of a matrix and one vector, emitted as LLVM vectors: for one example at a time.

W is (n, K) in C order, as the parameters hold it; x and d are one example's column.

``line_sums``          z = start + W x         each row of W is a sum along the lanes
``line_combination``   y = start + W^T d       the rows of W, times d, are added in registers
``add_outer``          G = G + d x^T           one row of G after another

Operands are flat arrays and places in them. Rows that do not fill whole vectors are read and
written through masks: nothing outside of them is touched. Each has a plain Python stand-in, for
``NUMBA_DISABLE_JIT``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic

from .tiles import _along, _sums_of
from .vectors import TILE_VECTORS, Vectors

# Rows of W that are summed side by side: with one vector of x, their sums fit in the registers,
# and end in one vector.
SUM_ROWS = 8 if TILE_VECTORS == 4 else 4

# Vectors of sums that ``line_combination`` has under way: each addition waits for the one before.
CHAINS = 8 if TILE_VECTORS == 4 else 4

# Rows of G that ``add_outer`` reads before it writes them.
OUTER_ROWS = 4


def _number(like: Any, value: int) -> Any:
    return ir.Constant(like.type, value)


# ------------------------------------------------------------------ z = W x + b


def _emit_line_sums(v: Vectors, z: Any, W: Any, rows: Any, K: Any, x: Any, bias: Any) -> None:
    """Emit the sums of ``rows`` rows, at most SUM_ROWS: a number of Python's, or fewer."""
    builder = v.builder
    count = min(v.lanes, SUM_ROWS)
    whole = isinstance(rows, int)
    lines = []
    for i in range(count):
        row = _number(K, i)
        if not whole:
            last = builder.sub(rows, _number(rows, 1))
            row = builder.select(builder.icmp_signed("<", row, rows), row, last)
        lines.append(v.pointer(W, builder.mul(K, row)))
    sums = [cgutils.alloca_once_value(builder, v.zeros()) for _ in lines]

    def add(k: Any, mask: Any = None) -> None:
        values = v.load(v.pointer(x, k), mask)
        for line, total in zip(lines, sums, strict=True):
            w = v.load(v.pointer(line, k), mask)
            builder.store(v.fma(w, values, builder.load(total)), total)

    for total in sums:
        builder.store(v.zeros(), total)
    _along(v, K, add)
    out = v.narrowed(count)
    mask = None if whole else out.first(rows)
    total = _sums_of(v, [builder.load(x) for x in sums])
    floor, base, b = bias
    # Only where there is a bias is its address read.
    start = cgutils.alloca_once_value(builder, out.zeros())
    builder.store(out.zeros(), start)
    with builder.if_then(base):
        builder.store(out.load(b, mask), start)
    total = builder.fadd(total, builder.load(start))
    least = out.splat(floor)
    total = builder.select(builder.fcmp_ordered("<", total, least), least, total)
    out.store(total, z, mask)


@intrinsic
def _line_sums(typingctx, Z, z, W, w, n, K, X, x, with_bias, bias, b, floor):
    i = types.intp
    signature = types.void(Z, i, W, i, i, i, X, i, types.boolean, bias, i, Z.dtype)

    def codegen(context, builder, signature, args):
        vZ, z, vW, w, n, K, vX, x, with_bias, vbias, b, floor = args
        v = Vectors(context, builder, Z)
        z, w, x, b = v.data(vZ, z), v.data(vW, w), v.data(vX, x), v.data(vbias, b)
        step = _number(n, min(v.lanes, SUM_ROWS))
        whole = builder.mul(builder.sdiv(n, step), step)

        def part(first: Any, rows: Any) -> None:
            _emit_line_sums(
                v,
                v.pointer(z, first),
                v.pointer(w, builder.mul(first, K)),
                rows,
                K,
                x,
                (floor, with_bias, v.pointer(b, first)),
            )

        with cgutils.for_range_slice(builder, _number(n, 0), whole, step) as (first, _):
            part(first, min(v.lanes, SUM_ROWS))
        with builder.if_then(builder.icmp_signed("<", whole, n)):
            part(whole, builder.sub(n, whole))
        return context.get_dummy_value()

    return signature, codegen


def _python_line_sums(Z, z, W, w, n, K, X, x, with_bias, bias, b, floor):
    total = W[w : w + n * K].reshape(n, K) @ X[x : x + K]
    if with_bias:
        total += bias[b : b + n]
    Z[z : z + n] = np.where(total < floor, floor, total)


# ------------------------------------------------------------------ y = W^T d


def _emit_combination(
    v: Vectors, vectors: int, columns: Any, y: Any, W: Any, n: Any, K: Any, d: Any, factor: Any
) -> None:
    """Emit up to so many vectors of y: all rows' parts of them, the even rows beside the odd."""
    builder = v.builder
    chains = max(1, CHAINS // vectors)
    rest = builder.sub(columns, _number(columns, (vectors - 1) * v.lanes))
    masks = [None] * (vectors - 1) + [v.first(rest)]
    sums = [[cgutils.alloca_once(builder, v.type) for _ in range(vectors)] for _ in range(chains)]
    for totals in sums:
        for total in totals:
            builder.store(v.zeros(), total)

    def part(line: Any, j: int) -> Any:
        return v.pointer(line, _number(K, j * v.lanes))

    def add(row: Any, totals: list[Any]) -> None:
        line = v.pointer(W, builder.mul(row, K))
        weight = v.splat(builder.load(v.pointer(d, row)))
        for j, total in enumerate(totals):
            values = v.load(part(line, j), masks[j])
            builder.store(v.fma(weight, values, builder.load(total)), total)

    step = _number(n, chains)
    whole = builder.mul(builder.sdiv(n, step), step)
    with cgutils.for_range_slice(builder, _number(n, 0), whole, step) as (row, _):
        for chain, totals in enumerate(sums):
            add(builder.add(row, _number(n, chain)), totals)
    with cgutils.for_range_slice(builder, whole, n, _number(n, 1)) as (row, _):
        add(row, sums[0])
    multiplied, f = factor
    for j in range(vectors):
        found = [builder.load(totals[j]) for totals in sums]
        while len(found) > 1:
            found = [builder.fadd(a, b) for a, b in zip(found[0::2], found[1::2], strict=True)]
        total = cgutils.alloca_once_value(builder, found[0])
        builder.store(found[0], total)
        with builder.if_then(multiplied):
            builder.store(builder.fmul(builder.load(total), v.load(part(f, j), masks[j])), total)
        v.store(builder.load(total), part(y, j), masks[j])


@intrinsic
def _line_combination(typingctx, Y, y, W, w, n, K, D, d, multiplied, factor, f):
    i = types.intp
    signature = types.void(Y, i, W, i, i, i, D, i, types.boolean, factor, i)

    def codegen(context, builder, signature, args):
        vY, y, vW, w, n, K, vD, d, multiplied, vfactor, f = args
        v = Vectors(context, builder, Y)
        y, w, d, f = v.data(vY, y), v.data(vW, w), v.data(vD, d), v.data(vfactor, f)
        width = _number(K, TILE_VECTORS * v.lanes)
        with cgutils.for_range_slice(builder, _number(K, 0), K, width) as (first, _):
            left = builder.sub(K, first)
            columns = builder.select(builder.icmp_signed("<", left, width), left, width)
            vectors = builder.sdiv(
                builder.add(columns, _number(K, v.lanes - 1)), _number(K, v.lanes)
            )
            end = builder.append_basic_block("end")
            switch = builder.switch(vectors, end)
            for count in range(1, TILE_VECTORS + 1):
                block = builder.append_basic_block(f"combination_{count}")
                switch.add_case(_number(K, count), block)
                with builder.goto_block(block):
                    _emit_combination(
                        v,
                        count,
                        columns,
                        v.pointer(y, first),
                        v.pointer(w, first),
                        n,
                        K,
                        d,
                        (multiplied, v.pointer(f, first)),
                    )
                    builder.branch(end)
            builder.position_at_end(end)
        return context.get_dummy_value()

    return signature, codegen


def _python_line_combination(Y, y, W, w, n, K, D, d, multiplied, factor, f):
    total = D[d : d + n] @ W[w : w + n * K].reshape(n, K)
    Y[y : y + K] = total * factor[f : f + K] if multiplied else total


# ------------------------------------------------------------------ G = G + d x^T


def _emit_outer_rows(v: Vectors, rows: int, first: Any, g: Any, K: Any, d: Any, x: Any) -> None:
    """Emit some rows of G + d x^T; they are read before any is written.

    What was written through a mask cannot be read again before it has reached the cache, and the
    processor takes a neighbour within the same vector for the same.
    """
    builder = v.builder
    numbers = [builder.add(first, _number(first, i)) for i in range(rows)]
    lines = [v.pointer(g, builder.mul(row, K)) for row in numbers]
    weights = [v.splat(builder.load(v.pointer(d, row))) for row in numbers]

    def add(k: Any, mask: Any = None) -> None:
        values = v.load(v.pointer(x, k), mask)
        places = [v.pointer(line, k) for line in lines]
        totals = [v.load(place, mask) for place in places]
        totals = [v.fma(w, values, total) for w, total in zip(weights, totals, strict=True)]
        for place, total in zip(places, totals, strict=True):
            v.store(total, place, mask)

    _along(v, K, add)


@intrinsic
def _add_outer(typingctx, G, g, n, K, D, d, X, x):
    i = types.intp
    signature = types.void(G, i, i, i, D, i, X, i)

    def codegen(context, builder, signature, args):
        vG, g, n, K, vD, d, vX, x = args
        v = Vectors(context, builder, G)
        g, d, x = v.data(vG, g), v.data(vD, d), v.data(vX, x)
        step = _number(n, OUTER_ROWS)
        whole = builder.mul(builder.sdiv(n, step), step)
        with cgutils.for_range_slice(builder, _number(n, 0), whole, step) as (row, _):
            _emit_outer_rows(v, OUTER_ROWS, row, g, K, d, x)
        with cgutils.for_range_slice(builder, whole, n, _number(n, 1)) as (row, _):
            _emit_outer_rows(v, 1, row, g, K, d, x)
        return context.get_dummy_value()

    return signature, codegen


def _python_add_outer(G, g, n, K, D, d, X, x):
    G[g : g + n * K] += np.outer(D[d : d + n], X[x : x + K]).ravel()


if config.DISABLE_JIT:
    line_sums, line_combination = _python_line_sums, _python_line_combination
    add_outer = _python_add_outer
else:
    line_sums, line_combination, add_outer = _line_sums, _line_combination, _add_outer
