"""What repeated text is worth: effective sizes N' and D' to put into E + A/N'^alpha + B/D'^beta.

Of D tokens from a text of U, U_D = min(U, D) are new and each is seen e = D / U_D times.

`Saturating` (Muennighoff et al. 2023, arXiv 2305.16264, Sec. 3): each repetition is worth a constant
factor less than the one before, and so is each parameter beyond U_N, the optimal size for U_D tokens:

    D' = U_D + U_D R_D (1 - exp(-(e - 1) / R_D)),   N' likewise with N / U_N and R_N            (1)

`Unimodal` (arXiv 2510.03280): the worth rises, peaks and falls as the model over-fits:

    D' = U_D e^p exp(-((e - 1) / e_p)^gamma),       e_p = c U_D^m / N^k                         (2)

and the best network under a compute budget when the text is limited, how large and how many epochs:

    min over N of E + A/N'^alpha + B/D'^beta,  D = C / c(N),  N' and D' of D tokens from a text of U   (3)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from isodiff.scaling.fitting.power_law import GOLDEN, Array, exp
from isodiff.scaling.laws.law import Forecast
from isodiff.scaling.laws.loss_surface import Allocation, Cost, Surface

AS_NEW = 40.0
"""ln R at which repetitions are as good as new, to rounding."""
UNIT = np.log(1e9)
"""ln of the parameters and tokens at which the scale of Eq. (2) is given."""
_LATTICE = 161
"""Sizes among which the lowest loss is looked for before it is refined."""
_SMALLEST, _LARGEST = np.log(1e3), np.log(1e14)


@dataclass(frozen=True, slots=True)
class Repeats:
    """Logarithms of N, D, U_D and U_N of each run [points]."""

    log_n: Array
    log_d: Array
    log_u: Array
    log_un: Array

    @classmethod
    def of(cls, log_n: Array, log_d: Array, log_unique: Array, log_useful: Array) -> Repeats:
        """From the text's length and the size that is optimal for the tokens that are new."""
        return cls(log_n, log_d, np.minimum(log_unique, log_d), np.minimum(log_useful, log_n))

    @property
    def epochs(self) -> Array:
        """e, at least 1."""
        return np.exp(self.log_d - self.log_u)


@dataclass(frozen=True, slots=True)
class Effective:
    """ln N' and ln D' [batch, points], and their slopes in the form's constants [batch, points, q]."""

    log_n: Array
    log_d: Array
    slope_n: Array
    slope_d: Array


class Form(Protocol):
    """A law of diminishing worth with constants [batch, q]."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the constants."""
        ...

    def effective(self, shape: Array, at: Repeats) -> Effective:
        """N' and D' at every run for every row of constants."""
        ...


def _saturation(repeats: Array, log_r: Array) -> tuple[Array, Array]:
    """ln(1 + R (1 - exp(-r / R))) of r repeats, and its slope in ln R: Eq. (1)."""
    r = np.exp(np.clip(log_r, -20.0, AS_NEW))
    inner = -r * np.expm1(-repeats / r)
    slope = (inner - repeats * np.exp(-repeats / r)) / (1 + inner)
    return np.log1p(inner), slope


@dataclass(frozen=True, slots=True)
class Saturating:
    """Eq. (1); constants ln R_D, ln R_N."""

    names: tuple[str, ...] = ("log_R_D", "log_R_N")

    def effective(self, shape: Array, at: Repeats) -> Effective:
        """Eq. (1)."""
        data, data_slope = _saturation(at.epochs - 1, shape[:, :1])
        excess = np.minimum(at.log_n - at.log_un, 600.0)  # a replicate's U_N may be next to nothing
        size, size_slope = _saturation(np.exp(excess) - 1, shape[:, 1:2])
        none = np.zeros_like(data)
        return Effective(
            at.log_un + size,
            at.log_u + data,
            np.stack([none, size_slope], axis=-1),
            np.stack([data_slope, none], axis=-1),
        )


