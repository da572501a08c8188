"""The examples of many fits: checked once for all networks that take them alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import residence
from . import validation as check
from .network import Network
from .training import held_out

Array = NDArray[Any]


class SharedExamples:
    """Examples and targets, as each network takes them; what was made is kept.

    What is kept goes by the identity of what the caller gave, who holds it for as long as this.
    """

    def __init__(self, X: ArrayLike, Y: ArrayLike) -> None:
        # From a GPU they come here once, for all.
        self._X, self._Y = residence.to_host("X", X), residence.to_host("Y", Y)
        self._kept: dict[Any, Any] = {}

    def _once(self, key: Any, make: Callable[[], Any]) -> Any:
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    def of(self, net: Network) -> tuple[Array, Array]:
        """Return X and Y, checked for such a network."""
        found: tuple[Array, Array] = self._once(
            _kind(net), lambda: net._checked(self._X, self._Y)[:2]
        )
        return found

    def by_rows(self, net: Network) -> Array:
        """Return X with its examples as rows in memory, for those that gather them in an order."""
        rows: Array = self._once(
            ("rows", net.dtype), lambda: np.ascontiguousarray(self.of(net)[0].T).T
        )
        return rows

    def numbers(self, name: str, rows: Any) -> NDArray[np.int64] | None:
        """Return the numbers of some examples; None: of all."""
        if rows is None:
            return None
        found: NDArray[np.int64] = self._once((name, id(rows)), lambda: self._numbers(name, rows))
        return found

    def _numbers(self, name: str, rows: Any) -> NDArray[np.int64]:
        m = np.shape(self._X)[1]
        found = check.filled(name, check.any_array(name, rows))
        check.of_kind(name, found, check.INTEGERS, "numbers of examples, or True and False")
        if found.dtype.kind == "b":
            check.same_shape(name, found, "a mask of the examples", (m,))
            found = check.filled(f"{name} of True", np.flatnonzero(found))
        if found.ndim != 1:
            raise ValueError(f"{name} must have 1 dimension, got {found.shape}")
        if found.min() < 0 or found.max() >= m:
            wrong = found[(found < 0) | (found >= m)][0]
            raise ValueError(f"{name} names the example {wrong}; there are 0 to {m - 1}")
        return np.ascontiguousarray(found, np.int64)

    def weights(self, net: Network, sample_weight: Any, rows: Any) -> Array | None:
        """Return the weights of these examples, scaled to a mean of 1."""
        if sample_weight is None:
            return None
        numbers = self.numbers("rows", rows)

        def make() -> Array | None:
            m = np.shape(self._X)[1]
            given = check.host_array("sample_weight", sample_weight)
            if numbers is None or given.shape != (m,):
                return check.weights(given, m, net.dtype)
            return check.weights(given[numbers], numbers.size, net.dtype)

        found: Array | None = self._once(("weights", id(sample_weight), id(rows), net.dtype), make)
        return found

    def held_out(
        self, net: Network, validation: Any, sample_weight: Any
    ) -> tuple[Array, Array, Array | None] | None:
        """Return the validation examples, checked: given as such, or as numbers of ours."""
        if validation is None:
            return None

        def make() -> tuple[Array, Array, Array | None] | None:
            if isinstance(validation, tuple):
                return held_out(net, validation)
            numbers = self.numbers("validation", validation)
            X, Y = self.of(net)
            weights = self.weights(net, sample_weight, validation)
            return X[:, numbers], Y[..., numbers], weights

        key = "held out", id(validation), id(sample_weight), _kind(net)
        found: tuple[Array, Array, Array | None] | None = self._once(key, make)
        return found


def _kind(net: Network) -> Any:
    """Return what the check of examples and targets depends on."""
    return net.sizes[0], net.sizes[-1], net.loss, net.dtype
