"""The lowest points of a family's IsoFLOP curves, with their noise and their weights in the laws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from isodiff.scaling.fitting.bootstrap import Excess, RunNoise, excess_scatter, no_excess
from isodiff.scaling.fitting.parabola import Curve
from isodiff.scaling.fitting.power_law import FEWEST_WITH_FLOOR, Array, Mask, exp, fit_loss
from isodiff.scaling.laws.isoflop_result import ExcessScatter, Refits

_ROUNDING = 1e-9
"""Relative scatter that is never undercut: runs without noise still have weights."""


@dataclass(frozen=True, slots=True)
class Minima:
    """The lowest points of a family's accepted curves: arrays [1 + replicates, budgets]."""

    log_n: Array
    log_d: Array
    log_c: Array
    nats: Array
    keep: Mask
    inside: Mask

    @property
    def refits(self) -> Refits:
        """What became of the replicated parabolas."""

        def lost(mask: Mask) -> float:
            return 1.0 - float(mask[1:].mean()) if mask[1:].size else 0.0

        return Refits(refused=lost(self.keep), edge=lost(self.inside | ~self.keep))


@dataclass(frozen=True, slots=True)
class SpreadMinima:
    """Minima whose replicates also hold the noise between budgets, and that noise of ln N* and ln L*.

    `floor_aicc` is the AICc of E = 0 less that of a free E, which lets the loss level off; None where nothing
    tells.
    """

    minima: Minima
    size: Excess
    loss: Excess
    floor_aicc: float | None = None

    @property
    def excess(self) -> ExcessScatter:
        """Whether there is any."""
        return ExcessScatter(N=self.size.p_value, L=self.loss.p_value)


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
    accepted: Sequence[Curve],
    minima: Minima,
    noise: RunNoise,
    irreducible: bool,
    rng: np.random.Generator,
) -> SpreadMinima:
    """The minima with the noise between budgets added to their replicates (`bootstrap.excess_scatter`)."""
    if not accepted:
        none = no_excess(len(minima.nats) - 1, np.zeros(0))
        return SpreadMinima(minima, none, none)
    log_c, nats = np.log([curve.budget for curve in accepted]), minima.nats
    of_n, of_nats = _scale(accepted, noise) ** 2 * np.array([c.variances for c in accepted]).T
    levels_off = irreducible and len(accepted) >= FEWEST_WITH_FLOOR
    in_n = excess_scatter(log_c, minima.log_n, of_n, 1, rng)
    in_l = excess_scatter(log_c, np.log(nats), of_nats / nats[0] ** 2, 1 + levels_off, rng)
    log_n, spread = minima.log_n.copy(), nats.copy()
    log_n[1:] += in_n.noise
    spread[1:] = exp(np.log(spread[1:]) + in_l.noise)
    return SpreadMinima(
        _at_sizes(accepted, log_n, spread, minima.keep),
        in_n,
        in_l,
        _floor_aicc(accepted, minima, in_l) if levels_off and noise.nats else None,
    )


def _scale(accepted: Sequence[Curve], noise: RunNoise) -> float:
    """Scatter of a run; where nothing tells, weights are those of runs that all scatter alike."""
    if noise.nats is None:
        errors = [point.standard_error for curve in accepted for point in curve.points]
        known = [error for error in errors if error]
        return float(np.sqrt(np.mean(np.square(known)))) if known else 1.0
    return max(noise.nats, _ROUNDING * float(accepted[0].nats.mean()))


def _floor_aicc(accepted: Sequence[Curve], minima: Minima, scatter: Excess) -> float | None:
    """AICc of E = 0 less that of a free E: the curves' bends and places, and both laws of L*, of all runs."""
    log_c, nats, keep = minima.log_c[:1], minima.nats[:1], minima.keep[:1]
    num, known = sum(len(curve.points) for curve in accepted), 2 * len(accepted)

    def aicc(irreducible: bool) -> float:
        law = fit_loss(log_c, np.log(nats), keep, scatter.weight, irreducible=irreducible)
        off = np.log(law(log_c[0])[0] / nats[0])
        k = known + 2 + irreducible
        return float(scatter.weight @ off**2) + 2 * k * num / (num - k - 1)

    return aicc(False) - aicc(True) if num > known + 4 else None
