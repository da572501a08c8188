"""Getting data ready: images to columns, scaling, labels to one-hot, train and test parts, folds.

Everywhere an example is a column: ``X`` is ``(n, m)``, n features of m examples. A table whose
examples are rows is passed as its transpose ``table.T``, a view; results keep its memory order.
Nothing here changes the arrays that it is given. Masked arrays, whose mask would be lost, and
arrays on a GPU are refused by a TypeError.
"""

from .folding import k_fold
from .images import flatten_images, scale_pixels
from .labels import one_hot
from .scaling import Standardizer, standardize
from .splitting import train_test_split

__all__ = [
    "Standardizer",
    "flatten_images",
    "k_fold",
    "one_hot",
    "scale_pixels",
    "standardize",
    "train_test_split",
]
