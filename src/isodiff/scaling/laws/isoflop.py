"""The IsoFLOP law (approach 2 of Hoffmann et al. 2022, arXiv 2203.15556), by family.

1. At each budget the loss is a parabola in ln N; its lowest point is (N*, L*). A parabola whose
   minimum cannot be trusted is refused and stays visible (`parabola.Refusal`).
2. Power laws go through the minima: N* = k C^a, D* = k C^a, L* = E + k C^p, each minimum by its weight
   (`bootstrap.excess_scatter`). With fewer than four of them all laws are those of one surface of all runs of
   all families (`joint_surface`).
3. The compute multiplier of a family against the reference at a budget C: C over the compute at which the
   reference's law reaches the loss of the family's law, C / C_ref(L*(C)). At the largest budget that law is
   read least far below its runs: that multiplier is the one to quote. Beside it, as a check, the same with
   the loss of the family's parabola at that budget.

Everything is computed on arrays [1 + bootstrap, budgets]: row 0 is the data, the others are its
replicates (`bootstrap.replicates`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from isodiff.errors import InputError, nearest
from isodiff.record import Kind
from isodiff.scaling.fitting.bootstrap import (
    Quantity,
    RunNoise,
    check_options,
    interval,
    replicates,
    scatter,
)
from isodiff.scaling.fitting.parabola import Curve, curves
from isodiff.scaling.fitting.power_law import (
    FEWEST_WITH_FLOOR,
    Array,
    PowerLaw,
    exp,
    finite,
    fit_loss,
    straight,
)
from isodiff.scaling.laws.isoflop_result import BudgetMultiplier, LossLawSource
from isodiff.scaling.laws.joint_surface import fit_joint_surface
from isodiff.scaling.laws.law import REFERENCE, Fit, generator
from isodiff.scaling.laws.minima import Minima, SpreadMinima, find_minima, spread_minima
from isodiff.scaling.laws.parametric import Runs, ordered
from isodiff.scaling.points import Point, Points, by_family, share_budgets


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
    spread: SpreadMinima
    parameters: PowerLaw
    tokens: PowerLaw
    loss: PowerLaw
    loss_from: LossLawSource
    noise: RunNoise
    missing_interval: str | None

    @property
    def accepted(self) -> tuple[Curve, ...]:
        """The curves whose minima the laws go through."""
        return tuple(curve for curve in self.curves if curve.refusal is None)

    @property
    def points(self) -> tuple[Point, ...]:
        """The runs of all curves."""
        return tuple(point for curve in self.curves for point in curve.points)

    def estimate(self, samples: Array) -> Quantity:
        """Value and interval of a statistic [1 + replicates] of this family's minima or laws."""
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
    reference: str

    def multiplier(
        self, name: str, log_c: float | None = None, nats: Array | None = None
    ) -> Quantity:
        """Compute of a family over the reference's at equal loss, at ln C; by default at its largest budget.

        `nats` [1 + replicates] are read in place of the family's law. None, and why, where a law is missing
        or the reference never reaches the loss.
        """
        family, reference = self.families[name], self.families.get(self.reference)
        if reference is None:
            return Quantity(reason=f"no {self.reference} runs to compare with")
        if name == self.reference:
            return Quantity(value=1.0, low=1.0, high=1.0)
        for fit in (reference, family):
            if not np.isfinite(fit.loss.exponent[0]):
                return Quantity(reason=f"too few accepted budgets of {fit.name}")
        log_c = float(family.minima.log_c[0, -1]) if log_c is None else log_c
        samples = exp(log_c - self._reached(family, log_c, nats))
        if not np.isfinite(samples[0]):
            return Quantity(reason=f"the {self.reference} law never reaches these losses")
        if reference.missing_interval:
            return Quantity(value=float(samples[0]), reason=reference.missing_interval)
        return family.estimate(samples)

    def _reached(self, family: IsoflopFamilyFit, log_c: float, nats: Array | None = None) -> Array:
        """ln C at which the reference reaches the family's loss at ln C: [1 + replicates]."""
        nats = family.loss(np.array([log_c]))[:, 0] if nats is None else nats
        return self.families[self.reference].loss.log_compute(nats[:, None])[:, 0]

    def multipliers(self, name: str) -> tuple[BudgetMultiplier, ...]:
        """At every accepted budget of a family; none where no law tells, or of the reference itself."""
        family = self.families[name]
        if name == self.reference or self.multiplier(name).value is None:
            return ()
        rows = []
        minima = zip(
            family.accepted, family.minima.log_c[0].tolist(), family.minima.nats.T, strict=True
        )
        for curve, log_c, nats in minima:
            found = self.multiplier(name, log_c)
            if found.value is not None:
                row = BudgetMultiplier(
                    budget=curve.budget,
                    flops=float(np.exp(log_c)),
                    **vars(found),
                    extrapolation=self.extrapolation(name, log_c),
                    by_parabola=self.multiplier(name, log_c, nats),
                )
                rows.append(row)
        return tuple(rows)

    def extrapolation(self, name: str, log_c: float | None = None) -> float | None:
        """How far below its smallest budget the reference's law is read, as a factor."""
        family, reference = self.families[name], self.families.get(self.reference)
        if reference is None or family is reference or not reference.accepted:
            return None
        if not family.accepted or not np.isfinite(family.loss.exponent[0]):
            return None
        log_c = float(family.minima.log_c[0, -1]) if log_c is None else log_c
        least = reference.minima.log_c[0].min()
        return finite(float(exp(least - self._reached(family, log_c)[0])))

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
    irreducible: bool = True,
    huber: bool = False,
    reference: str = REFERENCE,
) -> IsoflopFit:
    """Fit the IsoFLOP law to each family of `points`; families by name.

    The order of the points does not matter. From four budgets a family's numbers (its multiplier apart) do
    not depend on which other families are there.

    Args:
        irreducible: whether losses level off at an E > 0; without it E = 0.
        huber: draws the parabolas by Huber's regression, so that a single bad run does not bend them.
        reference: the family that multipliers compare with.

    Raises:
        InputError: no points, a negative number of replicates, or a reference that is not there.
    """
    data, named = by_family(points)
    data = share_budgets(data)
    named = by_family(data)[1]
    check_options(bootstrap, seed)
    if reference not in named and reference != REFERENCE:
        raise InputError(
            f"--reference cannot be {reference!r}{nearest(reference, named)}; the families are "
            f"{', '.join(named)}"
        )
    families = {
        name: _fit_family(name, own, bootstrap, generator(seed, name), irreducible, huber)
        for name, own in named.items()
    }
    if irreducible:
        families |= _with_joint_laws(families, bootstrap, seed)
    return IsoflopFit(data, bootstrap, seed, families, irreducible, huber, reference)


