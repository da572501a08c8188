"""Pictures of training, with matplotlib (the extra ``plot``)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .history import History

__all__ = ["draw_histories"]


def draw_histories(histories: Mapping[str, History], path: str | Path) -> None:
    """Save the cost of each fit, epoch by epoch, as a picture.

    Parameters
    ----------
    histories : mapping of str to History
        What each curve is called.
    path : path
        Ends in .svg, .png or another format of matplotlib's.

    Raises
    ------
    ValueError
        If matplotlib does not know the format.

    Examples
    --------
    >>> import os, tempfile, fastnn
    >>> from fastnn.plotting import draw_histories
    >>> X, y = fastnn.datasets.moons(50)
    >>> history = fastnn.Network([2, 1], ["sigmoid"]).fit(X, y, epochs=5)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     draw_histories({"moons": history}, folder + "/moons.png")
    ...     os.listdir(folder)
    ['moons.png']
    """
    # A figure of its own, not pyplot's: no window, and the caller's settings stay as they were.
    figure = Figure(figsize=(7.0, 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for i, (name, history) in enumerate(histories.items()):
        epochs = range(1, len(history.cost) + 1)
        axes.plot(epochs, history.cost, color=f"C{i}", label=name)
        if history.validation_cost:
            axes.plot(epochs, history.validation_cost, color=f"C{i}", linestyle="--")
    if any(history.validation_cost for history in histories.values()):
        axes.plot([], [], color="0.4", linestyle="--", label="on held-out examples")
    axes.set_yscale("log")
    axes.set_xlabel("epoch")
    axes.set_ylabel("cost J")
    axes.grid(True, alpha=0.3)
    axes.legend(frameon=False)
    # The same training gives the same file.
    with mpl.rc_context({"svg.hashsalt": "fastnn"}):
        metadata = {"Date": None} if str(path).endswith(".svg") else None
        figure.savefig(path, metadata=metadata, dpi=120)
