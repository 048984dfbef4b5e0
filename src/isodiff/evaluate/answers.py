"""Answers to questions of different lengths, by any family's sampler.

A text is a prompt and `room` holes behind it, and nothing else: prompts of equal length share a batch, so
there is no padding to attend to or to shift a position. Question i is sample i of the seed: its answer
depends neither on the batch nor on the other questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import groupby
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from isodiff.errors import InputError
from isodiff.families.base import UNDECIDED, Family, Sampler
from isodiff.families.sampling import sample
from isodiff.network.view import Denoiser
from isodiff.rng import Streams
from isodiff.runs.resumable import Pieces, anew


class Written(NamedTuple):
    """An answer in tokens, up to its end; whether it has one; and how many network evaluations it took."""

    ids: NDArray[np.int64]
    ended: bool
    nfe: int


def answers(
    family: Family,
    denoiser: Denoiser,
    prompts: Sequence[NDArray[np.int64]],
    sampler: Sampler,
    *,
    room: int,
    eos: int,
    seed: int = 0,
    batch_size: int = 64,
    device: torch.device | str = "cpu",
    pieces: Pieces = anew,
) -> list[Written]:
    """An answer of at most `room` tokens to every prompt, in their order.

    Raises:
        InputError: no room, no batch, or a sampler of another family.
    """
    if min(room, batch_size) < 1:
        raise InputError(f"room and batch_size must be at least 1, got {room} and {batch_size}")

    def written(rows: Sequence[int]) -> list[tuple[list[int], int]]:
        observed = torch.from_numpy(np.stack([prompts[row] for row in rows]))
        holes = torch.full((len(rows), room), UNDECIDED)
        canvas = torch.cat([observed, holes], 1).to(device)
        rng = Streams.of(seed, rows, device=device)
        tokens, nfe = sample(family, denoiser, canvas, sampler, rng=rng)
        return list(zip(tokens[:, observed.shape[1] :].tolist(), nfe.tolist(), strict=True))

    found: dict[int, Written] = {}
    for rows in batches([len(prompt) for prompt in prompts], batch_size):
        texts = pieces(len(rows), partial(written, rows))
        found |= {
            row: Written(*up_to_end(np.array(ids), eos), nfe)
            for row, (ids, nfe) in zip(rows, texts, strict=True)
        }
    return [found[row] for row in range(len(prompts))]


def batches(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """Rows of equal length, at most `batch_size` together."""
    rows = sorted(range(len(lengths)), key=lengths.__getitem__)
    groups = (list(group) for _, group in groupby(rows, key=lengths.__getitem__))
    return [
        group[start : start + batch_size]
        for group in groups
        for start in range(0, len(group), batch_size)
    ]


def up_to_end(ids: NDArray[np.int64], eos: int) -> tuple[NDArray[np.int64], bool]:
    """What stands before the text's end, or before a hole that the sampler left; whether there is an end."""
    ends = ((ids == eos) | (ids == UNDECIDED)).nonzero()[0]
    if not len(ends):
        return ids, False
    return ids[: ends[0]], bool(ids[ends[0]] == eos)
