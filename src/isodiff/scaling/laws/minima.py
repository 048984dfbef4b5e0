"""The lowest points of a family's IsoFLOP curves, and how far apart two families lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from isodiff.scaling.fitting.bootstrap import excess_scatter
from isodiff.scaling.fitting.parabola import Curve
from isodiff.scaling.fitting.power_law import Array, Mask, PowerLaw, exp, line
from isodiff.scaling.laws.isoflop_result import ExcessScatter


@dataclass(frozen=True, slots=True)
class Minima:
    """The lowest points of a family's accepted curves: arrays [1 + replicates, budgets]."""

    log_n: Array
    log_d: Array
    log_c: Array
    nats: Array
    keep: Mask
    inside: Mask

    def share_lost(self, mask: Mask) -> float:
        """Share of the replicated parabolas outside `mask` (`keep` or `inside`)."""
        return 1.0 - float(mask[1:].mean()) if mask[1:].size else 0.0


def find_minima(accepted: Sequence[Curve], losses: Sequence[Array]) -> Minima:
    """The minimum of each accepted curve in each replicate."""
    if not accepted:
        none = np.zeros((1, 0))
        return Minima(none, none, none, none, none > 0, none > 0)
    found = [curve.minima(nats) for curve, nats in zip(accepted, losses, strict=True)]
    log_n, nats, keep = (np.stack(columns, axis=1) for columns in zip(*found, strict=True))
    return _at_sizes(accepted, log_n, nats, keep)


def _at_sizes(accepted: Sequence[Curve], log_n: Array, nats: Array, keep: Mask) -> Minima:
    """Minima at ln N, with the tokens and compute that go with them."""
    pairs = list(zip(accepted, log_n.T, strict=True))
    return Minima(
        log_n,
        log_d=np.stack([curve.log_at("tokens", x) for curve, x in pairs], axis=1),
        log_c=np.stack([curve.log_at("flops", x) for curve, x in pairs], axis=1),
        nats=nats,
        keep=keep,
        inside=np.stack([curve.inside(x) for curve, x in pairs], axis=1),
    )


def spread_minima(
    accepted: Sequence[Curve], minima: Minima, irreducible: bool, rng: np.random.Generator
) -> tuple[Minima, ExcessScatter]:
    """The minima with the noise between budgets added to their replicates, and its p-values."""
    if not accepted:
        return minima, ExcessScatter()
    log_c = np.log([curve.budget for curve in accepted])
    in_n = excess_scatter(log_c, minima.log_n, 1, rng)
    in_l = excess_scatter(log_c, np.log(minima.nats), 2 if irreducible else 1, rng)
    log_n, nats = minima.log_n.copy(), minima.nats.copy()
    log_n[1:] += in_n.noise
    nats[1:] = exp(np.log(nats[1:]) + in_l.noise)
    spread = _at_sizes(accepted, log_n, nats, minima.keep)
    return spread, ExcessScatter(N=in_n.p_value, L=in_l.p_value)


def shift(minima: Minima, law: PowerLaw) -> Array:
    """Mean of ln C_j - ln C_law(L*_j) over the kept minima, per replicate."""
    log_ratio = minima.log_c - law.log_compute(minima.nats)
    count = minima.keep.sum(axis=1)
    total = np.where(minima.keep, log_ratio, 0).sum(axis=1)
    return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)


def common_slope(family: Minima, reference: Minima) -> float | None:
    """Horizontal distance, as a factor, of two lines of one slope through (ln C, ln L*)."""
    center = [(m.log_c[0].mean(), np.log(m.nats[0]).mean()) for m in (family, reference)]
    pooled = [
        (m.log_c[0] - x, np.log(m.nats[0]) - y)
        for m, (x, y) in zip((family, reference), center, strict=True)
    ]
    x, y = (np.concatenate(part)[None] for part in zip(*pooled, strict=True))
    _, slope = line(x, y, np.ones_like(x, dtype=bool))
    if slope[0] == 0:
        return None
    (xf, yf), (xr, yr) = center
    return float(np.exp((xf - xr) - (yf - yr) / slope[0]))
