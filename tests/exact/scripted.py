"""Randomness with a script: every outcome of a family's draws, each with its probability."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from isodiff.rng import Rows, stream


class Scripted(Rows):
    """Rows whose calls return prepared numbers, in the order in which they are asked for."""

    def __init__(self, rows: int, **script: list[Tensor]) -> None:
        for name, value in zip(
            ("generator", "index", "total", "device"),
            (stream(0), torch.arange(rows), rows, torch.device("cpu")),
            strict=True,
        ):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "script", {name: iter(calls) for name, calls in script.items()})

    def __len__(self) -> int:
        return self.total

    def uniform(self, *shape: int, along: int = 0) -> Tensor:
        return self.answer("uniform", *shape)

    def normal(self, *shape: int, along: int = 0) -> Tensor:
        return self.answer("normal", *shape)

    def strata(self) -> Tensor:
        return self.answer("strata")

    def scattered(self, places: int) -> Tensor:
        return self.answer("scattered", places)

    def antithetic(self, count: int) -> Tensor:
        return self.answer("antithetic")

    def permutation(self, length: int) -> Tensor:
        return self.answer("permutation", length)

    def answer(self, name: str, *shape: int) -> Tensor:
        value = next(self.script[name])
        assert value.shape == (self.total, *shape), (name, value.shape, shape)
        return value

    def exhausted(self) -> bool:
        return all(next(calls, None) is None for calls in self.script.values())


def orders(length: int) -> Tensor:
    """All L! orders."""
    return torch.tensor(list(itertools.permutations(range(length))))


def product(*axes: Tensor) -> tuple[Tensor, ...]:
    """Every combination of the axes' entries, one row each."""
    index = torch.cartesian_prod(*(torch.arange(len(axis)) for axis in axes))
    index = index.view(-1, len(axes))
    return tuple(axis[index[:, i]] for i, axis in enumerate(axes))
