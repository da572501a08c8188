"""Preprocessing, computed twice: by fastnn, and by plain loops or NumPy."""

from __future__ import annotations

import fractions
import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastnn.preprocessing import (
    Standardizer,
    flatten_images,
    k_fold,
    one_hot,
    scale_pixels,
    standardize,
    train_test_split,
)

FLOATS = [np.float32, np.float64]

# What a message says of every such argument.
NO_FLOAT_TYPE = "dtype must be float32 or float64, got "
NO_MATRIX = "must have 2 dimensions, one example a column; got "
NO_SHARE = r"test_fraction must lie in \(0, 1\), got "
NO_FLAG = r"stratify must be True or False \(the classes are those of y\), got "


def random_matrix(n, m, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((n, m)) * 3 + rng.standard_normal((n, 1)) * 5).astype(dtype)


def frozen(array):
    """Return the array, read-only: writing to it fails the test."""
    array.setflags(write=False)
    return array


# flatten_images


@pytest.mark.parametrize("shape", [(5, 3, 4, 2), (1, 1, 1, 1), (3, 2, 5), (1, 4, 4), (7, 1, 1)])
def test_flatten_images_places_every_pixel(shape):
    images = frozen(np.arange(math.prod(shape), dtype=np.int32).reshape(shape))
    X = flatten_images(images)
    four = images.reshape(*shape, 1) if len(shape) == 3 else images
    m, h, w, c = four.shape
    expected = np.empty((h * w * c, m), dtype=np.int32)
    for e in range(m):
        for i in range(h):
            for j in range(w):
                for k in range(c):
                    expected[(i * w + j) * c + k, e] = four[e, i, j, k]
    np.testing.assert_array_equal(X, expected)
    assert X.dtype == images.dtype


def test_flatten_images_is_a_view_where_images_lie_in_one_piece():
    images = np.zeros((6, 4, 4, 3), dtype=np.uint8)
    for source in (images, images[::2], images[1:3], images[::-1]):
        assert np.shares_memory(flatten_images(source), images)
    flatten_images(images)[5, 2] = 9
    assert images[2].ravel()[5] == 9


def test_flatten_images_copies_where_it_must():
    images = np.arange(48).reshape(2, 4, 6)
    cut = images[:, :, :3]
    X = flatten_images(cut)
    assert not np.shares_memory(X, images)
    np.testing.assert_array_equal(X[:, 1], cut[1].ravel())
    fortran = np.asfortranarray(images)
    np.testing.assert_array_equal(flatten_images(fortran), flatten_images(images))


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (np.zeros((8, 8)), ValueError, r"images has shape \(8, 8\): expected \(m, h, w, c\)"),
        (np.zeros((1, 2, 3, 4, 5)), ValueError, r"images has shape \(1, 2, 3, 4, 5\)"),
        (
            np.zeros((0, 8, 8)),
            ValueError,
            r"images is empty: its shape is \(0, 8, 8\); expected at least 1",
        ),
        (np.zeros((3, 8, 0)), ValueError, "images is empty"),
        (np.full((1, 2, 2), "a"), TypeError, "images has type <U1; expected real numbers"),
        (np.zeros((1, 2, 2), complex), TypeError, "images has type complex128"),
        ([[[1, 2], [3]]], ValueError, "images is not a rectangular array"),
    ],
)
def test_flatten_images_refuses(images, error, message):
    with pytest.raises(error, match=message):
        flatten_images(images)


# scale_pixels


@pytest.mark.parametrize("dtype", FLOATS)
def test_scale_pixels_of_every_byte_is_the_rounded_quotient(dtype):
    images = frozen(np.arange(256, dtype=np.uint8).reshape(4, 8, 8))
    scaled = scale_pixels(images, dtype)
    expected = [dtype(value / 255) for value in range(256)]
    np.testing.assert_array_equal(scaled.ravel(), np.array(expected, dtype=dtype))
    assert scaled.dtype == dtype
    assert scaled.shape == images.shape
    assert scaled.min() == 0 and scaled.max() == 1


def test_scale_pixels_is_float32_unless_told():
    assert scale_pixels(np.zeros(1, np.uint8)).dtype == np.float32
    assert scale_pixels(np.zeros(1, np.float64)).dtype == np.float32


