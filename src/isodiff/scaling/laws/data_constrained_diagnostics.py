"""From a fit of repeated data to its result: R_D and R_N, what the data know of them, rival forms."""

from __future__ import annotations

import numpy as np

from isodiff.errors import InputError
from isodiff.scaling.fitting.bootstrap import LEVEL, noise
from isodiff.scaling.fitting.holdout import RunsHeldOut, split
from isodiff.scaling.fitting.huber import DELTA, temperature
from isodiff.scaling.fitting.newton import NAMES
from isodiff.scaling.fitting.profile_likelihood import Profile, profile
from isodiff.scaling.laws.data_constrained import (
    R_STARTS,
    DataConstrainedFamilyFit,
    DataConstrainedFit,
    Fitter,
    Worth,
    first_guess,
    fit_data_constrained,
    fit_worth,
)
from isodiff.scaling.laws.data_constrained_result import (
    Crossover,
    DataConstrainedFamily,
    DataConstrainedResult,
    DecayConstants,
    DecayIdentified,
    DecayIntervals,
    FreshConstants,
    UnimodalConstants,
)
from isodiff.scaling.laws.effective_data import crossover
from isodiff.scaling.laws.law import REFERENCE, Law, generator
from isodiff.scaling.laws.load import printed
from isodiff.scaling.laws.model_comparison import Rival, rivals
from isodiff.scaling.laws.parametric import falling
from isodiff.scaling.laws.parametric_diagnostics import checked
from isodiff.scaling.points import Points

_SCANNED = np.geomspace(0.1, 1e5, 61)
"""Values of R_D and of R_N whose profiles are drawn."""
_BEYOND = np.log(100.0)
"""How far past the largest compute, in ln C, a crossover is looked for."""


def _diagnose_data_constrained(fit: DataConstrainedFit) -> DataConstrainedResult:
    families = {name: _diagnosed(family, fit.data.source) for name, family in fit.families.items()}
    as_printed = all(family.printed is not None for family in fit.families.values())
    fresh = "as the paper printed them" if as_printed else "fitted together with R_D and R_N"
    protocol = (
        "Per family L = E + A/N'^alpha + B/D'^beta with D' = U + U R_D (1 - exp(-(D/U - 1)/R_D)), N' "
        f"likewise; constants of fresh data {fresh}; sum of Huber's loss (delta "
        f"{DELTA:g}) of log loss; {LEVEL:.0%} intervals from profile likelihoods, open where the data "
        "do not bound them"
    )
    return fit.as_result(
        DataConstrainedResult,
        families,
        protocol,
        _warnings(families),
        delta=DELTA,
        overtaking=_crossovers(fit),
    )


def _diagnosed(family: DataConstrainedFamilyFit, source: str) -> DataConstrainedFamily:
    worth, runs = family.saturating, family.runs
    r_d, r_n = _drawn(worth, 5), _drawn(worth, 6)
    return DataConstrainedFamily(
        kind=runs.points[0].kind,
        num_points=len(runs.points),
        max_epochs=float(worth.law.at.epochs.max()),
        **vars(_constants(worth)),
        intervals=DecayIntervals(R_D=(r_d.low, r_d.high), R_N=(r_n.low, r_n.high)),
        identified=DecayIdentified(R_D=r_d.identified, R_N=r_n.identified),
        published=_published(source, family.name),
        profile=r_d.curve,
        profile_R_N=r_n.curve,
        fresh=FreshConstants(printed=family.printed is not None, **vars(worth.surface.constants())),
        all_fitted_together=_together(family),
        models=_forms(family),
        unimodal=_unimodal(family.unimodal),
        cost=runs.cost,
        range=runs.ranges,
        validation=_held_out(family),
        draws=falling((*NAMES, *worth.law.form.names), worth.uncentered(family.replicates)),
    )


def _constants(worth: Worth) -> DecayConstants:
    return DecayConstants(R_D=worth.constant(0), R_N=worth.constant(1), objective=worth.objective)


def _drawn(worth: Worth, column: int) -> Profile:
    """The profile of R_D or R_N; every value starts from several of the other."""
    other = 11 - column
    starts = np.repeat(worth.theta[None], 1 + len(R_STARTS), axis=0)
    starts[1:, other] = R_STARTS
    y, held = worth.runs.log_nats, ~worth.free
    return profile(worth.law, starts, y, column, _SCANNED, log=True, fixed=held)


