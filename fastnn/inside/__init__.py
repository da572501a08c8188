"""Networks inside your own compiled code: called from Numba's ``@njit`` functions, on the CPU.

A network is passed as two arrays, its ``parameters`` and its ``layout``, and works in a third,
``work``, that the caller makes once for each thread. The functions of this module are called from
compiled code and from Python alike, with the same arguments; there they allocate nothing, need
neither Python nor its lock, and can be compiled into ``prange`` loops, ``@cfunc`` callbacks and
functions that Numba keeps on disk.

============================  ===============================================================
``forward``                   out = A of the last layer, for one example
``forward_block``             the same for a matrix of examples, one a column
``linearize``                 out, and what the derivatives at x need, which stays in ``work``
``vjp``                       dx = v^T dA/dx, and v^T dA/dtheta is added to a gradient
``jvp``                       out = dA/dx t
``jacobian``                  out = dA/dx
============================  ===============================================================

Arrays for them: :func:`parameters`, :func:`layout`, :func:`work`, :func:`gradient`. A network whose
parameters stay as they are is easier to call: :meth:`fastnn.Network.njit` returns a :class:`Frozen`
one, ``f(x, out)``.
"""

from . import _compiled, _frozen_type  # noqa: F401
from ._arrays import gradient, layout, parameters, work
from ._frozen import Frozen
from ._functions import forward, forward_block, jacobian, jvp, linearize, vjp

_compiled.register()

__all__ = [
    "Frozen",
    "forward",
    "forward_block",
    "gradient",
    "jacobian",
    "jvp",
    "layout",
    "linearize",
    "parameters",
    "vjp",
    "work",
]