@pytest.mark.parametrize("source", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("dtype", FLOATS)
def test_scale_pixels_of_floats_divides_in_the_wider_type(source, dtype):
    images = frozen(np.random.default_rng(1).uniform(0, 255, (5, 7)).astype(source))
    wider = np.result_type(source, dtype)
    expected = (images.astype(wider) / wider.type(255)).astype(dtype)
    np.testing.assert_array_equal(scale_pixels(images, dtype), expected)


def test_scale_pixels_keeps_the_memory_order_and_returns_new_memory():
    images = np.zeros((3, 4, 5), np.uint8)
    columns = flatten_images(images)
    assert scale_pixels(images).flags.c_contiguous
    assert scale_pixels(columns).flags.f_contiguous
    assert scale_pixels(columns).strides == (4, 80)
    floats = np.ones((2, 2), np.float32)
    assert not np.shares_memory(scale_pixels(floats), floats)
    assert (floats == 1).all()


def test_scale_pixels_lets_nan_and_infinity_through():
    scaled = scale_pixels(np.array([np.nan, np.inf, -np.inf]))
    np.testing.assert_array_equal(scaled, np.array([np.nan, np.inf, -np.inf], np.float32))


@pytest.mark.parametrize(
    ("images", "dtype", "error", "message"),
    [
        (np.zeros(3, np.int64), np.float32, TypeError, "images has type int64; expected uint8 or"),
        (np.zeros(3, np.uint16), np.float32, TypeError, "images has type uint16"),
        (np.zeros(3, bool), np.float32, TypeError, "images has type bool"),
        (np.zeros((0, 3), np.uint8), np.float32, ValueError, "images is empty"),
        (np.zeros(3, np.uint8), np.float16, TypeError, NO_FLOAT_TYPE + ".*float16"),
        (np.zeros(3, np.uint8), "nonsense", TypeError, NO_FLOAT_TYPE + "'nonsense'"),
        (np.zeros(3, np.uint8), None, TypeError, NO_FLOAT_TYPE + "None"),
    ],
)
def test_scale_pixels_refuses(images, dtype, error, message):
    with pytest.raises(error, match=message):
        scale_pixels(images, dtype)


# Standardizer


def statistics_by_loop(X):
    means, scales = [], []
    for row in X:
        values = [float(value) for value in row]
        mean = math.fsum(values) / len(values)
        variance = math.fsum((value - mean) ** 2 for value in values) / len(values)
        means.append([mean])
        scales.append([math.sqrt(variance)])
    return np.array(means), np.array(scales)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(("n", "m"), [(1, 2), (3, 2), (5, 37), (1, 100), (64, 17)])
def test_standardizer_agrees_with_a_plain_loop(n, m, dtype, order):
    X = frozen(np.array(random_matrix(n, m, dtype), order=order))
    standardizer = Standardizer()
    assert standardizer.fit(X) is standardizer
    mean, scale = statistics_by_loop(X)
    assert standardizer.mean_.shape == standardizer.scale_.shape == (n, 1)
    assert standardizer.mean_.dtype == standardizer.scale_.dtype == np.float64
    np.testing.assert_allclose(standardizer.mean_, mean, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(standardizer.scale_, scale, rtol=1e-13)
    transformed = standardizer.transform(X)
    assert transformed.dtype == dtype
    exact = (X.astype(np.float64) - standardizer.mean_) / standardizer.scale_
    np.testing.assert_array_equal(transformed, exact.astype(dtype))
    np.testing.assert_array_equal(Standardizer().fit_transform(X), transformed)


def test_standardized_features_have_mean_zero_and_deviation_one():
    transformed = Standardizer().fit_transform(random_matrix(6, 500))
    np.testing.assert_allclose(transformed.mean(axis=1), 0, atol=1e-14)
    np.testing.assert_allclose(transformed.std(axis=1), 1, rtol=1e-14)


def test_standardizer_computes_statistics_of_float32_in_float64():
    # In float32 the spread of such numbers would drown in the rounding of their mean.
    X = (16_000_000 + np.arange(1000) % 2)[np.newaxis].astype(np.float32)
    standardizer = Standardizer().fit(X)
    assert standardizer.mean_[0, 0] == 16_000_000.5
    assert standardizer.scale_[0, 0] == 0.5
    np.testing.assert_array_equal(standardizer.transform(X)[0, :2], [-1, 1])


@pytest.mark.parametrize("value", [0.0, 7.0, 0.1, -1e300, 1e-310, 1.0 / 3.0])
@pytest.mark.parametrize("m", [1, 3, 10, 1001])
def test_constant_features_get_scale_one_and_become_exactly_zero(value, m):
    X = np.full((2, m), value)
    X[1] = np.arange(m)
    standardizer = Standardizer().fit(X)
    assert standardizer.scale_[0, 0] == 1
    assert standardizer.mean_[0, 0] == value
    assert (standardizer.transform(X)[0] == 0).all()
    np.testing.assert_array_equal(
        standardizer.inverse_transform(standardizer.transform(X))[0], X[0]
    )


def test_tiny_and_huge_values_neither_underflow_nor_overflow():
    X = np.array([[1.0, 3.0], [1e-200, 3e-200], [1e200, 3e200], [1e-310, 3e-310]])
    np.testing.assert_allclose(
        Standardizer().fit_transform(X), [[-1, 1]] * 4, rtol=1e-12, atol=1e-12
    )


def test_statistics_that_overflow_are_named():
    X = np.array([[1.0, 2.0], [1.7e308, -1.7e308], [1.7e308, 1.6e308]])
    with pytest.raises(ValueError, match="X has values so large .* in features? .*2"):
        Standardizer().fit(X)


@pytest.mark.parametrize("source", [np.uint8, np.int64, bool, np.float16])
def test_other_numbers_become_float64(source):
    X = frozen(np.array([[0, 1, 1, 0], [1, 1, 0, 1]], dtype=source))
    standardizer = Standardizer().fit(X)
    transformed = standardizer.transform(X)
    assert transformed.dtype == np.float64
    np.testing.assert_allclose(transformed[0], [-1, 1, 1, -1])
    np.testing.assert_allclose(standardizer.inverse_transform(transformed), X, atol=1e-15)


@pytest.mark.parametrize("source", [np.float32, np.float64, np.int32])
@pytest.mark.parametrize("dtype", FLOATS)
def test_the_dtype_parameter_decides(source, dtype):
    X = random_matrix(3, 8).astype(source)
    standardizer = Standardizer(dtype).fit(X)
    assert standardizer.dtype == dtype
    assert standardizer.transform(X).dtype == dtype
    assert standardizer.inverse_transform(X).dtype == dtype
    assert standardize(X, dtype=dtype)[0].dtype == dtype


def test_foreign_byte_order_becomes_native():
    X = random_matrix(2, 5).astype(">f4")
    transformed = Standardizer().fit_transform(X)
    assert transformed.dtype == np.float32 and transformed.dtype.isnative
    np.testing.assert_array_equal(transformed, Standardizer().fit_transform(X.astype(np.float32)))


def test_standardizer_keeps_the_memory_order_and_returns_new_memory():
    X = random_matrix(3, 5)
    standardizer = Standardizer().fit(X)
    for call in (standardizer.transform, standardizer.inverse_transform):
        assert call(X).flags.c_contiguous
        assert call(np.asfortranarray(X)).flags.f_contiguous
        np.testing.assert_array_equal(call(np.asfortranarray(X)), call(X))
        np.testing.assert_array_equal(call(X.tolist()), call(X))
        assert not np.shares_memory(call(X), X)


def test_transform_lets_nan_and_infinity_through():
    standardizer = Standardizer().fit([[0.0, 2.0]])
    X = np.array([[np.nan, np.inf, -np.inf, 1.0]])
    np.testing.assert_array_equal(standardizer.transform(X), [[np.nan, np.inf, -np.inf, 0.0]])
    np.testing.assert_array_equal(
        standardizer.inverse_transform(X), [[np.nan, np.inf, -np.inf, 2.0]]
    )


@settings(max_examples=100, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from(FLOATS),
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=8),
        elements=st.floats(-1e6, 1e6, width=32),
    )
)
def test_transform_and_back_is_the_identity(X):
    before = X.copy()
    standardizer = Standardizer(np.float64).fit(X)
    restored = standardizer.inverse_transform(standardizer.transform(X))
    # Rounding happens in units of the largest value of the feature.
    largest = np.abs(X).max(axis=1, keepdims=True).astype(np.float64)
    assert (np.abs(restored - X) <= 8 * np.finfo(np.float64).eps * largest).all()
    np.testing.assert_array_equal(X, before)


