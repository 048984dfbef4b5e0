r"""How far generated text is from held-out text: an unbiased distance between n-gram counts.

A text is described by how often it uses each string of 1, 2, 3 and 4 bytes: for each order a vector of
counts, hashed to `WIDTH` numbers and scaled to length 1/2, phi(text) in all. Then

    D = | E phi(generated) - E phi(held-out) |^2                                                  (1)

is 0 if both use the same strings equally often and at most 2. The plain estimate is too large by the variance
of the means; leaving out the products of a text with itself makes it unbiased (maximum mean discrepancy,
arXiv 0805.2368), so for good samples it scatters about 0 and may be negative. The standard error is the
jackknife's, over generated and held-out texts, and errs on the side of caution. Unlike MAUVE (arXiv
2102.01454) it needs no other network and no number of clusters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from isodiff.record import Mean

ORDERS = (1, 2, 3, 4)
WIDTH = 4096
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio (Knuth, TAOCP 3, 6.4)

Array = NDArray[np.float64]


def ngram_features(texts: Sequence[bytes]) -> Array:
    """phi of every text, [texts, orders x WIDTH]; an empty text has phi = 0."""
    out = np.zeros((len(texts), len(ORDERS), WIDTH))
    for row, text in enumerate(texts):
        codes = np.frombuffer(text, np.uint8).astype(np.uint64)
        for place, order in enumerate(ORDERS):
            out[row, place] = counts(codes, order)
    lengths = np.sqrt((out**2).sum(-1, keepdims=True)) * math.sqrt(len(ORDERS))
    return (out / np.where(lengths > 0, lengths, 1)).reshape(len(texts), -1)


def counts(codes: NDArray[np.uint64], order: int) -> Array:
    """How often each hashed string of `order` bytes occurs."""
    number = len(codes) - order + 1
    if number < 1:
        return np.zeros(WIDTH)
    strings = np.zeros(number, np.uint64)
    for shift in range(order):
        strings = strings * np.uint64(256) + codes[shift : shift + number]
    cells = ((strings + np.uint64(1)) * _MULTIPLIER) >> np.uint64(64 - 12)
    return np.bincount(cells.astype(np.int64), minlength=WIDTH).astype(float)


def squared_mmd(generated: Array, held_out: Array) -> Mean:
    """D of Eq. (1) with its standard error; `ngram_features` of at least two texts each."""
    n, m = len(generated), len(held_out)
    within = [_Within(generated), _Within(held_out)]
    crossing = generated @ held_out.T
    value = within[0].value + within[1].value - 2 * crossing.mean()
    # Leaving out text i of a group changes that group's own term and the mean of the products across.
    total = crossing.sum()
    across = [
        (total - crossing.sum(axis)) / (crossing.size - crossing.shape[axis]) for axis in (1, 0)
    ]
    variance = 0.0
    for number, own, other, rest in zip((n, m), within, within[::-1], across, strict=True):
        left_out = own.without() + other.value - 2 * rest
        variance += (number - 1) / number * float(((left_out - left_out.mean()) ** 2).sum())
    return Mean(float(value), math.sqrt(variance), n)


class _Within:
    """Mean product of two different texts of one group."""

    def __init__(self, group: Array) -> None:
        self.sum = group.sum(0)
        self.own = (group**2).sum(1)
        self.by_text = group @ self.sum - self.own
        self.number = len(group)

    @property
    def value(self) -> float:
        """Over all pairs."""
        return float(self.by_text.sum()) / (self.number * (self.number - 1))

    def without(self) -> Array:
        """The same without each text in turn; with two texts there is no pair left, and it is 0."""
        pairs = (self.number - 1) * (self.number - 2)
        return (self.by_text.sum() - 2 * self.by_text) / max(1, pairs)
