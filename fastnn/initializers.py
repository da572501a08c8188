"""Where the parameters start.

Biases start at zero. Weights of a hidden layer must differ from each other: units that start
equal stay equal, since their gradients are equal. Only a network without hidden layers may
start at zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .description import Description
from .kernels import reference

INITIALIZERS = ("auto", "he", "glorot", "zeros")

_RELU_FAMILY = ("relu", "leaky_relu", "elu", "gelu", "silu", "softplus")


def initial_parameters(
    network: Description, initializer: str, seed: int, dtype: DTypeLike
) -> NDArray[Any]:
    """Return the flat vector W1, b1, W2, b2, ... that training starts from.

    He: N(0, 2 / n_in). Glorot: U(-r, r) with r = sqrt(6 / (n_in + n_out)). ``auto`` takes He in
    layers of the ReLU family and Glorot in the others, and zeros where no layer is hidden.

    Parameters
    ----------
    network : Description
        The sizes and activations.
    initializer : str
        ``"auto"``, ``"he"``, ``"glorot"`` or ``"zeros"``.
    seed : int
        Of NumPy's ``default_rng``; drawn in float64, so both types start from the same values.
    dtype : dtype
        float32 or float64.

    Returns
    -------
    array, (n_parameters,)

    Notes
    -----
    Sources: He et al. 2015; Glorot & Bengio 2010.

    Examples
    --------
    >>> network = Description((2, 3, 1), ("tanh", "sigmoid"), "binary_cross_entropy")
    >>> initial_parameters(network, "auto", 0, "float32").shape
    (13,)
    """
    random = np.random.default_rng(seed)
    parameters = np.zeros(network.n_parameters)
    weights, _ = reference.layers(parameters, network.sizes)
    shallow = len(network.activations) == 1
    for W, activation in zip(weights, network.activations, strict=True):
        rule = initializer
        if rule == "auto":
            he = activation in _RELU_FAMILY
            rule = "zeros" if shallow else "he" if he else "glorot"
        n_out, n_in = W.shape
        if rule == "he":
            W[...] = random.normal(0.0, np.sqrt(2.0 / n_in), W.shape)
        elif rule == "glorot":
            r = np.sqrt(6.0 / (n_in + n_out))
            W[...] = random.uniform(-r, r, W.shape)
    return parameters.astype(dtype)