@settings(max_examples=100, deadline=None)
@given(
    hnp.arrays(
        np.float64,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=8),
        elements=st.floats(
            allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300
        ),
    )
)
def test_statistics_are_finite_and_scales_positive(X):
    standardizer = Standardizer().fit(X)
    assert np.isfinite(standardizer.mean_).all()
    assert np.isfinite(standardizer.scale_).all()
    assert (standardizer.scale_ > 0).all()


def test_standardizer_survives_pickle_and_shows_its_call():
    X = random_matrix(3, 5)
    standardizer = Standardizer(np.float32).fit(X)
    copy = pickle.loads(pickle.dumps(standardizer))
    np.testing.assert_array_equal(copy.transform(X), standardizer.transform(X))
    assert repr(standardizer) == "Standardizer(dtype=float32)"
    assert repr(Standardizer()) == "Standardizer()"


@pytest.mark.parametrize("method", ["transform", "inverse_transform"])
def test_standardizer_wants_to_be_fitted(method):
    standardizer = Standardizer()
    assert not hasattr(standardizer, "mean_")
    with pytest.raises(ValueError, match="has no statistics yet: call fit first"):
        getattr(standardizer, method)([[1.0]])


@pytest.mark.parametrize("method", ["transform", "inverse_transform"])
def test_standardizer_wants_as_many_features_as_in_fit(method):
    standardizer = Standardizer().fit(random_matrix(3, 5))
    with pytest.raises(ValueError, match=r"X has 5 features \(rows\) but .* fitted on 3"):
        getattr(standardizer, method)(random_matrix(5, 3))


