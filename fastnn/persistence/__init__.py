"""Files: networks, and named arrays in general, in the safetensors format.

:meth:`fastnn.Network.save` and :func:`fastnn.load` are what most need. `write` and `read` keep any
arrays and a few words about them. A file holds numbers and text: reading one runs nothing, in
contrast to ``pickle``. Writing needs safetensors (the extra ``files``), reading NumPy alone.
"""

from .networks import load
from .tensors import FileFormatError, read, write

__all__ = ["FileFormatError", "load", "read", "write"]
