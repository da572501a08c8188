"""The data sets: bytes, formulas, seeds, and that each is as hard as it claims to be."""

from __future__ import annotations

import hashlib
import importlib.resources
import inspect
import math

import numpy as np
import pytest

from fastnn.datasets import (
    Digits,
    load_digits,
    moons,
    planar_flower,
    regression_curve,
    xor,
)

# The same hashes stand in fastnn/data/README.md.
PIXELS_SHA256 = "8f26b2bd9d135c256808f68f14fdabddde6d9c7f869ae419704b051f0f14b3b3"
LABELS_SHA256 = "8ba4f891220f5e4c9c819638d1602d74b83618f167043c6da52a2a247841ddf0"
# Images of each digit in the test part, as its authors list them.
DIGIT_COUNTS = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]

FLOATS = [np.float32, np.float64]
GENERATORS = [xor, planar_flower, moons, regression_curve]


# load_digits


@pytest.mark.parametrize("dtype", FLOATS)
def test_digits_have_the_documented_shapes_and_types(dtype):
    digits = load_digits(dtype)
    assert isinstance(digits, Digits) and digits._fields == ("X", "y", "images")
    assert digits.X.shape == (64, 1797) and digits.X.dtype == dtype
    assert digits.images.shape == (1797, 8, 8) and digits.images.dtype == dtype
    assert digits.y.shape == (1797,) and digits.y.dtype == np.int64
    assert load_digits().X.dtype == np.float32


def test_digits_are_the_original_bytes():
    X, y, images = load_digits(np.float64)
    pixels = images.astype(np.uint8)
    assert (pixels == images).all()
    assert hashlib.sha256(pixels.tobytes()).hexdigest() == PIXELS_SHA256
    assert hashlib.sha256(y.astype(np.uint8).tobytes()).hexdigest() == LABELS_SHA256
    assert images.min() == 0 and images.max() == 16
    assert np.bincount(y).tolist() == DIGIT_COUNTS
    for e in (0, 1, 1000, 1796):
        np.testing.assert_array_equal(X[:, e], images[e].ravel())


def test_digits_file_holds_plain_bytes_and_names_its_source():
    folder = importlib.resources.files("fastnn.data")
    with (
        folder.joinpath("digits.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as stored,
    ):
        assert sorted(stored.files) == ["labels", "pixels"]
        assert stored["pixels"].dtype == stored["labels"].dtype == np.uint8
        assert stored["pixels"].shape == (1797, 64) and stored["labels"].shape == (1797,)
        assert hashlib.sha256(stored["pixels"].tobytes()).hexdigest() == PIXELS_SHA256
        assert hashlib.sha256(stored["labels"].tobytes()).hexdigest() == LABELS_SHA256
    readme = folder.joinpath("README.md").read_text(encoding="utf-8")
    for word in (PIXELS_SHA256, LABELS_SHA256, "10.24432/C50P49", "CC BY 4.0", "Alpaydin"):
        assert word in readme


def test_digits_are_those_of_scikit_learn():
    sklearn_datasets = pytest.importorskip("sklearn.datasets")
    theirs = sklearn_datasets.load_digits()
    ours = load_digits(np.float64)
    np.testing.assert_array_equal(ours.X.T, theirs.data)
    np.testing.assert_array_equal(ours.images, theirs.images)
    np.testing.assert_array_equal(ours.y, theirs.target)


def test_digits_X_is_a_view_and_every_call_has_its_own_arrays():
    digits = load_digits()
    assert np.shares_memory(digits.X, digits.images)
    assert digits.X.T.flags.c_contiguous
    digits.X[:] = -1
    digits.y[:] = -1
    again = load_digits()
    assert again.X.min() == 0 and again.y.min() == 0


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, None, "nonsense"])
@pytest.mark.parametrize("make", [load_digits, *GENERATORS])
def test_other_dtypes_are_refused(make, dtype):
    with pytest.raises(TypeError, match="dtype must be float32 or float64, got "):
        make(dtype=dtype)


# What all generators share


@pytest.mark.parametrize("make", GENERATORS)
@pytest.mark.parametrize("m", [2, 3, 10, 101])
@pytest.mark.parametrize("dtype", FLOATS)
def test_generators_return_examples_as_columns(make, m, dtype):
    X, y = make(m, dtype=dtype)
    assert X.dtype == dtype and X.flags.c_contiguous and np.isfinite(X).all()
    if make is regression_curve:
        assert X.shape == y.shape == (1, m) and y.dtype == dtype
    else:
        assert X.shape == (2, m) and y.shape == (m,) and y.dtype == np.int64
        assert set(y.tolist()) <= {0, 1}
    assert make(m)[0].dtype == np.float32


