"""The numbers by which compiled code knows activations, losses and optimisers.

A kernel receives them as data, so that one compiled kernel serves every network.
"""

from __future__ import annotations

from typing import Final

ACTIVATIONS: Final = (
    "identity",
    "sigmoid",
    "tanh",
    "relu",
    "leaky_relu",
    "softmax",
    "elu",
    "gelu",
    "silu",
    "softplus",
    "exp",
)
(
    IDENTITY,
    SIGMOID,
    TANH,
    RELU,
    LEAKY_RELU,
    SOFTMAX,
    ELU,
    GELU,
    SILU,
    SOFTPLUS,
    EXP,
) = range(len(ACTIVATIONS))

LOSSES: Final = (
    "binary_cross_entropy",
    "cross_entropy",
    "squared_error",
    "absolute_error",
    "huber",
    "poisson",
)
(
    BINARY_CROSS_ENTROPY,
    CROSS_ENTROPY,
    SQUARED_ERROR,
    ABSOLUTE_ERROR,
    HUBER,
    POISSON,
) = range(len(LOSSES))

OPTIMIZERS: Final = ("sgd", "rmsprop", "adam", "adamw")
SGD, RMSPROP, ADAM, ADAMW = range(len(OPTIMIZERS))

# The slope of leaky ReLU below zero, as in the notes.
LEAK: Final = 0.01
