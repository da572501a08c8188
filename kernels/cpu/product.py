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
    BIAS,
    TILE_ROWS,
    TILE_VECTORS,
    VECTOR_BYTES,
    never_inline,
    tile,
    transpose_tile,
    vector_dot,
)

# Lines of B in one panel: 256 lines of 256 bytes are 64 KiB, well inside the L2 cache.
K_BLOCK = 256

# From so many rows of C on, B is copied into aligned panels even where its lines are contiguous:
# lines that cross the cache's would be read once for each tile.
PACK_ROWS = 4 * TILE_ROWS

# How the product of a few rows goes through B: so many lines at a time, for so many tiles.
STREAM_LINES, STREAM_TILES = 8, 16

# So few rows, so long, are multiplied value by value: B need not be transposed to be used once.
DOT_ROWS, DOT_LENGTH = 2, 128

# From so many rows of C on, a transposed A is copied as well, so many rows of C at a time: the
# values that a tile broadcasts would else lie a whole line of A apart.
A_PACK_ROWS, A_ROWS = 128, 512

# The memory of a panel of B, and after it a block of A, for the element size that needs most.
B_BYTES = K_BLOCK * TILE_VECTORS * VECTOR_BYTES
PANEL_BYTES = B_BYTES + A_ROWS * K_BLOCK * 8


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
def stream(C, c, c_row, A, a, a_row, a_col, B, b, b_row, M, N, K, start, bias, o):
    """The product for a few rows of C: B is read once, so it is the memory that counts.

    A few lines of B at a time, each a long way: streams that the processor can foresee. The lines
    of C that they add to stay in the cache.
    """
    width = TILE_VECTORS * (VECTOR_BYTES // B.itemsize)
    for far in range(0, N, STREAM_TILES * width):
        end = min(far + STREAM_TILES * width, N)
        for k in range(0, K, STREAM_LINES):
            depth = min(STREAM_LINES, K - k)
            begin = start if k == 0 else ACCUMULATE
            for j in range(far, end, width):
                tile(
                    M, min(width, end - j), depth, begin,
                    C, c + j, c_row,
                    A, a + k * a_col, a_row, a_col,
                    B, b + k * b_row + j, b_row,
                    bias, o,
                )  # fmt: skip


@helper
def dots(C, c, c_row, A, a, a_row, B, b, b_col, M, N, K, start, bias, o):
    """The product for a few long rows of A, where B's columns are contiguous as well."""
    for j in range(N):
        column = B[b + j * b_col : b + j * b_col + K]
        for i in range(M):
            total = vector_dot(A[a + i * a_row : a + i * a_row + K], column)
            if start == ACCUMULATE:
                total += C[c + i * c_row + j]
            elif start == BIAS:
                total += bias[o + i]
            C[c + i * c_row + j] = total


@helper
def with_packed_a(C, c, c_row, A, a, a_col, B, b, b_row, b_col, M, N, K, start, bias, o, panel):
    """The product for many rows of C where A stands transposed: both are copied, by blocks."""
    width = TILE_VECTORS * (VECTOR_BYTES // B.itemsize)
    place = B_BYTES // B.itemsize
    for top in range(0, M, A_ROWS):
        height = min(A_ROWS, M - top)
        for k in range(0, K, K_BLOCK):
            depth = min(K_BLOCK, K - k)
            begin = start if k == 0 else ACCUMULATE
            for row in range(depth):
                line = A[a + top + (k + row) * a_col : a + top + (k + row) * a_col + height]
                target = panel[place + row * height : place + (row + 1) * height]
                for i in range(height):
                    target[i] = line[i]
            for j in range(0, N, width):
                columns = min(width, N - j)
                pack(panel, B, b + k * b_row + j * b_col, b_row, b_col, depth, columns)
                for i in range(0, height, TILE_ROWS):
                    tile(
                        min(TILE_ROWS, height - i), columns, depth, begin,
                        C, c + (top + i) * c_row + j, c_row,
                        panel, place + i, 1, height,
                        panel, 0, width,
                        bias, o + top + i,
                    )  # fmt: skip


@helper
def product(C, c, c_row, A, a, a_row, a_col, B, b, b_row, b_col, M, N, K, start, bias, o, panel):
    """C (M, N) = start + A (M, K) @ B (K, N); ``o`` is the place of the first row's bias."""
    never_inline()
    width = TILE_VECTORS * (VECTOR_BYTES // B.itemsize)
    if b_row == 1 and a_col == 1 and M <= DOT_ROWS and K >= DOT_LENGTH:
        dots(C, c, c_row, A, a, a_row, B, b, b_col, M, N, K, start, bias, o)
        return
    if a_row == 1 and M >= A_PACK_ROWS and N >= A_PACK_ROWS:
        with_packed_a(
            C, c, c_row, A, a, a_col, B, b, b_row, b_col, M, N, K, start, bias, o, panel
        )  # fmt: skip
        return
    if b_col == 1 and M <= TILE_ROWS:
        stream(C, c, c_row, A, a, a_row, a_col, B, b, b_row, M, N, K, start, bias, o)
        return
    packed = b_col != 1 or M >= PACK_ROWS
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