@pytest.mark.parametrize("method", ["fit", "fit_transform", "transform", "inverse_transform"])
@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        ([1.0, 2.0], ValueError, rf"X {NO_MATRIX}\(2,\)"),
        (np.zeros((1, 1, 1)), ValueError, rf"X {NO_MATRIX}\(1, 1, 1\)"),
        (np.zeros((0, 3)), ValueError, r"X is empty: its shape is \(0, 3\); expected at least 1"),
        (np.zeros((1, 0)), ValueError, "X is empty"),
        ([["a", "b"]], TypeError, "X has type <U1; expected real numbers"),
        ([[1j]], TypeError, "X has type complex128"),
        ([[None, 1]], TypeError, "X has type object"),
        ([[1, 2], [3]], ValueError, "X is not a rectangular array"),
    ],
)
def test_standardizer_refuses(method, X, error, message):
    standardizer = Standardizer().fit([[0.0, 4.0]])
    with pytest.raises(error, match=message):
        getattr(standardizer, method)(X)
    # The call that failed left the statistics alone.
    assert standardizer.mean_.tolist() == standardizer.scale_.tolist() == [[2.0]]


@pytest.mark.parametrize("call", [Standardizer().fit, Standardizer().fit_transform])
def test_fit_counts_and_places_what_is_not_finite(call):
    X = random_matrix(9, 6)
    X[4, 2] = np.nan
    with pytest.raises(ValueError, match="X has 1 NaN or infinite value, in feature 4: expected"):
        call(X)
    X[1, [0, 5]] = [np.inf, -np.inf]
    with pytest.raises(ValueError, match="X has 3 NaN or infinite values, in features 1, 4: "):
        call(X)
    X[:, 0] = np.nan
    with pytest.raises(ValueError, match="X has 11 .* in features 0, 1, 2, 3, 4 and 4 more: "):
        call(X)


@pytest.mark.parametrize("dtype", [np.float16, np.int32, "nonsense", object])
def test_standardizer_refuses_other_dtypes(dtype):
    with pytest.raises(TypeError, match=NO_FLOAT_TYPE):
        Standardizer(dtype)


# standardize


def test_standardize_uses_the_statistics_of_the_training_set():
    X_train, X_valid, X_test = (frozen(random_matrix(4, m, seed=m)) for m in (20, 7, 1))
    standardized = standardize(X_train, X_valid, X_test)
    assert isinstance(standardized, tuple) and len(standardized) == 3
    standardizer = Standardizer().fit(X_train)
    for given_set, result in zip((X_train, X_valid, X_test), standardized, strict=True):
        np.testing.assert_array_equal(result, standardizer.transform(given_set))


def test_standardize_of_one_set_is_a_tuple_of_one():
    (X_train,) = standardize([[0.0, 4.0]])
    np.testing.assert_array_equal(X_train, [[-1, 1]])


def test_standardize_names_the_argument():
    X = random_matrix(3, 5)
    with pytest.raises(ValueError, match=rf"X_train {NO_MATRIX}\(5,\)"):
        standardize(X[0], X)
    with pytest.raises(ValueError, match="X_train has 1 NaN or infinite value, in feature 0"):
        standardize([[np.nan, 1.0]])
    with pytest.raises(ValueError, match=r"others\[1\] has 2 features \(rows\) but .* on 3"):
        standardize(X, X, X[:2])
    with pytest.raises(ValueError, match=r"others\[0\] is empty"):
        standardize(X, X[:, :0])
    with pytest.raises(TypeError, match=NO_FLOAT_TYPE + "'int8'"):
        standardize(X, dtype="int8")


