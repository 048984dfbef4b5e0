"""Texts to be foretold (LAMBADA: the last word): nats of the target, and whether the model would write it.

A target is all the tokens of a continuation.

    perplexity   exp of the mean nats of a target
    accuracy     share of targets that the family writes itself in their place, every token the likeliest when
                 it is decided (temperature 0), told how many tokens there are
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from isodiff.evaluate.choices import Entry
from isodiff.evaluate.intervals import wilson
from isodiff.evaluate.items import Target
from isodiff.evaluate.likelihood import mean
from isodiff.evaluate.scoring import Job, Scorer, places
from isodiff.families.base import HOLE, sample
from isodiff.record import Kind, Mean
from isodiff.rng import Key, Placed


@dataclass(frozen=True, slots=True)
class Foretold:
    """What was found of a set of targets."""

    kind: Kind
    nats: Mean
    num_right: int
    num_items: int
    num_forwards: int
    num_shortened: int

    def to_json(self) -> dict[str, Any]:
        """Accuracy with its 95 % interval (Wilson), and the perplexity of a target."""
        return {
            "accuracy": self.num_right / self.num_items,
            "accuracy_interval": list(wilson(self.num_right, self.num_items)),
            "kind": self.kind,
            "nats": self.nats.to_json(),
            "perplexity": math.exp(min(self.nats.value, 700.0)),
            "num_items": self.num_items,
            "num_forwards": self.num_forwards,
            "num_shortened": self.num_shortened,
        }


def foretell(scorer: Scorer, ready: Sequence[Entry], *, draws: int, steps: int) -> Foretold:
    """Score every target with so many draws, and write it in so many steps."""
    before = scorer.num_forwards
    targets = [entry.targets[0] for entry in ready]
    keys = [entry.key for entry in ready]
    nats = mean_nats(scorer, targets, keys, draws).mean(-1)
    right, nfe = written(scorer, targets, keys, steps)
    return Foretold(
        kind=scorer.family.kind,
        nats=mean(nats),
        num_right=sum(right),
        num_items=len(ready),
        num_forwards=scorer.num_forwards - before + nfe,
        num_shortened=sum(entry.shortened for entry in ready),
    )


def mean_nats(
    scorer: Scorer, targets: Sequence[Target], keys: Sequence[Key], draws: int
) -> Float[ndarray, "T D"]:
    """Nats of every target under every draw; one draw where they are exact."""
    each = range(1 if scorer.family.kind == "exact" else draws)
    jobs = [
        Job(target, (*key, d), place)
        for target, key in zip(targets, keys, strict=True)
        for d, place in zip(each, places(scorer.seed, key, each), strict=True)
    ]
    return scorer.nats(jobs).reshape(len(targets), len(each))


def written(
    scorer: Scorer, targets: Sequence[Target], keys: Sequence[Key], steps: int
) -> tuple[list[bool], int]:
    """Whether the family writes each target in its place, and how many network evaluations that took."""
    sampler = scorer.family.sampler_with(steps, temperature=0.0)
    found, nfe = [False] * len(targets), 0

    def length(number: int) -> int:
        return len(targets[number])

    for size, same in groupby(sorted(range(len(targets)), key=length), key=length):
        for batch in batched(same, max(1, scorer.batch_tokens // size)):
            text = torch.from_numpy(np.stack([targets[i].ids for i in batch])).to(scorer.device)
            known = torch.tensor([targets[i].known for i in batch], device=scorer.device)
            holes = torch.arange(size, device=scorer.device) >= known[:, None]
            rng = Placed(
                scorer.seed, [keys[i] for i in batch], torch.zeros(len(batch)), device=scorer.device
            )
            prompt = text.masked_fill(holes, HOLE)
            filled, taken = sample(scorer.family, scorer.denoiser, prompt, sampler, rng=rng)
            nfe += int(taken.sum())
            for i, right in zip(batch, (filled == text).all(-1).tolist(), strict=True):
                found[i] = right
    return found, nfe


def batched(numbers: Iterable[int], size: int) -> Iterator[list[int]]:
    """Lists of `size` numbers; the last may be shorter."""
    rest = iter(numbers)
    while batch := list(islice(rest, size)):
        yield batch
