"""What a reader of an IsoFLOP fit must know before using its numbers."""

from __future__ import annotations

from isodiff.scaling.fitting.bootstrap import LEVEL, SIGNIFICANT
from isodiff.scaling.fitting.power_law import FEWEST_WITH_FLOOR
from isodiff.scaling.laws.isoflop import IsoflopFit
from isodiff.scaling.laws.isoflop_result import IsoflopFamily
from isodiff.scaling.laws.law import REFERENCE

_TOO_MANY = (1 - LEVEL) / 2
"""Share of lost refits from which an interval's ends can no longer be trusted."""
_BIASED = 0.1
"""Relative bias of N* from which the parabola's form is worth a warning."""


def biased(name: str, family: IsoflopFamily) -> list[str]:
    """A warning where the form of the parabola moves minima by more than `_BIASED`."""
    found = [row.parabola_bias_N for row in family.budgets if row.parabola_bias_N is not None]
    if not found or max(map(abs, found)) <= _BIASED:
        return []
    return [
        f"{name}: on these sizes parabolas move N* by {min(found):+.0%} to {max(found):+.0%}, by the surface "
        "that fits the runs; center the sizes better, or use --law parametric"
    ]


def warnings(fit: IsoflopFit) -> list[str]:
    """What a reader must know before using the numbers."""
    said = []
    if REFERENCE not in fit.families:
        said.append(f"no family is named {REFERENCE}: there are no multipliers")
    for name, family in fit.families.items():
        accepted, minima = len(family.accepted), family.minima
        if accepted < 2:
            said.append(f"{name}: {accepted} of {len(family.curves)} budgets accepted; no laws")
        if fit.irreducible and 2 <= accepted < FEWEST_WITH_FLOOR:
            said.append(
                f"{name}: an irreducible loss needs {FEWEST_WITH_FLOOR} accepted budgets, there "
                f"are {accepted}; it is taken as 0"
            )
        if family.noise.nats is None and accepted and not family.missing_interval:
            said.append(
                f"{name}: three sizes a budget leave no residuals; the intervals hold the "
                "evaluations' standard errors only, not the noise between seeds"
            )
        for symbol, p_value in vars(family.excess).items():
            if p_value is not None and p_value < SIGNIFICANT:
                said.append(
                    f"{name}: {symbol}* scatters about its power law by more than the runs' noise "
                    f"explains (p = {p_value:.2g}); the excess is counted as noise between budgets"
                )
        refused = minima.share_lost(minima.keep)
        edge = minima.share_lost(minima.inside | ~minima.keep)
        if refused > _TOO_MANY:
            said.append(f"{name}: {refused:.0%} of the refits had no minimum and were left out")
        if edge > _TOO_MANY:
            said.append(f"{name}: {edge:.0%} of the refits had their minimum beyond the sizes")
        factor = fit.extrapolation(name)
        if factor is not None and factor > 1:
            said.append(
                f"{name}: its multiplier reads the {REFERENCE} law {factor:.0f} times below the "
                "smallest budget"
            )
    return said
