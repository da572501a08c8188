"""Networks from other people's models, and back.

Each function copies parameters bit for bit, and refuses with a :class:`ConversionError` what has
no exact counterpart. Other libraries have examples as rows: what their model takes as ``X`` the
network takes as ``X.T``. They are imported when a function needs them, never before.
"""

from .errors import ConversionError
from .flax import from_flax, to_flax
from .onnx_reader import from_onnx
from .onnx_writer import to_onnx
from .pytorch import from_torch, to_torch
from .scikit import from_sklearn, to_sklearn
from .state_dict import to_state_dict

__all__ = [
    "ConversionError",
    "from_flax",
    "from_onnx",
    "from_sklearn",
    "from_torch",
    "to_flax",
    "to_onnx",
    "to_sklearn",
    "to_state_dict",
    "to_torch",
]
