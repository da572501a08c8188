"""Images: flattened to columns, their pixels scaled."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .. import validation as check


def flatten_images(images: ArrayLike) -> NDArray[Any]:
    """Turn images into columns, one flattened image a column.

    ``X = images.reshape(m, -1).T``: pixel (i, j) of channel k of image e stands in
    ``X[(i * w + j) * c + k, e]``.

    Parameters
    ----------
    images : array_like
        m images of shape (m, h, w, c), or (m, h, w) where there is one channel. Any numbers.

    Returns
    -------
    ndarray
        X of shape (h * w * c, m) and the dtype of images. It is a view of images wherever NumPy
        can reshape without copying, as where each image lies in one piece in memory (any
        C-ordered array, any choice of its images by a slice); otherwise a copy.

    Raises
    ------
    ValueError
        If images has neither three nor four dimensions, or is empty.
    TypeError
        If images does not hold real numbers.

    Notes
    -----
    Source: the flattening trick of the first exercise in A. Ng's course "Neural Networks and
    Deep Learning".

    Examples
    --------
    >>> import numpy as np
    >>> images = np.arange(2 * 2 * 2 * 3).reshape(2, 2, 2, 3)
    >>> X = flatten_images(images)
    >>> X.shape
    (12, 2)
    >>> bool((X[:, 1] == images[1].ravel()).all()), np.shares_memory(X, images)
    (True, True)
    """
    array = check.real_array("images", images)
    if array.ndim not in (3, 4):
        raise ValueError(
            f"images has shape {array.shape}: expected (m, h, w, c) or (m, h, w); "
            f"a single image is images[np.newaxis]"
        )
    check.filled("images", array)
    return array.reshape(array.shape[0], -1).T


def scale_pixels(images: ArrayLike, dtype: DTypeLike = np.float32) -> NDArray[Any]:
    """Divide pixels by 255, the largest value of a pixel channel.

    ``scaled = images / 255``: bytes end up between 0 and 1.

    Parameters
    ----------
    images : array_like
        Pixels of dtype uint8 or any float type, in any shape: images, or columns of
        `flatten_images`. Floats are divided by 255 whatever their range is.
    dtype : dtype, default float32
        The dtype of the result, float32 or float64.

    Returns
    -------
    ndarray
        A new array of the shape and memory order of images. The division is done in the wider
        of the two types and rounded once to dtype.

    Raises
    ------
    TypeError
        If images is neither uint8 nor float (whole numbers of other types need not end at 255),
        or dtype is neither float32 nor float64.
    ValueError
        If images is empty.

    Notes
    -----
    Source: the first exercise in A. Ng's course "Neural Networks and Deep Learning", which
    divides every row of a picture data set by the largest value of a pixel channel.

    Examples
    --------
    >>> import numpy as np
    >>> scale_pixels(np.array([[0, 51, 255]], dtype=np.uint8))
    array([[0. , 0.2, 1. ]], dtype=float32)
    """
    result_dtype = check.float_type(dtype)
    array = check.any_array("images", images)
    if array.dtype != np.uint8 and array.dtype.kind != "f":
        raise TypeError(
            f"images has type {array.dtype}; expected uint8 or a float type, "
            f"with pixels from 0 to 255"
        )
    check.filled("images", array)
    scaled = np.empty_like(array, dtype=result_dtype, subok=False)
    wider = np.result_type(array.dtype, result_dtype)
    np.divide(array, 255, out=scaled, dtype=wider, casting="same_kind")
    return scaled
