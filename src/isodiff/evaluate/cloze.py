"""Cloze tasks (LAMBADA: the last word): nats of the target, and whether the model would write it.

A target is all the tokens of a continuation.

    perplexity   exp of the mean nats of a target
    accuracy     share of targets that the family writes itself in their place, every token the likeliest when
                 it is decided (temperature 0), told how many tokens there are
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from isodiff.evaluate.batching import same_shape
from isodiff.evaluate.items import Target, TokenizedItem
from isodiff.evaluate.likelihood import each_protocol, likelihood
from isodiff.evaluate.scoring import Scorer
from isodiff.families.base import UNDECIDED
from isodiff.families.sampling import sample
from isodiff.intervals import SuccessRate
from isodiff.record import Kind
from isodiff.rng import Key, Placed
from isodiff.runs.resumable import Pieces, anew
from isodiff.runs.validation import mean
from isodiff.serialization import from_json, to_json
from isodiff.task_results import ClozeResult
from isodiff.types import Chosen, Tokens


@dataclass(frozen=True, slots=True)
class TargetNats:
    """Nats of each target, with what they took and how they were found."""

    nats: Float[ndarray, " T"]
    num_forwards: int
    kind: Kind
    protocol: str


def cloze(
    scorer: Scorer,
    items: Sequence[TokenizedItem],
    *,
    budget: int | None,
    steps: int,
    pieces: Pieces = anew,
) -> ClozeResult:
    """Score every target with at most so many evaluations each, and write it in so many steps."""
    targets = [item.targets[0] for item in items]
    keys = [item.key for item in items]
    score = target_nats(scorer, targets, keys, budget, pieces=pieces)
    right, nfe = predicted(scorer, targets, keys, steps, pieces=pieces)
    rate, nats = SuccessRate.of(sum(right), len(items)), mean(score.nats)
    return ClozeResult(
        accuracy=rate.value,
        accuracy_interval=rate.interval,
        nats=nats,
        perplexity=math.exp(min(nats.value, 700.0)),
        num_items=len(items),
        num_forwards=score.num_forwards + nfe,
        num_shortened=sum(item.shortened for item in items),
        kind=score.kind,
        protocol=score.protocol,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Scored:
    nats: tuple[float, ...]
    num_forwards: int
    kind: Kind
    protocol: str


def target_nats(
    scorer: Scorer,
    targets: Sequence[Target],
    keys: Sequence[Key],
    budget: int | None,
    *,
    pieces: Pieces = anew,
) -> TargetNats:
    """The likelihood of every target given its context, by the estimator that suits it (likelihood.py)."""
    nats, forwards = np.empty(len(targets)), 0
    kinds: set[Kind] = set()
    protocols = [""] * len(targets)
    shapes = [(len(target), len(target.alone)) for target in targets]

    def scored(same: Sequence[int]) -> dict[str, object]:
        x, observed = _stacked(scorer, [targets[i] for i in same])
        score = likelihood(
            scorer,
            x,
            observed,
            budget=budget,
            seed=scorer.seed,
            keys=[keys[i] for i in same],
            batch_size=max(1, scorer.batch_tokens // x.shape[1]),
        )
        return to_json(
            _Scored(
                nats=tuple(score.nats.tolist()),
                num_forwards=int(score.num_forwards.sum()),
                kind=score.kind,
                protocol=score.protocol,
            )
        )

    for same in same_shape(shapes, lambda shape: scorer.batch_tokens // shape[0]):
        part = from_json(_Scored, pieces(len(same), partial(scored, same)), "a kept piece")
        nats[same] = part.nats
        forwards += part.num_forwards
        kinds.add(part.kind)
        for i in same:
            protocols[i] = part.protocol
    in_order = [protocols[i] for i in sorted(range(len(targets)), key=shapes.__getitem__)]
    how = each_protocol(in_order, "targets")
    return TargetNats(nats, forwards, "exact" if kinds == {"exact"} else "bound", how)


def _stacked(scorer: Scorer, targets: Sequence[Target]) -> tuple[Tokens, Chosen]:
    """Targets of one length as a batch, and which of their tokens are given."""
    x = torch.from_numpy(np.stack([one.ids for one in targets])).to(scorer.device)
    known = torch.tensor([one.known for one in targets], device=scorer.device)
    return x, torch.arange(x.shape[1], device=scorer.device) < known[:, None]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Predicted:
    right: tuple[bool, ...]
    nfe: int


def predicted(
    scorer: Scorer,
    targets: Sequence[Target],
    keys: Sequence[Key],
    steps: int,
    *,
    pieces: Pieces = anew,
) -> tuple[list[bool], int]:
    """Whether the family writes each target in its place, and how many network evaluations that took."""
    sampler = scorer.family.sampler_with(steps, temperature=0.0)
    right, nfe = [False] * len(targets), 0

    def tried(batch: Sequence[int]) -> dict[str, object]:
        text, observed = _stacked(scorer, [targets[i] for i in batch])
        own = [keys[i] for i in batch]
        rng = Placed(scorer.seed, own, torch.zeros(len(batch)), device=scorer.device)
        prompt = text.masked_fill(~observed, UNDECIDED)
        written, taken = sample(scorer.family, scorer.network, prompt, sampler, rng=rng)
        same = (written == text).all(-1).tolist()
        return to_json(_Predicted(right=tuple(same), nfe=int(taken.sum())))

    lengths = [len(target) for target in targets]
    for batch in same_shape(lengths, lambda length: scorer.batch_tokens // length):
        part = from_json(_Predicted, pieces(len(batch), partial(tried, batch)), "a kept piece")
        nfe += part.nfe
        for i, same in zip(batch, part.right, strict=True):
            right[i] = same
    return right, nfe
