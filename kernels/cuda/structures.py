"""What a kernel is told, grouped: named tuples of flat arrays and numbers.

The letters of ``TYPES`` say what each field is, as the driver reads them:

    V   a flat array of the kernel's float type, in C order
    D   a flat array of float64
    J   a flat array of int64
    R   a number of the kernel's float type
    I   an integer

An array that there is none of is told by another of its type, and a flag says so.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple


class Matrix(NamedTuple):
    """A matrix in flat memory, one operand of a product.

    Its element at ``line`` and ``depth``, the index that is summed over, stands at
    ``values[place + line * by_line + depth * by_depth]``. ``mode`` says how it is read: `mode_of`.
    """

    values: Any
    place: int
    by_line: int
    by_depth: int
    mode: int


class Net(NamedTuple):
    """A network. ``layers`` has six numbers a layer: ``kernels.structures.Architecture``."""

    parameters: Any
    size: int  # how many there are
    layers: Any
    depth: int  # how many layers
    loss: int
    delta: float
    wide: int  # whether 16 bytes of the parameters can be read at multiples of 16 bytes


class Examples(NamedTuple):
    """The examples that a step reads: ``kernels.structures.Examples``, and their order.

    The one at the place ``at`` of an epoch is ``order[at - now[ORIGIN]]``, or, where they are not
    ``ordered``, ``at - now[ORIGIN]``.
    """

    X: Any
    X_place: int
    X_feature: int
    X_example: int
    X_wide: int  # whether 16 bytes at once can be read of an example that is a row
    Y: Any
    Y_place: int
    Y_feature: int
    Y_example: int
    labels: Any
    labelled: int
    weights: Any
    weighted: int
    order: Any
    ordered: int


class Rule(NamedTuple):
    """How parameters are updated: ``kernels.structures.Rule``, without what a step is told."""

    kind: int
    nesterov: int
    momentum: float
    beta1: float
    rest1: float  # 1 - beta1
    beta2: float
    rest2: float  # 1 - beta2
    l1: float
    l2: float
    clip_norm: float
    key: int


class Space(NamedTuple):
    """The memory of training.

    Where two steps overlap, each has its own half of ``totals`` and ``penalties``.
    """

    sums: Any  # a gradient for each piece of a batch
    totals: Any  # (2, tickets): the summed losses of each piece
    penalties: Any  # (2, ranges): of each range of the parameters
    squares: Any  # (ranges, 2): the gradient's squares, summed; and those of its 2^-80th part
    tickets: int
    ranges: int
    gradient: Any
    state: Any  # (2, parameters)
    snapshot: Any  # the parameters after the last finished epoch
    is_weight: Any  # 1 for weights, 0 for biases
    costs: Any  # of each step of a launch
    told: Any  # (steps, TOLD): the numbers of each step of a launch


class Population(NamedTuple):
    """Many networks, whose arrays follow one another: ``populations`` says where each begins."""

    whole: Any  # (K, WHOLE)
    numbers: Any  # (K, REAL)
    stands: Any  # (K, STANDS)
    levels: Any  # (K, LEVELS)
    least_falls: Any  # (K,): what counts as a fall of the cost of held-out examples
    layers: Any
    orders: Any
    weights: Any
    weighted: int
    parameters: Any
    state: Any
    snapshot: Any
    best: Any
    gradient: Any
    is_weight: Any
    sums: Any
    totals: Any
    penalties: Any
    squares: Any
    costs: Any  # (K, rows): of each step of a launch
    told: Any  # (rows, TOLD) for networks alike, and so on
    rows: int
    held_out_costs: Any  # (K,): of the last epoch
    wide: int


# What a step is told of the learning rate alpha, in this order: alpha; Adam's alpha and the factor
# of its root, corrected for the moments' start at 0; epsilon; what decay leaves of a weight.
TOLD: Final = 5
ALPHA, ALPHA_HAT, ROOT_HAT, EPSILON, KEPT = range(TOLD)

# Where training stands, in the GPU's memory, so that a launch can be repeated as it is: the place
# in the epoch at which the step begins, the number of the step, from 1, its row of ``told``, and
# the place of the first of the examples that are here.
NOW: Final = 4
START, STEP, ROW, ORIGIN = range(NOW)

# How each is told, by the letter that stands for it in a kernel's signature.
TYPES: Final[dict[str, tuple[Any, str]]] = {
    "M": (Matrix, "VIIII"),
    "N": (Net, "VIJIIRI"),
    "E": (Examples, "VIIIIVIIIJIVIJI"),
    "U": (Rule, "IIRRRRRRRRI"),
    "S": (Space, "VVVVIIVVVVVV"),
    "P": (Population, "JVJVDJJVIVVVVVVVVVVVVIVI"),
}
