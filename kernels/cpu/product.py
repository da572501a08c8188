"""The matrix product that everything else is made of.

    C (M, N) = start + A (M, K) @ B (K, N)

Arrays are flat, and each operand is told by an offset and strides, counted in elements; C has
unit stride along its rows. So one function serves W A, W^T dZ and dZ A^T in both memory orders.

The loops cut C into tiles of TILE_ROWS x (TILE_VECTORS * LANES), whose sums stay in registers
while k runs; each step of k reads one line of B as vectors, and one value of A per row, which is
broadcast. A block of B, K_BLOCK lines of many tiles' width or more lines of few, is first copied
into the panel, tile by tile: then it streams from the L2 cache in one piece, once for each
TILE_ROWS rows of A, which meanwhile stay in the L1 cache, while the rows of C that they make are
written from left to right. Where B's lines are not contiguous the copy is a transposed one, made
in registers, LANES x LANES values at a time.

A few rows of C go another way (``stream``), with the same bits: each sum runs over k in order,
however the blocks are cut. Long sums for few rows, and a single column, which is the row of a
transposed product, are sums of products side by side (``dots``).
"""

from __future__ import annotations

from .compiler import helper
from .tiles import (
    ACCUMULATE,
    BIAS,
    BIAS_EACH,
    DOT_COLUMNS,
    DOT_ROWS,
    STORE,
    ZERO,
    copy_lines,
    copy_pieces,
    dot_tile,
    tile,
    transpose_tile,
)
from .vectors import TILE_ROWS, TILE_VECTORS, VECTOR_BYTES, address, lanes_of, never_inline

# The columns of A, and lines of B, that are worked off before the next.
K_BLOCK = 256

# Where the sums are so short, a block of B is so small that it stays in the L1 cache.
K_SHORT, B_SHORT_BYTES = 128, 32 * 1024

# From so many rows of C on, B is copied into aligned panels even where its lines are contiguous:
# lines that cross the cache's would be read once for each tile.
PACK_ROWS = 4 * TILE_ROWS

# Where B's columns are contiguous, LANES / FEW_LINES lines of it are copied value by value.
FEW_LINES = 4

# How the product of a few rows goes through B: lines of so many tiles, and at least so many lines
# at a time; more where they are short.
STREAM_TILES, STREAM_LINES = 16, 8

# Where the columns of B are contiguous, FEW_ROWS of C are multiplied column by column: B need not
# be transposed to be used so few times. So are up to SOME_ROWS, if the sums are LENGTH_PER_ROW
# times as long; in pieces of DOT_VECTORS vectors, so that those rows of A stay in the L1 cache.
FEW_ROWS, SOME_ROWS, LENGTH_PER_ROW, DOT_VECTORS = 2, 12, 20, 32

# Columns of up to so many vectors are asked for ahead, where there are so many: beyond the last
# ones too, since more may follow in another call.
SHORT_VECTORS, MANY_COLUMNS = 4, 256

# From so many rows and columns of C on, a transposed A is copied as well, so many rows of C at a
# time, if its lines are a multiple of so many bytes apart: the values that a tile broadcasts would
# else meet in few lines of the cache.
A_PACK_ROWS, A_ROWS, A_STRIDE = 128, 512 // TILE_ROWS * TILE_ROWS, 4096

# The memory of a block of B, about a quarter of an L2 cache; and after it of a block of A, for the
# element size that needs most.
B_BYTES = 512 * 1024
PANEL_BYTES = B_BYTES + A_ROWS * (K_BLOCK * 8 + VECTOR_BYTES)