@pytest.mark.parametrize("make", GENERATORS)
def test_generators_follow_the_seed(make):
    first = make(50, 0.3, 7)
    for again in (make(50, 0.3, seed=np.int32(7)), make(50, 0.3, np.random.default_rng(7))):
        np.testing.assert_array_equal(first[0], again[0])
        np.testing.assert_array_equal(first[1], again[1])
    other = make(50, 0.3, 8)
    assert not (np.array_equal(first[0], other[0]) and np.array_equal(first[1], other[1]))
    np.testing.assert_array_equal(make(50)[1], make(50, seed=0)[1])


@pytest.mark.parametrize("make", GENERATORS)
def test_float32_is_float64_rounded(make):
    single, double = make(40, 0.2, 3, np.float32), make(40, 0.2, 3, np.float64)
    np.testing.assert_array_equal(single[0], double[0].astype(np.float32))
    np.testing.assert_array_equal(single[1], double[1].astype(single[1].dtype))


@pytest.mark.parametrize("make", GENERATORS)
def test_generators_leave_numpys_global_generator_alone(make):
    np.random.seed(1)
    expected = np.random.random()
    np.random.seed(1)
    make(20, 0.1)
    assert np.random.random() == expected


@pytest.mark.parametrize("make", [xor, moons])
def test_noise_has_the_given_deviation(make):
    clean, labels = make(20_000, 0.0, 5, np.float64)
    noisy, noisy_labels = make(20_000, 0.25, 5, np.float64)
    np.testing.assert_array_equal(labels, noisy_labels)
    difference = noisy - clean
    assert abs(difference.mean()) < 0.01
    np.testing.assert_allclose(difference.std(axis=1), 0.25, rtol=0.03)


@pytest.mark.parametrize("make", [planar_flower, moons])
def test_two_classes_are_halves_in_shuffled_order(make):
    for m, counts in ((400, [200, 200]), (401, [201, 200]), (2, [1, 1])):
        assert np.bincount(make(m)[1]).tolist() == counts
    assert (np.diff(make(400)[1]) != 0).sum() > 100


@pytest.mark.parametrize("make", GENERATORS)
@pytest.mark.parametrize(
    ("keywords", "error", "message"),
    [
        ({"m": 0}, ValueError, "m must be at least [12], got 0"),
        ({"m": -3}, ValueError, "m must be at least [12], got -3"),
        ({"m": 10.0}, TypeError, "m must be a whole number, got float"),
        ({"m": True}, TypeError, "m must be a whole number, got bool"),
        ({"m": "4"}, TypeError, "m must be a whole number, got str"),
        ({"noise": -0.1}, ValueError, r"noise must lie in \[0, inf\), got -0.1"),
        ({"noise": math.nan}, ValueError, r"noise must lie in \[0, inf\), got nan"),
        ({"noise": math.inf}, ValueError, r"noise must lie in \[0, inf\), got inf"),
        ({"noise": "0.1"}, TypeError, "noise must be a number, got str"),
        ({"noise": None}, TypeError, "noise must be a number, got NoneType"),
        ({"noise": False}, TypeError, "noise must be a number, got bool"),
        ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
        ({"seed": None}, TypeError, "seed must be a whole number, got NoneType"),
        ({"seed": 1.5}, TypeError, "seed must be a whole number, got float"),
    ],
)
def test_generators_refuse(make, keywords, error, message):
    with pytest.raises(error, match=message):
        make(**keywords)


@pytest.mark.parametrize("make", [planar_flower, moons])
def test_two_classes_need_two_examples(make):
    with pytest.raises(ValueError, match="m must be at least 2, got 1"):
        make(1)


# Formulas, by plain loops


def test_xor_is_the_four_corners():
    X, y = xor()
    np.testing.assert_array_equal(X, [[0, 0, 1, 1], [0, 1, 0, 1]])
    np.testing.assert_array_equal(y, [0, 1, 1, 0])
    assert not np.signbit(X).any()
    np.testing.assert_array_equal(xor(seed=99)[0], X)


@pytest.mark.parametrize("m", [1, 3, 4, 9])
def test_xor_repeats_the_corners(m):
    X, y = xor(m, dtype=np.float64)
    for e in range(m):
        first, second = (e % 4) // 2, e % 2
        assert X[:, e].tolist() == [first, second]
        assert y[e] == (first != second)


