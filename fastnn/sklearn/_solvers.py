"""Methods that find the least value of an objective: L-BFGS, and Newton's on an active set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, optimize

from ._objective import Objective

Array = NDArray[Any]

# Is told the coefficients and the cost after each iteration, and returns whether to stop.
Listener = Callable[[Array, float], bool]

# Of more moving coefficients than this, the matrix of second derivatives is not formed.
NEWTON_LIMIT = 2000

# Armijo's condition: a step must bring this part of what the slope promises.
_SUFFICIENT = 1e-4
# Trials of a step that is cut off where a coefficient changes its sign, each half the last; after
# them come steps that end at the first such place, along which the cost is smooth.
_PROJECTED_TRIALS = 5
_TRIALS = 40
_LINE_SEARCH = 50
_ULPS = 4 * float(np.finfo(np.float64).eps)
# What is added to the diagonal of a matrix whose diagonal is 1, until it is definite.
_LIFTS = (0.0, *(10.0**exponent for exponent in range(-14, 3, 2)))
# Of many coefficients at 0, so many may leave it in one step, or half as many as already have.
_ENTERING = 200
_CG_STEPS = 200
# Steps in which a fit may settle. Where coefficients grow without bound it never would.
_SETTLING = 3


@dataclass(frozen=True)
class Solution:
    """Where a method ended, and why.

    Attributes
    ----------
    theta : array
        The coefficients.
    n_iter : int
        The iterations made.
    violation : float
        The largest element of the least subgradient there; 0 at the least value.
    reason : {"converged", "limit", "precision", "stopped"}
        Whether tol was reached, or max_iter; or no step lowers the cost beyond its rounding
        error, or the listener asked to stop.
    """

    theta: Array
    n_iter: int
    violation: float
    reason: Literal["converged", "limit", "precision", "stopped"]


@dataclass(frozen=True)
class _Step:
    """Where a step of Newton's method led.

    Attributes
    ----------
    theta, F, gradient : array, float, array
        The coefficients, and the cost there without its L1 penalty, and the gradient of that.
    promised : float
        By how much the slope says the whole step would lower the cost: twice what it would if the
        cost were quadratic.
    """

    theta: Array
    F: float
    gradient: Array
    promised: float


def lbfgs(
    objective: Objective, theta: Array, tol: float, max_iter: int, listener: Listener
) -> Solution:
    """Minimise by SciPy's L-BFGS, where there is no L1 penalty."""

    def tell(intermediate_result: optimize.OptimizeResult) -> None:
        if listener(intermediate_result.x, float(intermediate_result.fun)):
            raise StopIteration

    # Steps that gain less are lost in the rounding of the cost.
    single = objective.net.dtype == np.float32
    least_gain = np.finfo(np.float32).eps if single else 64 * np.finfo(np.float64).eps
    found = optimize.minimize(
        objective.smooth,
        theta,
        method="L-BFGS-B",
        jac=True,
        callback=tell,
        options={
            "maxiter": max_iter,
            "maxfun": _LINE_SEARCH * max(max_iter, 1),
            "maxls": _LINE_SEARCH,
            "gtol": tol,
            "ftol": least_gain,
        },
    )
    theta = found.x
    violation = float(np.abs(objective.smooth(theta)[1]).max())
    # SciPy's codes; 99 is that of a listener's StopIteration.
    reasons = {0: "converged", 1: "limit", 99: "stopped"}
    reason: Any = reasons.get(found.status, "precision")
    if violation <= tol:
        reason = "converged"
    return Solution(theta, min(int(found.nit), max_iter), violation, reason)


