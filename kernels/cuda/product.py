"""The matrix product, (rows, depth) (depth, columns) -> (rows, columns), and what ends it.

A block computes a square tile of the result; each of its S x S threads holds, in registers, G x G
squares of as many values a side as 16 bytes hold, S squares apart. The operands come through
shared memory, K of the depth at a time, into one of two buffers while the other is read: one
barrier a step. Both stand there by depth, so that a thread reads its lines 16 bytes at once.

An operand is flat memory with two strides, one of which is 1 where it is to be read 16 bytes at
once: rows of W, or, as they stand, the examples of X.T.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .driver import (
    ALIGNMENT,
    MOST_DOWN,
    SIMULATED,
    Kernel,
    Place,
    barrier,
    cuda,
    device,
    is_wide,
    kernel,
    real_of,
)
from .memory import copy16, store, value, vector_length
from .structures import Matrix

# Bits of a matrix's mode: its lines stand side by side (else the depth does); it can be read 16
# bytes at once.
LINES_ADJOIN, WIDE = 1, 2


class Tile(NamedTuple):
    """How a product is cut: S x S threads, G x G squares of values each, K of the depth."""

    S: int
    G: int
    K: int

    @property
    def threads(self) -> int:
        """The threads of a block."""
        return self.S * self.S

    def width(self, real: Any) -> int:
        """Return the rows, and columns, of the result that a block computes."""
        return self.S * self.G * vector_length(real)


# The simulator's are small, so that small matrices have several.
LARGE = Tile(2, 2, 4) if SIMULATED else Tile(16, 2, 8)
SMALL = Tile(2, 1, 4) if SIMULATED else Tile(8, 1, 8)

TILES = {"large": LARGE, "small": SMALL}

# Large tiles that make the large tile worth its while: about as many as a GPU has multiprocessors.
LARGE_TILES = 2 if SIMULATED else 64
# Blocks that a product with few tiles is cut into along the depth, and the least depth of each.
SLICED_BLOCKS, LEAST_DEPTH = (6, 8) if SIMULATED else (512, 256)


def _mover(real: Any, tile: Tile) -> tuple[Any, ...]:
    """Return how a thread fetches its part of an operand's tile, and puts it in shared memory.

    The tile is WIDTH lines wide and K of the depth deep, cut into pieces of 16 bytes; thread t
    fetches the pieces t, t + threads and so on. ``first`` is the tile's first line.
    """
    V, K = vector_length(real), tile.K
    WIDTH = tile.width(real)
    LINE = WIDTH + V
    THREADS = tile.threads
    LOADS = WIDTH * K // (THREADS * V)
    ACROSS, ALONG = WIDTH // V, K // V
    if THREADS % ACROSS or THREADS % ALONG or LOADS * THREADS * V != WIDTH * K:
        raise ValueError(f"{THREADS} threads cannot share out a tile of {WIDTH} lines, {K} deep")

    @device
    def start(X, first, begin, t):
        # The place of the thread's first piece, and how far it is to the next.
        if X.mode & LINES_ADJOIN:
            place = X.place + (begin + t // ACROSS) * X.by_depth + first + (t % ACROSS) * V
            return place, (THREADS // ACROSS) * X.by_depth
        place = X.place + (first + t // ALONG) * X.by_line + begin + (t % ALONG) * V
        return place, (THREADS // ALONG) * X.by_line

    @device
    def fetch(part, X, place, hop):
        # A tile that lies within the operand, read 16 bytes at once.
        for l in range(LOADS):
            copy16(part, l * V, X.values, place + l * hop)

    @device
    def fetch_edge(part, X, first, lines, begin, end, t):
        # Any tile, value by value; what lies beyond the operand counts as zero.
        for l in range(LOADS):
            e = t + l * THREADS
            if X.mode & LINES_ADJOIN:
                line, depth, right, down = first + (e % ACROSS) * V, begin + e // ACROSS, 1, 0
            else:
                line, depth, right, down = first + e // ALONG, begin + (e % ALONG) * V, 0, 1
            place = X.place + line * X.by_line + depth * X.by_depth
            hop = right * X.by_line + down * X.by_depth
            for i in range(V):
                part[l * V + i] = real(0)
                if line + i * right < lines and depth + i * down < end:
                    part[l * V + i] = value(X.values, place + i * hop)

    @device
    def deposit(tiles, place, part, mode, t):
        for l in range(LOADS):
            e = t + l * THREADS
            if mode & LINES_ADJOIN:
                copy16(tiles, place + (e // ACROSS) * LINE + (e % ACROSS) * V, part, l * V)
            else:
                # A row is 16 bytes longer than the tile, so that these go to different banks.
                for i in range(V):
                    store(tiles, place + ((e % ALONG) * V + i) * LINE + e // ALONG, part[l * V + i])

    return start, fetch, fetch_edge, deposit


def product(name: str, tile: Tile, *, bias: bool = False, finish: Any = None) -> Kernel:
    """Return the kernel C = scale A B, plus a bias for each row where ``bias``.

        C[z] = scale * A[:, z'th slice of the depth] @ B[z'th slice of the depth, :]

    C has ``pitch`` values from row to row, and ``apart`` from the result of a slice of the depth,
    which is ``slice_depth`` long, to that of the next. ``b`` holds the biases, at ``b_place``.
    ``finish(real)`` returns what a thread then does to each 16 bytes of C that it has stored, and
    to what stands at the same place of ``other``:
    ``finish_piece(C, place, other, other_place, code, wide, left, v, w)``, where the first ``left``
    of them are within the matrix, and v and w take 16 bytes each.
    """

    def factory(real):
        S, G, K = tile
        V, WIDTH = vector_length(real), tile.width(real)
        N, STEP, LINE = G * V, S * V, WIDTH + V
        CELLS = N * N
        HALF = K * LINE
        SHARED = 4 * HALF
        LOADED = WIDTH * K // tile.threads
        start, fetch, fetch_edge, deposit = _mover(real, tile)
        finish_piece = finish(real) if finish else None

        @device
        def load(values, tiles, place):
            for g in range(G):
                copy16(values, g * V, tiles, place + g * STEP)

        @device
        def step(acc, tiles, left, right, a, b):
            load(a, tiles, left)
            load(b, tiles, right)
            for i in range(N):
                for j in range(N):
                    acc[i * N + j] += a[i] * b[j]

        @device
        def multiply(acc, tiles, left, right, a, b):
            # By hand: LLVM would not unroll it.
            for p in range(0, HALF, 2 * LINE):
                step(acc, tiles, left + p, right + p, a, b)
                step(acc, tiles, left + p + LINE, right + p + LINE, a, b)

        @device
        def put(C, place, wide, acc, e, left):
            # 16 bytes of the result, of which ``left`` values are within the matrix.
            if wide and left >= V:
                copy16(C, place, acc, e)
            else:
                for i in range(V):
                    if i < left:
                        store(C, place + i, acc[e + i])

        @device
        def put_all(C, place, pitch, wide, acc, rows, columns, scale, b, b_place):
            # ``rows`` and ``columns`` are those from the thread's first value to the matrix's end.
            for i in range(N):
                row = (i // V) * STEP + i % V
                if row < rows:
                    for j in range(N):
                        acc[i * N + j] *= scale
                    if bias:
                        add = value(b, b_place + row)
                        for j in range(N):
                            acc[i * N + j] += add
                    for g in range(G):
                        at = place + row * pitch + g * STEP
                        put(C, at, wide, acc, i * N + g * V, columns - g * STEP)

        @device
        def finish_all(C, place, other, other_place, pitch, wide, rows, columns, code, v, w):
            # Not unrolled: the values are read again, and there may be much to do to each.
            for e in range(N * G):
                row, column = (e // (V * G)) * STEP + e // G % V, e % G * STEP
                if row < rows and column < columns:
                    at = row * pitch + column
                    finish_piece(
                        C, place + at, other, other_place + at, code, wide, columns - column, v, w
                    )

        def function(
            C, C_place, pitch, apart, A, B, rows, columns, depth, slice_depth, scale,
            b, b_place, other, other_place, code, wide,
        ):  # fmt: skip
            tiles = cuda.shared.array(SHARED, real, ALIGNMENT)
            acc = cuda.local.array(CELLS, real)
            a_next, b_next = cuda.local.array(LOADED, real), cuda.local.array(LOADED, real)
            left, right = cuda.local.array(N, real), cuda.local.array(N, real)
            t = cuda.threadIdx.x
            ty, tx = t // S * V, t % S * V
            row, column = cuda.blockIdx.y * WIDTH, cuda.blockIdx.x * WIDTH
            begin = cuda.blockIdx.z * slice_depth
            end = min(depth, begin + slice_depth)
            a_inside = A.mode & WIDE and row + WIDTH <= rows
            b_inside = B.mode & WIDE and column + WIDTH <= columns
            a_at, a_hop = start(A, row, begin, t)
            b_at, b_hop = start(B, column, begin, t)
            for i in range(CELLS):
                acc[i] = real(0)
            now = 0
            for k in range(begin - K, end, K):
                # While one piece is multiplied the next is fetched; the first has none before it.
                after = k + K
                if after < end:
                    if a_inside and after + K <= end:
                        fetch(a_next, A, a_at, a_hop)
                    else:
                        fetch_edge(a_next, A, row, rows, after, end, t)
                    if b_inside and after + K <= end:
                        fetch(b_next, B, b_at, b_hop)
                    else:
                        fetch_edge(b_next, B, column, columns, after, end, t)
                    a_at += K * A.by_depth
                    b_at += K * B.by_depth
                if k >= begin:
                    multiply(acc, tiles, now + ty, now + HALF + tx, left, right)
                if after < end:
                    now = 2 * HALF - now
                    deposit(tiles, now, a_next, A.mode, t)
                    deposit(tiles, now + HALF, b_next, B.mode, t)
                    barrier()
            row, column = row + ty, column + tx
            place = C_place + cuda.blockIdx.z * apart + row * pitch + column
            put_all(
                C, place, pitch, wide, acc, rows - row, columns - column, scale, b, b_place + row
            )
            if FINISH:
                v, w = cuda.local.array(V, real), cuda.local.array(V, real)
                finish_all(
                    C, place, other, other_place + row * pitch + column, pitch, wide,
                    rows - row, columns - column, code, v, w,
                )  # fmt: skip

        FINISH = finish is not None
        return function

    size = next(size for size, known in TILES.items() if known is tile)
    limits = None if SIMULATED else (tile.threads, 512 // tile.threads, 512 // tile.threads)
    return kernel(f"{name}_{size}", "VIIIMMIIIIRVIVIII", limits)(factory)


class Product:
    """A product in both sizes of tile, and its launch."""

    def __init__(self, name: str, *, bias: bool = False, finish: Any = None) -> None:
        self._kernels = {t: product(name, t, bias=bias, finish=finish) for t in TILES.values()}

    def launch(
        self,
        stream: Any,
        C: Place,
        pitch: int,
        A: Matrix,
        B: Matrix,
        rows: int,
        columns: int,
        depth: int,
        *,
        scale: float = 1.0,
        slices: int = 1,
        apart: int | None = None,
        bias: Place | None = None,
        other: Place | None = None,
        code: int = 0,
    ) -> None:
        """Compute C in that many slices of the depth; what is not given is not read.

        The results of slices stand ``apart``, or else follow one another.
        """
        real = real_of(C.values)
        tile = tile_for(rows, columns, real)
        bias, other = bias or C, other or C
        width = tile.width(real)
        grid = (-(-columns // width), -(-rows // width), slices)
        if not SIMULATED and grid[1] > MOST_DOWN:
            raise ValueError(f"a product with {rows} rows is too large for a GPU here")
        wide = int(is_wide(C, pitch) and is_wide(other, pitch) and is_wide(C, apart or 0))
        self._kernels[tile].launch(
            grid, tile.threads, stream, real,
            C.values, C.place, pitch, rows * pitch if apart is None else apart, A, B, rows, columns,
            depth, slice_depth(depth, slices), real(scale), bias.values, bias.place, other.values,
            other.place, code, wide,
        )  # fmt: skip


def matrix(place: Place, by_line: int, by_depth: int) -> Matrix:
    """Return an operand of a product, read 16 bytes at once where its memory allows."""
    adjoin = by_line == 1
    mode = LINES_ADJOIN if adjoin else 0
    if (adjoin or by_depth == 1) and is_wide(place, by_depth if adjoin else by_line):
        mode |= WIDE
    return Matrix(place.values, place.place, by_line, by_depth, mode)


def tile_for(rows: int, columns: int, real: Any) -> Tile:
    """Return the tile for a result of that size, by its size alone."""
    width = LARGE.width(real)
    return LARGE if rows * columns >= LARGE_TILES * width * width and rows > width // 2 else SMALL


def slices_for(rows: int, columns: int, depth: int, real: Any) -> int:
    """Return the slices that the depth of a small result is cut into, by the sizes alone.

    Enough for `SLICED_BLOCKS` blocks, of no less than `LEAST_DEPTH` each.
    """
    width = tile_for(rows, columns, real).width(real)
    blocks = -(-rows // width) * -(-columns // width)
    slices = max(1, min(SLICED_BLOCKS // blocks, depth // LEAST_DEPTH))
    return -(-depth // slice_depth(depth, slices))


def slice_depth(depth: int, slices: int) -> int:
    """Return the length of a slice: whole steps, so that each begins at 16 bytes."""
    step = max(LARGE.K, SMALL.K)
    return -(-depth // (slices * step)) * step
