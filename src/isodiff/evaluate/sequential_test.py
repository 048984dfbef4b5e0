r"""A sequential test among the options of an item: draws in common, none for those clearly behind.

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
as long as it is left under one of them. The mean score of an option dropped after n draws is linked to that
of the leader, which was drawn on: s_l(N) + mean(D), so that luck common to the first n draws does not favor
it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.stats import t as student

from isodiff.bounds import Checked, FewTimes, PartFraction

ItemOption = tuple[int, int]
"""An item and one of its options."""
DrawScores = Callable[[Sequence[ItemOption], range], Float[ndarray, "C P D"]]
"""Scores under every criterion of these options under these draws."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoppingRule(Checked):
    """When an option is dropped, and when a test ends.

    Attributes:
        error: chance that the best option of an item is dropped.
        most: draws after which what is not decided stays undecided.
        race: look on the way; otherwise every option takes all draws.
    """

    error: PartFraction = 0.05
    most: FewTimes = 128
    race: bool = True

    @property
    def looks(self) -> tuple[int, ...]:
        """2, 4, 8, ... and the last; without a race that alone."""
        if not self.race:
            return (self.most,)
        doubled = (2**i for i in range(1, self.most.bit_length()) if 2**i < self.most)
        return (*doubled, self.most)

    def margin(self, difference: Float[ndarray, "K D"], options: int) -> Float[ndarray, " K"]:
        """By how much the mean of each row must exceed 0: the right-hand side of Eq. (1)."""
        draws = difference.shape[1]
        if draws < 2:
            return np.full(len(difference), np.inf)
        level = self.error / ((options - 1) * len(self.looks))
        error = difference.std(-1, ddof=1) / math.sqrt(draws)
        return _student_quantile(level, draws - 1) * error


@cache
def _student_quantile(level: float, freedom: int) -> float:
    return float(student.isf(level, freedom))


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What a test found for one item.

    Attributes:
        best: the option ahead under each criterion.
        undecided: whether others were left beside it.
        scores: of every option under each criterion, Eq. (1) linking them.
        draws: of every option.
    """

    best: tuple[int, ...]
    undecided: tuple[bool, ...]
    scores: tuple[tuple[float, ...], ...]
    draws: tuple[int, ...]


class _Test:
    """One item as it stands: C criteria, K options, N draws; scores are NaN where nothing was drawn."""

    def __init__(self, criteria: int, options: int, draws: int) -> None:
        self.scores: Float[ndarray, "C K N"] = np.full((criteria, options, draws), np.nan)
        self.left: Bool[ndarray, "C K"] = np.ones((criteria, options), bool)

    def waiting(self) -> list[int]:
        """Options to draw again: left under a criterion that has not decided."""
        undecided = self.left & (self.left.sum(-1, keepdims=True) > 1)
        return np.flatnonzero(undecided.any(0)).tolist()

    def look(self, draws: int, rule: StoppingRule | None) -> None:
        """Drop by Eq. (1) after so many draws; without a rule, scores do not vary and all others go."""
        for scores, left in zip(self.scores, self.left, strict=True):
            if left.sum() > 1:
                some = scores[left, :draws]
                difference = some - some[some.mean(-1).argmin()]
                margin = 0.0 if rule is None else rule.margin(difference, len(scores))
                left[left] = difference.mean(-1) <= margin

    def decision(self) -> Decision:
        drawn = np.isfinite(self.scores[0])
        pairs = [*zip(self.scores, self.left, strict=True)]
        best = [_leader(scores, left) for scores, left in pairs]
        linked = [_linked(one, drawn, ahead) for one, ahead in zip(self.scores, best, strict=True)]
        return Decision(
            best=tuple(best),
            undecided=tuple((self.left.sum(-1) > 1).tolist()),
            scores=tuple(tuple(one.tolist()) for one in linked),
            draws=tuple(drawn.sum(-1).tolist()),
        )


def _leader(scores: Float[ndarray, "K N"], left: Bool[ndarray, " K"]) -> int:
    """The best of those left, which have the same draws."""
    options = np.flatnonzero(left)
    return int(options[np.nanmean(scores[options], -1).argmin()])


def _linked(
    scores: Float[ndarray, "K N"], drawn: Bool[ndarray, "K N"], leader: int
) -> Float[ndarray, " K"]:
    """Mean scores, each as the leader's over all its draws and the mean difference over those in common."""
    total = scores[leader, drawn[leader]].mean()
    both = drawn & drawn[leader]
    return np.array(
        [total + (scores[j, both[j]] - scores[leader, both[j]]).mean() for j in range(len(scores))]
    )


def sequential_test(
    options: Sequence[int], draw: DrawScores, rule: StoppingRule | None, *, criteria: int = 1
) -> list[Decision]:
    """Decide every item, `options` saying how many it has (at least 2); all are drawn together, look by look.

    Without a rule the scores do not vary: one draw tells all.
    """
    looks = (1,) if rule is None else rule.looks
    tests = [_Test(criteria, count, looks[-1]) for count in options]
    before = 0
    for draws in looks:
        running = {item: waiting for item, t in enumerate(tests) if (waiting := t.waiting())}
        if not running:
            break
        pairs = [(item, option) for item, waiting in running.items() for option in waiting]
        scores = draw(pairs, range(before, draws))
        for column, (item, option) in enumerate(pairs):
            tests[item].scores[:, option, before:draws] = scores[:, column]
        for item in running:
            tests[item].look(draws, rule)
        before = draws
    return [test.decision() for test in tests]
