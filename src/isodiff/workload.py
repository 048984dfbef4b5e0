"""What writing a text asks of a network, counted in what it is shown. No torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Writing:
    """One text of a sampler, on average over texts; each number is a sum over its network evaluations.

    Attributes:
        evaluations: how many there are.
        positions: positions that pass the blocks.
        pairs: pairs of positions that attend to each other.
        read: positions that pass the vocabulary head.
        slots: positions whose keys and values are read from a cache; 0 where nothing is cached.
    """

    evaluations: float
    positions: float
    pairs: float
    read: float
    slots: float = 0.0


def shown_whole(length: int, evaluations: float, read: float) -> Writing:
    """All L positions at every evaluation, each attending to all."""
    return Writing(
        evaluations=evaluations,
        positions=evaluations * length,
        pairs=evaluations * length**2,
        read=read,
    )
