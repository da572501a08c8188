"""From pictures to columns: flatten, scale, standardise by the training set.

The notes flatten (m, h, w, 3) into (h * w * 3, m) with `x.reshape(x.shape[0], -1).T`, so that
each column is one image, and divide by 255, the largest value of a pixel channel.
"""

import numpy as np

from fastnn.preprocessing import Standardizer, flatten_images, scale_pixels


def pictures(m, seed):
    """Return m made-up colour pictures of 16 x 16 pixels, reddish at the top, as bytes."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 128, (m, 16, 16, 3))
    images[:, :8, :, 0] += 120
    return images.astype(np.uint8)


def largest(values):
    """Return the largest of their absolute values."""
    return float(np.abs(values).max())


def main():
    """Take a training and a test set through the three steps."""
    train, test = pictures(200, seed=0), pictures(50, seed=1)
    print(f"images        train {train.shape}, test {test.shape}, {train.dtype}")

    X_train, X_test = flatten_images(train), flatten_images(test)
    print(f"flattened     train {X_train.shape}, test {X_test.shape}: one image a column")

    X_train, X_test = scale_pixels(X_train), scale_pixels(X_test)
    print(f"scaled        from {X_train.min():.2f} to {X_train.max():.2f}, {X_train.dtype}")

    # The notes subtract one mean of the whole array; here each feature has its own. Either way
    # the numbers come from the training set alone: a test set must not tell anything about
    # itself beforehand, and the network will meet new pictures one at a time.
    standardizer = Standardizer().fit(X_train)
    Z_train, Z_test = standardizer.transform(X_train), standardizer.transform(X_test)
    for name, Z in (("train", Z_train), ("test", Z_test)):
        mean, deviation = largest(Z.mean(axis=1)), largest(Z.std(axis=1) - 1)
        print(f"standardised  {name:5} |mean| <= {mean:.1e}, |deviation - 1| <= {deviation:.1e}")
    return {
        "image_shape": train.shape,
        "flat_shape": X_train.shape,
        "same_as_notes": bool((flatten_images(train) == train.reshape(200, -1).T).all()),
        "is_view": np.shares_memory(flatten_images(train), train),
        "range": (float(X_train.min()), float(X_train.max())),
        "train_mean": largest(Z_train.mean(axis=1)),
        "train_deviation": largest(Z_train.std(axis=1) - 1),
        "test_mean": largest(Z_test.mean(axis=1)),
    }


if __name__ == "__main__":
    main()
