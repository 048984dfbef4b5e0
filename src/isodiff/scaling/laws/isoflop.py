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

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from isodiff.record import Kind
from isodiff.scaling.fitting.bootstrap import (
    Noise,
    Quantity,
    check_options,
    interval,
    replicates,
    scatter,
)
from isodiff.scaling.fitting.parabola import Curve, curves
from isodiff.scaling.fitting.power_law import Array, PowerLaw, exp, finite, fit_loss, straight
from isodiff.scaling.laws.isoflop_result import (
    ExcessScatter,
    MultiplierAlternatives,
)
from isodiff.scaling.laws.law import REFERENCE, Fit
from isodiff.scaling.laws.minima import Minima, common_slope, find_minima, shift, spread_minima
from isodiff.scaling.points import Point, Points, by_family


@dataclass(frozen=True, slots=True)
class IsoflopFamilyFit:
    """What the IsoFLOP law says of one family.

    The replicates of `minima` hold the noise within curves; those of `spread`, and so of the laws,
    also what the minima scatter beyond it (`bootstrap.excess_scatter`).
    """

    name: str
    kind: Kind | None
    curves: tuple[Curve, ...]
    minima: Minima
    spread: Minima
    excess: ExcessScatter
    parameters: PowerLaw
    tokens: PowerLaw
    loss: PowerLaw
    noise: Noise
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
        samples = exp(shift(family.spread, reference.loss))
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
        inverse = float(exp(-shift(reference.minima, family.loss))[0])
        return MultiplierAlternatives(
            common_slope=common_slope(family.minima, reference.minima),
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
        name: fit_family(
            name,
            own,
            bootstrap,
            family_generator(seed, name),
            irreducible,
            huber,
        )
        for name, own in named.items()
    }
    return IsoflopFit(data, bootstrap, seed, families, irreducible, huber)


def family_generator(seed: int, name: str) -> np.random.Generator:
    """Randomness of one family, whatever the others are."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def fit_family(
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
    minima = find_minima(accepted, losses)
    spread, excess = spread_minima(accepted, minima, irreducible, rng)
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
