"""The arrays that a network is passed as."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .. import validation as check
from ..description import Description
from ..kernels.codes import ACTIVATIONS
from ..kernels.cpu.inside import BLOCK, STEP
from ..network import Network

Array = NDArray[Any]

# The kernels read whole vectors: from here they never cross a line of the cache.
_ALIGNMENT = 64


def aligned(shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """Return zeros that begin at a line of the cache."""
    kind = np.dtype(dtype)
    size = int(np.prod(shape))
    memory = np.zeros(size + _ALIGNMENT // kind.itemsize, kind)
    skip = -memory.ctypes.data % _ALIGNMENT // kind.itemsize
    return memory[skip : skip + size].reshape(shape)


def rounded(n: int) -> int:
    """Return n rounded up to a multiple of STEP."""
    return -(-n // STEP) * STEP


def work_values(sizes: Sequence[int]) -> int:
    """Return how many values ``work`` holds, for n_x, n_1, ..., n_y."""
    units = [rounded(n) for n in sizes]
    return 2 * sum(units) + 2 * BLOCK * max(units) + 2 * BLOCK


def layout_of(network: Description) -> NDArray[np.int64]:
    """Return a network's layout."""
    values = work_values(network.sizes)
    codes = [ACTIVATIONS.index(name) for name in network.activations]
    told = [len(codes), network.n_parameters, values, *network.sizes, *codes]
    return np.array(told, np.int64)


def _network(net: object) -> Network:
    if not isinstance(net, Network):
        raise TypeError(f"net must be a fastnn.Network, got {type(net).__name__}")
    return net


def layout(net: Network) -> NDArray[np.int64]:
    """Return the layers of a network as plain numbers, for the functions of this module.

    Parameters
    ----------
    net : Network

    Returns
    -------
    array, (3 + (L + 1) + L,), int64
        The number of layers L, the number of parameters, the least size of ``work``; then
        n_x, n_1, ..., n_y; then the number by which each layer's activation is known.

    Raises
    ------
    TypeError
        If ``net`` is no network.

    Examples
    --------
    >>> import fastnn
    >>> from fastnn import inside
    >>> inside.layout(fastnn.Network([2, 4, 1], ["tanh", "sigmoid"]))
    array([   2,   17, 2272,    2,    4,    1,    2,    1])
    """
    return layout_of(_network(net)._description)


def parameters(net: Network) -> Array:
    """Return a copy of a network's parameters, for the functions of this module.

    ``net.parameters`` itself will do; this copy begins at a line of the cache, as new arrays of
    NumPy's seldom do, and is read up to twice as fast.

    Parameters
    ----------
    net : Network

    Returns
    -------
    array, (n_parameters,)
        W1, b1, W2, b2, ..., each in C order. Later changes of the network do not reach it, nor
        the other way: ``net.parameters = ...`` takes it back.

    Raises
    ------
    TypeError
        If ``net`` is no network.

    Examples
    --------
    >>> import fastnn
    >>> from fastnn import inside
    >>> net = fastnn.Network([2, 4, 1], ["tanh", "sigmoid"])
    >>> bool((inside.parameters(net) == net.parameters).all())
    True
    """
    copied = gradient(net)
    copied[...] = net.parameters
    return copied


def gradient(net: Network) -> Array:
    """Return zeros, one for each parameter, that :func:`vjp` adds to.

    Parameters
    ----------
    net : Network

    Returns
    -------
    array, (n_parameters,)
        In the network's type; it begins at a line of the cache.

    Raises
    ------
    TypeError
        If ``net`` is no network.

    Examples
    --------
    >>> import fastnn
    >>> from fastnn import inside
    >>> inside.gradient(fastnn.Network([2, 4, 1], ["tanh", "sigmoid"])).shape
    (17,)
    """
    net = _network(net)
    return aligned((net.parameters.size,), net.dtype)


def work(net: Network, threads: int | None = None) -> Array:
    """Return the memory that the functions of this module work in.

    No two threads may use one at the same time. With r(n) for n rounded up to a multiple of 16,
    it holds 2 sum r(n_l) + 128 max r(n_l) + 128 values, where l = 0, ..., L.

    Parameters
    ----------
    net : Network
    threads : int, optional
        Return as many, as the rows of a matrix.

    Returns
    -------
    array, (size,) or (threads, size)
        In the network's type; each begins at a line of the cache.

    Raises
    ------
    TypeError
        If ``net`` is no network or ``threads`` no integer.
    ValueError
        If ``threads`` is less than 1.

    Examples
    --------
    >>> import fastnn
    >>> from fastnn import inside
    >>> net = fastnn.Network([2, 4, 1], ["tanh", "sigmoid"])
    >>> inside.work(net).shape, inside.work(net, threads=8).shape
    ((2272,), (8, 2272))
    """
    size = int(layout(net)[2])
    if threads is None:
        return aligned((size,), net.dtype)
    return aligned((check.integer("threads", threads, low=1), size), net.dtype)
