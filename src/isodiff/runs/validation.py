"""Nats per token and bits per byte on fixed windows under fixed noise, with standard errors.

Every run of every size meets the same windows and the same random numbers, so differences between runs are
much sharper than each number's own error. The standard error is that of a mean over windows; noise draws
within a window are averaged first. Windows of one document are not independent: read it as a lower limit.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from isodiff.data.tokens import Tokens as TokenStream
from isodiff.families.base import Family, SamplerLaw, kind_and_law
from isodiff.network.view import Denoiser
from isodiff.record import HeldOutLoss, Mean
from isodiff.rng import Rows, stream
from isodiff.runs.resumable import Pieces, anew
from isodiff.types import Chosen, Tokens

_SEED = 0  # of the choice of windows and of the noise: the same for every run


def evaluate(
    family: Family | SamplerLaw,
    denoiser: Denoiser,
    tokens: TokenStream,
    *,
    length: int,
    windows: int,
    draws: int,
    device: torch.device | str = "cpu",
    batch_size: int = 64,
    pieces: Pieces = anew,
) -> HeldOutLoss:
    """Average over `windows` windows of `length` tokens and `draws` noise draws of each."""
    draws = 1 if family.kind == "exact" else draws
    nats, num_bytes = window_nats(
        family,
        denoiser,
        tokens,
        length=length,
        windows=windows,
        draws=draws,
        device=device,
        batch_size=batch_size,
        pieces=pieces,
    )
    return held_out_loss(family, nats, num_bytes.sum(), length, "windows", draws)


def window_nats(
    family: Family | SamplerLaw,
    denoiser: Denoiser,
    tokens: TokenStream,
    *,
    length: int,
    windows: int,
    draws: int,
    device: torch.device | str = "cpu",
    batch_size: int = 64,
    pieces: Pieces = anew,
) -> tuple[np.ndarray, np.ndarray]:
    """Nats and bytes of each window: the same windows, under the same noise, for every run of this text."""
    windows = min(windows, tokens.num_windows(length))
    chosen = np.sort(np.random.default_rng(_SEED).permutation(tokens.num_windows(length))[:windows])

    def scored(rows: range) -> list[tuple[float, int]]:
        ids = tokens.gather(chosen[rows.start : rows.stop], length)
        x = torch.from_numpy(ids).to(device)
        nats = mean_nats(family, denoiser, x, rows=rows, num_rows=windows, draws=draws)
        return list(zip(nats.tolist(), [int(tokens.bytes_in(row)) for row in ids], strict=True))

    each: list[tuple[float, int]] = []
    for start in range(0, windows, batch_size):
        rows = range(start, min(start + batch_size, windows))
        each += pieces(len(rows), partial(scored, rows))
    nats, num_bytes = np.array(each).T
    return nats, num_bytes


def mean_nats(
    family: Family | SamplerLaw,
    denoiser: Denoiser,
    x: Tokens,
    *,
    rows: range,
    num_rows: int,
    draws: int,
    observed: Chosen | None = None,
) -> Float[Tensor, " B"]:
    """Nats of each text in float64 on the CPU, averaged over noise draws; `x` is `rows` of `num_rows`."""
    nats = torch.zeros(len(rows), dtype=torch.float64)
    with torch.no_grad():
        for d in range(draws):
            rng = Rows.of(stream(_SEED, "evaluation", d), num_rows, rows, x.device)
            answer = family.nelbo(denoiser, x, rng=rng, observed=observed)
            nats += answer.nats.double().cpu() / draws
    return nats


def held_out_loss(
    family: Family | SamplerLaw,
    nats: np.ndarray,
    num_bytes: float,
    length: int,
    texts: str,
    draws: int,
) -> HeldOutLoss:
    """The loss from the nats of texts of `length` scored tokens, which stand for `num_bytes` in all."""
    per_token, num = mean(nats / length), len(nats)
    scale = float(length * num / num_bytes / math.log(2))
    law = f"; {kind_and_law(family)}" if family.law else ""
    return HeldOutLoss(
        kind=family.kind,
        nats_per_token=per_token,
        bits_per_byte=Mean(per_token.value * scale, per_token.standard_error * scale, num),
        protocol=f"{num} {texts} of {length} tokens, {draws} noise draws each, seed {_SEED}{law}",
    )


def mean(values: np.ndarray) -> Mean:
    """Mean and standard error of independent values."""
    error = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return Mean(float(values.mean()), float(error), len(values))
