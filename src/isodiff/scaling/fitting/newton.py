"""Many robust fits at once: damped Newton steps on a batch of starts, replicates or profiles.

Every problem of the batch minimizes sum_i w_i rho(f_i(theta) - y_i) (`huber`). A law gives f and,
at a residual, gradient and Hessian; Levenberg's damping and a shift by the lowest eigenvalue make
every accepted step go down. All of it is matrix products over the batch: a thousand replicates of
240 points take about a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from isodiff.scaling.fitting.huber import rho
from isodiff.scaling.fitting.power_law import Array, Mask

_CALM = 3
"""Steps in a row that must change nothing before a problem counts as solved."""


class Law(Protocol):
    """ln L of a law with parameters theta [batch, k] at the points it was made for."""

    def log_nats(self, theta: Array) -> tuple[Array, Any]:
        """ln L [batch, points], and what `slopes` wants to know of it."""
        ...

    def slopes(self, known: Any, residual: Array, weight: Array) -> tuple[Array, Array, Array]:
        """Gradient [batch, k], Hessian (or a majorant) [batch, k, k], positive scale [batch, k]."""
        ...


@dataclass(frozen=True, slots=True)
class Solved:
    """Where each problem of a batch ended: theta [batch, k], objective [batch]."""

    theta: Array
    objective: Array

    @property
    def best(self) -> Array:
        """The theta of the lowest objective."""
        return self.theta[int(np.argmin(self.objective))]


def minimize(
    law: Law,
    start: Array,
    log_nats: Array,
    weight: Array | None = None,
    *,
    fixed: Mask | None = None,
    tolerance: float = 1e-13,
    most: int = 400,
) -> Solved:
    """Fit a batch from `start` [batch, k]; losses and weights are [batch, points] or [points].

    Parameters marked in `fixed` [k] keep the values they start with.
    """
    theta = np.array(start, float)
    batch, k = theta.shape
    target = np.broadcast_to(log_nats, (batch, log_nats.shape[-1]))
    weight = np.broadcast_to(1.0 if weight is None else weight, target.shape)
    free = np.ones(k, bool) if fixed is None else ~fixed
    objective = _total(law, theta, target, weight)
    damping, calm, active = np.full(batch, 1e-3), np.zeros(batch, int), np.arange(batch)
    for _ in range(most):
        at, w, y = theta[active], weight[active], target[active]
        values, known = law.log_nats(at)
        gradient, hessian, scale = law.slopes(known, values - y, w)
        down = _descent(
            gradient[:, free], hessian[:, free][:, :, free], scale[:, free], damping[active]
        )
        new = at.copy()
        new[:, free] -= down
        reached = _total(law, new, y, w)
        before = objective[active]
        good = reached <= before  # False for NaN
        theta[active] = np.where(good[:, None], new, at)
        objective[active] = np.where(good, reached, before)
        damping[active] *= np.where(good, 0.25, 5.0)
        np.clip(damping, 1e-12, 1e12, out=damping)
        still = np.abs(before - reached) <= tolerance * before + 1e-30
        calm[active] = np.where(still, calm[active] + 1, 0)
        active = active[calm[active] < _CALM]
        if not len(active):
            break
    return Solved(theta, objective)


def _total(law: Law, theta: Array, target: Array, weight: Array) -> Array:
    """The objective of each problem; a step out of all bounds is infinitely bad."""
    with np.errstate(over="ignore", invalid="ignore"):
        found = (weight * rho(law.log_nats(theta)[0] - target)).sum(axis=1)
    return np.nan_to_num(found, nan=np.inf)


def _descent(gradient: Array, hessian: Array, scale: Array, damping: Array) -> Array:
    """Newton's step with a Hessian made positive, in coordinates of unit scale."""
    size = np.sqrt(np.maximum(scale, 1e-14 * scale.max(axis=1, keepdims=True) + 1e-300))
    scaled = hessian / (size[:, :, None] * size[:, None, :])
    lowest = np.linalg.eigvalsh(scaled)[:, 0]
    shift = np.maximum(0.0, -lowest) + damping
    scaled = scaled + shift[:, None, None] * np.eye(scaled.shape[1])
    step = np.linalg.solve(scaled, (gradient / size)[:, :, None])[:, :, 0]
    return step / size