# one_hot


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8, bool])
@pytest.mark.parametrize("source", [np.int64, np.uint8, np.uint64, np.int16])
def test_one_hot_agrees_with_a_plain_loop(source, dtype):
    labels = frozen(np.array([3, 0, 0, 1, 4, 3], dtype=source))
    Y = one_hot(labels, 6, dtype)
    expected = np.zeros((6, 6), dtype=dtype)
    for e, label in enumerate(labels.tolist()):
        expected[label, e] = 1
    np.testing.assert_array_equal(Y, expected)
    assert Y.dtype == dtype and Y.flags.c_contiguous


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 20), min_size=1, max_size=30))
def test_one_hot_is_undone_by_argmax(labels):
    Y = one_hot(labels)
    assert Y.shape == (max(labels) + 1, len(labels)) and Y.dtype == np.float32
    assert Y.argmax(axis=0).tolist() == labels
    assert (Y.sum(axis=0) == 1).all() and set(np.unique(Y)) <= {0.0, 1.0}


def test_one_hot_takes_booleans_as_two_classes():
    np.testing.assert_array_equal(one_hot([True, False]), [[0, 1], [1, 0]])
    np.testing.assert_array_equal(one_hot([False, False], 2), [[1, 1], [0, 0]])


@pytest.mark.parametrize(
    ("labels", "n_classes", "error", "message"),
    [
        ([0, 2, -1], None, ValueError, r"labels\[2\] is -1: expected at least 0"),
        ([0, -2, 5], 3, ValueError, r"labels\[1\] is -2: expected 0 to 2 \(n_classes - 1\)"),
        ([0, 3, 1], 3, ValueError, r"labels\[1\] is 3: expected 0 to 2 \(n_classes - 1\)"),
        ([[0, 1]], None, ValueError, r"labels has shape \(1, 2\): expected \(m,\)"),
        (3, None, ValueError, r"labels has shape \(\): expected \(m,\)"),
        ([], None, ValueError, "labels is empty"),
        ([0.0, np.nan], None, TypeError, "labels has type float64; expected integers"),
        (["a"], None, TypeError, "labels has type <U1; expected integers"),
        ([[0], [0, 1]], None, ValueError, "labels is not a rectangular array"),
        ([0], 0, ValueError, "n_classes must be at least 1, got 0"),
        ([0], 2.0, TypeError, "n_classes must be a whole number, got float"),
        ([0], True, TypeError, "n_classes must be a whole number, got bool"),
    ],
)
def test_one_hot_refuses(labels, n_classes, error, message):
    with pytest.raises(error, match=message):
        one_hot(labels, n_classes)


@pytest.mark.parametrize("dtype", [None, object, "nonsense", str, complex])
def test_one_hot_refuses_other_dtypes(dtype):
    with pytest.raises(TypeError, match="dtype must be a boolean, integer or float type, got "):
        one_hot([0, 1], dtype=dtype)


# train_test_split


def numbered(m):
    """Return X, whose examples can be told apart, and labels that say which they are."""
    return frozen(np.arange(3 * m, dtype=np.float32).reshape(3, m)), frozen(np.arange(m))


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 60), st.floats(0.001, 0.999), st.integers(0, 2**32))
def test_split_puts_every_example_in_one_part(m, test_fraction, seed):
    X, y = numbered(m)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_fraction, seed)
    expected = min(max(math.floor(test_fraction * m + 0.5), 1), m - 1)
    assert X_test.shape == (3, expected) and y_test.shape == (expected,)
    assert X_train.shape == (3, m - expected) and y_train.shape == (m - expected,)
    assert sorted(np.concatenate([y_train, y_test]).tolist()) == list(range(m))
    np.testing.assert_array_equal(X_train, X[:, y_train])
    np.testing.assert_array_equal(X_test, X[:, y_test])


def test_split_shuffles_and_follows_the_seed():
    X, y = numbered(50)
    first = train_test_split(X, y, seed=5)
    for again in (
        train_test_split(X, y, seed=5),
        train_test_split(X, y, seed=np.int64(5)),
        train_test_split(X, y, seed=np.random.default_rng(5)),
        train_test_split(X.tolist(), y.tolist(), seed=5),
    ):
        for part, other in zip(first, again, strict=True):
            np.testing.assert_array_equal(part, other)
    other = train_test_split(X, y, seed=6)
    assert not np.array_equal(first[2], other[2])
    assert not np.array_equal(first[2], np.sort(first[2]))
    np.testing.assert_array_equal(train_test_split(X, y)[3], train_test_split(X, y, 0.2, 0)[3])


