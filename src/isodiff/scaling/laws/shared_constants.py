"""Do families share constants? The same law with E or the exponents in common, against separate ones.

All families are fitted together, with one scatter; a model is judged by AICc (`huber.aicc`) and by
how well it predicts the largest budget of each family when that is left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from isodiff.errors import InputError
from isodiff.scaling.fitting.holdout import split
from isodiff.scaling.fitting.huber import aicc, temperature
from isodiff.scaling.fitting.newton import NAMES, Design, Solved, design, minimize
from isodiff.scaling.fitting.power_law import Array
from isodiff.scaling.laws.loss_surface import Surface
from isodiff.scaling.laws.parametric import ParametricFit, Runs, fit_family
from isodiff.scaling.laws.parametric_result import Comparison, SharedModel

_MODELS: dict[str, tuple[str, ...]] = {
    "separate": (),
    "shared E": ("log_e",),
    "shared exponents": ("alpha", "beta"),
    "shared E and exponents": ("alpha", "beta", "log_e"),
}


def compare(fit: ParametricFit) -> Comparison | None:
    """Every model's objective, AICc and held-out error; None with one family."""
    if len(fit.families) < 2:
        return None
    every = [family.runs for family in fit.families.values()]
    own = [family.surface for family in fit.families.values()]
    rest = [runs.keep(~split(runs.points).held_out) for runs in every]
    left = [runs.keep(split(runs.points).held_out) for runs in every]
    try:
        before = [
            fit_family(name, runs, 0, 0).surface
            for name, runs in zip(fit.families, rest, strict=True)
        ]
    except InputError:
        before = None
    num = sum(len(runs.points) for runs in every)
    residuals = np.concatenate([family.residuals for family in fit.families.values()])
    scale = temperature(residuals, len(NAMES) * len(every))
    fitted = {model: _together(every, own, shared) for model, shared in _MODELS.items()}
    criterion = {
        model: aicc(float(found.objective.min()), scale, num, law.num_parameters)
        for model, (law, found) in fitted.items()
    }
    lowest = min(criterion.values())
    rows = tuple(
        SharedModel(
            model=model,
            parameters=law.num_parameters,
            objective=float(found.objective.min()),
            aicc=criterion[model],
            held_out_rmse=None
            if before is None
            else _held_out_rmse(rest, left, before, _MODELS[model]),
            shared={
                name: _shown(name, float(found.best[law.columns[0][place]]))
                for place, name in enumerate(NAMES)
                if name in _MODELS[model]
            },
            delta_aicc=criterion[model] - lowest,
        )
        for model, (law, found) in fitted.items()
    )
    known = [(row.held_out_rmse, row.model) for row in rows if row.held_out_rmse is not None]
    return Comparison(
        models=rows,
        best_by_aicc=min(rows, key=lambda row: row.aicc).model,
        best_by_held_out=min(known, key=lambda pair: pair[0])[1] if known else None,
    )


def _shown(name: str, value: float) -> float:
    return float(np.exp(value)) if name == "log_e" else value


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