@helper
def block_columns(K, lanes):
    """Return how many columns of B are packed together: whole tiles."""
    line = TILE_VECTORS * VECTOR_BYTES
    if K > K_SHORT:
        return B_BYTES // line // K_BLOCK * TILE_VECTORS * lanes
    return max(1, B_SHORT_BYTES // line // K) * TILE_VECTORS * lanes


@helper
def block_lines(N, lanes):
    """Return how many lines of B are packed together: more where they are short."""
    width = TILE_VECTORS * lanes
    line = (N + width - 1) // width * TILE_VECTORS * VECTOR_BYTES
    return max(K_BLOCK, B_BYTES // line)


@helper
def pack(panel, first, depth, B, b, b_row, b_col, k, n):
    """Copy a block of B, (k, n), to the panel: one tile's width of lines after another.

    They become the lines from ``first`` on, of ``depth`` in all.
    """
    lanes = lanes_of(B)
    width = TILE_VECTORS * lanes
    if b_col == 1:
        for j in range(0, n, width):
            copy_lines(
                panel, j * depth + first * width, width, B, b + j, b_row, k, min(width, n - j)
            )  # fmt: skip
        return
    for left in range(0, n, width):
        columns = min(width, n - left)
        if FEW_LINES * k <= lanes:  # too few to fill squares
            for row in range(k):
                place = left * depth + (first + row) * width
                line, source = panel[place : place + columns], b + left * b_col + row
                for j in range(columns):
                    line[j] = B[source + j * b_col]
            continue
        for j in range(left, left + columns, lanes):
            for row in range(0, k, lanes):
                transpose_tile(
                    panel, left * depth + (first + row) * width + j - left, width,
                    B, b + j * b_col + row, b_col,
                    min(lanes, n - j), min(lanes, k - row),
                )  # fmt: skip


@helper
def pack_transposed(panel, place, step, A, a, a_col, k, m):
    """Copy columns of a transposed A, (m, k), to TILE_ROWS values of each k side by side.

    ``step`` leads from one tile's values to the next tile's.
    """
    whole = m // TILE_ROWS
    rest = m - whole * TILE_ROWS
    for column in range(k):
        source, target = a + column * a_col, place + column * TILE_ROWS
        copy_pieces(panel, target, step, A, source, TILE_ROWS, whole, TILE_ROWS)
        if rest > 0:
            source, target = source + whole * TILE_ROWS, target + whole * step
            copy_pieces(panel, target, 0, A, source, 0, 1, rest)


@helper
def tiles(
    C, c, c_row, A, a, a_row, a_col, a_step, run, jump, B, b, b_row, b_step,
    M, N, K, start, bias, o, finish, E,
):  # fmt: skip
    """All tiles of a block of C, from left to right, and then from top to bottom.

    ``a_step`` leads from one tile's rows of A to the next tile's, ``b_step`` from one column's
    lines of B to those of the next column.
    """
    never_inline()  # one copy of the tiles' code, whoever calls
    width = TILE_VECTORS * lanes_of(B)
    for i in range(0, M, TILE_ROWS):
        for j in range(0, N, width):
            tile(
                min(TILE_ROWS, M - i), min(width, N - j), K, start, finish,
                C, c + i * c_row + j, c_row, E,
                A, a + i // TILE_ROWS * a_step, a_row, a_col, run, jump,
                B, b + j * b_step, b_row,
                bias, o + (i if start == BIAS else 0),
            )  # fmt: skip


@helper
def stream(C, c, c_row, A, a, a_row, a_col, B, b, b_row, M, N, K, start, bias, o, finish, E):
    """The product for a few rows of C: B is read once, so it is the memory that counts.

    A few lines of B at a time, each a long way: streams that the processor can foresee. The lines
    of C that they add to stay in the cache.
    """
    span = STREAM_TILES * TILE_VECTORS * lanes_of(B)
    lines = STREAM_LINES * span // min(span, N)
    for j in range(0, N, span):
        for k in range(0, K, lines):
            tiles(
                C, c + j, c_row,
                A, a + k * a_col, a_row, a_col, TILE_ROWS * a_row, K, 0,
                B, b + k * b_row + j, b_row, 1,
                M, min(span, N - j), min(lines, K - k),
                start if k == 0 else ACCUMULATE, bias, o, finish if k + lines >= K else STORE, E,
            )  # fmt: skip


@helper
def dots(C, c, c_row, A, a, a_row, B, b, b_col, M, N, K, start, bias, o):
    """The product where A's rows and B's columns are contiguous: a vector of partial sums each."""
    lanes = lanes_of(B)
    width = min(lanes, DOT_COLUMNS)
    piece = K if M <= DOT_ROWS else DOT_VECTORS * lanes
    many = N >= MANY_COLUMNS and b_col == K and K <= SHORT_VECTORS * lanes
    for k in range(0, K, piece):
        begin = start if k == 0 else ACCUMULATE
        for j in range(0, N, width):
            for i in range(0, M, DOT_ROWS):
                dot_tile(
                    min(DOT_ROWS, M - i), min(width, N - j), min(piece, K - k), begin,
                    C, c + i * c_row + j, c_row,
                    A, a + i * a_row + k, a_row,
                    B, b + j * b_col + k, b_col,
                    bias, o + (j if start == BIAS_EACH else i),
                    1 if many else 0,
                )  # fmt: skip


@helper
def turned(M, N, a_row, a_col, lanes):
    """Return whether A stands transposed, with lines so far apart that it should be copied."""
    apart = a_col % (A_STRIDE // VECTOR_BYTES * lanes)
    return a_row == 1 and a_col != 1 and apart == 0 and M >= A_PACK_ROWS and N >= A_PACK_ROWS


@helper
def with_turned_a(
    C, c, c_row, A, a, a_col, B, b, b_row, b_col, M, N, K, start, bias, o, panel, finish, E
):  # fmt: skip
    """The product for many rows of C where A stands transposed: both are copied, by blocks."""
    width = TILE_VECTORS * lanes_of(B)
    span = block_columns(K, lanes_of(B))
    block = B_BYTES // VECTOR_BYTES * lanes_of(B)  # where the block of A begins
    for i in range(0, M, A_ROWS):
        rows = min(A_ROWS, M - i)
        for k in range(0, K, K_BLOCK):
            depth = min(K_BLOCK, K - k)
            # One vector more: a power of two would send all tiles to few lines of the cache.
            step = TILE_ROWS * depth + lanes_of(B)
            pack_transposed(panel, block, step, A, a + i + k * a_col, a_col, depth, rows)
            for j in range(0, N, span):
                columns = min(span, N - j)
                source = b + k * b_row + j * b_col
                pack(panel, 0, depth, B, source, b_row, b_col, depth, columns)
                tiles(
                    C, c + i * c_row + j, c_row,
                    panel, block, 1, TILE_ROWS, step, K, 0,
                    panel, 0, width, depth,
                    rows, columns, depth, start if k == 0 else ACCUMULATE, bias, o + i,
                    finish if k + K_BLOCK >= K else STORE, E,
                )  # fmt: skip


@helper
def blocks(
    C, c, c_row, A, a, a_row, a_col, B, b, b_row, b_col, M, N, K, start, bias, o, panel, finish, E
):  # fmt: skip
    """The product by tiles; the bits of C do not depend on how many rows and columns it has."""
    if b_col == 1 and M <= TILE_ROWS:
        stream(C, c, c_row, A, a, a_row, a_col, B, b, b_row, M, N, K, start, bias, o, finish, E)
        return
    width = TILE_VECTORS * lanes_of(B)
    # Aligned lines of one tile are as good where they are.
    aligned = address(B, b) % VECTOR_BYTES == 0 and b_row % lanes_of(B) == 0
    packed = b_col != 1 or (M >= PACK_ROWS and not (aligned and N <= width))
    span = block_columns(K, lanes_of(B)) if packed else width
    if turned(M, N, a_row, a_col, lanes_of(B)):
        with_turned_a(
            C, c, c_row, A, a, a_col, B, b, b_row, b_col, M, N, K, start, bias, o, panel, finish, E
        )  # fmt: skip
        return
    lines = block_lines(N, lanes_of(B)) if packed else K
    for j in range(0, N, span):
        columns = min(span, N - j)
        for k in range(0, K, lines):
            depth = min(lines, K - k)
            source, s, s_row, s_step = B, b + k * b_row + j * b_col, b_row, 1
            if packed:
                pack(panel, 0, depth, B, s, b_row, b_col, depth, columns)
                source, s, s_row, s_step = panel, 0, width, depth
            tiles(
                C, c + j, c_row,
                A, a + k * a_col, a_row, a_col, TILE_ROWS * a_row, K, 0,
                source, s, s_row, s_step,
                M, columns, depth, start if k == 0 else ACCUMULATE, bias, o,
                finish if k + lines >= K else STORE, E,
            )  # fmt: skip


@helper
def product_of_runs(
    C, c, c_row, A, a, a_row, jump, B, b, b_row, b_col, b_jump, M, N, K, run, bias, o, panel,
    finish, E,
):  # fmt: skip
    """The product where A's columns and B's lines come in runs, up to K_BLOCK long.

    After each ``run``, A goes on ``jump`` elements further, and B ``b_jump``. A's columns have unit
    stride. C is begun from zero; with DESCEND, E holds the sums until all are complete.
    """
    never_inline()
    width = TILE_VECTORS * lanes_of(B)
    span = block_columns(min(K, K_BLOCK), lanes_of(B))
    group = block_lines(N, lanes_of(B)) // run * run
    for j in range(0, N, span):
        columns = min(span, N - j)
        for k in range(0, K, group):
            depth = min(group, K - k)
            for r in range(0, depth, run):
                source = b + (k + r) * b_row + (k + r) // run * b_jump + j * b_col
                pack(panel, r, depth, B, source, b_row, b_col, min(run, depth - r), columns)
            last = k + group >= K
            tiles(
                C if last else E, c + j, c_row,
                A, a + k + k // run * jump, a_row, 1, TILE_ROWS * a_row, run, jump,
                panel, 0, width, depth,
                M, columns, depth, ZERO if k == 0 else ACCUMULATE, bias, o,
                finish if last else STORE, E,
            )  # fmt: skip


@helper
def sums_pay(M, K, a_col, b_row):
    """Return whether ``dots`` is the faster way to M rows of sums of K products."""
    few = M <= FEW_ROWS or (M <= SOME_ROWS and K >= LENGTH_PER_ROW * M)
    return few and a_col == 1 and b_row == 1


@helper
def by_tiles(M, N, K, c_row, a_col, b_row):
    """Return whether the product goes by tiles, and not by sums."""
    column = N == 1 and c_row == 1 and a_col == 1 and b_row == 1
    return not column and not sums_pay(M, K, a_col, b_row)


@helper
def in_one_pass(M, N, K, c_row, a_row, a_col, b_row, lanes):
    """Return whether each tile of C is written once: then C may be updated in its place."""
    lines = K_BLOCK if turned(M, N, a_row, a_col, lanes) else block_lines(N, lanes)
    return by_tiles(M, N, K, c_row, a_col, b_row) and M > TILE_ROWS and K <= lines


@helper
def fused_product(
    C, c, c_row, A, a, a_row, a_col, B, b, b_row, b_col, M, N, K, start, bias, o, panel, finish, E
):  # fmt: skip
    """The product, and what follows while it is in registers: see STORE and the others in tiles.

    ACTIVATE is for products that go by tiles, MULTIPLY and DESCEND for those in one pass. E is
    laid out as C.
    """
    never_inline()
    if by_tiles(M, N, K, c_row, a_col, b_row):
        blocks(
            C, c, c_row, A, a, a_row, a_col, B, b, b_row, b_col, M, N, K, start, bias, o, panel,
            finish, E,
        )  # fmt: skip
    elif N == 1 and c_row == 1:
        begin = BIAS_EACH if start == BIAS else start
        dots(C, c, 1, B, b, 1, A, a, a_row, 1, M, K, begin, bias, o)
    else:
        dots(C, c, c_row, A, a, a_row, B, b, b_col, M, N, K, start, bias, o)


@helper
def product(C, c, c_row, A, a, a_row, a_col, B, b, b_row, b_col, M, N, K, start, bias, o, panel):
    """C (M, N) = start + A (M, K) @ B (K, N); ``o`` is the place of the first row's bias."""
    fused_product(
        C, c, c_row, A, a, a_row, a_col, B, b, b_row, b_col, M, N, K, start, bias, o, panel,
        STORE, C,
    )  # fmt: skip
