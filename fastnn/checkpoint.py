"""A fit on disk, so that it can go on after a crash as if nothing had happened."""

from __future__ import annotations

import hashlib
import numbers
from dataclasses import fields, is_dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import validation as check
from .history import History
from .kernels.structures import Progress

Array = NDArray[Any]

# Examples that are digested together.
_ROWS = 4096


def _digest(*arrays: Array | None) -> str:
    """Return a digest of arrays, whatever memory order they have."""
    found = hashlib.blake2b(digest_size=16)
    for A in arrays:
        if A is None:
            found.update(b"none")
            continue
        found.update(f"{A.dtype.str} {A.shape}".encode())
        rows = A.T  # one example a row
        for start in range(0, len(rows), _ROWS):
            found.update(np.ascontiguousarray(rows[start : start + _ROWS]).data)
    return found.hexdigest()


def _said(value: Any) -> str:
    """Return an argument as text that is the same in another process."""
    if is_dataclass(value):
        told = ", ".join(f"{f.name}={_said(getattr(value, f.name))}" for f in fields(value))
        return f"{type(value).__name__}({told})"
    if callable(value):
        return str(getattr(value, "__qualname__", type(value).__qualname__))
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        return repr(float(value))  # 0 and 0.0, also NumPy's, are one number
    return repr(value)


class Checkpoint:
    """Writes a fit to a file every so many epochs, and reads it back."""

    def __init__(
        self,
        path: Any,
        every: int,
        arguments: dict[str, Any],
        examples: tuple[Array | None, ...],
        held_out: tuple[Array | None, ...],
        parameters: Array,
        progress: Progress,
        best: Array,
    ) -> None:
        from . import persistence

        self._files, self._path, self._every = persistence, path, every
        self._parameters, self._progress, self._best = parameters, progress, best
        self._about = {name: _said(value) for name, value in arguments.items()}
        self._about["training examples"] = _digest(*examples)
        self._about["validation examples"] = _digest(*held_out)
        self._about["parameters before training"] = _digest(parameters)
        if progress.counts[0] > 0:
            self._about["moments before training"] = _digest(progress.state)

    def resume(self, history: History) -> None:
        """Put everything where the file says that it stood; begin the file if there is none.

        Raises
        ------
        FileFormatError
            If it is not a checkpoint, or of another fit.
        OSError, ImportError
            If it cannot be written: better now than after an hour of training.
        """
        try:
            arrays, about = self._files.read(self._path)
        except FileNotFoundError:
            self._write(history)
            return
        self._compare(about)
        progress = self._progress
        expected = {
            "parameters": self._parameters,
            "best": self._best,
            "moments": progress.state,
            "random": progress.random,
            "order": progress.order,
        }
        epochs = len(arrays.get("cost", ()))
        shapes = {name: (A.shape, A.dtype) for name, A in expected.items()}
        shapes |= {name: ((epochs,), np.dtype(np.float64)) for name in ("cost", "seconds")}
        watched = len(arrays.get("validation_cost", ()))
        shapes["validation_cost"] = ((watched,), np.dtype(np.float64))
        shapes["counts"] = ((2,), np.dtype(np.int64))
        if {name: (A.shape, A.dtype) for name, A in arrays.items()} != shapes:
            raise self._wrong("its arrays are not those of a checkpoint")
        steps, best_epoch = arrays["counts"].tolist()
        order = arrays["order"]
        if order.size and (order.min() < 0 or order.max() >= order.size):
            raise self._wrong("its order names examples that there are not")
        if watched not in (0, epochs) or not -1 <= best_epoch < max(epochs, 1):
            raise self._wrong("its numbers of epochs contradict one another")
        if epochs == 0 and steps != progress.counts[0]:
            raise self._wrong("its steps and epochs contradict one another")
        if epochs > progress.counts[3]:
            raise ValueError(
                f"the checkpoint at {self._path} has {epochs} epochs, more than epochs="
                f"{progress.counts[3]}"
            )
        ends = ("epochs", "patience", "progress")
        stopped = check.one_of("stopped", about.get("stopped"), ends)
        for name, A in expected.items():
            A[...] = arrays[name]
        progress.snapshot[...] = self._parameters
        progress.counts[:2] = steps, epochs
        progress.costs[:epochs] = arrays["cost"]
        history.cost = arrays["cost"].tolist()
        history.seconds = arrays["seconds"].tolist()
        history.validation_cost = arrays["validation_cost"].tolist()
        history.best_epoch = None if best_epoch < 0 else best_epoch
        history.stopped = stopped

    def note(self, history: History) -> None:
        """Write the file if it is time; an epoch has just ended."""
        epochs, progress = len(history.cost), self._progress
        ends = epochs == progress.counts[3] or history.stopped != "epochs"
        if epochs % self._every == 0 or ends:
            self._write(history)

    def _write(self, history: History) -> None:
        progress = self._progress
        best = -1 if history.best_epoch is None else history.best_epoch
        arrays = {
            "parameters": self._parameters,
            "best": self._best,
            "moments": progress.state,
            "random": progress.random,
            "order": progress.order,
            "cost": np.array(history.cost),
            "seconds": np.array(history.seconds),
            "validation_cost": np.array(history.validation_cost),
            "counts": np.array([progress.counts[0], best], np.int64),
        }
        self._files.write(self._path, arrays, {**self._about, "stopped": history.stopped})

    def _compare(self, about: dict[str, Any]) -> None:
        names = dict.fromkeys(chain(self._about, about))
        names.pop("stopped", None)
        if "training examples" not in about:
            raise self._wrong("it is no checkpoint")
        for name in names:
            here, there = self._about.get(name), about.get(name)
            if here == there:
                continue
            digest = "examples" in name or "training" in name
            what = "differ" if digest else f"were {there} there, and are {here} here"
            raise self._wrong(
                f"it is of another fit: {name} {what}. Delete it, or give another path"
            )

    def _wrong(self, reason: str) -> Exception:
        return self._files.FileFormatError(f"cannot resume from {self._path}: {reason}")
