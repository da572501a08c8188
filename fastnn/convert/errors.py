"""The error that says what could not be converted, and why."""

from __future__ import annotations


class ConversionError(ValueError):
    """A model, or a network, that has no exact counterpart on the other side.

    The message names the layer, what it is, why it cannot be converted and what can be.

    Examples
    --------
    >>> import numpy as np, fastnn
    >>> norm = {"0.weight": np.ones(3, np.float32), "0.bias": np.zeros(3, np.float32)}
    >>> fastnn.convert.from_torch(norm, activations=["identity"])
    Traceback (most recent call last):
    ...
    fastnn.convert.errors.ConversionError: layer '0': its weights have shape (3,); expected a \
matrix, (n_out, n_in)
    """