def _published(source: str, family: str) -> DecayConstants | None:
    known = printed(source, "repeated", family)
    return None if known is None else DecayConstants(**known)


def _together(family: DataConstrainedFamilyFit) -> DecayConstants | None:
    """R_D and R_N where the constants of fresh data are fitted too, not taken from print."""
    if family.printed is None:
        return None
    return _constants(
        Fitter(family.runs, together=True).saturating(first_guess(family.name, family.runs))
    )


def _held_out(family: DataConstrainedFamilyFit) -> RunsHeldOut:
    """The runs of most compute predicted from the others; intervals are of new runs."""
    part = split(family.runs.points)
    rest, left = family.runs.keep(~part.held_out), family.runs.keep(part.held_out)
    num = len(family.replicates)
    try:
        fewer = fit_worth(family.name, rest, family.printed, num, 0)
    except InputError as error:
        return RunsHeldOut(rule=part.rule, reason=f"without them {error}")
    worth = fewer.saturating
    law = worth.predict(np.vstack([worth.theta[None], fewer.replicates]), left)
    fresh = noise(
        worth.residuals, worth.num_free, law[1:].shape, generator(0, family.name, "new runs")
    )
    return checked(part, rest, left, np.vstack([law[:1], law[1:] + fresh]))


def _forms(family: DataConstrainedFamilyFit) -> tuple[Rival, ...]:
    """The rival forms, on the same constants of fresh data."""
    forms = {
        "as good as new": family.as_new,
        "saturating": family.saturating,
        "unimodal": family.unimodal,
    }
    freest = family.unimodal
    scale = temperature(freest.residuals, freest.num_free)
    objectives = {name: (worth.objective, worth.num_free) for name, worth in forms.items()}
    return tuple(rivals(objectives, scale, len(family.runs.points)))


def _unimodal(worth: Worth) -> UnimodalConstants:
    p, log_gamma, log_c, m, k = (float(x) for x in worth.theta[5:])
    return UnimodalConstants(
        p=p,
        gamma=float(np.exp(min(log_gamma, 700.0))),
        c=float(np.exp(min(log_c, 700.0))),
        m=m,
        k=k,
        objective=worth.objective,
    )


def _crossovers(fit: DataConstrainedFit) -> tuple[Crossover, ...]:
    """The compute from which each family is better than the reference on the same text."""
    reference = fit.families.get(REFERENCE)
    rows: list[Crossover] = []
    for name, family in fit.families.items():
        if reference is None or family is reference:
            continue
        texts = np.unique(
            np.concatenate([f.runs.log("unique_tokens") for f in (family, reference)])
        )
        log_c = np.concatenate([f.runs.log("flops") for f in (family, reference)])
        within = float(log_c.min()), float(log_c.max()) + _BEYOND
        for log_unique in (texts[0], np.median(texts), texts[-1]):
            found = crossover(family.limited, reference.limited, float(log_unique), within)
            rows.append(
                Crossover(
                    family=name,
                    unique_tokens=float(np.exp(log_unique)),
                    flops=None if found is None else float(np.exp(found)),
                )
            )
    return tuple(rows)


def _allowed(low: float | None, high: float | None) -> str:
    """An interval that is open on a side."""
    if low is None:
        return "any value" if high is None else f"everything up to {high:.3g}"
    return f"{low:.3g} and more"


def _warnings(families: dict[str, DataConstrainedFamily]) -> list[str]:
    """What a reader must know before using the numbers."""
    said = []
    for name, found in families.items():
        for symbol, known in vars(found.identified).items():
            if not known:
                low, high = vars(found.intervals)[symbol]
                said.append(
                    f"{name}: {symbol} is not identified: the data allow {_allowed(low, high)}"
                )
        best = min(found.models, key=lambda row: row.aicc)
        if best.model != "saturating":
            said.append(
                f"{name}: by AICc the worth of repeated text is {best.model} rather than saturating"
            )
    return said


def _check_repeats(points: Points) -> None:
    """Refuse runs that say nothing of repeated text."""
    if not any(p.unique_tokens and p.tokens > p.unique_tokens for p in points.points):
        raise InputError("no run has seen its text more than once")


LAW = Law(
    name="repeated",
    summary="the parametric law with effective N and D of text seen several times; runs must say how "
    "long their text is",
    fit=fit_data_constrained,
    diagnose=_diagnose_data_constrained,
    result=DataConstrainedResult,
    applies=_check_repeats,
)