@pytest.mark.parametrize("stratify", [False, True])
def test_split_takes_columns_of_a_two_dimensional_y(stratify):
    X, _ = numbered(30)
    labels = np.arange(30) % 3
    Y = one_hot(labels)
    by_columns = train_test_split(X, Y, 0.3, 1, stratify)
    by_labels = train_test_split(X, labels, 0.3, 1, stratify)
    np.testing.assert_array_equal(by_columns[0], by_labels[0])
    np.testing.assert_array_equal(by_columns[2].argmax(axis=0), by_labels[2])
    np.testing.assert_array_equal(by_columns[3].argmax(axis=0), by_labels[3])
    assert by_columns[2].dtype == Y.dtype and by_labels[2].dtype == labels.dtype


def test_split_keeps_dtype_and_memory_order_and_copies():
    X, y = numbered(20)
    rows = np.ascontiguousarray(X.T)
    for source, flag in ((X, "C_CONTIGUOUS"), (rows.T, "F_CONTIGUOUS")):
        parts = train_test_split(source, y)
        for part in parts[:2]:
            assert part.flags[flag] and part.dtype == np.float32
            assert not np.shares_memory(part, source)
        np.testing.assert_array_equal(parts[0], X[:, parts[2]])
        np.testing.assert_array_equal(parts[1], X[:, parts[3]])


def test_split_takes_labels_that_are_words():
    X, _ = numbered(8)
    words = np.array(["no", "yes"] * 4)
    *_, y_train, y_test = train_test_split(X, words, 0.5, stratify=True)
    assert sorted(y_train) == sorted(y_test) == ["no", "no", "yes", "yes"]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(2, 25), min_size=1, max_size=6), st.floats(0.05, 0.95), st.data())
def test_stratified_split_gives_every_class_its_share(counts, test_fraction, data):
    m = sum(counts)
    m_test = min(max(math.floor(test_fraction * m + 0.5), 1), m - 1)
    y = np.repeat(np.arange(len(counts)) * 10, counts)
    y = y[data.draw(st.permutations(range(m)))]
    X = np.arange(m, dtype=np.float64)[np.newaxis]
    if len(counts) > min(m_test, m - m_test):
        with pytest.raises(ValueError, match=f"part gets .* of {m} examples but y has"):
            train_test_split(X, y, test_fraction, stratify=True)
        return
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_fraction, stratify=True)
    assert y_test.shape == (m_test,)
    assert sorted(np.concatenate([X_train[0], X_test[0]]).tolist()) == list(range(m))
    np.testing.assert_array_equal(y[X_train[0].astype(int)], y_train)
    np.testing.assert_array_equal(y[X_test[0].astype(int)], y_test)
    shares = [int((y_test == 10 * c).sum()) for c in range(len(counts))]
    exact = [count * m_test / m for count in counts]
    for count, share, quota in zip(counts, shares, exact, strict=True):
        assert 1 <= share <= count - 1
        if all(1 <= q <= n - 1 for q, n in zip(exact, counts, strict=True)):
            assert abs(share - quota) < 1


@pytest.mark.parametrize(
    ("counts", "test_fraction", "expected"),
    [
        ([10, 20, 30], 0.5, [5, 10, 15]),
        # Exact shares 2.5, 2.5 and 5: the earlier of two equal remainders gets the example.
        ([5, 5, 10], 0.5, [3, 2, 5]),
        # Exact shares 0.3, 0.3, 0.3 and 3.1: small classes get their one from the large one.
        ([2, 2, 2, 20], 0.15, [1, 1, 1, 1]),
        ([2, 2, 2, 20], 0.85, [1, 1, 1, 19]),
    ],
)
def test_stratified_shares(counts, test_fraction, expected):
    y = np.repeat(np.arange(len(counts)), counts)
    y_test = train_test_split(y[np.newaxis], y, test_fraction, stratify=True)[3]
    assert np.bincount(y_test).tolist() == expected


