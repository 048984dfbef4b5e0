"""How far conclusions move with what is counted: the same runs under every convention of C and N.

FLOPs with or without attention scores or as 6ND, parameters with or without the vocabulary: published laws
differ in these more than in their data, and an exponent without its convention means nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from isodiff.errors import InputError
from isodiff.record import CONVENTIONS, Convention
from isodiff.scaling.fitting.power_law import finite
from isodiff.scaling.laws.data_constrained import RepeatedFit
from isodiff.scaling.laws.isoflop import IsoflopFit
from isodiff.scaling.laws.law import ConventionRow, Conventions, Span
from isodiff.scaling.laws.parametric import ParametricFit
from isodiff.scaling.point_sources import read_points
from isodiff.scaling.points import Parameters, Points

COUNTS: tuple[Parameters | None, ...] = (None, "non_embedding", "total")
Fit = IsoflopFit | ParametricFit | RepeatedFit
Numbers = dict[str, float | None]


def under_each(sources: Sequence[str], fit: Callable[[Points], Fit]) -> Conventions:
    """The numbers of every family under each convention that the source knows, each once."""
    rows: dict[tuple[str, str], ConventionRow] = {}
    for flops in (None, *CONVENTIONS):
        for parameters in COUNTS:
            points = known(sources, flops, parameters)
            if points is not None and (points.flops, points.parameters) not in rows:
                rows[points.flops, points.parameters] = ConventionRow(
                    flops=points.flops,
                    parameters=points.parameters,
                    families=numbers(fit(points)),
                )
    return Conventions(rows=tuple(rows.values()), moved=moved(list(rows.values())))


def known(
    sources: Sequence[str], flops: Convention | None, parameters: Parameters | None
) -> Points | None:
    """The points under a convention; None where the source does not know it."""
    try:
        return read_points(sources, flops, parameters)
    except InputError:
        if flops is None and parameters is None:
            raise
        return None


def numbers(fit: Fit) -> dict[str, Numbers]:
    """What is followed of each family: the constants that a paper would quote."""
    if isinstance(fit, IsoflopFit):
        return {
            name: {
                "N_exponent": finite(family.parameters.exponent[0]),
                "D_exponent": finite(family.tokens.exponent[0]),
                "L_exponent": finite(family.loss.exponent[0]),
                "multiplier_vs_autoregressive": fit.multiplier(name).value,
            }
            for name, family in fit.families.items()
        }
    if isinstance(fit, ParametricFit):
        return {
            name: {
                "E": float(family.surface.irreducible[0]),
                "alpha": float(family.surface.alpha[0]),
                "beta": float(family.surface.beta[0]),
                "N_exponent": float(family.exponents()[0][0]),
                "D_exponent": float(family.exponents()[1][0]),
            }
            for name, family in fit.families.items()
        }
    return {
        name: {
            "R_D": family.saturating.constant(0),
            "R_N": family.saturating.constant(1),
            "objective": family.saturating.objective,
        }
        for name, family in fit.families.items()
    }


def moved(rows: Sequence[ConventionRow]) -> dict[str, dict[str, Span | None]]:
    """Smallest and largest of each number over the conventions, by family."""
    found: dict[str, dict[str, Span | None]] = {}
    for name, numbers in rows[0].families.items():
        found[name] = {}
        for number in numbers:
            values = [row.families.get(name, {}).get(number) for row in rows]
            real = [value for value in values if value is not None]
            found[name][number] = (min(real), max(real)) if real else None
    return found