def test_flower_points_stand_on_the_curve():
    m = 81
    X, y = planar_flower(m, noise=0.0, dtype=np.float64)
    expected = []
    for label, count in ((0, 41), (1, 40)):
        for i in range(count):
            angle = math.pi * (label + i / (count - 1))
            radius = 4 * math.sin(4 * angle)
            expected.append((label, radius * math.sin(angle), radius * math.cos(angle)))
    found = sorted(zip(y.tolist(), *X.tolist(), strict=True))
    np.testing.assert_allclose(found, sorted(expected), atol=1e-12)


def test_flower_noise_moves_angle_and_radius():
    X, _ = planar_flower(1000, noise=0.2)
    radius = np.hypot(X[0], X[1])
    assert 4 < radius.max() < 5
    clean, _ = planar_flower(1000, noise=0.0)
    assert np.hypot(clean[0], clean[1]).max() <= 4 + 1e-6


def test_flower_is_not_linearly_separable():
    for seed in range(5):
        X, y = planar_flower(400, seed=seed, dtype=np.float64)
        # Least squares with an intercept: the linear classifier in closed form.
        features = np.vstack([X, np.ones(400)])
        weights = np.linalg.lstsq(features.T, 2.0 * y - 1.0)[0]
        accuracy = ((weights @ features > 0) == y).mean()
        assert 0.4 < accuracy < 0.6, (seed, accuracy)


def test_flower_is_learnt_by_four_tanh_units():
    for seed in (0, 1):
        X, y = planar_flower(400, seed=seed, dtype=np.float64)
        rng = np.random.default_rng(2)
        W1, b1 = rng.standard_normal((4, 2)) * 0.5, np.zeros((4, 1))
        W2, b2 = rng.standard_normal((1, 4)) * 0.5, np.zeros((1, 1))
        for _ in range(5000):
            A1 = np.tanh(W1 @ X + b1)
            A2 = 1.0 / (1.0 + np.exp(-(W2 @ A1 + b2)))
            dZ2 = (A2 - y) / 400
            dZ1 = (W2.T @ dZ2) * (1.0 - A1 * A1)
            W2 -= 1.2 * (dZ2 @ A1.T)
            b2 -= 1.2 * dZ2.sum(axis=1, keepdims=True)
            W1 -= 1.2 * (dZ1 @ X.T)
            b1 -= 1.2 * dZ1.sum(axis=1, keepdims=True)
        accuracy = ((A2[0] > 0.5) == y).mean()
        assert accuracy >= 0.9, (seed, accuracy)


def test_moons_are_half_circles():
    m = 61
    X, y = moons(m, noise=0.0, dtype=np.float64)
    expected = []
    for label, count in ((0, 31), (1, 30)):
        for i in range(count):
            angle = math.pi * i / (count - 1)
            point = (math.cos(angle), math.sin(angle))
            if label == 1:
                point = (1 - point[0], 0.5 - point[1])
            expected.append((label, *point))
    found = sorted(zip(y.tolist(), *X.tolist(), strict=True))
    np.testing.assert_allclose(found, sorted(expected), atol=1e-12)


def test_moons_without_noise_are_those_of_scikit_learn():
    sklearn_datasets = pytest.importorskip("sklearn.datasets")
    X, y = moons(60, noise=0.0, dtype=np.float64)
    theirs, labels = sklearn_datasets.make_moons(60, noise=None, shuffle=False)
    for label in (0, 1):
        # By the height and the side, because both sets are unordered.
        ours_sorted = sorted(map(tuple, X[:, y == label].T.round(9) + 0.0))
        theirs_sorted = sorted(map(tuple, theirs[labels == label].round(9) + 0.0))
        np.testing.assert_allclose(ours_sorted, theirs_sorted, atol=1e-9)


def test_regression_curve_is_its_formula():
    X, Y = regression_curve(13, noise=0.0, dtype=np.float64)
    for e in range(13):
        x = -3 + 6 * e / 12
        assert X[0, e] == pytest.approx(x, abs=1e-15)
        assert Y[0, e] == pytest.approx(math.sin(2 * x) + x / 2, abs=1e-14)


def test_regression_curve_noise_is_in_Y_alone():
    X, Y = regression_curve(10_000, noise=0.3, dtype=np.float64)
    clean_X, clean_Y = regression_curve(10_000, noise=0.0, dtype=np.float64)
    np.testing.assert_array_equal(X, clean_X)
    assert (Y - clean_Y).std() == pytest.approx(0.3, rel=0.03)


@pytest.mark.parametrize("make", GENERATORS)
def test_generators_share_their_signature(make):
    assert list(inspect.signature(make).parameters) == ["m", "noise", "seed", "dtype"]
