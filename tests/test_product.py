"""The matrix product alone: every tile, every edge, both ways of reading B."""

from __future__ import annotations

import re

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnn.kernels.cpu.compiler import OPTIONS, kernel
from fastnn.kernels.cpu.product import (
    A_PACK_ROWS,
    A_ROWS,
    A_STRIDE,
    B_BYTES,
    DOT_VECTORS,
    K_BLOCK,
    LENGTH_PER_ROW,
    PACK_ROWS,
    PANEL_BYTES,
    fused_product,
    product,
    product_of_runs,
)
from fastnn.kernels.cpu.tiles import (
    ACCUMULATE,
    ACTIVATE,
    BIAS,
    DESCEND,
    DOT_COLUMNS,
    DOT_ROWS,
    MULTIPLY,
    STORE,
    ZERO,
    gather_lines,
    row_sums,
)
from fastnn.kernels.cpu.vectors import TILE_ROWS, TILE_VECTORS, VECTOR_BYTES, vector_sum

GUARD = 1e30


@kernel
def call(C, c, c_row, A, a_row, a_col, B, b_row, b_col, M, N, K, start, bias, panel):
    product(C, c, c_row, A, 0, a_row, a_col, B, 0, b_row, b_col, M, N, K, start, bias, 0, panel)


@kernel
def call_sum(x):
    return vector_sum(x)


