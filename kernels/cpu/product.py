"""The matrix product that everything else is made of.

    C (M, N) = start + A (M, K) @ B (K, N)

Arrays are flat, and each operand is told by an offset and strides, counted in elements; C has
unit stride along its rows. So one function serves W A, W^T dZ and dZ A^T in both memory orders.

The loops cut C into tiles of TILE_ROWS x (TILE_VECTORS * LANES), whose sums stay in registers
while k runs; each step of k reads one line of B as vectors, and one value of A per row, which is
broadcast. A panel of B, K_BLOCK lines of one tile's width, is used by all tiles of a column
before the next is touched, so that it stays in the cache. Where B's lines are not contiguous the
panel is a transposed copy, made in registers, LANES x LANES values at a time.
"""

from __future__ import annotations

from .compiler import helper
from .vectors import (
    ACCUMULATE,
    TILE_ROWS,
    TILE_VECTORS,
    VECTOR_BYTES,
    never_inline,
    tile,
    transpose_tile,
)

# Lines of B in one panel: 256 lines of 256 bytes are 64 KiB, well inside the L2 cache.
K_BLOCK = 256

# Values that a panel takes, for the element size that needs most.
PANEL_BYTES = K_BLOCK * TILE_VECTORS * VECTOR_BYTES


@helper
def pack(panel, B, b, b_row, b_col, k, n):
    """Copy a block of B, (k, n), into the panel, one line of the tile's width after another."""
    lanes = VECTOR_BYTES // B.itemsize
    width = TILE_VECTORS * lanes
    if b_col == 1:
        for row in range(k):
            line = B[b + row * b_row : b + row * b_row + n]
            target = panel[row * width : row * width + n]
            for j in range(n):
                target[j] = line[j]
    else:
        for j in range(0, n, lanes):
            rows = min(lanes, n - j)
            for row in range(0, k, lanes):
                transpose_tile(
                    panel, row * width + j, width,
                    B, b + j * b_col + row, b_col,
                    rows, min(lanes, k - row),
                )  # fmt: skip


@helper
def product(C, c, c_row, A, a, a_row, a_col, B, b, b_row, b_col, M, N, K, start, bias, o, panel):
    """C (M, N) = start + A (M, K) @ B (K, N); ``o`` is the place of the first row's bias."""
    never_inline()
    width = TILE_VECTORS * (VECTOR_BYTES // B.itemsize)
    packed = b_col != 1
    for j in range(0, N, width):
        columns = min(width, N - j)
        for k in range(0, K, K_BLOCK):
            depth = min(K_BLOCK, K - k)
            begin = start if k == 0 else ACCUMULATE
            if packed:
                pack(panel, B, b + k * b_row + j * b_col, b_row, b_col, depth, columns)
                source, s, s_row = panel, 0, width
            else:
                source, s, s_row = B, b + k * b_row + j, b_row
            for i in range(0, M, TILE_ROWS):
                tile(
                    min(TILE_ROWS, M - i), columns, depth, begin,
                    C, c + i * c_row + j, c_row,
                    A, a + i * a_row + k * a_col, a_row, a_col,
                    source, s, s_row,
                    bias, o + i,
                )  # fmt: skip
