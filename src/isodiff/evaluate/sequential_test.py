r"""A race among the options of an item: draws in common, none for those clearly behind.

X_jd is the score of option j under draw d, lower is better, and E X_jd = s_j. Draws are common to the
options (same noise), so an option is compared with the leader l by the paired differences

    D_d = X_jd - X_ld,    mean(D) > c_n sd(D) / sqrt(n):   j is dropped,                           (1)

whose variance lacks what the two have in common. After n = 2, 4, 8, ... draws everyone left is looked at;
the draws are nested, so none is lost. c_n is the upper Student quantile of n - 1 degrees of freedom at

    error / ((options - 1) x looks),                                                               (2)

so that, for normal differences, the best option of an item is ever dropped with at most the chance `error`
(Bonferroni over the rivals that could displace it and over the looks). An item with more than one option
left after the last look is *undecided*; its answer is the one ahead.

There may be several criteria (nats, nats per byte, ...), each a score of the same draws. An option is drawn
as long as it is in the race under one of them. The mean score of an option dropped after n draws is linked
to that of the leader, which was drawn on: s_l(N) + mean(D), so that luck common to the first n draws does
not favor it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.stats import t as student

from isodiff.errors import InputError

Pair = tuple[int, int]
"""An item and one of its options."""
Draw = Callable[[Sequence[Pair], range], Float[ndarray, "C P D"]]
"""Scores under every criterion of these options under these draws."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """When an option is dropped, and when a race ends.

    Attributes:
        error: chance that the best option of an item is dropped.
        most: draws after which what is not decided stays undecided.
    """

    error: float = 0.05
    most: int = 128

    def __post_init__(self) -> None:
        if not 0 < self.error < 1:
            raise InputError(f"error must lie in (0, 1), got {self.error}")
        if self.most < 1:
            raise InputError(f"draws must be at least 1, got {self.most}")

    @property
    def looks(self) -> tuple[int, ...]:
        """2, 4, 8, ... and the last."""
        doubled = (2**i for i in range(1, self.most.bit_length()) if 2**i < self.most)
        return (*doubled, self.most)

    def margin(self, difference: Float[ndarray, "K D"], options: int) -> Float[ndarray, " K"]:
        """By how much the mean of each row must exceed 0: the right-hand side of Eq. (1)."""
        draws = difference.shape[1]
        if draws < 2:
            return np.full(len(difference), np.inf)
        level = self.error / ((options - 1) * len(self.looks))
        error = difference.std(-1, ddof=1) / math.sqrt(draws)
        return upper_quantile(level, draws - 1) * error


@cache
def upper_quantile(level: float, freedom: int) -> float:
    """Of Student's t."""
    return float(student.isf(level, freedom))


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What a race found for one item.

    Attributes:
        best: the option ahead under each criterion.
        undecided: whether others were left beside it.
        scores: of every option under each criterion, Eq. (1) linking them.
        draws: of every option.
    """

    best: tuple[int, ...]
    undecided: tuple[bool, ...]
    scores: Float[ndarray, "C K"]
    draws: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """The same as lists."""
        return {**asdict(self), "scores": self.scores.tolist()}

    @classmethod
    def of(cls, value: dict[str, Any]) -> Outcome:
        """Of what `to_json` gave."""
        found = {name: tuple(part) for name, part in value.items() if name != "scores"}
        return cls(**found, scores=np.array(value["scores"]))


@dataclass(slots=True, eq=False)
class Contest:
    """The race of one item as it stands; scores are NaN where nothing was drawn."""

    scores: Float[ndarray, "C K N"]
    left: Bool[ndarray, "C K"] = field(init=False)

    def __post_init__(self) -> None:
        self.left = np.ones(self.scores.shape[:2], bool)

    def waiting(self) -> list[int]:
        """Options to draw again: in the race under a criterion that has not decided."""
        open_ = self.left & (self.left.sum(-1, keepdims=True) > 1)
        return np.flatnonzero(open_.any(0)).tolist()

    def look(self, draws: int, rules: Rules | None) -> None:
        """Drop by Eq. (1) after so many draws; without rules, scores do not vary and all others go."""
        for scores, left in zip(self.scores, self.left, strict=True):
            if left.sum() > 1:
                found = scores[left, :draws]
                difference = found - found[found.mean(-1).argmin()]
                margin = 0.0 if rules is None else rules.margin(difference, len(scores))
                left[left] = difference.mean(-1) <= margin

    def outcome(self) -> Outcome:
        """The answers."""
        drawn = np.isfinite(self.scores[0])
        best = [
            self.ahead(scores, left) for scores, left in zip(self.scores, self.left, strict=True)
        ]
        return Outcome(
            best=tuple(best),
            undecided=tuple((self.left.sum(-1) > 1).tolist()),
            scores=np.stack(
                [
                    linked(scores, drawn, leader)
                    for scores, leader in zip(self.scores, best, strict=True)
                ]
            ),
            draws=tuple(drawn.sum(-1).tolist()),
        )

    @staticmethod
    def ahead(scores: Float[ndarray, "K N"], left: Bool[ndarray, " K"]) -> int:
        """The best of those left; they have the same draws."""
        options = np.flatnonzero(left)
        return int(options[np.nanmean(scores[options], -1).argmin()])


def linked(
    scores: Float[ndarray, "K N"], drawn: Bool[ndarray, "K N"], leader: int
) -> Float[ndarray, " K"]:
    """Mean scores, each as the leader's over all its draws and the mean difference over those in common."""
    total = scores[leader, drawn[leader]].mean()
    both = drawn & drawn[leader]
    return np.array(
        [total + (scores[j, both[j]] - scores[leader, both[j]]).mean() for j in range(len(scores))]
    )


def race(
    options: Sequence[int], draw: Draw, rules: Rules | None, *, criteria: int = 1
) -> list[Outcome]:
    """Race every item, `options` saying how many it has (at least 2); all are drawn together, look by look.

    Without rules the scores do not vary: one draw tells all.
    """
    looks = (1,) if rules is None else rules.looks
    contests = [Contest(np.full((criteria, count, looks[-1]), np.nan)) for count in options]
    before = 0
    for draws in looks:
        running = {item: waiting for item, c in enumerate(contests) if (waiting := c.waiting())}
        if not running:
            break
        pairs = [(item, option) for item, waiting in running.items() for option in waiting]
        found = draw(pairs, range(before, draws))
        for column, (item, option) in enumerate(pairs):
            contests[item].scores[:, option, before:draws] = found[:, column]
        for item in running:
            contests[item].look(draws, rules)
        before = draws
    return [contest.outcome() for contest in contests]
