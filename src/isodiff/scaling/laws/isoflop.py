"""The IsoFLOP law (approach 2 of Hoffmann et al. 2022, arXiv 2203.15556), by family.

1. At each budget the loss is a parabola in ln N; its lowest point is (N*, L*). A parabola whose
   minimum cannot be trusted is refused and stays visible (`curve.Refusal`).
2. Power laws go through the minima: N* = k C^a, D* = k C^a, L* = E + k C^p, straight lines in
   log-log (E = 0 unless asked for).
3. The compute multiplier of a family against autoregressive: at each of its accepted budgets C_j
   the autoregressive law says what compute reaches the same loss, C_AR(L*_j); the multiplier is
   the geometric mean of C_j / C_AR(L*_j).

Everything is computed on arrays [1 + bootstrap, budgets]: row 0 is the data, the others are its
replicates (`bootstrap.replicates`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from isodiff.record import Kind
from isodiff.scaling.fitting.bootstrap import (
    Quantity,
    RunNoise,
    check_options,
    excess_scatter,
    interval,
    replicates,
    scatter,
)
from isodiff.scaling.fitting.parabola import Curve, curves
from isodiff.scaling.fitting.power_law import (
    Array,
    Mask,
    PowerLaw,
    exp,
    finite,
    fit_loss,
    line,
    straight,
)
from isodiff.scaling.laws.isoflop_result import ExcessScatter, MultiplierAlternatives, Refits
from isodiff.scaling.laws.law import REFERENCE, Fit, generator
from isodiff.scaling.points import Point, Points, by_family


@dataclass(frozen=True, slots=True)
class _Minima:
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
class IsoflopFamilyFit:
    """What the IsoFLOP law says of one family.

    The replicates of `minima` hold the noise within curves; those of `spread`, and so of the laws,
    also what the minima scatter beyond it (`bootstrap.excess_scatter`).
    """

    name: str
    kind: Kind | None
    curves: tuple[Curve, ...]
    minima: _Minima
    spread: _Minima
    excess: ExcessScatter
    parameters: PowerLaw
    tokens: PowerLaw
    loss: PowerLaw
    noise: RunNoise
    missing_interval: str | None

    @property
    def accepted(self) -> tuple[Curve, ...]:
        """The curves whose minima the laws go through."""
        return tuple(curve for curve in self.curves if curve.refusal is None)

    def estimate(self, samples: Array) -> Quantity:
        """Value and interval of a statistic [1 + replicates] of this family."""
        if not np.isfinite(samples[0]):
            return Quantity(reason=f"{len(self.accepted)} accepted budgets; 2 are needed")
        if self.missing_interval:
            return Quantity(value=float(samples[0]), reason=self.missing_interval)
        found = interval(samples[1:])
        if found is None:
            return Quantity(value=float(samples[0]), reason="too few replicates gave a value")
        return Quantity(value=float(samples[0]), low=found[0], high=found[1])


@dataclass(frozen=True)
class IsoflopFit(Fit):
    """The IsoFLOP law of every family, and what was asked for."""

    law: ClassVar = "isoflop"

    families: dict[str, IsoflopFamilyFit]
    irreducible: bool
    huber: bool

    def multiplier(self, name: str) -> Quantity:
        """Compute of family `name` over that of autoregressive at equal loss."""
        family, reference = self.families[name], self.families.get(REFERENCE)
        if reference is None:
            return Quantity(reason=f"no {REFERENCE} runs to compare with")
        if name == REFERENCE:
            return Quantity(value=1.0, low=1.0, high=1.0)
        for fit in (family, reference):
            if len(fit.accepted) < (2 if fit is reference else 1):
                return Quantity(reason=f"too few accepted budgets of {fit.name}")
        samples = exp(_shift(family.spread, reference.loss))
        if not np.isfinite(samples[0]):
            return Quantity(reason=f"the {REFERENCE} law never reaches these losses")
        if reference.missing_interval:
            return Quantity(value=float(samples[0]), reason=reference.missing_interval)
        return family.estimate(samples)

    def extrapolation(self, name: str) -> float | None:
        """How far below its smallest budget the autoregressive law is read, as a factor."""
        family, reference = self.families[name], self.families.get(REFERENCE)
        if reference is None or family is reference:
            return None
        if not family.accepted or len(reference.accepted) < 2:
            return None
        reached = reference.loss.log_compute(family.minima.nats)[0].min()
        return finite(float(exp(reference.minima.log_c[0].min() - reached)))

    def multiplier_alternatives(self, name: str) -> MultiplierAlternatives:
        """The multiplier by two other definitions, which agree where the laws are parallel.

        `common_slope`: both families on lines of one slope in log-log, their horizontal distance.
        `family_law`: the family's law inverted at the losses of the autoregressive minima.
        """
        family, reference = self.families[name], self.families.get(REFERENCE)
        if reference is None or len(family.accepted) < 2 or len(reference.accepted) < 2:
            return MultiplierAlternatives()
        inverse = float(exp(-_shift(reference.minima, family.loss))[0])
        return MultiplierAlternatives(
            common_slope=_common_slope(family.minima, reference.minima),
            family_law=finite(inverse),
        )

    def numbers(self) -> dict[str, dict[str, float | None]]:
        """Exponents and multiplier."""
        return {
            name: {
                "N_exponent": finite(family.parameters.exponent[0]),
                "D_exponent": finite(family.tokens.exponent[0]),
                "L_exponent": finite(family.loss.exponent[0]),
                "multiplier_vs_autoregressive": self.multiplier(name).value,
            }
            for name, family in self.families.items()
        }


def fit_isoflop(
    points: Points | Sequence[Point],
    *,
    bootstrap: int = 1000,
    seed: int = 0,
    irreducible: bool = False,
    huber: bool = False,
) -> IsoflopFit:
    """Fit the IsoFLOP law to each family of `points`; families by name.

    The order of the points does not matter, and a family's numbers (its multiplier apart) do not
    depend on which other families are there.

    `huber` draws the parabolas by Huber's regression, so that a single bad run does not bend them.

    Raises:
        InputError: no points, or a negative number of replicates.
    """
    data, named = by_family(points)
    check_options(bootstrap, seed)
    families = {
        name: fit_isoflop_family(name, own, bootstrap, generator(seed, name), irreducible, huber)
        for name, own in named.items()
    }
    return IsoflopFit(data, bootstrap, seed, families, irreducible, huber)


def fit_isoflop_family(
    name: str,
    points: Sequence[Point],
    bootstrap: int,
    rng: np.random.Generator,
    irreducible: bool,
    huber: bool = False,
) -> IsoflopFamilyFit:
    """Curves, minima and laws of one family."""
    all_curves = curves(points, huber=huber)
    accepted = [curve for curve in all_curves if curve.refusal is None]
    losses = replicates(all_curves, accepted, bootstrap, rng) if bootstrap else None
    missing = None
    if losses is None:
        missing = "three sizes a budget and no standard errors leave the noise unknown"
        missing = missing if bootstrap else "no bootstrap was asked for"
        losses = [curve.nats[None] for curve in accepted]
    minima = _find_minima(accepted, losses)
    spread, excess = _spread_minima(accepted, minima, irreducible, rng)
    log_c, keep = spread.log_c, spread.keep
    return IsoflopFamilyFit(
        name,
        points[0].kind,
        all_curves,
        minima,
        spread,
        excess,
        parameters=straight(log_c, spread.log_n, keep),
        tokens=straight(log_c, spread.log_d, keep),
        loss=fit_loss(log_c, np.log(spread.nats), keep, irreducible=irreducible),
        noise=scatter(all_curves),
        missing_interval=missing,
    )


def _find_minima(accepted: Sequence[Curve], losses: Sequence[Array]) -> _Minima:
    """The minimum of each accepted curve in each replicate."""
    if not accepted:
        none = np.zeros((1, 0))
        return _Minima(none, none, none, none, none > 0, none > 0)
    found = [curve.minima(nats) for curve, nats in zip(accepted, losses, strict=True)]
    log_n, nats, keep = (np.stack(columns, axis=1) for columns in zip(*found, strict=True))
    return _at_sizes(accepted, log_n, nats, keep)


def _at_sizes(accepted: Sequence[Curve], log_n: Array, nats: Array, keep: Mask) -> _Minima:
    """Minima at ln N, with the tokens and compute that go with them."""
    pairs = list(zip(accepted, log_n.T, strict=True))
    return _Minima(
        log_n,
        log_d=np.stack([curve.log_at("tokens", x) for curve, x in pairs], axis=1),
        log_c=np.stack([curve.log_at("flops", x) for curve, x in pairs], axis=1),
        nats=nats,
        keep=keep,
        inside=np.stack([curve.inside(x) for curve, x in pairs], axis=1),
    )


def _spread_minima(
    accepted: Sequence[Curve], minima: _Minima, irreducible: bool, rng: np.random.Generator
) -> tuple[_Minima, ExcessScatter]:
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


def _shift(minima: _Minima, law: PowerLaw) -> Array:
    """Mean of ln C_j - ln C_law(L*_j) over the kept minima, per replicate."""
    log_ratio = minima.log_c - law.log_compute(minima.nats)
    count = minima.keep.sum(axis=1)
    total = np.where(minima.keep, log_ratio, 0).sum(axis=1)
    return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)


def _common_slope(family: _Minima, reference: _Minima) -> float | None:
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