def test_stratified_split_is_shuffled_within_and_across_classes():
    y = np.repeat([0, 1], 50)
    X = np.arange(100.0)[np.newaxis]
    X_train, X_test, y_train, y_test = train_test_split(X, y, 0.4, 3, stratify=True)
    assert np.bincount(y_train).tolist() == [30, 30]
    assert np.bincount(y_test).tolist() == [20, 20]
    assert (np.diff(y_train) != 0).sum() > 10
    assert (np.diff(np.sort(X_test[0])) > 1).any()
    again = train_test_split(X, y, 0.4, 3, stratify=True)
    np.testing.assert_array_equal(again[1], X_test)


MATRIX = np.zeros((2, 6))
LABELS = np.array([0, 0, 0, 1, 1, 1])


@pytest.mark.parametrize(
    ("X", "y", "keywords", "error", "message"),
    [
        (MATRIX[0], LABELS, {}, ValueError, rf"X {NO_MATRIX}\(6,\)"),
        (np.zeros((6, 2, 2)), LABELS, {}, ValueError, rf"X {NO_MATRIX}\(6, 2, 2\)"),
        (MATRIX.T, LABELS, {}, ValueError, r"y has 6 examples but X has 2 \(columns\)"),
        (MATRIX, LABELS[:, np.newaxis], {}, ValueError, "y has 1 examples but X has 6"),
        (MATRIX, 3, {}, ValueError, r"y has shape \(\): expected \(m,\) or \(n_y, m\)"),
        (MATRIX, np.zeros((1, 1, 6)), {}, ValueError, r"y has shape \(1, 1, 6\)"),
        (MATRIX, np.zeros((0, 6)), {}, ValueError, "y is empty"),
        (MATRIX[:, :0], LABELS[:0], {}, ValueError, "X is empty"),
        (MATRIX[:, :1], LABELS[:1], {}, ValueError, "X has 1 example .* at least 2"),
        (MATRIX.astype(str), LABELS, {}, TypeError, "X has type .*; expected real numbers"),
        (MATRIX, LABELS, {"test_fraction": 0.0}, ValueError, NO_SHARE + "0$"),
        (MATRIX, LABELS, {"test_fraction": 1}, ValueError, NO_SHARE + "1$"),
        (MATRIX, LABELS, {"test_fraction": -0.5}, ValueError, NO_SHARE + "-0.5$"),
        (MATRIX, LABELS, {"test_fraction": math.nan}, ValueError, NO_SHARE + "nan$"),
        (
            MATRIX,
            LABELS,
            {"test_fraction": "0.2"},
            TypeError,
            "test_fraction must be a number, got str",
        ),
        (
            MATRIX,
            LABELS,
            {"test_fraction": True},
            TypeError,
            "test_fraction must be a number, got bool",
        ),
        (MATRIX, LABELS, {"seed": -1}, ValueError, "seed must be at least 0, got -1"),
        (MATRIX, LABELS, {"seed": 0.5}, TypeError, "seed must be a whole number, got float"),
        (MATRIX, LABELS, {"seed": None}, TypeError, "seed must be a whole number, got NoneType"),
        (MATRIX, LABELS, {"stratify": LABELS}, TypeError, NO_FLAG + "ndarray$"),
        (MATRIX, LABELS, {"stratify": 1}, TypeError, NO_FLAG + "int$"),
        (
            MATRIX,
            np.arange(6),
            {"stratify": True},
            ValueError,
            "y has 6 classes with a single example: expected at least 2",
        ),
        (
            MATRIX,
            np.array([0, 0, 0, 0, 0, 1]),
            {"stratify": True},
            ValueError,
            "y has 1 class with a single example",
        ),
        (
            MATRIX,
            LABELS,
            {"stratify": True, "test_fraction": 0.1},
            ValueError,
            "the test part gets 1 of 6 examples but y has 2 classes",
        ),
        (
            MATRIX,
            LABELS,
            {"stratify": True, "test_fraction": 0.9},
            ValueError,
            "the training part gets 1 of 6 examples but y has 2 classes",
        ),
        (
            MATRIX,
            np.array([0, 1, np.nan, 0, 1, np.nan]),
            {"stratify": True},
            ValueError,
            "y holds 2 NaN: expected class labels",
        ),
        (
            MATRIX,
            np.array([None] * 6),
            {"stratify": True},
            TypeError,
            "y has type object; expected numbers or strings",
        ),
    ],
)
def test_split_refuses(X, y, keywords, error, message):
    with pytest.raises(error, match=message):
        train_test_split(X, y, **keywords)


# What all functions share


