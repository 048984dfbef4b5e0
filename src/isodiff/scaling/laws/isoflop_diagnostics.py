"""From an IsoFLOP fit to its result: intervals, checks (`isoflop_checks`), warnings, what to draw."""

from __future__ import annotations

import numpy as np

from isodiff.errors import InputError, nearest
from isodiff.scaling.fitting.bootstrap import LEVEL, SIGNIFICANT, interval
from isodiff.scaling.fitting.parabola import Curve
from isodiff.scaling.fitting.power_law import FEWEST_WITH_FLOOR, Array, PowerLaw, exp
from isodiff.scaling.laws.isoflop import IsoflopFamilyFit, IsoflopFit, fit_isoflop
from isodiff.scaling.laws.isoflop_checks import (
    SmallerFits,
    best_surface,
    held_out_budget,
    parabola_bias,
    smaller_fits,
)
from isodiff.scaling.laws.isoflop_result import (
    BandPoint,
    Bands,
    IsoflopCurve,
    IsoflopFamily,
    IsoflopResult,
    Minimum,
    PowerLawConstants,
    PowerLaws,
    RefusedCurve,
)
from isodiff.scaling.laws.law import REFERENCE, Draws, Law, Ranges
from isodiff.scaling.laws.loss_surface import Surface
from isodiff.scaling.points import Points, share_budgets

_BAND_SAMPLES = 25
_DRAWS = 200
"""Replicates of the laws that are kept, for intervals of whatever is read off them later."""
_TOO_MANY = (1 - LEVEL) / 2
"""Share of lost refits from which an interval's ends can no longer be trusted."""
_ALSO = f" ar arm arlm causal causallm gpt gpt2 llama ntp {REFERENCE} "
"""Names that others give the reference."""
_BIASED = 0.1
"""Relative bias of N* from which the parabola's form is worth a warning."""


def _diagnose_isoflop(fit: IsoflopFit) -> IsoflopResult:
    smaller = smaller_fits(fit)
    families = {name: _diagnosed(fit, name, smaller) for name in fit.families}
    regression = "Huber-regression" if fit.huber else "least-squares"
    floor = "without an irreducible loss"
    if fit.irreducible:
        floor = (
            f"the loss with an irreducible part E (of fewer than {FEWEST_WITH_FLOOR} minima all laws by one "
            "surface of all runs, the families' exponents and E tied)"
        )
    spread = fit.intervals(
        "with the runs' scatter about their parabolas, and the minima's excess scatter about their "
        "laws, redrawn"
    )
    protocol = (
        f"Per family and budget a {regression} parabola of loss in ln N, refused where it has no "
        f"minimum inside the sizes tried; power laws in C through the minima, by their precision; {floor}; "
        f"compute multipliers by the {fit.reference} law read at the losses of each family's law, at its "
        f"largest budget; {spread}"
    )
    own = {"irreducible": fit.irreducible, "huber": fit.huber, "reference": fit.reference}
    return fit.as_result(IsoflopResult, families, protocol, _warnings(fit, families), **own)


def _diagnosed(fit: IsoflopFit, name: str, smaller: SmallerFits) -> IsoflopFamily:
    family = fit.families[name]
    surface = best_surface(family)
    compute = [curve.compute() for curve in family.curves]
    floor = family.loss_from != "E = 0" and np.isfinite(family.loss.exponent[0])
    return IsoflopFamily(
        kind=family.kind,
        N_exponent=family.estimate(family.parameters.exponent),
        D_exponent=family.estimate(family.tokens.exponent),
        L_exponent=family.estimate(family.loss.exponent),
        irreducible_loss=family.estimate(family.loss.irreducible) if floor else None,
        multiplier_vs_autoregressive=fit.multiplier(name),
        multipliers=fit.multipliers(name),
        extrapolation=fit.extrapolation(name),
        loss_from=family.loss_from,
        floor_aicc=family.spread.floor_aicc,
        laws=PowerLaws(
            N=_constants(family.parameters), D=_constants(family.tokens), L=_constants(family.loss)
        ),
        noise=family.noise,
        excess_scatter=family.spread.excess,
        refits=family.minima.refits,
        validation=held_out_budget(family, smaller),
        surface=None if surface is None else surface.constants(),
        budgets=tuple(
            _minimum(family, curve, j, surface) for j, curve in enumerate(family.accepted)
        ),
        refused=tuple(
            RefusedCurve(budget=curve.budget, flops=curve.compute(), reason=curve.refusal)
            for curve in family.curves
            if curve.refusal
        ),
        curves=tuple(map(IsoflopCurve.of, family.curves)),
        bands=_bands(family),
        range=Ranges(C=(min(compute), max(compute))),
        draws=_draws(family),
    )


