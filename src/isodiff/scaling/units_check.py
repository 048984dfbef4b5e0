"""Do budgets, sizes, tokens and losses of a table agree with one another, and so with their units?

Training costs about 6 N D, up to what the vocabulary and attention add; and the loss of text lies near what
runs of that size and length reached elsewhere (arXiv 2404.10102, on text of other kinds within a third).
What cannot be is refused, what is only unusual is said.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from isodiff.errors import InputError
from isodiff.scaling.fitting.power_law import Array
from isodiff.scaling.laws.law import REFERENCE
from isodiff.scaling.laws.loss_surface import Surface
from isodiff.scaling.points import Point, Points

_USUAL = Surface.of(np.array([[np.log(482.01), 0.3478, np.log(2085.43), 0.3658, np.log(1.8172)]]))
_SMALLEST, _FEWEST = 1e6, 1e7
"""Parameters and tokens from which that law says anything."""
_RUNS = 5
"""Fewest runs whose losses can look like something else."""
_APART, _UNUSUAL = 100.0, 8.0
"""Factors between 6ND and the budget that cannot be, and that are worth a word."""
_MOST_NATS = math.log(1e6)
"""A uniform guess among a million tokens; no trained network does worse."""
_NEAR = 0.7
"""Decades that a guess of units may miss the budget by."""
_PER_PARAMETER = 20.0
"""Tokens; what is usual."""
_WORDS = {3: "thousands", 6: "millions", 9: "billions", 12: "trillions"}


def checked_units(data: Points) -> Points:
    """The points, with a warning where their units are unusual.

    Raises:
        InputError: units that cannot be, and which they seem to be.
    """
    rows = [(p.budget, p.parameters, p.tokens, p.nats) for p in data.points]
    budget, size, tokens, nats = np.array(rows).T
    said = [*_compute(data.source, budget, size, tokens), *_swapped(size, tokens)]
    said += _losses(data.source, data.points, size, tokens, nats)
    return replace(data, warnings=(*data.warnings, *said))


def _compute(source: str, budget: Array, size: Array, tokens: Array) -> list[str]:
    """6ND against the budget."""
    ratio = float(np.exp(np.median(np.log(6 * size * tokens / budget))))
    found = f"6 x parameters x tokens is {ratio:.2g} times the budget"
    if not 1 / _APART < ratio < _APART:
        raise InputError(
            f"{source}: {found}; give FLOPs, parameters and tokens as plain numbers"
            f"{_guess(ratio, float(np.median(size)), float(np.median(tokens)))}"
        )
    usual = 1 / _UNUSUAL < ratio < _UNUSUAL
    return [] if usual else [f"{found}; see that all three are plain numbers of the same runs"]


def _guess(ratio: float, size: float, tokens: float) -> str:
    """The units that would make 6ND the budget and tokens per parameter most like other runs'."""
    found: list[tuple[float, int, int]] = []
    for n, d in itertools.product((0, *_WORDS), (0, *_WORDS)):
        per_parameter = tokens * 10.0**d / (size * 10.0**n)
        if n + d and abs(math.log10(ratio) + n + d) < _NEAR:
            found.append((abs(math.log10(per_parameter / _PER_PARAMETER)), n, d))
    if not found:
        return ""
    _, *powers = min(found)
    words = [
        f"{name} in {_WORDS[power]}"
        for name, power in zip(("parameters", "tokens"), powers, strict=True)
        if power
    ]
    return f"; they look like {' and '.join(words)}"


def _swapped(size: Array, tokens: Array) -> list[str]:
    """More parameters than tokens in most runs."""
    ratio = float(np.median(tokens / size))
    if ratio > 0.3:
        return []
    return [
        f"half of the runs have {ratio:.2g} tokens per parameter or fewer; see that parameters and tokens "
        "are not swapped"
    ]


def _losses(
    source: str, points: Sequence[Point], size: Array, tokens: Array, nats: Array
) -> list[str]:
    """Losses that look like perplexities, bits, or losses per byte."""
    if float(np.median(nats)) > _MOST_NATS:
        raise InputError(
            f"{source}: losses of {nats.min():.3g} to {nats.max():.3g} are no nats per token (a uniform "
            f"guess among a million has {_MOST_NATS:.1f}); if they are perplexities, give their logarithms"
        )
    known = (size >= _SMALLEST) & (tokens >= _FEWEST)
    if known.sum() < _RUNS:
        return []
    usual = _USUAL.nats(np.log(size[known]), np.log(tokens[known]))[0]
    ratio = float(np.median(nats[known] / usual))
    as_perplexity = float(np.median(np.log(nats[known]) / usual))
    if ratio > 1.9 and 0.65 < as_perplexity < 1.5:
        raise InputError(
            f"{source}: losses are {ratio:.2g} times those of other runs of these sizes and tokens, their "
            f"logarithms {as_perplexity:.2g} times: they look like perplexities; give nats per token"
        )
    names = [point.family for point in points]
    bounds = len(set(names)) == 1 and points[0].kind == "bound"
    alike = np.array([name == REFERENCE or len(set(names)) == 1 for name in names])[known]
    own = float(np.median((nats[known] / usual)[alike])) if alike.any() else 1.0
    if 1.3 < own < 1.6 and not bounds:
        return [
            f"losses are {own:.2f} times those of other runs of these sizes and tokens; if they are bits "
            f"per token, multiply them by ln 2 ({math.log(2):.3f})"
        ]
    if ratio < 0.6:
        return [
            f"losses are {ratio:.2f} times those of other runs of these sizes and tokens; they look like "
            "bits per byte, or nats of bytes: laws need nats per token of one tokenizer"
        ]
    return []
