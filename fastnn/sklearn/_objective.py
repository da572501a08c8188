"""The penalised cost of a logistic regression, its derivatives, and when it is least."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ..network import Network
from ._blocks import Examples, row_blocks

Array = NDArray[Any]


class Objective:
    """The cost that a fit minimises, over one vector theta of all coefficients.

    ::

        F(theta) = sum_j w_j loss_j / sum_j w_j + sum_i (l1_i |theta_i| + l2_i theta_i^2 / 2)

    Theta is W, row by row, and then the intercepts b where they are fitted. The losses and their
    gradient are those of a network of one layer; Theta and the penalties are in float64.

    Parameters
    ----------
    X : ndarray or CSR matrix, (m, n)
        The examples, one a row.
    labels : ndarray, (m,)
        The class of each, 0 to K - 1.
    sample_weight : ndarray, (m,), optional
        The weights w.
    n_classes : int
        K; for two there is one row of coefficients, that of class 1.
    fit_intercept : bool
        Whether there are intercepts.
    device : str, optional
        Where the network computes.

    Attributes
    ----------
    l1, l2 : ndarray, (n_theta,)
        The penalties, zero until `penalise`.
    """

    def __init__(
        self,
        X: Any,
        labels: Array,
        sample_weight: Array | None,
        n_classes: int,
        fit_intercept: bool,
        device: str | None = None,
    ) -> None:
        self.n_rows = 1 if n_classes == 2 else n_classes
        self.n_features = X.shape[1]
        activation = "sigmoid" if n_classes == 2 else "softmax"
        self.net = Network(
            [self.n_features, self.n_rows], [activation], dtype=X.dtype, device=device
        )
        self.examples = Examples(self.net, X, labels, sample_weight)
        self.n_weights = self.n_rows * self.n_features
        self.size = self.n_weights + (self.n_rows if fit_intercept else 0)
        self.l1, self.l2 = np.zeros(self.size), np.zeros(self.size)

    def penalise(self, l1: float, l2: float, intercept_scaling: float | None = None) -> None:
        """Penalise the weights, and the intercepts as weights of a feature of that value."""
        self.l1[: self.n_weights] = l1
        self.l2[: self.n_weights] = l2
        if intercept_scaling is not None:
            self.l1[self.n_weights :] = l1 / intercept_scaling
            self.l2[self.n_weights :] = l2 / intercept_scaling**2

    def split(self, theta: Array) -> tuple[Array, Array]:
        """Return new arrays W, (K, n), and b, (K,), in the type of the examples."""
        W, b = theta[: self.n_weights], theta[self.n_weights :]
        if b.size == 0:
            b = np.zeros(self.n_rows)
        dtype = self.net.dtype
        return W.reshape(self.n_rows, -1).astype(dtype), b.astype(dtype)

    def smooth(self, theta: Array) -> tuple[float, Array]:
        """Return F without its L1 penalty, and the gradient of that."""
        self._set(theta)
        J, gradient = self.examples.gradient()
        shrink = self.l2 * theta
        return J + 0.5 * float(shrink @ theta), gradient[: self.size] + shrink

    def l1_penalty(self, theta: Array) -> float:
        """Return the L1 penalty."""
        return float(self.l1 @ np.abs(theta))

    def steepest(self, theta: Array, gradient: Array) -> Array:
        """Return the least subgradient of F, which is zero where F is least.

        ``gradient`` is that of the smooth part.
        """
        at_zero = np.sign(gradient) * np.maximum(np.abs(gradient) - self.l1, 0)
        least: Array = np.where(theta == 0, at_zero, gradient + self.l1 * np.sign(theta))
        return least

    def hessian(self, theta: Array, chosen: Array) -> Array:
        """Return the second derivatives of the smooth part by the chosen coefficients.

        With p the outputs and x_j an example, its one for the intercept included::

            H = sum_j w_j (diag(p_j) - p_j p_j^T) (x) (x_j x_j^T) / sum_j w_j + diag(l2)
        """
        self._set(theta)
        is_weight = chosen < self.n_weights
        row = np.where(is_weight, chosen // self.n_features, chosen - self.n_weights)
        column = np.where(is_weight, chosen % self.n_features, self.n_features)
        places = [np.flatnonzero(row == k) for k in range(self.n_rows)]
        H = np.zeros((chosen.size, chosen.size))
        for rows, block in row_blocks(self.examples.X, self.net.dtype, whole=False):
            curvature = self._curvature(rows, block)
            x = np.column_stack([block.astype(np.float64, copy=False), np.ones(len(block))])
            of_row = [x[:, column[place]] for place in places]
            for k in range(self.n_rows):
                for l in range(k + 1):
                    scaled = curvature(k, l)[:, np.newaxis] * of_row[l]
                    H[np.ix_(places[k], places[l])] += of_row[k].T @ scaled
        for k in range(self.n_rows):
            for l in range(k):
                H[np.ix_(places[l], places[k])] = H[np.ix_(places[k], places[l])].T
        H[np.diag_indices_from(H)] += self.l2[chosen]
        return H

    def _curvature(self, rows: slice, block: Array) -> Any:
        """Return the function that gives d2 loss_j / dz_k dz_l of the examples j of a block."""
        P = self.net.forward(block.T).astype(np.float64, copy=False)
        weights = self.examples.sample_weight
        share = (1.0 if weights is None else weights[rows]) / self.examples.total_weight

        def curvature(k: int, l: int) -> Array:
            second: Array = share * P[k] * ((k == l) - P[l])
            return second

        return curvature

    def curvature(self, theta: Array) -> tuple[Callable[[Array], Array], Array]:
        """Return the function that multiplies a vector by H of all coefficients, and H's diagonal.

        H itself is not formed. Sparse examples stay sparse here.
        """
        self._set(theta)
        X, dtype, weights = self.examples.X, self.net.dtype, self.examples.sample_weight
        P = np.empty((self.n_rows, X.shape[0]))
        for rows, block in row_blocks(X, dtype):
            P[:, rows] = self.net.forward(block.T)
        counts: Array = np.ones(X.shape[0]) if weights is None else weights
        share = counts / self.examples.total_weight

        def gathered(X: Any, G: Any) -> Array:
            total = np.zeros(self.size)
            total[: self.n_weights] = (X.T @ G.T.astype(dtype)).T.ravel()
            if self.size > self.n_weights:
                total[self.n_weights :] = G.sum(axis=1)
            return total

        def product(v: Array) -> Array:
            V, c = self.split(v)
            Z = (X @ V.T).T + c[:, np.newaxis]
            common = P * Z if self.n_rows == 1 else (P * Z).sum(axis=0)
            curved: Array = gathered(X, share * P * (Z - common)) + self.l2 * v
            return curved

        diagonal = self.l2.copy()
        if sparse.issparse(X):
            diagonal += gathered(X.multiply(X).tocsr(), share * P * (1 - P))
        else:
            for rows, block in row_blocks(X, dtype, whole=False):
                diagonal += gathered(np.square(block), share[rows] * P[:, rows] * (1 - P[:, rows]))
        return product, diagonal

    def centred(self, step: Array) -> Array:
        """Return a step without what no loss depends on and no penalty holds.

        Under softmax that is what the coefficients of one feature, or all intercepts, have in
        common over the classes. Solving with a singular matrix can blow it up.
        """
        if self.n_rows == 1:
            return step
        step = step.copy()
        for part in (slice(0, self.n_weights), slice(self.n_weights, self.size)):
            if part.start < part.stop and not (self.l1[part].any() or self.l2[part].any()):
                by_class = step[part].reshape(self.n_rows, -1)
                by_class -= by_class.mean(axis=0)
        return step

    def floor(self) -> float:
        """Return the gradient below which its rounding errors stand, roughly."""
        X = self.examples.X
        scale = float(abs(X).mean(axis=0).max())
        return 1000 * float(np.finfo(self.net.dtype).eps) * max(1.0, scale)

    def _set(self, theta: Array) -> None:
        self.net.parameters[: self.size] = theta