def _draws(family: IsoflopFamilyFit) -> Draws:
    """Replicates of the three laws y = irreducible + e^log_k C^exponent; none without a bootstrap.

    A law without any, beside one that has them, stays as it is.
    """
    laws = {"N": family.parameters, "D": family.tokens, "L": family.loss}
    rows = min(_DRAWS, max(len(law.exponent) for law in laws.values()) - 1)

    def drawn(values: Array) -> Array:
        return values[1 : rows + 1] if len(values) > 1 else np.repeat(values, rows)

    columns = {
        f"{symbol}_{part}": drawn(getattr(law, part))
        for symbol, law in laws.items()
        for part in ("log_k", "exponent", "irreducible")
    }
    table = np.stack(list(columns.values()), axis=1)
    return Draws.of(tuple(columns), table[np.isfinite(table).all(axis=1)])


def _constants(law: PowerLaw) -> PowerLawConstants | None:
    if not np.isfinite(law.exponent[0]):
        return None
    return PowerLawConstants(
        k=float(np.exp(law.log_k[0])),
        exponent=float(law.exponent[0]),
        irreducible=float(law.irreducible[0]),
    )


def _minimum(family: IsoflopFamilyFit, curve: Curve, j: int, surface: Surface | None) -> Minimum:
    minima = family.minima
    size, loss = exp(minima.log_n[:, j]), minima.nats[:, j]
    n, nats = family.estimate(size), family.estimate(loss)
    bias_n, bias_l = (None, None) if surface is None else parabola_bias(curve, surface)
    return Minimum(
        budget=curve.budget,
        flops=curve.compute(float(minima.log_n[0, j])),
        N_opt=float(size[0]),
        N_low=n.low,
        N_high=n.high,
        D_opt=float(np.exp(minima.log_d[0, j])),
        L_opt=float(loss[0]),
        L_low=nats.low,
        L_high=nats.high,
        sizes=curve.num_sizes,
        runs=len(curve.points),
        parabola_bias_N=bias_n,
        parabola_bias_L=bias_l,
    )


def _bands(family: IsoflopFamilyFit) -> Bands:
    """L*(C) and N*(C) from half a decade under the smallest C to half a decade over the largest."""
    if not family.accepted:
        return Bands()
    measured, margin = family.minima.log_c[0], np.log(10) / 2
    log_c = np.linspace(measured.min() - margin, measured.max() + margin, _BAND_SAMPLES)

    def band(law: PowerLaw) -> tuple[BandPoint, ...]:
        rows = []
        for x, y in zip(log_c, law(log_c).T, strict=True):
            low, high = (None if family.missing_interval else interval(y[1:])) or (None, None)
            rows.append(BandPoint(flops=float(np.exp(x)), value=float(y[0]), low=low, high=high))
        return tuple(rows) if np.isfinite(law.exponent[0]) else ()

    return Bands(L=band(family.loss), N=band(family.parameters))


