"""The one rule by which a compiled result passes.

A result of type T is held against the reference formula computed in a wider type. Errors are
counted in units: one unit is the distance between two neighbouring numbers of type T (one ULP)
at the largest magnitude that the formula sums on its way to that value, which is the value
itself for a formula without sums, and |W| |A| + |b| for W A + b. The rule is

    worst error of the result <= MULTIPLE * worst error of the plain formula in T + FLOOR

Why a multiple: a compiled kernel may sum in another order than NumPy, and use another exp; 2 is
what such freedom costs at most where both are sound (the rule of flash-attention's tests). Why a
floor: in a small array the plain formula may by luck be exact; 4 ULP is what every vector
function of this project promises. Nothing else changes either.

The wider type is float64 for float32. For float64 it is ``longdouble`` where the machine has a
longer one; elsewhere float64 itself, and then the floor alone decides.
"""

from __future__ import annotations

import numpy as np

MULTIPLE = 2.0
FLOOR = 4.0


def wider(dtype):
    """Return the type in which the specification of results of that type is computed."""
    return np.float64 if np.dtype(dtype) == np.float32 else np.longdouble


def assert_as_reference(found, formula, magnitude=None, dtype=None):
    """Assert that a result is as good as the plain formula in its type.

    ``formula(type)`` computes the reference in a type. ``magnitude`` tells the unit; the absolute
    values of the result unless given. ``dtype`` is the type that a Python float was computed in.
    Values that are not finite, in the result's type, must be the same.
    """
    dtype = np.dtype(found.dtype if dtype is None else dtype)
    limits = np.finfo(dtype)
    found = np.asarray(found)
    with np.errstate(all="ignore"):
        exact = np.asarray(formula(wider(dtype)))
        plain = np.asarray(formula(dtype.type))
        assert found.shape == exact.shape, f"shape {found.shape}, expected {exact.shape}"
        rounded = exact.astype(dtype)
        finite = np.isfinite(rounded)
        np.testing.assert_array_equal(found[~finite], rounded[~finite])
        assert np.isfinite(found[finite]).all(), "not finite where the reference is"
        size = np.broadcast_to(np.abs(exact if magnitude is None else magnitude), exact.shape)
        unit = np.spacing(np.minimum(size[finite], limits.max).astype(dtype)).astype(exact.dtype)
        own = np.abs(plain[finite] - exact[finite]) / unit
        error = np.abs(found[finite] - exact[finite]) / unit
    if error.size == 0:
        return
    # Where the plain formula overflows on its way, its error says nothing.
    own = own[np.isfinite(own)]
    allowed = MULTIPLE * float(own.max(initial=0)) + FLOOR
    worst = float(error.max())
    assert worst <= allowed, (
        f"off by {worst:.3g} ULP; the plain formula in {dtype} by {float(own.max(initial=0)):.3g}, "
        f"so {allowed:.3g} are allowed"
    )
