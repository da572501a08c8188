"""What a network answers: A of its last layer."""

from __future__ import annotations

from typing import Any

from .block import ROWS, blocks, shared_bytes
from .driver import ALIGNMENT, TEAM, Place, cuda, dynamic, kernel, real_of
from .memory import vector_length
from .structures import Examples, Net


@kernel("network_forward", "VIIINEII", (TEAM, 4, 4))
def _network_forward(real):
    work = blocks(real)
    V, forward, put_output = work.V, work.forward, work.put_output
    CELLS, shared_type = ROWS * V, dynamic(real)

    def function(out, place, by_feature, by_example, net, examples, m, groups):
        S = cuda.shared.array(0, shared_type, ALIGNMENT)
        scratch = cuda.shared.array(TEAM, real, ALIGNMENT)
        acc = cuda.local.array(CELLS, real)
        b = cuda.local.array(CELLS, real)
        a = cuda.local.array(V, real)
        t, width, pitch = cuda.threadIdx.x, groups * V, (groups + 1) * V
        at = cuda.blockIdx.x * width
        count = min(width, m - at)
        forward(
            S, net, examples, at, count, at, 0, False, False, groups, pitch, scratch, t, acc, a, b
        )  # fmt: skip
        put_output(
            out, place + at * by_example, by_feature, by_example, S, net, count, groups, pitch,
            scratch, t,
        )  # fmt: skip

    return function


def network_forward(
    stream: Any, out: Place, net: Net, examples: Examples, m: int, groups: int,
    sizes: tuple[int, ...],
) -> None:  # fmt: skip
    """out = A_L, (n_y, m), of a network that one block of threads takes examples through."""
    real = real_of(net.parameters)
    width = groups * vector_length(real)
    _network_forward.launch(
        -(-m // width), TEAM, stream, real, *out, m, 1, net, examples, m, groups,
        shared=shared_bytes(sizes, groups, real),
    )  # fmt: skip


def forward_one(
    stream: Any, out: Place, net: Net, examples: Examples, groups: int, sizes: tuple[int, ...]
) -> None:
    """out = A_L of one example."""
    network_forward(stream, out, net, examples, 1, groups, sizes)
