"""Texts to be foretold (LAMBADA: the last word): nats of the target, and whether the model would write it.

A target is all the tokens of a continuation.

    perplexity   exp of the mean nats of a target
    accuracy     share of targets that the family writes itself in their place, every token the likeliest when
                 it is decided (temperature 0), told how many tokens there are
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby, islice
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from isodiff.evaluate.choices import Entry
from isodiff.evaluate.items import Target
from isodiff.evaluate.likelihood import likelihood
from isodiff.evaluate.scoring import Scorer
from isodiff.families.base import UNDECIDED
from isodiff.families.sampling import sample
from isodiff.record import Kind, Mean
from isodiff.rng import Key, Placed
from isodiff.runs.intervals import wilson
from isodiff.runs.resumable import Pieces, anew
from isodiff.runs.validation import mean
from isodiff.types import Chosen, Tokens


@dataclass(frozen=True, slots=True)
class Nats:
    """Of each target, with what they took and how they were found."""

    nats: Float[ndarray, " T"]
    num_forwards: int
    kind: Kind
    protocol: str


@dataclass(frozen=True, slots=True)
class Foretold:
    """What was found of a set of targets."""

    nats: Mean
    num_right: int
    num_items: int
    num_forwards: int
    num_shortened: int
    kind: Kind
    protocol: str

    def to_json(self) -> dict[str, Any]:
        """Accuracy with its 95 % interval (Wilson), and the perplexity of a target."""
        return {
            "accuracy": self.num_right / self.num_items,
            "accuracy_interval": list(wilson(self.num_right, self.num_items)),
            "nats": self.nats.to_json(),
            "perplexity": math.exp(min(self.nats.value, 700.0)),
            "num_items": self.num_items,
            "num_forwards": self.num_forwards,
            "num_shortened": self.num_shortened,
            "kind": self.kind,
            "protocol": self.protocol,
        }


def foretell(
    scorer: Scorer,
    ready: Sequence[Entry],
    *,
    budget: int | None,
    steps: int,
    pieces: Pieces = anew,
) -> Foretold:
    """Score every target with at most so many evaluations each, and write it in so many steps."""
    targets = [entry.targets[0] for entry in ready]
    keys = [entry.key for entry in ready]
    found = target_nats(scorer, targets, keys, budget, pieces=pieces)
    right, nfe = written(scorer, targets, keys, steps, pieces=pieces)
    return Foretold(
        nats=mean(found.nats),
        num_right=sum(right),
        num_items=len(ready),
        num_forwards=found.num_forwards + nfe,
        num_shortened=sum(entry.shortened for entry in ready),
        kind=found.kind,
        protocol=found.protocol,
    )


def target_nats(
    scorer: Scorer,
    targets: Sequence[Target],
    keys: Sequence[Key],
    budget: int | None,
    *,
    pieces: Pieces = anew,
) -> Nats:
    """The likelihood of every target given its context, by the estimator that suits it (likelihood.py)."""
    nats, forwards = np.empty(len(targets)), 0
    kinds: set[Kind] = set()
    protocols: Counter[str] = Counter()

    def shape(number: int) -> tuple[int, int]:
        return len(targets[number]), len(targets[number].alone)

    def scored(same: Sequence[int]) -> dict[str, Any]:
        x, observed = stacked(scorer, [targets[i] for i in same])
        score = likelihood(
            scorer,
            x,
            observed,
            budget=budget,
            seed=scorer.seed,
            keys=[keys[i] for i in same],
            batch_size=max(1, scorer.batch_tokens // x.shape[1]),
        )
        return {
            "nats": score.nats.tolist(),
            "num_forwards": int(score.num_forwards.sum()),
            "kind": score.kind,
            "protocol": score.protocol,
        }

    for (size, _), group in groupby(sorted(range(len(targets)), key=shape), key=shape):
        for same in batched(group, max(1, scorer.batch_tokens // size)):
            found = pieces(len(same), partial(scored, same))
            nats[same] = found["nats"]
            forwards += found["num_forwards"]
            kinds.add(found["kind"])
            protocols[found["protocol"]] += len(same)
    how = "; ".join(f"{count} targets: {name}" for name, count in protocols.most_common())
    return Nats(nats, forwards, "exact" if kinds == {"exact"} else "bound", how)


def stacked(scorer: Scorer, targets: Sequence[Target]) -> tuple[Tokens, Chosen]:
    """Targets of one length as a batch, and which of their tokens are given."""
    x = torch.from_numpy(np.stack([one.ids for one in targets])).to(scorer.device)
    known = torch.tensor([one.known for one in targets], device=scorer.device)
    return x, torch.arange(x.shape[1], device=scorer.device) < known[:, None]


def written(
    scorer: Scorer,
    targets: Sequence[Target],
    keys: Sequence[Key],
    steps: int,
    *,
    pieces: Pieces = anew,
) -> tuple[list[bool], int]:
    """Whether the family writes each target in its place, and how many network evaluations that took."""
    sampler = scorer.family.sampler_with(steps, temperature=0.0)
    found, nfe = [False] * len(targets), 0

    def length(number: int) -> int:
        return len(targets[number])

    def tried(batch: Sequence[int]) -> dict[str, Any]:
        text, observed = stacked(scorer, [targets[i] for i in batch])
        own = [keys[i] for i in batch]
        rng = Placed(scorer.seed, own, torch.zeros(len(batch)), device=scorer.device)
        prompt = text.masked_fill(~observed, UNDECIDED)
        filled, taken = sample(scorer.family, scorer.network, prompt, sampler, rng=rng)
        return {"right": same_rows(filled, text), "nfe": int(taken.sum())}

    for size, same in groupby(sorted(range(len(targets)), key=length), key=length):
        for batch in batched(same, max(1, scorer.batch_tokens // size)):
            value = pieces(len(batch), partial(tried, batch))
            nfe += value["nfe"]
            for i, right in zip(batch, value["right"], strict=True):
                found[i] = right
    return found, nfe


def same_rows(one: Tensor, other: Tensor) -> list[bool]:
    """Which rows agree."""
    return (one == other).all(-1).tolist()


def batched(numbers: Iterable[int], size: int) -> Iterator[list[int]]:
    """Lists of `size` numbers; the last may be shorter."""
    rest = iter(numbers)
    while batch := list(islice(rest, size)):
        yield batch