class OnGpu:
    """What an array on a GPU looks like from outside."""

    __cuda_array_interface__ = {"shape": (2, 2), "typestr": "<f4", "data": (1, False), "version": 3}

    def __array__(self, *arguments, **options):
        raise AssertionError("copied to the host without being asked")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.ma.masked_array(MATRIX, mask=MATRIX == 0), "is a masked array; fill or drop"),
        (OnGpu(), "is on a GPU, but"),
    ],
    ids=["masked", "on a GPU"],
)
@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("images", flatten_images),
        ("images", scale_pixels),
        ("X", Standardizer().fit),
        ("X", Standardizer().fit(MATRIX).transform),
        ("X", Standardizer().fit(MATRIX).inverse_transform),
        ("X_train", standardize),
        (r"others\[0\]", lambda value: standardize(MATRIX, value)),
        ("labels", one_hot),
        ("X", lambda value: train_test_split(value, LABELS)),
        ("y", lambda value: train_test_split(MATRIX, value)),
    ],
)
def test_what_would_lose_its_mask_or_leave_its_gpu_is_refused(name, call, value, message):
    with pytest.raises(TypeError, match=f"{name} {message}"):
        call(value)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, ">i4", np.float16, ">f4", "g"])
def test_numbers_of_any_width_and_byte_order_keep_their_type(dtype):
    images = frozen((np.arange(24).reshape(6, 2, 2) % 2).astype(dtype))
    X = flatten_images(images)
    assert X.dtype == images.dtype and np.shares_memory(X, images)
    parts = train_test_split(X, X[0], stratify=True)
    assert all(part.dtype == images.dtype for part in parts)
    transformed = Standardizer().fit_transform(X)
    assert transformed.dtype == (np.float32 if dtype == ">f4" else np.float64)
    np.testing.assert_array_equal(transformed, Standardizer().fit_transform(X.astype(np.int64)))


def test_what_counts_as_a_number_may_be_of_any_class():
    X, y = numbered(10)
    fifth = train_test_split(X, y, fractions.Fraction(1, 5), seed=np.array(3))
    for part, other in zip(fifth, train_test_split(X, y, np.float32(0.2), 3), strict=True):
        np.testing.assert_array_equal(part, other)
    np.testing.assert_array_equal(one_hot([0, 1], np.array(3)), one_hot([0, 1], 3))


# ------------------------------------------------------------------ folds


@pytest.mark.parametrize(("m", "folds"), [(2, 2), (7, 3), (100, 5), (11, 11)])
def test_each_example_is_held_out_once(m, folds):
    found = k_fold(m, folds, seed=3)
    assert len(found) == folds
    for train, held_out in found:
        assert sorted([*train, *held_out]) == list(range(m))
        assert m // folds <= len(held_out) <= -(-m // folds)
        assert list(held_out) == sorted(held_out) and list(train) == sorted(train)
    assert sorted(np.concatenate([held_out for _, held_out in found])) == list(range(m))


def test_folds_by_class_hold_each_class_evenly():
    labels = np.array(["a"] * 50 + ["b"] * 31 + ["c"] * 6)
    for _, held_out in k_fold(87, 5, labels=labels):
        counts = [np.count_nonzero(labels[held_out] == name) for name in "abc"]
        assert counts[0] == 10 and counts[1] in (6, 7) and counts[2] in (1, 2)
        assert len(held_out) in (17, 18)


def test_folds_are_a_matter_of_the_seed():
    a, b, c = (k_fold(40, 4, seed=seed) for seed in (0, 0, 1))
    same = [np.array_equal(x[1], y[1]) for x, y in zip(a, b, strict=True)]
    assert all(same) and not np.array_equal(a[0][1], c[0][1])
    generator = np.random.default_rng(0)
    assert np.array_equal(k_fold(40, 4, generator)[0][1], a[0][1])


@pytest.mark.parametrize(
    ("told", "error", "sentence"),
    [
        (dict(m=0), ValueError, "m must be at least 1, got 0"),
        (dict(m=1.5), TypeError, "m must be a whole number"),
        (dict(folds=1), ValueError, "folds must be at least 2, got 1"),
        (dict(folds=11), ValueError, "folds must be at most the 10 examples, got 11"),
        (dict(labels=[0, 1]), ValueError, r"labels has shape \(2,\); expected \(10,\)"),
        (dict(labels=[None] * 10), TypeError, "labels has type object; expected numbers or str"),
        (dict(seed=-1), ValueError, "seed must be at least 0"),
    ],
)
def test_wrong_folds(told, error, sentence):
    with pytest.raises(error, match=sentence):
        k_fold(**{"m": 10, **told})
