"""The surface by least squares: linear in (E, A, B), so only the exponents are searched.

Variable projection (Golub and Pereyra 1973; for scaling laws arXiv 2603.22339): at given (alpha, beta)
the best coefficients c solve a linear problem, Phi c = L, and the residual r = L - Phi c is
orthogonal to Phi, so that

    d(r.r / 2) / d alpha = -r . (d Phi / d alpha) c                                            (1)

holds exactly. A quasi-Newton search from a few exponents finds the surface in milliseconds: no grid.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from isodiff.scaling.fitting.power_law import Array

_STARTS = (0.2, 0.4, 0.8)
_BOUNDS = (0.02, 3.0)


def projected(exponents: Array, x: Array, y: Array, nats: Array) -> tuple[float, Array, Array]:
    """Half the squares of r, its gradient by Eq. (1), and the coefficients (A, B, E)."""
    size, tokens = np.exp(-exponents[0] * x), np.exp(-exponents[1] * y)
    phi = np.column_stack([size, tokens, np.ones_like(x)])
    c: Array = np.linalg.lstsq(phi, nats, rcond=None)[0].astype(np.float64)
    r = nats - phi @ c
    gradient = np.array([r @ (x * size) * c[0], r @ (y * tokens) * c[1]])
    return 0.5 * float(r @ r), gradient, c


def least_squares(log_n: Array, log_d: Array, nats: Array) -> Array | None:
    """(log_a, alpha, log_b, beta, log_e) of the best surface; None where a part would be negative."""
    middle = float(log_n.mean()), float(log_d.mean())
    x, y = log_n - middle[0], log_d - middle[1]
    scale = float(np.var(nats)) * len(nats) or 1.0
    best, lowest = None, np.inf
    for start in _STARTS:
        found = minimize(
            lambda e: tuple(part / scale for part in projected(e, x, y, nats)[:2]),
            np.full(2, start),
            jac=True,
            method="L-BFGS-B",
            bounds=[_BOUNDS, _BOUNDS],
            options={"ftol": 1e-15, "gtol": 1e-12},
        )
        _, _, c = projected(found.x, x, y, nats)
        if found.fun < lowest and (c > 0).all():
            best, lowest = (found.x, c), found.fun
    if best is None:
        return None
    (alpha, beta), (a, b, e) = best
    return np.array(
        [np.log(a) + alpha * middle[0], alpha, np.log(b) + beta * middle[1], beta, np.log(e)]
    )
