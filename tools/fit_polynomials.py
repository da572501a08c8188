"""Fit the polynomials of ``kernels/cpu/vector_math.py`` and print them as Python.

Each is the interpolation, at Chebyshev nodes and in 60 digits, of a smooth function over the
interval that its range reduction leaves: within a small factor of the best polynomial of the same
degree. Beside each stands the largest relative error of the function it serves, in units of the
type's rounding error (2^-24 or 2^-53), before any rounding of the arithmetic.

    python tools/fit_polynomials.py          # needs mpmath
"""

from collections.abc import Callable

from mpmath import atanh, erfc, exp, expm1, log, mp, mpf, polyval, sqrt

mp.dps = 60


def nodes(low: mpf, high: mpf, count: int) -> list[mpf]:
    middle, half = (low + high) / 2, (high - low) / 2
    return [middle + half * mp.cos(mp.pi * (2 * i + 1) / (2 * count)) for i in range(count)]


def fit(f: Callable[[mpf], mpf], low: mpf, high: mpf, degree: int) -> list[mpf]:
    """Return the coefficients, highest power first."""
    x = nodes(low, high, degree + 1)
    powers = mp.matrix([[xi ** (degree - j) for j in range(degree + 1)] for xi in x])
    return list(mp.lu_solve(powers, mp.matrix([f(xi) for xi in x])))


def show(name: str, coefficients: list[mpf], served: Callable, exact: Callable, grid: list) -> None:
    error = max(abs(served(coefficients, x) / exact(x) - 1) for x in grid if exact(x) != 0)
    print(f"# {name}: {mp.nstr(error * 2**24, 3)} x 2^-24, {mp.nstr(error * 2**53, 3)} x 2^-53")
    print(f"{name} = (")
    for c in coefficients:
        print(f"    {mp.nstr(c, 20)},")
    print(")\n")


def main() -> None:
    half = log(2) / 2 * mpf("1.0001")
    for name, degree in (("EXP_32", 5), ("EXP_64", 10)):
        c = fit(
            lambda r: (expm1(r) - r) / r**2 if abs(r) > 1e-20 else mpf(1) / 2, -half, half, degree
        )
        grid = nodes(-half, half, 301)
        show(name, c, lambda c, r: r + r * r * polyval(c, r), expm1, grid)

    # (1 - exp(-2 r)) / 2 = r + r^2 P(r)
    for name, degree in (("TANH_32", 4), ("TANH_64", 10)):
        c = fit(
            lambda r: -(expm1(-2 * r) / 2 + r) / r**2 if abs(r) > 1e-20 else mpf(-1),
            -half / 2,
            half / 2,
            degree,
        )
        grid = nodes(-half / 2, half / 2, 301)
        show(name, c, lambda c, r: r + r * r * polyval(c, r), lambda r: -expm1(-2 * r) / 2, grid)

    # log((1 + s) / (1 - s)) = 2 s + s R(s^2): of m in [sqrt(1/2), sqrt(2)) for log, with
    # s = (m - 1) / (m + 1), and of 1 + t for t in [0, 1] for log1p, with s = t / (2 + t).
    for name, degree, top in (
        ("LOG_32", 2, (sqrt(2) - 1) / (sqrt(2) + 1)),
        ("LOG_64", 6, (sqrt(2) - 1) / (sqrt(2) + 1)),
        ("LOG1P_32", 3, mpf(1) / 3),
        ("LOG1P_64", 9, mpf(1) / 3),
    ):
        high = top**2 * mpf("1.0001")
        c = fit(
            lambda z: (2 * atanh(sqrt(z)) / sqrt(z) - 2) / z if z else mpf(2) / 3, 0, high, degree
        )
        grid = [sqrt(z) for z in nodes(0, high, 301)]
        show(name, c, lambda c, s: 2 * s + s**3 * polyval(c, s * s), lambda s: 2 * atanh(s), grid)

    # The normal tail Q(u) = erfc(u / sqrt 2) / 2 = exp(-u^2 / 2) t H(x), with t = 1 / (1 + w u)
    # and x = 2 t - 1: in powers of t itself the coefficients would cancel. SLOPE is the slope of
    # log(t H) over log t, of which few digits are needed. w must be exact in either type.
    for bits, degree, slope_degree, scale, top in (
        (32, 9, 1, "0.296875", 15),
        (64, 21, 2, "0.203125", 39),
    ):
        w = mpf(scale)

        def u_of(x: mpf, w: mpf = w) -> mpf:
            return (2 / (x + 1) - 1) / w

        def h(x: mpf) -> mpf:
            u = u_of(x)
            return erfc(u / sqrt(2)) * exp(u * u / 2) / (x + 1)

        def slope(x: mpf, w: mpf = w) -> mpf:
            u = u_of(x)
            return (sqrt(2 / mp.pi) * exp(-u * u / 2) / erfc(u / sqrt(2)) - u) * (1 / w + u)

        low = 2 / (1 + w * top) - 1
        grid = nodes(low, mpf(1), 301)
        c = fit(h, low, mpf(1), degree)
        show(f"TAIL_{bits}", c, lambda c, x: polyval(c, x), h, grid)
        c = fit(slope, low, mpf(1), slope_degree)
        show(f"SLOPE_{bits}", c, lambda c, x: polyval(c, x), slope, grid)


if __name__ == "__main__":
    main()
