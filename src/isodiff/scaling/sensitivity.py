"""How far conclusions move with what is counted: the same runs under every convention of C and N.

FLOPs with or without attention scores or as 6ND, parameters with or without the vocabulary: published laws
differ in these more than in their data, and an exponent without its convention means nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from isodiff.errors import InputError
from isodiff.record import CONVENTIONS
from isodiff.scaling.laws.law import ConventionRow, Conventions, Fit, Span
from isodiff.scaling.point_sources import read_points
from isodiff.scaling.points import Parameters, Points

_COUNTS: tuple[Parameters | None, ...] = (None, "non_embedding", "total")


def under_each(
    sources: Sequence[str],
    fit: Callable[[Points], Fit],
    read: Callable[..., Points] = read_points,
) -> Conventions:
    """The numbers of every family under each convention that the source knows, each once."""
    known: dict[tuple[str, str], Points] = {}
    for flops, parameters in itertools.product((None, *CONVENTIONS), _COUNTS):
        try:
            points = read(sources, flops, parameters)
        except InputError:
            if flops is None and parameters is None:
                raise
            continue  # the source does not know this convention
        known.setdefault((points.flops, points.parameters), points)
    rows = tuple(
        ConventionRow(flops=flops, parameters=parameters, families=fit(points).numbers())
        for (flops, parameters), points in known.items()
    )
    return Conventions(rows=rows, moved=moved(rows))


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
