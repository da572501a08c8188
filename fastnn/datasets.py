"""Small data sets: handwritten digits, and toy problems made from a seed.

The toy problems come as ``(X, y)`` with one example a column. The same seed gives the same
numbers, in float32 and float64 alike up to rounding.
"""

from __future__ import annotations

import importlib.resources
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import validation as check
from .preprocessing import flatten_images

__all__ = ["Digits", "load_digits", "moons", "planar_flower", "regression_curve", "xor"]


class Digits(NamedTuple):
    """The handwritten digits, as `load_digits` returns them.

    Attributes
    ----------
    X : ndarray of shape (64, 1797)
        The pixels, 0 to 16, one flattened image a column; a view of images.
    y : ndarray of shape (1797,), int64
        The digit of every image, 0 to 9.
    images : ndarray of shape (1797, 8, 8)
        The same pixels as images.
    """

    X: NDArray[Any]
    y: NDArray[np.int64]
    images: NDArray[Any]


def load_digits(dtype: DTypeLike = np.float32) -> Digits:
    """Return 1,797 handwritten digits of 8 x 8 pixels, by 13 writers.

    The data stands inside the package; nothing is downloaded.

    Parameters
    ----------
    dtype : dtype, default float32
        The dtype of the pixels, float32 or float64.

    Returns
    -------
    Digits
        The named tuple ``(X, y, images)``: pixels of shape (64, 1797) with whole values from 0
        to 16, labels of shape (1797,) and dtype int64, images of shape (1797, 8, 8). X is a
        view of images. Every call returns arrays of its own.

    Raises
    ------
    TypeError
        If dtype is neither float32 nor float64.

    Notes
    -----
    Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine
    Learning Repository, 1998, https://doi.org/10.24432/C50P49, licence CC BY 4.0; the test part.
    Details stand in ``fastnn/data/README.md``.

    Examples
    --------
    >>> digits = load_digits()
    >>> digits.X.shape, digits.y.shape, digits.images.shape
    ((64, 1797), (1797,), (1797, 8, 8))
    >>> digits.images[0].astype(int)
    array([[ 0,  0,  5, 13,  9,  1,  0,  0],
           [ 0,  0, 13, 15, 10, 15,  5,  0],
           [ 0,  3, 15,  2,  0, 11,  8,  0],
           [ 0,  4, 12,  0,  0,  8,  8,  0],
           [ 0,  5,  8,  0,  0,  9,  8,  0],
           [ 0,  4, 11,  0,  1, 12,  7,  0],
           [ 0,  2, 14,  5, 10, 12,  0,  0],
           [ 0,  0,  6, 13, 10,  0,  0,  0]])
    >>> int(digits.y[0])
    0
    """
    pixel_dtype = check.float_type(dtype)
    resource = importlib.resources.files("fastnn.data").joinpath("digits.npz")
    with resource.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        images = stored["pixels"].astype(pixel_dtype).reshape(-1, 8, 8)
        labels = stored["labels"].astype(np.int64)
    return Digits(flatten_images(images), labels, images)


