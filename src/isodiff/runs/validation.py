"""Nats per token and bits per byte on fixed windows under fixed noise, with standard errors.

Every run of every size meets the same windows and the same random numbers, so differences between runs are
much sharper than each number's own error. That error is of a ratio of sums over the windows,

    R = sum y_i / sum x_i,   se^2 = G/(G-1) sum_g d_g^2,   d_g = sum_{i in g} (y_i - R x_i) / sum x,     (1)

nats y over tokens or bytes x, windows i clustered by the document g that holds their middle (Cochran,
Sampling Techniques, 1977, Eq. 6.13 and chapter 9A; each window alone where one document holds all). d is
linear in the losses: that of a difference between two runs is the difference of theirs.

*Noise draws.* All runs of a family meet the same noise, so its error does not show in their scatter. Draws
are added until it is below `NOISE_ERROR`. It is estimated from groups of windows: within a draw each group
covers all noise levels evenly, as all windows do, so its means vary by what does not cancel.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from isodiff.data.tokens import Tokens as TokenStream
from isodiff.families.base import Family, SamplerLaw, kind_and_law
from isodiff.network.view import Denoiser
from isodiff.record import HeldOutLoss, Kind, Mean
from isodiff.rng import Rows, stream
from isodiff.runs.resumable import Pieces, anew
from isodiff.runs.spec import Validation
from isodiff.types import Chosen, Tokens

_SEED = 0  # of the choice of windows and of the noise: the same for every run
_MOST = 64  # times the draws asked for, at most
_GROUPS = 16
_SPREAD = 4.0  # standard deviation of the nats of a draw over root of tokens, about
_STRETCHES = 128  # deviations that a record holds, at most


Over = Callable[[Callable[[range], Any], Sequence[range]], list[Any]]
"""The values of a function of some parts, in their order."""


def one_by_one(function: Callable[[range], Any], parts: Sequence[range]) -> list[Any]:
    """All of them here."""
    return [function(part) for part in parts]


class DrawnNats(NamedTuple):
    """Nats of each text by each noise draw, in float64, and the bytes and the document of each text."""

    nats: Float[np.ndarray, "T D"]
    num_bytes: Float[np.ndarray, " T"]
    document: Float[np.ndarray, " T"] | None = None


def evaluate(
    family: Family | SamplerLaw,
    denoiser: Denoiser,
    tokens: TokenStream,
    *,
    length: int,
    windows: int,
    draws: int,
    noise_error: float | None = None,
    device: torch.device | str = "cpu",
    batch_size: int = 64,
    pieces: Pieces = anew,
    over: Over = one_by_one,
) -> HeldOutLoss:
    """Average over `windows` windows of `length` tokens and noise draws of each.

    Args:
        draws: as many, or more where `noise_error` asks for it.
        noise_error: nats per token; None for exactly `draws`.
        over: how batches are gone through; ranks share them.
    """
    found = window_nats(
        family,
        denoiser,
        tokens,
        length=length,
        windows=windows,
        draws=draws,
        noise_error=noise_error,
        device=device,
        batch_size=batch_size,
        pieces=pieces,
        over=over,
    )
    return held_out_loss(family, found, length, "windows", noise_error)


def window_nats(
    family: Family | SamplerLaw,
    denoiser: Denoiser,
    tokens: TokenStream,
    *,
    length: int,
    windows: int,
    draws: int,
    noise_error: float | None = None,
    device: torch.device | str = "cpu",
    batch_size: int = 64,
    pieces: Pieces = anew,
    over: Over = one_by_one,
) -> DrawnNats:
    """Of the same windows for every run of this text; a draw is the same noise for every run."""
    windows = min(windows, tokens.num_windows(length))
    chosen = np.sort(np.random.default_rng(_SEED).permutation(tokens.num_windows(length))[:windows])
    starts = range(0, windows, batch_size)
    batches = [range(start, min(start + batch_size, windows)) for start in starts]

    def ids_of(rows: range) -> np.ndarray:
        return tokens.gather(chosen[rows.start : rows.stop], length)

    def scored(rows: range, some: range) -> list[list[float]]:
        x = torch.from_numpy(ids_of(rows)).to(device)
        return noisy_nats(family, denoiser, x, rows=rows, num_rows=windows, draws=some).tolist()

    def score(some: range) -> np.ndarray:
        def piece(rows: range) -> list[list[float]]:
            return pieces(0 if some.start else len(rows), partial(scored, rows, some))

        return np.concatenate(over(piece, batches))

    return DrawnNats(
        nats=drawn(score, family, draws, length, noise_error),
        num_bytes=np.array([tokens.bytes_in(row) for rows in batches for row in ids_of(rows)]),
        document=tokens.document_at(chosen * length + length // 2),
    )


def drawn(
    score: Callable[[range], Float[np.ndarray, "T D"]],
    family: Family | SamplerLaw,
    draws: int,
    length: int,
    error: float | None,
) -> Float[np.ndarray, "T D"]:
    """Nats by draws 0 .. D - 1: as many as asked for, and more until their error per token is `error`."""
    if family.kind == "exact":
        return score(range(1))
    nats, most = score(range(draws)), _MOST * draws
    while error is not None and (num := nats.shape[1]) < most:
        now = 2 * error if num == 1 else _noise_error(nats) / length
        if now <= error:
            break
        wanted = max(2, math.ceil(num * min(16, (now / error) ** 2)))
        nats = np.hstack([nats, score(range(num, min(most, max(num + 1, wanted))))])
    return nats


def usual_draws(kind: Kind, asked: Validation, length: int) -> int:
    """About how many draws of each window bring the error to `noise_error`, for plans of time."""
    if kind == "exact":
        return 1
    wanted = round((_SPREAD / asked.noise_error) ** 2 / (asked.windows * length))
    return max(asked.draws, min(_MOST * asked.draws, wanted))


def noisy_nats(
    family: Family | SamplerLaw,
    denoiser: Denoiser,
    x: Tokens,
    *,
    rows: range,
    num_rows: int,
    draws: range,
    observed: Chosen | None = None,
) -> Float[Tensor, "B D"]:
    """Nats of each text by each noise draw, in float64 on the CPU; `x` is `rows` of `num_rows`."""
    found = []
    with torch.no_grad():
        for d in draws:
            rng = Rows.of(stream(_SEED, "evaluation", d), num_rows, rows, x.device)
            answer = family.nelbo(denoiser, x, rng=rng, observed=observed)
            found.append(answer.nats.double().cpu())
    return torch.stack(found, 1)


def _noise_error(nats: Float[np.ndarray, "T D"]) -> float:
    """Standard error of the mean nats that is due to D >= 2 draws.

    Groups of texts are disjoint, spread over all, and keep antithetic pairs of neighbors together.
    """
    num, draws = nats.shape
    groups = max(1, min(_GROUPS, num // 4))
    group = np.arange(num) // 2 % groups
    means = np.stack([np.bincount(group, column) for column in nats.T]) / num
    return math.sqrt(means.var(0, ddof=1).sum() / draws)


def held_out_loss(
    family: Family | SamplerLaw,
    found: DrawnNats,
    length: int,
    texts: str,
    noise_error: float | None = None,
) -> HeldOutLoss:
    """The loss from the nats of texts of `length` scored tokens; `noise_error` is what was asked for."""
    num, draws = found.nats.shape
    nats, document = found.nats.mean(1), found.document
    clusters, what = np.arange(num), f"{num} {texts} of {length} tokens"
    if document is not None and len(there := np.unique(document)) > 1:
        clusters, what = np.searchsorted(there, document), f"{what} from {len(there)} documents"
    per_token, _ = ratio_mean(nats, np.full(num, length), clusters)
    bits, deviations = ratio_mean(nats / math.log(2), found.num_bytes, clusters)
    law = f"; {kind_and_law(family)}" if family.law else ""
    how = f"{draws} noise draws each"
    if family.kind == "bound" and noise_error is not None:
        how = f"noise draws until their error is {noise_error:g} nats"
    return HeldOutLoss(
        kind=family.kind,
        nats_per_token=per_token,
        bits_per_byte=bits,
        protocol=f"{what}, {how}, seed {_SEED}{law}",
        draws=draws,
        noise_error=_noise_error(found.nats) / length if draws > 1 else None,
        deviations=tuple(float(f"{one:.5g}") for one in _stretches(deviations)),
    )


def ratio_mean(
    total: Float[np.ndarray, " T"], size: Float[np.ndarray, " T"], cluster: np.ndarray
) -> tuple[Mean, Float[np.ndarray, " G"]]:
    """sum(total) / sum(size) with its standard error, and the deviations of clusters 0 .. G - 1: Eq. (1)."""
    value = total.sum() / size.sum()
    deviations = np.bincount(cluster, total - value * size) / size.sum()
    num = len(deviations)
    error = math.sqrt(num / (num - 1) * float(deviations @ deviations)) if num > 1 else 0.0
    return Mean(float(value), error, num), deviations


def mean(values: np.ndarray) -> Mean:
    """Mean and standard error of independent values."""
    return ratio_mean(values, np.ones(len(values)), np.arange(len(values)))[0]


def _stretches(deviations: np.ndarray) -> np.ndarray:
    """The deviations, of neighbors together where there are many."""
    starts = np.linspace(0, len(deviations), min(len(deviations), _STRETCHES), endpoint=False)
    return np.add.reduceat(deviations, starts.astype(int))