def newton(
    objective: Objective,
    theta: Array,
    tol: float,
    max_iter: int,
    listener: Listener,
    settle: bool = False,
) -> Solution:
    """Minimise by Newton's method, with a line search and, under an L1 penalty, an active set.

    A coefficient with an L1 penalty moves within the sign that it has, or that the slope gives it
    if it is 0: there the cost is smooth. Those that a step would take across 0 stop at 0.

    Where features are far from 0 or of small scale, or the L1 penalty is no larger than tol, a
    gradient within tol says little. So the last step must have promised little, too: twice tol
    of the cost (or of 1, or of tol, if the cost is beyond them). To ``settle`` is to go on from
    there, for a few steps, until no coefficient moves by more than tol times the largest.
    """
    F, gradient = objective.smooth(theta)
    n_iter = within = 0
    calm = settled = False
    while True:
        slope = objective.steepest(theta, gradient)
        violation = float(np.abs(slope).max())
        within = within + 1 if calm and violation <= tol else 0
        if violation == 0 or (within and (settled or within > _SETTLING)):
            return Solution(theta, n_iter, violation, "converged")
        if n_iter == max_iter:
            return Solution(theta, n_iter, violation, "converged" if within else "limit")
        found = _step(objective, theta, F, slope, violation)
        if found is None:
            reason: Any = "converged" if violation <= tol else "precision"
            return Solution(theta, n_iter, violation, reason)
        moved = np.abs(found.theta - theta).max()
        theta, F, gradient = found.theta, found.F, found.gradient
        cost = F + objective.l1_penalty(theta)
        calm = 0.5 * found.promised <= tol * max(min(cost, 1.0), tol)
        settled = not settle or moved <= tol * np.abs(theta).max()
        n_iter += 1
        if listener(theta, cost):
            return Solution(theta, n_iter, violation, "stopped")


def refined(
    objective: Objective,
    theta: Array,
    tol: float,
    max_iter: int,
    listener: Listener,
    settle: bool = False,
) -> Solution:
    """Minimise by L-BFGS, and go on by Newton's method if that cannot reach tol, or to settle."""
    first = lbfgs(objective, theta, tol, max_iter, listener)
    reached = first.violation <= tol and not settle
    if reached or first.reason in ("limit", "stopped"):
        return first
    second = newton(objective, first.theta, tol, max_iter - first.n_iter, listener, settle)
    return replace(second, n_iter=first.n_iter + second.n_iter)


def _step(
    objective: Objective, theta: Array, F: float, slope: Array, violation: float
) -> _Step | None:
    """Return a step to a better theta; None if there is none."""
    signed = objective.l1 > 0
    side = np.where(theta == 0, -np.sign(slope), np.sign(theta))
    direction = _direction(objective, theta, slope, signed, side)
    promised_whole = -float(slope @ direction)
    before = F + objective.l1_penalty(theta)
    rounding = 8 * float(np.finfo(objective.net.dtype).eps) * max(1.0, abs(before))
    size = 1.0
    for trial in range(_TRIALS):
        if trial == _PROJECTED_TRIALS:
            size = min(size, _first_zero(theta, direction, signed))
        moved = theta + size * direction
        # A step that ends where a coefficient is 0 would miss it by rounding.
        at_zero = np.abs(moved) <= _ULPS * (np.abs(theta) + np.abs(size * direction))
        moved[signed & (at_zero | (np.sign(moved) != side))] = 0
        F, gradient = objective.smooth(moved)
        gain = before - (F + objective.l1_penalty(moved))
        promised = -float(slope @ (moved - theta))
        if promised > 0 and gain >= _SUFFICIENT * promised and gain > 0:
            return _Step(moved, F, gradient, promised_whole)
        if abs(gain) <= rounding and (
            # The cost can tell no more; the gradient, whose rounding errors are smaller, can. And
            # a coefficient that was next to 0 is out of the way.
            np.abs(objective.steepest(moved, gradient)).max() < 0.9 * violation
            or np.count_nonzero(moved) < np.count_nonzero(theta)
        ):
            return _Step(moved, F, gradient, promised_whole)
        if trial >= _PROJECTED_TRIALS and promised < 0.01 * rounding:
            return None
        size *= 0.5
    return None