def xor(
    m: int = 4,
    noise: float = 0.0,
    seed: int | np.random.Generator = 0,
    dtype: DTypeLike = np.float32,
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the exclusive or: the corners of the unit square, opposite ones of one class.

    ``y = x_1 xor x_2`` at the corners (0, 0), (0, 1), (1, 0), (1, 1), in this order and again
    and again until there are m; then ``X = corner + noise * normal``.

    Parameters
    ----------
    m : int, default 4
        The number of examples. The default is the four corners.
    noise : float, default 0
        The standard deviation of what is added to both coordinates.
    seed : int or numpy.random.Generator, default 0
        The same seed gives the same points.
    dtype : dtype, default float32
        The dtype of X, float32 or float64.

    Returns
    -------
    X : ndarray of shape (2, m)
        The points, one a column.
    y : ndarray of shape (m,), int64
        Their classes, 0 or 1.

    Raises
    ------
    ValueError
        If m is below 1, or noise is negative or not finite, or seed is negative.
    TypeError
        If m or seed is not an integer, noise is not a number, or dtype is not a float type.

    Notes
    -----
    Source: M. Minsky and S. Papert, "Perceptrons", 1969: no linear classifier gets all four.

    Examples
    --------
    >>> X, y = xor()
    >>> X
    array([[0., 0., 1., 1.],
           [0., 1., 0., 1.]], dtype=float32)
    >>> y
    array([0, 1, 1, 0])
    """
    m, spread, rng, float_dtype = _arguments(m, 1, noise, seed, dtype)
    corner = np.arange(m) % 4
    corners = np.stack((corner // 2, corner % 2))
    X = corners + spread * rng.standard_normal((2, m))
    return X.astype(float_dtype), (corners[0] ^ corners[1]).astype(np.int64)


def planar_flower(
    m: int = 400,
    noise: float = 0.2,
    seed: int | np.random.Generator = 0,
    dtype: DTypeLike = np.float32,
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return a flower of eight petals in two classes, which no straight line tells apart.

    A point of the flower stands at the angle θ and the radius r::

        r = 4 sin(4 θ)                  # negative: on the opposite side, so there are 8 petals
        X = (r sin θ, r cos θ)

    Class 0 has θ evenly from 0 to π, class 1 from π to 2π; to every angle and radius
    ``noise * normal`` is added. Logistic regression gets about half of the points right, one
    hidden layer of four tanh units more than nine in ten.

    Parameters
    ----------
    m : int, default 400
        The number of examples; half of each class, and one more of class 0 where m is odd.
    noise : float, default 0.2
        The standard deviation of what is added to the angle (in radians) and to the radius.
    seed : int or numpy.random.Generator, default 0
        The same seed gives the same points.
    dtype : dtype, default float32
        The dtype of X, float32 or float64.

    Returns
    -------
    X : ndarray of shape (2, m)
        The points, one a column, in shuffled order.
    y : ndarray of shape (m,), int64
        Their classes, 0 or 1.

    Raises
    ------
    ValueError
        If m is below 2, or noise is negative or not finite, or seed is negative.
    TypeError
        If m or seed is not an integer, noise is not a number, or dtype is not a float type.

    Notes
    -----
    Source of the formula: the rose curve; in two colours it is the planar data of the exercise
    with one hidden layer in A. Ng's course "Neural Networks and Deep Learning".

    Examples
    --------
    >>> import numpy as np
    >>> X, y = planar_flower(400, seed=3)
    >>> X.shape, np.bincount(y).tolist()
    ((2, 400), [200, 200])
    """
    m, spread, rng, float_dtype = _arguments(m, 2, noise, seed, dtype)
    y, position = _two_classes(m, rng)
    angle = np.pi * (position + y) + spread * rng.standard_normal(m)
    radius = 4.0 * np.sin(4.0 * angle) + spread * rng.standard_normal(m)
    X = np.stack((radius * np.sin(angle), radius * np.cos(angle)))
    return X.astype(float_dtype), y


def moons(
    m: int = 200,
    noise: float = 0.1,
    seed: int | np.random.Generator = 0,
    dtype: DTypeLike = np.float32,
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return two half circles that reach into each other, one a class.

    With θ evenly from 0 to π in both classes::

        class 0: X = (cos θ, sin θ)                 # the upper half of the unit circle
        class 1: X = (1 - cos θ, 1/2 - sin θ)       # a lower half, moved right and up

    and ``noise * normal`` added to both coordinates.

    Parameters
    ----------
    m : int, default 200
        The number of examples; half of each class, and one more of class 0 where m is odd.
    noise : float, default 0.1
        The standard deviation of what is added to both coordinates.
    seed : int or numpy.random.Generator, default 0
        The same seed gives the same points.
    dtype : dtype, default float32
        The dtype of X, float32 or float64.

    Returns
    -------
    X : ndarray of shape (2, m)
        The points, one a column, in shuffled order.
    y : ndarray of shape (m,), int64
        Their classes, 0 or 1.

    Raises
    ------
    ValueError
        If m is below 2, or noise is negative or not finite, or seed is negative.
    TypeError
        If m or seed is not an integer, noise is not a number, or dtype is not a float type.

    Notes
    -----
    Source of the formula: the two moons of the clustering literature, in the coordinates of
    scikit-learn's ``make_moons``.

    Examples
    --------
    >>> import numpy as np
    >>> X, y = moons(100, noise=0.0)
    >>> upper = X[:, y == 0]
    >>> bool(np.allclose(np.hypot(upper[0], upper[1]), 1.0, atol=1e-6))
    True
    """
    m, spread, rng, float_dtype = _arguments(m, 2, noise, seed, dtype)
    y, position = _two_classes(m, rng)
    angle = np.pi * position
    side = 1 - 2 * y
    X = np.stack((y + side * np.cos(angle), 0.5 * y + side * np.sin(angle)))
    X += spread * rng.standard_normal((2, m))
    return X.astype(float_dtype), y


def regression_curve(
    m: int = 200,
    noise: float = 0.1,
    seed: int | np.random.Generator = 0,
    dtype: DTypeLike = np.float32,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return a smooth curve with noise, to be fitted by squared error.

    ``y = sin(2 x) + x / 2 + noise * normal`` at m points x, evenly from -3 to 3.

    Parameters
    ----------
    m : int, default 200
        The number of examples.
    noise : float, default 0.1
        The standard deviation of what is added to y.
    seed : int or numpy.random.Generator, default 0
        The same seed gives the same points.
    dtype : dtype, default float32
        The dtype of X and Y, float32 or float64.

    Returns
    -------
    X : ndarray of shape (1, m)
        The points x, in rising order.
    Y : ndarray of shape (1, m)
        The curve's values at them, with noise.

    Raises
    ------
    ValueError
        If m is below 1, or noise is negative or not finite, or seed is negative.
    TypeError
        If m or seed is not an integer, noise is not a number, or dtype is not a float type.

    Notes
    -----
    Source: a formula of this package, a wave on a slope; the best cost that can be hoped for
    is that of the noise, ``noise ** 2 / 2``.

    Examples
    --------
    >>> X, Y = regression_curve(5, noise=0.0)
    >>> X
    array([[-3. , -1.5,  0. ,  1.5,  3. ]], dtype=float32)
    >>> Y.shape
    (1, 5)
    """
    m, spread, rng, float_dtype = _arguments(m, 1, noise, seed, dtype)
    X = np.linspace(-3.0, 3.0, m)[np.newaxis]
    Y = np.sin(2.0 * X) + X / 2.0 + spread * rng.standard_normal((1, m))
    return X.astype(float_dtype), Y.astype(float_dtype)


def _arguments(
    m: int, least: int, noise: float, seed: int | np.random.Generator, dtype: DTypeLike
) -> tuple[int, float, np.random.Generator, np.dtype[Any]]:
    """Check the arguments that all toy problems share."""
    m = check.integer("m", m, low=least)
    spread = check.number("noise", noise)
    float_dtype = check.float_type(dtype)
    return m, spread, check.generator("seed", seed), float_dtype


def _two_classes(m: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return m labels in shuffled order, and each example's place in its class, 0 to 1."""
    ones = m // 2
    zeros = m - ones
    y = (np.arange(m) >= zeros).astype(np.int64)
    position = np.concatenate((np.linspace(0.0, 1.0, zeros), np.linspace(0.0, 1.0, ones)))
    # Shuffled, because a mini-batch taken in order would hold a single class.
    order = rng.permutation(m)
    return y[order], position[order]
