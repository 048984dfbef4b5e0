"""Rival models of the same runs, by AICc; and whether families share constants of the parametric law.

The same law with E or the exponents in common, against separate ones: all families are fitted together,
with one scatter, and a model is also judged by how well it predicts the largest budget of each family when
that is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from isodiff.errors import InputError
from isodiff.scaling.fitting.holdout import split
from isodiff.scaling.fitting.huber import aicc, temperature
from isodiff.scaling.fitting.newton import NAMES, Design, Solved, design, minimize
from isodiff.scaling.fitting.power_law import Array
from isodiff.scaling.laws.loss_surface import Surface
from isodiff.scaling.laws.parametric import ParametricFit, Runs, fit_parametric_family

_MODELS: dict[str, tuple[str, ...]] = {
    "separate": (),
    "shared E": ("log_e",),
    "shared exponents": ("alpha", "beta"),
    "shared E and exponents": ("alpha", "beta", "log_e"),
}


@dataclass(frozen=True, kw_only=True)
class Rival:
    """One of several models of the same runs."""

    model: str
    parameters: int
    objective: float
    aicc: float
    delta_aicc: float


@dataclass(frozen=True, kw_only=True)
class SharedModel(Rival):
    """Families fitted together with some constants in common."""

    held_out_rmse: float | None
    shared: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What families may have in common."""

    models: tuple[SharedModel, ...]
    best_by_aicc: str
    best_by_held_out: str | None


def rivals(fitted: Mapping[str, tuple[float, int]], scale: float, num: int) -> list[Rival]:
    """From each model's objective and number of parameters; `scale` is that of `num` residuals."""
    found = {name: aicc(value, scale, num, free) for name, (value, free) in fitted.items()}
    return [
        Rival(
            model=name,
            parameters=free,
            objective=value,
            aicc=found[name],
            delta_aicc=found[name] - min(found.values()),
        )
        for name, (value, free) in fitted.items()
    ]


def compare(fit: ParametricFit) -> Comparison | None:
    """Every model's objective, AICc and held-out error; None with one family."""
    if len(fit.families) < 2:
        return None
    families = fit.families.values()
    every = [family.runs for family in families]
    own = [family.surface for family in families]
    chosen = [split(runs.points).held_out for runs in every]
    rest = [runs.keep(~held) for runs, held in zip(every, chosen, strict=True)]
    left = [runs.keep(held) for runs, held in zip(every, chosen, strict=True)]
    try:
        before = [
            fit_parametric_family(n, r, 0, 0).surface
            for n, r in zip(fit.families, rest, strict=True)
        ]
    except InputError:
        before = None
    residuals = np.concatenate([family.residuals for family in families])
    scale = temperature(residuals, len(NAMES) * len(every))
    fitted = {model: _together(every, own, shared) for model, shared in _MODELS.items()}
    objectives = {
        model: (float(found.objective.min()), law.num_parameters)
        for model, (law, found) in fitted.items()
    }
    rows = []
    for row in rivals(objectives, scale, len(residuals)):
        law, found = fitted[row.model]
        common = {
            name: float(found.best[law.columns[0][NAMES.index(name)]])
            for name in _MODELS[row.model]
        }
        error = None if before is None else _held_out_rmse(rest, left, before, _MODELS[row.model])
        rows.append(
            SharedModel(
                **vars(row),
                held_out_rmse=error,
                shared={n: float(np.exp(x)) if n == "log_e" else x for n, x in common.items()},
            )
        )
    known = [(row.held_out_rmse, row.model) for row in rows if row.held_out_rmse is not None]
    return Comparison(
        models=tuple(rows),
        best_by_aicc=min(rows, key=lambda row: row.aicc).model,
        best_by_held_out=min(known, key=lambda pair: pair[0])[1] if known else None,
    )


def _together(
    every: Sequence[Runs], own: Sequence[Surface], shared: Sequence[str]
) -> tuple[Design, Solved]:
    """All families at once, from their own laws and from each family's values for what is shared."""
    family = np.repeat(np.arange(len(every)), [len(runs.points) for runs in every])
    law = design(_joined(every, "log_n"), _joined(every, "log_d"), family, shared)
    alone = [np.array([s.log_a[0], s.alpha[0], s.log_b[0], s.beta[0], s.log_e[0]]) for s in own]
    start = [law.from_families(alone)]
    for one in range(len(every)):
        lent = [law_of_one.copy() for law_of_one in alone]
        for place, name in enumerate(NAMES):
            if name in shared:
                for values in lent:
                    values[place] = alone[one][place]
        start.append(law.from_families(lent))
    return law, minimize(law.terms, np.array(start), _joined(every, "log_nats"))


def _joined(every: Sequence[Runs], quantity: str) -> Array:
    """A quantity of all families' runs, one after the other."""
    return np.concatenate([getattr(runs, quantity) for runs in every])


def _held_out_rmse(
    rest: Sequence[Runs], left: Sequence[Runs], before: Sequence[Surface], shared: Sequence[str]
) -> float:
    """Root mean square error of log loss at the largest budgets, fitted on the rest."""
    law, found = _together(rest, before, shared)
    errors = []
    for family, runs in enumerate(left):
        surface = Surface.of(law.of_family(found.best[None], family))
        errors.append(np.log(surface.nats(runs.log_n, runs.log_d)[0]) - runs.log_nats)
    return float(np.sqrt(np.mean(np.concatenate(errors) ** 2)))
