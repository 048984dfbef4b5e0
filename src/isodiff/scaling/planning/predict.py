"""What one family's law says of a budget: size, tokens and loss, with intervals, text limited or not.

Laws come as the JSON of a fit. Row 0 of every array is the law, the others are its draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from isodiff.scaling.fitting.bootstrap import LEVEL
from isodiff.scaling.fitting.power_law import Array, exp
from isodiff.scaling.fitting.terms import NAMES
from isodiff.scaling.laws.effective_data import AS_NEW, Saturating
from isodiff.scaling.laws.limited_data import Limited
from isodiff.scaling.laws.loss_surface import Surface
from isodiff.scaling.laws.token_flops import Cost
from isodiff.scaling.planning.published_rules import repetition


@dataclass(frozen=True, slots=True)
class Forecast:
    """N*, D* and L* [1 + draws], and how repeated text was counted (None where none repeats)."""

    parameters: Array
    tokens: Array
    nats: Array | None
    repetition: str | None = None

    def with_noise(self, scatter: float) -> Array | None:
        """Losses of runs, not of the law: draws with relative noise of that scatter added."""
        if self.nats is None or len(self.nats) == 1:
            return self.nats
        noise = scatter * np.random.default_rng(0).standard_normal(len(self.nats) - 1)
        return np.concatenate([self.nats[:1], self.nats[1:] * np.exp(noise)])


def ends(samples: Array | None) -> list[float] | None:
    """Interval of [1 + draws] at `LEVEL`; None without draws that differ."""
    if samples is None or len(samples) < 2:
        return None
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(samples[1:], [tail, 1 - tail])
    return [float(low), float(high)] if high > low else None


def forecast(
    law: str, name: str, family: dict[str, Any], budget: float, unique: float | None
) -> Forecast | None:
    """What a family's law says of a budget; None where it has no law.

    With `unique` tokens of text the allocation follows what repetitions are worth; an IsoFLOP law
    knows nothing of that, and gives no loss where text would repeat.
    """
    if law == "isoflop":
        return from_powers(family, budget, unique)
    surface, shape = constants(law, family)
    cost = Cost(family["cost"]["N"], family["cost"]["N^2/3"], family["cost"]["N^1/3"])
    free = surface.optimum(np.log([budget]), cost)
    if unique is None or float(np.exp(free.log_d[0, 0])) <= unique:
        return Forecast(exp(free.log_n[:, 0]), exp(free.log_d[:, 0]), free.nats[:, 0])
    if shape is not None:
        how = "R_D and R_N of the law"
    else:
        surface, shape, how = assumed(name, surface)
    limited = Limited(surface, Saturating(), shape, cost)
    found = limited.optimum(float(np.log(budget)), float(np.log(unique)))
    return Forecast(exp(found.log_n[:, 0]), exp(found.log_d[:, 0]), found.nats[:, 0], how)


def from_powers(family: dict[str, Any], budget: float, unique: float | None) -> Forecast | None:
    """Power laws in C."""
    laws = family["laws"]
    if laws["N"] is None or laws["D"] is None:
        return None
    rows = np.array(family["draws"]["rows"]).reshape(-1, 9)
    found = []
    for place, symbol in enumerate("NDL"):
        law = laws[symbol]
        if law is None:
            found.append(None)
            continue
        log_k, exponent, floor = rows[:, 3 * place : 3 * place + 3].T
        value = law["irreducible"] + law["k"] * budget ** law["exponent"]
        found.append(np.concatenate([[value], floor + exp(log_k + exponent * np.log(budget))]))
    size, tokens, nats = found
    repeats = unique is not None and tokens[0] > unique
    how = "an IsoFLOP law knows only fresh text: no loss" if repeats else None
    return Forecast(size, tokens, None if repeats else nats, how)


def constants(law: str, family: dict[str, Any]) -> tuple[Surface, Array | None]:
    """The surface and, of a law of repeated data, its ln R_D and ln R_N: [1 + draws]."""
    own = family if law == "parametric" else family["fresh"]
    first = [np.log(own["A"]), own["alpha"], np.log(own["B"]), own["beta"], np.log(own["E"])]
    draws = np.array(family["draws"]["rows"])
    if law == "parametric":
        return Surface.of(np.vstack([first, draws.reshape(-1, len(NAMES))])), None
    shape = [np.log(family["R_D"]), np.log(family["R_N"])]
    rows = np.vstack([[*first, *shape], draws.reshape(-1, len(NAMES) + 2)])
    return Surface.of(rows[:, :5]), rows[:, 5:]


def assumed(name: str, surface: Surface) -> tuple[Surface, Array, str]:
    """R_D as printed for the family, spread evenly in ln R_D over its range; no decay of parameters."""
    known = repetition(name)
    rows = len(surface.alpha)
    if known is None:
        how = f"no printed R_D for {name}: repeated text counts as new, so this loss is optimistic"
        return surface, np.full((rows, 2), AS_NEW), how
    low, high = np.log(known)
    spread = np.linspace(low, high, max(rows - 1, 1))
    order = np.random.default_rng(0).permutation(len(spread))
    log_r = np.concatenate([[(low + high) / 2], spread[order][: rows - 1]])
    shape = np.stack([log_r, np.full(rows, AS_NEW)], axis=1)
    return surface, shape, f"R_D between {known[0]:g} and {known[1]:g}, as printed"
