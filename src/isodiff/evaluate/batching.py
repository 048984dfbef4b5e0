"""Batches without padding: what has the same shape is shown to a network together."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TypeVar

Shape = TypeVar("Shape", bound=Hashable)


def same_shape(shapes: Sequence[Shape], most: Callable[[Shape], int]) -> Iterator[list[int]]:
    """Numbers of equal `shapes`, at most `most(shape)` together and at least one, in order of appearance."""
    groups: dict[Shape, list[int]] = {}
    for number, shape in enumerate(shapes):
        groups.setdefault(shape, []).append(number)
    for shape, group in groups.items():
        size = max(1, most(shape))
        for start in range(0, len(group), size):
            yield group[start : start + size]
