"""How far conclusions move with what is counted: the same runs under every convention of C and N.

FLOPs with or without attention scores or as 6ND, parameters with or without the vocabulary: published laws
differ in these more than in their data, and an exponent without its convention means nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from isodiff.errors import InputError
from isodiff.record import CONVENTIONS, Convention
from isodiff.scaling.laws.law import ConventionRow, Conventions, Fit, Span
from isodiff.scaling.point_sources import read_points
from isodiff.scaling.points import Parameters, Points

_COUNTS: tuple[Parameters | None, ...] = (None, "non_embedding", "total")


def under_each(sources: Sequence[str], fit: Callable[[Points], Fit]) -> Conventions:
    """The numbers of every family under each convention that the source knows, each once."""
    rows: dict[tuple[str, str], ConventionRow] = {}
    for flops in (None, *CONVENTIONS):
        for parameters in _COUNTS:
            points = _known(sources, flops, parameters)
            if points is not None and (points.flops, points.parameters) not in rows:
                rows[points.flops, points.parameters] = ConventionRow(
                    flops=points.flops,
                    parameters=points.parameters,
                    families=fit(points).numbers(),
                )
    return Conventions(rows=tuple(rows.values()), moved=moved(list(rows.values())))


def _known(
    sources: Sequence[str], flops: Convention | None, parameters: Parameters | None
) -> Points | None:
    """The points under a convention; None where the source does not know it."""
    try:
        return read_points(sources, flops, parameters)
    except InputError:
        if flops is None and parameters is None:
            raise
        return None


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
