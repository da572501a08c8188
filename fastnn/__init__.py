"""Compiled kernels for dense neural networks on NumPy arrays.

One example a column: ``X`` is ``(n_x, m)``. Rows of examples are passed as ``X.T``, uncopied.

>>> import fastnn
>>> X, y = fastnn.datasets.xor()
>>> net = fastnn.Network([2, 8, 1], ["tanh", "sigmoid"], seed=1)
>>> history = net.fit(X, y, epochs=500, optimizer=fastnn.Adam(0.05))
>>> net.predict(X)
array([0, 1, 1, 0])
"""

from . import convert, datasets, functional, persistence, preprocessing
from ._version import __version__
from .device import Device, DeviceError, devices, use_device
from .gradient_check import GradientCheck, check_gradient, numerical_gradient
from .history import History
from .network import Network
from .optimizers import SGD, Adam, AdamW, Optimizer, RMSprop
from .persistence import FileFormatError, load
from .populations import ensemble_forward, fit_many, forward_many, grid
from .schedules import (
    CosineDecay,
    ExponentialDecay,
    InverseDecay,
    ReduceOnPlateau,
    StepDecay,
    WarmUp,
)

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "CosineDecay",
    "Device",
    "DeviceError",
    "ExponentialDecay",
    "FileFormatError",
    "GradientCheck",
    "History",
    "InverseDecay",
    "Network",
    "Optimizer",
    "RMSprop",
    "ReduceOnPlateau",
    "StepDecay",
    "WarmUp",
    "__version__",
    "check_gradient",
    "convert",
    "datasets",
    "devices",
    "ensemble_forward",
    "fit_many",
    "forward_many",
    "functional",
    "grid",
    "load",
    "numerical_gradient",
    "persistence",
    "preprocessing",
    "use_device",
]
