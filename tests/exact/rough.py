"""A denoiser without any consistency, and trials of an estimator."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import torch
from oracle import Optimal
from torch import Tensor

from isodiff.evaluate.likelihood import LikelihoodEstimate, likelihood
from isodiff.families.base import Family
from isodiff.network.view import Denoiser, LogProbTable, View
from isodiff.rng import stream


@dataclass(frozen=True)
class Rough(Optimal):
    """Random predictions for each position and each set of known tokens: no joint law has them."""

    @cached_property
    def predictions(self) -> Tensor:
        length, v = self.toy.length, self.vocab_size
        noise = torch.randn((v + 1) ** length * length, v, generator=stream(0, "rough"))
        return (1.5 * noise.double()).log_softmax(-1)

    def __call__(self, view: View) -> LogProbTable:
        known = self.known(view).flatten(0, 1)
        position = view.positions.expand(view.inputs.shape).flatten() - self.shift
        if view.read is not None:
            known, position = known[view.read], position[view.read]
        length = self.toy.length
        state = known @ (self.vocab_size + 1) ** torch.arange(length)
        return LogProbTable(self.predictions[state * length + position])


def scores(family: Family, denoiser: Denoiser, x: Tensor, **options: Any) -> LikelihoodEstimate:
    return likelihood(SimpleNamespace(family=family, network=denoiser), x, **options)


def trials(
    family: Family, denoiser: Denoiser, x: Tensor, num: int = 400, **options: Any
) -> LikelihoodEstimate:
    """`num` independent estimates for the one text x."""
    observed = options.pop("observed", None)
    return scores(
        family,
        denoiser,
        x.expand(num, -1),
        keys=[(trial,) for trial in range(num)],
        observed=None if observed is None else observed.expand(num, -1),
        batch_size=4096,
        **options,
    )
