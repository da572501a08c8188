"""Which layer of many comes first, as far as their names tell."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from .errors import ConversionError

T = TypeVar("T")

_DIGITS = re.compile("[0-9]+")


def by_order(named: Mapping[str, T], order: Sequence[str | int]) -> dict[str, T]:
    """Return the layers in the order that the caller gave."""
    if isinstance(order, str) or not isinstance(order, Iterable):
        found = type(order).__name__
        raise TypeError(f"order must be a sequence of the names of the layers, got {found}")
    names = [str(name) for name in order]
    if sorted(names) != sorted(named):
        raise ConversionError(
            f"order names {', '.join(map(repr, names))}, but the layers are"
            f" {', '.join(map(repr, named))}"
        )
    return {name: named[name] for name in names}


def by_number(named: Mapping[str, T]) -> dict[str, T] | None:
    """Return the layers by the numbers in their names; None where names differ in more."""
    # Equal numbers: "1" and "01".
    places = {numbers(name) for name in named}
    if len({stem(name) for name in named}) > 1 or len(places) < len(named):
        return None
    return {name: named[name] for name in sorted(named, key=numbers)}


def stem(name: str) -> str:
    """Return what a name has in common with those that differ in their numbers alone."""
    return _DIGITS.sub("#", name)


def numbers(name: str) -> tuple[tuple[int, str], ...]:
    """Return what sorts as the numbers in a name do, however many digits they have."""
    found = (digits.lstrip("0") for digits in _DIGITS.findall(name))
    return tuple((len(digits), digits) for digits in found)


def unknown(named: Iterable[str]) -> ConversionError:
    """Return the error that asks for the order."""
    return ConversionError(
        f"the layers {', '.join(map(repr, named))} differ in more than their numbers: say"
        " which comes first by order="
    )