def _fit_family(
    name: str,
    points: Sequence[Point],
    bootstrap: int,
    rng: np.random.Generator,
    irreducible: bool,
    huber: bool = False,
) -> IsoflopFamilyFit:
    """Curves, minima and laws of one family by itself."""
    all_curves = curves(points, huber=huber)
    accepted = [curve for curve in all_curves if curve.refusal is None]
    losses = replicates(all_curves, accepted, bootstrap, rng) if bootstrap else None
    missing = None
    if losses is None:
        missing = "three sizes a budget and no standard errors leave the noise unknown"
        missing = missing if bootstrap else "no bootstrap was asked for"
        losses = [curve.nats[None] for curve in accepted]
    minima, noise = find_minima(accepted, losses), scatter(all_curves)
    found = spread_minima(accepted, minima, noise, irreducible, rng)
    log_c, keep = found.minima.log_c, found.minima.keep
    levels_off = irreducible and len(accepted) >= FEWEST_WITH_FLOOR
    log_nats = np.log(found.minima.nats)
    return IsoflopFamilyFit(
        name,
        points[0].kind,
        all_curves,
        minima,
        found,
        parameters=straight(log_c, found.minima.log_n, keep, found.size.weight),
        tokens=straight(log_c, found.minima.log_d, keep, found.size.weight),
        loss=fit_loss(log_c, log_nats, keep, found.loss.weight, irreducible=irreducible),
        loss_from="minima" if levels_off else "E = 0",
        noise=noise,
        missing_interval=missing,
    )


def _with_joint_laws(
    families: Mapping[str, IsoflopFamilyFit], bootstrap: int, seed: int
) -> dict[str, IsoflopFamilyFit]:
    """Families of one to three minima, with the laws of the surface of all runs; of one, only the loss."""
    few = {name: one for name, one in families.items() if one.loss_from == "E = 0" and one.accepted}
    if not few:
        return {}
    runs = {name: Runs(ordered(family.points)) for name, family in families.items()}
    joint = fit_joint_surface(runs, bootstrap, generator(seed, "joint surface"))
    if joint is None:
        return {}
    found = {}
    for name, family in few.items():
        size, tokens, loss = joint.laws(name, np.log([curve.budget for curve in family.curves]))
        sizes = (size, tokens) if len(family.accepted) > 1 else (family.parameters, family.tokens)
        found[name] = replace(
            family,
            parameters=sizes[0],
            tokens=sizes[1],
            loss=loss,
            loss_from="joint surface",
            missing_interval=None if bootstrap else family.missing_interval,
        )
    return found
