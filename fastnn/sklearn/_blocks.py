"""Rows of examples as dense blocks of bounded size: how sparse data reaches the kernels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ..network import Network

Array = NDArray[Any]

# Large enough to hide what a call costs, small enough to stay in a last-level cache.
BLOCK_BYTES = 4 << 20


def row_blocks(
    X: Any, dtype: Any, *, whole: bool = True, block_bytes: int | None = None
) -> Iterator[tuple[slice, Array]]:
    """Yield the rows of X in order, as dense blocks.

    Parameters
    ----------
    X : ndarray or CSR matrix, (m, n)
        The examples, one a row.
    dtype : float32 or float64
        The type of the blocks.
    whole : bool
        Whether a dense X of that type, which needs no memory, is one block. It is a view, as are
        all blocks of it.
    block_bytes : int, optional
        No other block is larger, unless one row is; `BLOCK_BYTES` unless given.

    Yields
    ------
    rows : slice
        Which rows these are.
    block : ndarray, (rows, n)
        Their values. Only what comes from a dense X of that type shares its memory.

    Examples
    --------
    >>> from scipy import sparse
    >>> X = sparse.csr_array([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]])
    >>> for rows, block in row_blocks(X, "float64", block_bytes=32):
    ...     print(rows, block.tolist())
    slice(0, 2, None) [[1.0, 0.0], [0.0, 2.0]]
    slice(2, 3, None) [[3.0, 0.0]]
    """
    dtype = np.dtype(dtype)
    m, n = X.shape
    is_sparse = sparse.issparse(X)
    if whole and not is_sparse and X.dtype == dtype:
        yield slice(0, m), X
        return
    height = max(1, (block_bytes or BLOCK_BYTES) // max(1, n * dtype.itemsize))
    for first in range(0, m, height):
        rows = slice(first, min(first + height, m))
        block = X[rows].toarray() if is_sparse else X[rows]
        yield rows, block.astype(dtype, copy=False)


def map_blocks(X: Any, dtype: Any, n_out: int, compute: Callable[[Array, Array], Any]) -> Array:
    """Return what ``compute`` writes for the examples of each block, together.

    Parameters
    ----------
    X : ndarray or CSR matrix, (m, n)
        The examples, one a row.
    dtype : float32 or float64
        The type of the blocks, and of the result.
    n_out : int
        The number of values for each example.
    compute : callable
        Is given the examples as columns, (n, rows), and where to put its result, (n_out, rows).

    Returns
    -------
    ndarray, (m, n_out)

    Examples
    --------
    >>> map_blocks(np.eye(2), "float64", 1, lambda X, out: np.sum(X, axis=0, out=out[0]))
    array([[1.],
           [1.]])
    """
    result = np.empty((X.shape[0], n_out), dtype)
    for rows, block in row_blocks(X, dtype):
        compute(block.T, result[rows].T)
    return result


class Examples:
    """Examples and targets of a fit, of which a network's cost and gradient are wanted often.

    Dense examples are checked once, and their transpose is read in place; sparse ones are made
    dense by blocks of rows, never whole, and the blocks' costs and gradients are summed in
    float64, in the order of the rows.

    Parameters
    ----------
    net : Network
        Of the type of X if that is dense.
    X : ndarray or CSR matrix, (m, n)
        The examples, one a row.
    Y : ndarray, (m,) or (n_y, m)
        The targets, as `Network.gradient` takes them.
    sample_weight : ndarray, (m,), optional
        How much each example counts.

    Attributes
    ----------
    total_weight : float
        The sum of the weights, or m.

    Examples
    --------
    >>> from scipy import sparse
    >>> net = Network([2, 1], ["sigmoid"], dtype="float64")
    >>> Examples(net, sparse.csr_array([[1.0, 0.0], [0.0, 2.0]]), np.array([0, 1])).gradient()
    (0.6931471805599453, array([ 0.25, -0.5 ,  0.  ]))
    """

    def __init__(self, net: Network, X: Any, Y: Array, sample_weight: Array | None = None) -> None:
        self.net, self.X, self.Y, self.sample_weight = net, X, Y, sample_weight
        self.total_weight = float(X.shape[0] if sample_weight is None else sample_weight.sum())
        self._checked = None if sparse.issparse(X) else net._checked(X.T, Y, sample_weight)

    def cost(self) -> float:
        """Return J."""
        if self._checked is not None:
            return self.net._cost_of(*self._checked, 0.0, 0.0)
        return float(sum(share * self.net.cost(*told) for share, told in self._blocks()))

    def _blocks(self) -> Iterator[tuple[float, tuple[Array, Array, Array | None]]]:
        """Yield blocks of sparse examples as a network takes them, and what share each has of J."""
        for rows, block in row_blocks(self.X, self.net.dtype):
            weights = None if self.sample_weight is None else self.sample_weight[rows]
            share = (block.shape[0] if weights is None else weights.sum()) / self.total_weight
            if share > 0:  # the network takes no examples of which none counts
                yield float(share), (block.T, self.Y[..., rows], weights)

    def gradient(self) -> tuple[float, Array]:
        """Return J and its derivatives by all parameters, both in float64."""
        if self._checked is not None:
            flat = np.empty_like(self.net.parameters)
            J = self.net._cost_of(*self._checked, 0.0, 0.0, flat)
            return J, flat.astype(np.float64, copy=False)
        J, total = 0.0, np.zeros(self.net.parameters.size)
        for share, told in self._blocks():
            J_block, flat = self.net.gradient(*told)
            J += share * J_block
            total += share * flat.astype(np.float64, copy=False)
        return float(J), total