def _direction(
    objective: Objective, theta: Array, slope: Array, signed: Array, side: Array
) -> Array:
    """Return the Newton step of the coefficients that may move, and 0 for the others."""
    moving = _moving(theta, slope, signed)
    if moving.size > NEWTON_LIMIT:
        solve = _by_conjugate_gradients(objective, theta)
    else:
        solve = _by_matrix(objective.hessian(theta, moving), moving)
    while True:
        step = np.zeros_like(theta)
        step[moving] = solve(moving, -slope[moving])
        # From 0, a coefficient moves to the side to which the cost falls, or not at all.
        wrong = (signed & (theta == 0) & (step * side < 0))[moving]
        if not wrong.any():
            return objective.centred(step)
        moving = moving[~wrong]


def _moving(theta: Array, slope: Array, signed: Array) -> Array:
    """Return which coefficients may move: those not at 0, and those that leave it.

    Of many that would leave 0, only the steepest do: one that does takes away the slope of others.
    """
    at_zero = signed & (theta == 0)
    entering = np.flatnonzero(at_zero & (slope != 0))
    staying = np.flatnonzero(~at_zero)
    if staying.size + entering.size > NEWTON_LIMIT:
        most = max(_ENTERING, staying.size // 2)
        if entering.size > most:
            steepest = np.argpartition(-np.abs(slope[entering]), most)[:most]
            entering = entering[steepest]
    return np.sort(np.concatenate([staying, entering]))


def _by_matrix(H: Array, chosen: Array) -> Callable[[Array, Array], Array]:
    """Return the function that solves with the rows and columns of H that are still wanted."""

    def solve(moving: Array, right: Array) -> Array:
        places = np.searchsorted(chosen, moving)
        return _solve(H if moving.size == chosen.size else H[np.ix_(places, places)], right)

    return solve


def _by_conjugate_gradients(objective: Objective, theta: Array) -> Callable[[Array, Array], Array]:
    """Return the function that solves, roughly, without forming the second derivatives."""
    product, diagonal = objective.curvature(theta)
    unit = 1 / np.where(diagonal > 0, diagonal, 1)

    def solve(moving: Array, right: Array) -> Array:
        full = np.zeros_like(theta)
        x, r = np.zeros_like(right), right.copy()
        z = unit[moving] * r
        direction, rz = z, float(r @ z)
        enough = rz * min(0.1, np.sqrt(np.abs(right).max())) ** 2
        for _ in range(_CG_STEPS):
            full[moving] = direction
            curved = product(full)[moving]
            bend = float(direction @ curved)
            if bend <= 0:  # flat but for rounding
                break
            x += rz / bend * direction
            r -= rz / bend * curved
            z = unit[moving] * r
            before, rz = rz, float(r @ z)
            if rz <= enough:
                break
            direction = z + rz / before * direction
        return x

    return solve


def _first_zero(theta: Array, direction: Array, signed: Array) -> float:
    """Return the size of the step at which the first coefficient gets to 0."""
    crossing = signed & (theta * direction < 0)
    if not crossing.any():
        return 1.0
    return float(np.min(-theta[crossing] / direction[crossing]))


def _solve(H: Array, right: Array) -> Array:
    """Return the solution of H x = right for a positive semidefinite H, made definite if need be.

    H is scaled to a diagonal of ones first: what is added to it then weighs the same for features
    of every scale. Features far from 0 leave a small but true curvature, which it would hide.
    """
    diagonal = np.sqrt(np.maximum(H.diagonal(), 0))
    unit = 1 / np.where(diagonal > 0, diagonal, 1)
    scaled = H * unit * unit[:, np.newaxis]
    # A pivot below this is made of rounding errors.
    least = 4 * len(H) * float(np.finfo(np.float64).eps)
    for lift in _LIFTS:
        lifted = scaled.copy()
        lifted[np.diag_indices_from(H)] += lift
        try:
            factor = linalg.cho_factor(lifted, overwrite_a=True, check_finite=False)
        except linalg.LinAlgError:
            continue
        if factor[0].diagonal().min() ** 2 > least:
            solution: Array = unit * linalg.cho_solve(factor, unit * right, check_finite=False)
            return solution
    return right  # H is not finite: the way down is all that is known