def _warnings(fit: IsoflopFit, families: dict[str, IsoflopFamily]) -> list[str]:
    """What a reader must know before using the numbers."""
    said = [f"{name}: {line}" for name in families for line in _of_family(fit, name)]
    if fit.reference not in families:
        said.insert(0, _no_reference(fit.reference, list(families)))
    for name, family in families.items():
        bias = [row.parabola_bias_N for row in family.budgets if row.parabola_bias_N is not None]
        if bias and max(map(abs, bias)) > _BIASED:
            said.append(
                f"{name}: on these sizes parabolas move N* by {min(bias):+.0%} to {max(bias):+.0%}, by the "
                "surface that fits the runs; center the sizes better, or use --law parametric"
            )
    return said


def _no_reference(reference: str, families: list[str]) -> str:
    """Why there are no multipliers, and how to have them."""
    plain = {name: "".join(filter(str.isalnum, name)).lower() for name in families}
    meant = next((name for name, word in plain.items() if f" {word} " in _ALSO), None)
    near = f"; did you mean {meant!r}?" if meant else nearest(reference, families)
    return (
        f"no family is named {reference}: there are no multipliers{near or ';'} --reference FAMILY names the "
        f"one to compare with (there is {', '.join(families)})"
    )


def _of_family(fit: IsoflopFit, name: str) -> list[str]:
    family, said = fit.families[name], []
    accepted, refits = len(family.accepted), family.minima.refits
    jointly = family.loss_from == "joint surface"
    if accepted < 2:
        said.append(f"{accepted} of {len(family.curves)} budgets accepted; no laws")
    if fit.irreducible and accepted >= 2 and family.loss_from == "E = 0":
        said.append(
            f"an irreducible loss needs {FEWEST_WITH_FLOOR} accepted budgets, there are {accepted}, and no "
            "surface goes through these runs; it is taken as 0"
        )
    if (gain := family.spread.floor_aicc) is not None and gain < 0:
        said.append(
            f"E is not told from 0 by these budgets (AICc of E = 0 is lower by {-gain:.1f}); losses far "
            "beyond them depend on it"
        )
    if family.noise.nats is None and accepted and not (jointly or family.missing_interval):
        said.append(
            "three sizes a budget leave no residuals; the intervals hold the evaluations' standard "
            "errors only, not the noise between seeds"
        )
    for symbol, p_value in vars(family.spread.excess).items():
        if p_value is not None and p_value < SIGNIFICANT:
            said.append(
                f"{symbol}* scatters about its power law by more than the runs' noise explains "
                f"(p = {p_value:.2g}); the excess is counted as noise between budgets"
            )
    if refits.refused > _TOO_MANY:
        said.append(f"{refits.refused:.0%} of the refits had no minimum and were left out")
    if refits.edge > _TOO_MANY:
        said.append(f"{refits.edge:.0%} of the refits had their minimum beyond the sizes")
    factor = fit.extrapolation(name)
    if factor is not None and factor > 1:
        below = f"{factor:.2g} times below the smallest budget"
        said.append(f"its multiplier reads the {fit.reference} law {below}")
    return said


def _check_curves(points: Points, result: IsoflopResult) -> None:
    """Refuse runs of which no IsoFLOP law can come."""
    budgets = {point.budget for point in share_budgets(points).points}
    families = result.families.values()
    if len(budgets) == 1:
        raise InputError(
            f"{points.source} has one budget only, {min(budgets):.3g} FLOPs; a law in C needs two at least"
        )
    if any(family.budgets for family in families):
        return
    reasons = sorted({row.reason for family in families for row in family.refused})
    raise InputError(
        f"no IsoFLOP curve of {points.source} has a minimum inside its sizes ({', '.join(reasons)}); run "
        "three sizes or more at each budget, some on either side of the best"
    )


LAW = Law(
    name="isoflop",
    summary="a parabola in ln N per budget, power laws through the minima",
    fit=fit_isoflop,
    diagnose=_diagnose_isoflop,
    result=IsoflopResult,
    file="fits.json",
    check=_check_curves,
    by_convention=True,
)
