"""Planted surfaces: losses that are E + A/N^alpha + B/D^beta, with or without noise."""

from __future__ import annotations

import numpy as np

from isodiff.scaling import Point

E, A, B, ALPHA, BETA = 1.8172, 477.8, 2143.0, 0.3473, 0.3672
"""The refit of arXiv 2404.10102."""
TRUTH = {"E": E, "A": A, "B": B, "alpha": ALPHA, "beta": BETA}


def law(n, d, e=E, a=A, b=B, alpha=ALPHA, beta=BETA):
    return e + a / n**alpha + b / d**beta


def planted_surface(
    family: str = "autoregressive",
    *,
    num_budgets: int = 6,
    sizes: int = 8,
    span: float = 1.5,
    noise: float = 0.0,
    falling: float = 0.0,
    seed: int = 0,
    per_token=lambda n: 6 * n,
    **constants: float,
) -> list[Point]:
    """Budgets from 1e18 to 1e21; at each, sizes about the optimum by e^-span to e^span.

    `noise` is of log loss; it changes with size as N^-falling.
    """
    rng = np.random.default_rng(seed)
    known = {**TRUTH, **constants}
    g = (known["alpha"] * known["A"] / known["beta"] / known["B"]) ** (
        1 / (known["alpha"] + known["beta"])
    )
    points = []
    for c in np.geomspace(1e18, 1e21, num_budgets):
        middle = g * (c / 6) ** (known["beta"] / (known["alpha"] + known["beta"]))
        for n in middle * np.exp(np.linspace(-span, span, sizes)):
            d = c / per_token(n)
            clean = law(n, d, known["E"], known["A"], known["B"], known["alpha"], known["beta"])
            scale = noise * (n / 1e9) ** -falling
            nats = clean * np.exp(scale * rng.standard_normal())
            points.append(Point(family, c, c, float(n), float(d), float(nats)))
    return points
