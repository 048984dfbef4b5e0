"""Text from a family: `sample`, and `sample_trajectories`, which also says how each text came about."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from isodiff.errors import InputError
from isodiff.families.base import UNDECIDED, Family, Sampler, SampleState
from isodiff.network.view import Denoiser
from isodiff.rng import Noise
from isodiff.types import Tokens

Changes = list[tuple[int, int]]
"""What one network evaluation changed: positions, each with its new token or UNDECIDED."""


class Trajectory(NamedTuple):
    """How one text came about.

    Attributes:
        noise: positions with the tokens that stood there before the first network evaluation; empty where the
            text starts from undecided positions.
        frames: what each network evaluation of the text changed.
    """

    noise: Changes
    frames: list[Changes]


def sample(
    family: Family,
    denoiser: Denoiser,
    prompt: Tokens,
    sampler: Sampler,
    *,
    rng: Noise,
    watch: Callable[[SampleState], None] | None = None,
) -> tuple[Tokens, Int[Tensor, " B"]]:
    """The prompt with its undecided positions filled, and how many network evaluations each row took.

    `watch` is shown every state.

    Raises:
        InputError: the prompt or the sampler does not suit the family.
    """
    if not isinstance(sampler, family.sampler):
        raise InputError(f"{family.name} takes {family.sampler.__qualname__}, got {sampler}")
    if prompt.numel() and not (
        int(prompt.min()) >= UNDECIDED and int(prompt.max()) < family.vocab_size
    ):
        raise InputError(
            f"a prompt holds token numbers below {family.vocab_size}, and {UNDECIDED} where a token is "
            f"undecided; got {int(prompt.min())} to {int(prompt.max())}"
        )
    family.check_given(prompt == UNDECIDED)
    tokens, nfe = prompt, torch.zeros(len(prompt), dtype=torch.long, device=prompt.device)
    with torch.no_grad():
        for state in family.denoise(denoiser, prompt, sampler, rng=rng):
            tokens, nfe = state.tokens, nfe + state.evaluated
            if watch is not None:
                watch(state)
    return tokens, nfe


def sample_trajectories(
    family: Family, denoiser: Denoiser, prompt: Tokens, sampler: Sampler, *, rng: Noise, num: int
) -> tuple[Tokens, Int[Tensor, " B"], list[Trajectory]]:
    """`sample`, and how each of the first `num` rows came about.

    What changes between two evaluations of a row counts with the later one, and what changes after the
    last with the last, so that a row's changes do not depend on the other rows either.
    """
    seen: list[SampleState] = []
    noise = prompt[:num].cpu()

    def watch(state: SampleState) -> None:
        nonlocal noise
        kept = SampleState(*(part[:num].to("cpu", copy=True) for part in state))
        if not seen and not bool(state.evaluated.any()):
            noise = kept.tokens
        else:
            seen.append(kept)

    tokens, nfe = sample(family, denoiser, prompt, sampler, rng=rng, watch=watch)
    rows = []
    ends = zip(prompt[:num].cpu(), noise, tokens[:num].cpu(), strict=True)
    for row, (observed, start, end) in enumerate(ends):
        states = [state.tokens[row] for state in seen if state.evaluated[row]]
        states = [start, *states[:-1], end] if states else [start]
        frames = [_changes(before, after) for before, after in pairwise(states)]
        rows.append(Trajectory(_changes(observed, start), frames))
    return tokens, nfe, rows


def _changes(before: Int[Tensor, " L"], after: Int[Tensor, " L"]) -> Changes:
    where = (before != after).nonzero().squeeze(-1)
    return list(zip(where.tolist(), after[where].tolist(), strict=True))