@dataclass(frozen=True, slots=True)
class Unimodal:
    """Eq. (2); constants p, ln gamma, ln c, m, k, with c = e_p at U_D = N = `UNIT`."""

    names: tuple[str, ...] = ("p", "log_gamma", "log_c", "m", "k")

    def effective(self, shape: Array, at: Repeats) -> Effective:
        """Eq. (2)."""
        p, log_gamma, log_c, m, k = (shape[:, j : j + 1] for j in range(5))
        gamma, log_e = np.exp(np.clip(log_gamma, -5.0, 2.0)), at.log_d - at.log_u
        log_u, log_n = at.log_u - UNIT, at.log_n - UNIT
        with np.errstate(divide="ignore"):
            log_again = np.log(np.maximum(at.epochs - 1, 0.0))
        log_over = log_again - (log_c + m * log_u - k * log_n)
        damage = np.exp(np.clip(gamma * log_over, -300.0, 30.0))
        along = gamma * damage
        log_d = at.log_u + p * log_e - damage
        slope = np.stack(
            [
                np.broadcast_to(log_e, damage.shape),
                -along * np.maximum(log_over, -300.0),
                along,
                along * log_u,
                -along * log_n,
            ],
            axis=-1,
        )
        same = np.broadcast_to(at.log_n, damage.shape)
        return Effective(same, log_d, np.zeros_like(slope), slope)

    def best_epochs(self, shape: Array, log_n: float, log_u: float) -> float:
        """e where Eq. (2) peaks: p / e = gamma (e - 1)^(gamma - 1) / e_p^gamma; 1 where it only falls.

        With gamma < 1 the worth dips after the first epoch; the slope is highest at e = 1 / gamma.
        """
        p, gamma = float(shape[0]), float(np.exp(shape[1]))
        log_ep = float(shape[2] + shape[3] * (log_u - UNIT) - shape[4] * (log_n - UNIT))

        def rising(again: float) -> bool:
            pull = np.log(gamma) + (gamma - 1) * np.log(again) - gamma * log_ep
            return bool(np.log(p) - np.log1p(again) > pull)

        low, high = max(1 / gamma - 1, 1e-9), 1e12
        if not rising(low):
            return 1.0
        for _ in range(200):
            again = float(np.sqrt(low * high))
            low, high = (again, high) if rising(again) else (low, again)
        return 1.0 + low


@dataclass(frozen=True)
class Limited:
    """A surface, the worth of repetitions [replicates, q] and a cost."""

    surface: Surface
    form: Form
    shape: Array
    cost: Cost

    def nats(self, log_n: Array, log_c: float, log_unique: float) -> Array:
        """Loss at ln N [replicates, sizes] when all of C is spent on a text of U tokens."""
        log_d = log_c - self.cost.log(log_n)
        log_new = np.minimum(log_unique, log_d)
        at = Repeats.of(log_n, log_d, log_new, self.surface.size_for(log_new))
        worth = self.form.effective(self.shape, at)
        return self.surface.nats(worth.log_n, worth.log_d)

    def optimum(self, log_c: float, log_unique: float) -> Allocation:
        """Eq. (3) for every replicate: [replicates, 1]. A lattice first, then golden section."""
        rows = len(self.surface.alpha)
        lattice = np.linspace(_SMALLEST, _LARGEST, _LATTICE)
        losses = self.nats(np.tile(lattice, (rows, 1)), log_c, log_unique)
        best = np.nan_to_num(losses, nan=np.inf).argmin(axis=1)
        low = lattice[np.maximum(best - 1, 0)][:, None]
        high = lattice[np.minimum(best + 1, _LATTICE - 1)][:, None]
        for _ in range(40):  # the bracket shrinks by 0.618^40 < 1e-8
            left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
            go_left = self.nats(left, log_c, log_unique) <= self.nats(right, log_c, log_unique)
            low, high = np.where(go_left, low, left), np.where(go_left, right, high)
        log_n = (low + high) / 2
        return Allocation(log_n, log_c - self.cost.log(log_n), self.nats(log_n, log_c, log_unique))


def crossover(
    family: Limited, reference: Limited, log_unique: float, within: tuple[float, float]
) -> float | None:
    """Least ln C within a range from which `family` is better on a text of U tokens; None where never.

    Only the first replicate of each is looked at.
    """

    def ahead(log_c: float) -> bool:
        ours, theirs = (
            float(one.optimum(log_c, log_unique).nats[0, 0]) for one in (family, reference)
        )
        return ours < theirs

    lattice = np.linspace(*within, 31)
    first = next((i for i, log_c in enumerate(lattice) if ahead(float(log_c))), None)
    if first is None:
        return None
    if first == 0:
        return float(lattice[0])
    low, high = float(lattice[first - 1]), float(lattice[first])
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (low, middle) if ahead(middle) else (middle, high)
    return high


def forecast(
    surface: Surface,
    shape: Array,
    cost: Cost,
    budget: float,
    unique_tokens: float | None,
    repetition: str,
) -> Forecast:
    """The optimum at a budget: of fresh text, or of a text that repeats, by constants ln R_D and ln R_N."""
    log_c = float(np.log(budget))
    found, how = surface.optimum(np.array([log_c]), cost), None
    if unique_tokens is not None and float(np.exp(found.log_d[0, 0])) > unique_tokens:
        limited = Limited(surface, Saturating(), shape, cost)
        found, how = limited.optimum(log_c, float(np.log(unique_tokens))), repetition
    return Forecast(exp(found.log_n[:, 0]), exp(found.log_d[:, 0]), found.nats[:, 0], how)
