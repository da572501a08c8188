"""``python -m fastnn demo``: the notes' networks on real data."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import numpy as np

from .. import datasets, preprocessing
from ..backends import numpy as numpy_backend
from ..device import selected
from ..history import History
from ..network import Network
from ..optimizers import Adam
from ..training import fit

_NETWORKS = (
    ("softmax regression", [64, 10]),
    ("one hidden layer", [64, 64, 10]),
    ("three hidden layers", [64, 64, 64, 64, 10]),
)
_BATCH = 32


def demo(epochs: int, picture: str, progress: bool) -> int:
    """Train on the digits, print the table, save the loss curves; return the exit code."""
    digits = datasets.load_digits()
    X, X_test, y, y_test = preprocessing.train_test_split(
        digits.X, digits.y, test_fraction=0.2, seed=0, stratify=True
    )
    X, X_test = preprocessing.standardize(X, X_test)
    m, m_test = X.shape[1], X_test.shape[1]
    print(f"Handwritten digits, 8 x 8 pixels: {m} to train on, {m_test} held out.")
    print(f"{epochs} epochs of Adam, batches of {_BATCH}, float32, device {selected()}.\n")
    # The first call compiles, or loads what was compiled before: not a part of training.
    Network([64, 2, 10], loss="cross_entropy").fit(X[:, :64], y[:64], epochs=1, batch_size=_BATCH)
    rows, curves = [], {}
    for title, sizes in _NETWORKS:
        name = "-".join(map(str, sizes))
        if progress:
            print(f"{title}, {name}", file=sys.stderr)
        net = Network(sizes, loss="cross_entropy", seed=0)
        history = net.fit(
            X,
            y,
            epochs=epochs,
            batch_size=_BATCH,
            optimizer=Adam(0.001),
            l2=1e-4,
            validation=(X_test, y_test),
            progress=progress,
        )
        rows.append(
            (
                title,
                name,
                float(np.mean(net.predict(X) == y)),
                float(np.mean(net.predict(X_test) == y_test)),
                _seconds(sizes, X, y, epochs),
                _seconds(sizes, X, y, epochs, reference=True),
            )
        )
        curves[f"{title} ({name})"] = history
    _print_table(rows)
    return _draw(curves, Path(picture))


def _seconds(
    sizes: list[int],
    X: np.ndarray,
    y: np.ndarray,
    epochs: int,
    reference: bool = False,
) -> float:
    """Return what the same training takes without validation, from the same start.

    The reference runs in the network's own type here, not in float64: a fair race.
    """
    fresh = Network(sizes, loss="cross_entropy", seed=0)
    trainer = partial(numpy_backend.trainer, dtype=np.float32) if reference else None
    history = fit(
        fresh,
        X,
        y,
        epochs=epochs,
        batch_size=_BATCH,
        optimizer=Adam(0.001),
        l2=1e-4,
        trainer=trainer,
    )
    return sum(history.seconds)


def _print_table(rows: list[tuple[str, str, float, float, float, float]]) -> None:
    head = ("network", "sizes", "train", "test", "fastnn", "NumPy", "ratio")
    print(f"{head[0]:20s} {head[1]:15s} {head[2]:>7s} {head[3]:>7s} ", end="")
    print(f"{head[4]:>9s} {head[5]:>9s} {head[6]:>6s}")
    for title, name, train, test, ours, numpys in rows:
        print(f"{title:20s} {name:15s} {train:7.2%} {test:7.2%} ", end="")
        print(f"{ours:7.3f} s {numpys:7.3f} s {numpys / ours:5.1f}x")
    print("\nseconds: training alone, float32; NumPy: the same formulas, line by line.")


def _draw(curves: dict[str, History], path: Path) -> int:
    try:
        from ..plotting import draw_histories
    except ImportError:
        print("no picture: matplotlib is not installed (pip install 'numba-fastnn[plot]')")
        return 0
    draw_histories(curves, path)
    print(f"loss curves: {path}")
    return 0