def compute(M, N, K, dtype, start, a_transposed, b_transposed, seed=0, apart=False):
    """Return C as computed, and as it should be.

    Values are small integers, so every sum is exact: the two must be equal, not close. With
    ``apart`` the lines of a transposed A stand as far from each other as makes it be copied.
    """
    random = np.random.default_rng(seed)
    A, B, old = (random.integers(-3, 4, s).astype(dtype) for s in ((M, K), (K, N), (M, N)))
    bias = random.integers(-3, 4, M).astype(dtype)
    pad = 3
    C = np.full((M + 2, N + 2 * pad), GUARD, dtype)
    C[1:-1, pad:-pad] = old
    a, a_strides = (A.T.copy(), (1, M)) if a_transposed else (A, (K, 1))
    if apart:
        lead = -(-M * A.itemsize // A_STRIDE) * A_STRIDE // A.itemsize
        a, a_strides = np.full((K, lead), np.nan, dtype), (1, lead)
        a[:, :M] = A.T
    b, b_strides = (B.T.copy(), (1, K)) if b_transposed else (B, (N, 1))
    panel = np.full(PANEL_BYTES // C.itemsize, np.nan, dtype)
    row = C.shape[1]
    call(
        C.reshape(-1), row + pad, row, a.reshape(-1), *a_strides, b.reshape(-1), *b_strides,
        M, N, K, start, bias, panel,
    )  # fmt: skip
    inside = C[1:-1, pad:-pad].copy()
    C[1:-1, pad:-pad] = GUARD
    assert (C == GUARD).all(), "a value beside C was written"
    expected = A @ B + {ZERO: 0, ACCUMULATE: old, BIAS: bias[:, None]}[start]
    return inside, expected


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("b_transposed", [False, True])
def test_every_tile(dtype, b_transposed):
    lanes = VECTOR_BYTES // np.dtype(dtype).itemsize
    width = TILE_VECTORS * lanes
    for M in range(1, TILE_ROWS + 2):
        for N in {1, lanes - 1, lanes, lanes + 1, 2 * lanes + 1, width - 1, width, width + 1}:
            found, expected = compute(M, N, 5, dtype, BIAS, False, b_transposed)
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("start", [ZERO, ACCUMULATE, BIAS])
def test_every_tile_of_dots(start, dtype):
    lanes = VECTOR_BYTES // np.dtype(dtype).itemsize
    width = min(lanes, DOT_COLUMNS)
    for M in range(1, DOT_ROWS + 2):
        for N in {1, 2, width - 1, width, width + 1}:
            for K in {1, lanes - 1, lanes, lanes + 1, LENGTH_PER_ROW * M, DOT_VECTORS * lanes + 1}:
                found, expected = compute(M, N, K, dtype, start, False, True)
                np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("start", [ZERO, ACCUMULATE, BIAS])
def test_one_column(start, dtype):
    # Alone in memory, as one example is: C is then the row of a transposed product.
    random = np.random.default_rng(0)
    panel = np.empty(0, dtype)
    for M in (1, DOT_COLUMNS, 2 * DOT_COLUMNS + 1):
        for K in (1, 5, 70):
            A, x = random.integers(-3, 4, (M, K)), random.integers(-3, 4, K)
            bias, old = random.integers(-3, 4, M), random.integers(-3, 4, M)
            A, x, bias, C = (a.astype(dtype) for a in (A, x, bias, old))
            call(C, 0, 1, A.reshape(-1), K, 1, x, 1, 1, M, 1, K, start, bias, panel)
            expected = A @ x + {ZERO: 0, ACCUMULATE: old, BIAS: bias}[start]
            np.testing.assert_array_equal(C, expected)


@pytest.mark.compiled  # a hundred thousand steps each: too long as Python
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("K", [1, K_BLOCK - 1, K_BLOCK, K_BLOCK + 1, 2 * K_BLOCK + 3])
@pytest.mark.parametrize("start", [ZERO, ACCUMULATE, BIAS])
def test_blocks_of_k(dtype, K, start):
    for a_transposed in (False, True):
        for b_transposed in (False, True):
            found, expected = compute(7, 67, K, dtype, start, a_transposed, b_transposed)
            np.testing.assert_array_equal(found, expected)


@pytest.mark.compiled
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("start", [ZERO, ACCUMULATE, BIAS])
@pytest.mark.parametrize("M", [A_PACK_ROWS - 1, A_PACK_ROWS, A_ROWS + 1])
def test_many_rows_of_a_transposed_a(M, start, dtype):
    for N in (A_PACK_ROWS - 1, A_PACK_ROWS, A_PACK_ROWS + 5):
        for b_transposed in (False, True):
            for apart in (False, True):
                told = M, N, K_BLOCK + 3, dtype, start, True, b_transposed
                np.testing.assert_array_equal(*compute(*told, apart=apart))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("b_transposed", [False, True])
def test_a_copied_transposed_a(b_transposed, dtype):
    for M in (A_PACK_ROWS, A_ROWS + 1):
        told = M, A_PACK_ROWS, 2, dtype, BIAS, True, b_transposed
        np.testing.assert_array_equal(*compute(*told, apart=True))


@pytest.mark.compiled
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("start", [ZERO, ACCUMULATE, BIAS])
def test_several_blocks_of_b(start, dtype):
    span = B_BYTES // np.dtype(dtype).itemsize // K_BLOCK
    for a_transposed in (False, True):
        for b_transposed in (False, True):
            for M in (PACK_ROWS, A_PACK_ROWS + 1):
                told = M, 2 * span + 5, K_BLOCK + 3, dtype, start, a_transposed, b_transposed
                np.testing.assert_array_equal(*compute(*told))
                np.testing.assert_array_equal(*compute(*told, apart=a_transposed))


@settings(max_examples=150, deadline=None)
@given(
    M=st.integers(1, 20),
    N=st.integers(1, 140),
    K=st.integers(1, 40),
    dtype=st.sampled_from([np.float32, np.float64]),
    start=st.sampled_from([ZERO, ACCUMULATE, BIAS]),
    a_transposed=st.booleans(),
    b_transposed=st.booleans(),
    seed=st.integers(0, 100),
)
@pytest.mark.compiled
def test_any_shape(M, N, K, dtype, start, a_transposed, b_transposed, seed):
    found, expected = compute(M, N, K, dtype, start, a_transposed, b_transposed, seed)
    np.testing.assert_array_equal(found, expected)


# ------------------------------------------------------------------ what follows in registers


@kernel
def call_fused(C, c_row, E, A, a_row, a_col, B, b_row, b_col, M, N, K, start, bias, panel, finish):
    fused_product(
        C, 0, c_row, A, 0, a_row, a_col, B, 0, b_row, b_col, M, N, K, start, bias, 0, panel,
        finish, E,
    )  # fmt: skip


def fused(finish, M, N, K, dtype, start, a_transposed=False, b_transposed=False):
    """Return C and E as computed and as they should be, all of small integers."""
    random = np.random.default_rng(M + N + K)
    lanes = VECTOR_BYTES // np.dtype(dtype).itemsize
    row = -(-N // lanes) * lanes  # ACTIVATE and MULTIPLY write whole vectors
    A, B = (random.integers(-3, 4, s).astype(dtype) for s in ((M, K), (K, N)))
    C, E = (np.full((M, row), GUARD, dtype) for _ in range(2))
    C[:, :N], E[:, :N] = (random.integers(-3, 4, (M, N)) for _ in range(2))
    bias = random.integers(1, 4, M).astype(dtype)
    old, kept = C[:, :N].copy(), E[:, :N].copy()
    a, a_strides = (A.T.copy(), (1, M)) if a_transposed else (A, (K, 1))
    b, b_strides = (B.T.copy(), (1, K)) if b_transposed else (B, (N, 1))
    panel = np.full(PANEL_BYTES // C.itemsize, np.nan, dtype)
    call_fused(
        C.reshape(-1), row, E.reshape(-1), a.reshape(-1), *a_strides, b.reshape(-1), *b_strides,
        M, N, K, start, bias, panel, finish,
    )  # fmt: skip
    begin = {ZERO: 0, BIAS: bias[:, None], ACCUMULATE: kept if finish == DESCEND else old}[start]
    total = A @ B + begin
    if finish == ACTIVATE:
        expected = (total >= 0).astype(dtype), np.maximum(total, 0)
    elif finish == MULTIPLY:
        expected = old * total, kept
    else:
        expected = old - bias[0] * total, kept
        assert (C[:, N:] == GUARD).all() and (E[:, N:] == GUARD).all()
    return (C[:, :N], E[:, :N]), expected


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("finish", "start"),
    [(ACTIVATE, BIAS), (MULTIPLY, ZERO), (DESCEND, ZERO), (DESCEND, ACCUMULATE)],
)
def test_what_follows_in_registers(finish, start, dtype):
    lanes = VECTOR_BYTES // np.dtype(dtype).itemsize
    width = TILE_VECTORS * lanes
    # Those that change C in its place need more rows than a tile has.
    rows = {TILE_ROWS + r for r in range(1, TILE_ROWS + 1)} | {PACK_ROWS + 1}
    if finish == ACTIVATE:
        rows |= set(range(3, TILE_ROWS + 1))
    for M in rows:
        for N in {lanes - 1, lanes, 2 * lanes + 1, width - 1, width, width + 1}:
            for a_transposed in (False, True):
                for b_transposed in (False, True):
                    told = finish, M, N, 5, dtype, start, a_transposed, b_transposed
                    np.testing.assert_equal(*fused(*told))


@pytest.mark.compiled
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_follows_comes_after_the_last_block_of_k(dtype):
    for M in (5, 7, PACK_ROWS, A_PACK_ROWS + 1):
        for K in (K_BLOCK - 1, K_BLOCK, K_BLOCK + 1, 3 * K_BLOCK + 5):
            np.testing.assert_equal(*fused(ACTIVATE, M, 130, K, dtype, BIAS, True))
    for finish in (MULTIPLY, DESCEND):
        for M in (7, PACK_ROWS, A_PACK_ROWS + 1):
            np.testing.assert_equal(*fused(finish, M, 130, K_BLOCK, dtype, ZERO, True))
            np.testing.assert_equal(*fused(finish, M, 60, 4 * K_BLOCK - 3, dtype, ZERO, True))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_activation_in_registers_lets_nan_through(dtype):
    lanes = VECTOR_BYTES // np.dtype(dtype).itemsize
    A = np.array([[np.nan], [np.inf], [-np.inf], [0.0], [-0.0], [1.0], [-1.0]], dtype)
    C, E, B = np.zeros((7, lanes), dtype), np.zeros((7, lanes), dtype), np.ones((1, lanes), dtype)
    panel = np.zeros(PANEL_BYTES // C.itemsize, dtype)
    call_fused(
        C.reshape(-1), lanes, E.reshape(-1), A.reshape(-1), 1, 1, B.reshape(-1), lanes, 1,
        7, lanes, 1, ZERO, B.reshape(-1), panel, ACTIVATE,
    )  # fmt: skip
    np.testing.assert_array_equal(E[:, 0], [np.nan, np.inf, 0, 0, 0, 1, 0])
    np.testing.assert_array_equal(C[:, 0], [0, 1, 0, 1, 1, 1, 0])


@kernel
def call_runs(
    C, c_row, E, A, a_row, jump, B, b_row, b_col, b_jump, M, N, K, run, bias, panel, finish
):  # fmt: skip
    product_of_runs(
        C, 0, c_row, A, 0, a_row, jump, B, 0, b_row, b_col, b_jump, M, N, K, run, bias, 0, panel,
        finish, E,
    )  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("finish", [STORE, DESCEND])
@pytest.mark.parametrize(
    ("M", "N", "K", "run"),
    [
        *((7, 5, 6, 3), (13, 70, 20, 8), (8, 33, 9, 16), (7, 3, 5, 1)),
        pytest.param(40, 600, 1100, 128, marks=pytest.mark.compiled),
    ],
)
def test_runs(dtype, finish, M, N, K, run):
    random = np.random.default_rng(K)
    for b_transposed in (False, True):
        A, B = (random.integers(-3, 4, s).astype(dtype) for s in ((M, K), (K, N)))
        runs = -(-K // run)
        # In memory: block after block, (M + 1, run) of A, and (run, N) or (N, run) of B.
        a = np.full((runs, M + 1, run), np.nan, dtype)
        b = np.full((runs, N, run) if b_transposed else (runs, run, N), np.nan, dtype)
        for r in range(runs):
            part = slice(r * run, min((r + 1) * run, K))
            length = part.stop - part.start
            a[r, :M, :length] = A[:, part]
            if b_transposed:
                b[r, :, :length] = B[part].T
            else:
                b[r, :length] = B[part]
        b_strides = (1, run, N * run - run) if b_transposed else (N, 1, 0)
        C = random.integers(-3, 4, (M, N)).astype(dtype)
        old, E, bias = C.copy(), np.full((M, N), np.nan, dtype), np.full(M, 2, dtype)
        panel = np.full(PANEL_BYTES // C.itemsize, np.nan, dtype)
        flat = [x.reshape(-1) for x in (C, E, a, b)]
        call_runs(
            flat[0], N, flat[1] if finish == DESCEND else flat[0], flat[2], run, M * run,
            flat[3], *b_strides, M, N, K, run, bias, panel, finish,
        )  # fmt: skip
        np.testing.assert_array_equal(C, old - 2 * (A @ B) if finish == DESCEND else A @ B)


@kernel
def call_row_sums(rows, columns, start, out, D, row):
    row_sums(rows, columns, start, out, 1, D, 2, row)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_row_sums(dtype):
    lanes = VECTOR_BYTES // np.dtype(dtype).itemsize
    random = np.random.default_rng(0)
    for rows in {1, 2, min(3, lanes), lanes - 1, lanes}:  # at most LANES, which may be 2
        for columns in {1, lanes - 1, lanes, lanes + 1, 4 * lanes + 3}:
            values = random.integers(-3, 4, (rows, columns)).astype(dtype)
            D = np.full((rows, columns + 3), GUARD, dtype)
            D[:, :columns] = values
            flat = np.concatenate([np.full(2, GUARD, dtype), D.ravel()])
            for start in (ZERO, ACCUMULATE):
                out = np.full(lanes + 2, GUARD, dtype)
                out[1 : rows + 1] = np.arange(rows)
                call_row_sums(rows, columns, start, out, flat, columns + 3)
                expected = values.sum(axis=1) + (np.arange(rows) if start == ACCUMULATE else 0)
                np.testing.assert_array_equal(out[1 : rows + 1], expected)
                assert out[0] == GUARD and (out[rows + 1 :] == GUARD).all()


@kernel
def call_gather_lines(out, S, order, first, rows, columns):
    gather_lines(out, 1, S, order, first, rows, columns)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gather_lines(dtype):
    lanes = VECTOR_BYTES // np.dtype(dtype).itemsize
    order = np.array([9, 4, 0, 7, 7, 1])
    for columns in {1, 3, lanes - 1, lanes, lanes + 1, 2 * lanes, 4 * lanes + 3}:
        S = np.random.default_rng(columns).normal(size=(10, columns)).astype(dtype)
        for first, rows in ((0, 6), (2, 3), (5, 1), (1, 0)):
            out = np.full(rows * columns + lanes + 1, GUARD, dtype)
            call_gather_lines(out, S.reshape(-1), order, first, rows, columns)
            end = 1 + rows * columns
            expected = S[order[first : first + rows]]
            np.testing.assert_array_equal(out[1:end], expected.reshape(-1))
            assert out[0] == GUARD and (out[end:] == GUARD).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [0, 1, 7, 8, 15, 16, 17, 63, 64, 65, 127, 128, 129, 1000])
def test_vector_sum(dtype, size):
    x = np.random.default_rng(size).integers(-50, 50, size + 2).astype(dtype)
    x[0] = x[-1] = np.nan
    assert call_sum(x[1:-1]) == x[1:-1].astype(np.float64).sum()


@pytest.mark.compiled
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_machine_code_holds_the_widest_vectors_and_its_loops_do_not_spill(dtype):
    compute(3, 3, 3, dtype, BIAS, False, False)
    signature = next(s for s in call.signatures if s[0].dtype.name == np.dtype(dtype).name)
    # Compiled afresh: what comes from the cache cannot be inspected.
    fresh = numba.njit(**OPTIONS)(call.py_func)
    fresh.compile(signature)
    assembly = fresh.inspect_asm(signature)
    register = {64: "zmm", 32: "ymm"}.get(VECTOR_BYTES)
    if register is None:
        assert "fma" in assembly or "fmla" in assembly or "mulp" in assembly
        return
    multiplies = [line for line in assembly.splitlines() if register in line and "vfmadd" in line]
    # One FMA for each accumulator of each tile, at least: LLVM may unroll.
    assert len(multiplies) >= sum(range(1, TILE_ROWS + 1)) * sum(range(1, TILE_VECTORS + 1))
    # Code that ends in a jump to its own label, and multiplies, is the body of a tile's loop.
    pieces = re.split(r"^(\S+):", assembly, flags=re.MULTILINE)
    loops = [
        code
        for label, code in zip(pieces[1::2], pieces[2::2], strict=True)
        if "vfmadd" in code and re.search(rf"\sj\w+\s+{re.escape(label)}\s", code)
    ]
    assert len(loops) >= TILE_ROWS * TILE_VECTORS + DOT_ROWS
    for loop in loops:
        vectors = [line for line in loop.splitlines() if register in line]
        assert not [line for line in vectors if "(%rsp)" in line]
