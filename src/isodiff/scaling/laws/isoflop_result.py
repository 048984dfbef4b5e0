"""The IsoFLOP law as files and reports hold it. Older files lack some of its parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import ClassVar, Literal

import numpy as np

from isodiff.scaling.fitting.bootstrap import Quantity, RunNoise
from isodiff.scaling.fitting.holdout import HeldOutPrediction
from isodiff.scaling.fitting.parabola import Curve
from isodiff.scaling.fitting.power_law import Array, exp
from isodiff.scaling.laws.law import REFERENCE, Constant, FamilyResult, Forecast, LawResult
from isodiff.scaling.laws.loss_surface import SurfaceConstants
from isodiff.serialization import IfAny

_LINE_SAMPLES = 41
LossLawSource = Literal["minima", "joint surface", "E = 0"]
"""Where E comes from: the minima, the surface of all families (N* and D* as well), or nowhere."""


@dataclass(frozen=True, kw_only=True)
class PowerLawConstants:
    """y = irreducible + k C^exponent."""

    k: float
    exponent: float
    irreducible: float = 0.0


@dataclass(frozen=True, kw_only=True)
class PowerLaws:
    """Laws of the optimal size, tokens and loss; None where too few budgets were accepted."""

    N: PowerLawConstants | None = None
    D: PowerLawConstants | None = None
    L: PowerLawConstants | None = None


@dataclass(frozen=True, kw_only=True)
class BudgetMultiplier(Quantity):
    """The compute multiplier at a budget of the family.

    `extrapolation`: how many times below its smallest budget the law of the reference is read. `by_parabola`:
    that law at the loss of the family's parabola alone.
    """

    budget: float
    flops: float
    extrapolation: float | None = None
    by_parabola: IfAny[Quantity] = None


@dataclass(frozen=True, kw_only=True)
class ExcessScatter:
    """p-values of the scatter of minima about their laws being no more than the noise within curves."""

    N: float | None = None
    L: float | None = None


@dataclass(frozen=True, kw_only=True)
class Refits:
    """Shares of replicated parabolas that had no minimum, or one beyond the sizes tried."""

    refused: float
    edge: float


@dataclass(frozen=True, kw_only=True)
class BudgetHeldOut:
    """N*, D* and L* of the largest budget, predicted from the others; or the reason why not."""

    reason: IfAny[str] = None
    rule: IfAny[str] = None
    extrapolation: IfAny[float] = None
    N: IfAny[HeldOutPrediction] = None
    D: IfAny[HeldOutPrediction] = None
    L: IfAny[HeldOutPrediction] = None


@dataclass(frozen=True, kw_only=True)
class Minimum:
    """The lowest point of an accepted curve: parameters, tokens, nats per token.

    `parabola_bias_N` (relative) and `parabola_bias_L` (nats) are how far the parabola itself moves it.
    """

    budget: float | None = None
    flops: float
    N_opt: float
    N_low: float | None = None
    N_high: float | None = None
    D_opt: float | None = None
    L_opt: float
    L_low: float | None = None
    L_high: float | None = None
    sizes: int = 0
    runs: int = 0
    parabola_bias_N: float | None = None
    parabola_bias_L: float | None = None

    @property
    def compute(self) -> float:
        """The budget that the curve's runs were given; its FLOPs where that is not said."""
        return self.budget or self.flops


@dataclass(frozen=True, kw_only=True)
class RefusedCurve:
    """A curve whose minimum cannot be trusted."""

    budget: float | None = None
    flops: float
    reason: str


@dataclass(frozen=True, kw_only=True)
class _Parabola:
    """c0 + c1 u + c2 u^2 with u = (ln N - center) / width."""

    coefficients: tuple[float, ...]
    center: float
    width: float


@dataclass(frozen=True, kw_only=True)
class _CurvePoint:
    parameters: float
    tokens: float
    nats: float
    standard_error: float | None = None
    id: str = ""


@dataclass(frozen=True, kw_only=True)
class _LinePoint:
    parameters: float
    nats: float


@dataclass(frozen=True, kw_only=True)
class IsoflopCurve:
    """One IsoFLOP curve as a figure draws it; a refused one too."""

    budget: float | None = None
    flops: float
    accepted: bool = True
    reason: str | None = None
    parabola: _Parabola | None = None
    points: tuple[_CurvePoint, ...] = ()
    line: tuple[_LinePoint, ...] = ()

    @classmethod
    def of(cls, curve: Curve) -> IsoflopCurve:
        """The runs of a curve and its parabola."""
        parabola, line = None, ()
        if curve.num_sizes >= 3:
            log_n = np.linspace(curve.log_n.min(), curve.log_n.max(), _LINE_SAMPLES)
            line = tuple(
                _LinePoint(parameters=float(np.exp(x)), nats=float(y))
                for x, y in zip(log_n, curve.parabola(log_n), strict=True)
            )
            parabola = _Parabola(
                coefficients=tuple(curve.fitted.tolist()), center=curve.center, width=curve.width
            )
        best = None if curve.refusal else float(curve.minima(curve.nats[None])[0][0])
        names = [field.name for field in fields(_CurvePoint)]
        return cls(
            budget=curve.budget,
            flops=curve.compute(best),
            accepted=curve.refusal is None,
            reason=curve.refusal,
            parabola=parabola,
            points=tuple(
                _CurvePoint(**{name: getattr(point, name) for name in names})
                for point in curve.points
            ),
            line=line,
        )


@dataclass(frozen=True, kw_only=True)
class BandPoint:
    """A law at one C, with its interval."""

    flops: float
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class Bands:
    """L*(C) and N*(C), half a decade beyond the budgets either way."""

    L: tuple[BandPoint, ...] = ()
    N: tuple[BandPoint, ...] = ()


@dataclass(frozen=True, kw_only=True)
class IsoflopFamily(FamilyResult):
    """The IsoFLOP law of a family: exponents, multiplier, minima, refusals, curves and bands.

    `multiplier_vs_autoregressive` is the multiplier at the family's largest accepted budget, against the
    result's reference. `loss_from` says what E comes from; `floor_aicc` is the AICc of E = 0 less that of a
    free E: positive where the losses level off.
    """

    N_exponent: Quantity | None = None
    D_exponent: Quantity | None = None
    L_exponent: Quantity | None = None
    irreducible_loss: Quantity | None = None
    multiplier_vs_autoregressive: Quantity | None = None
    multipliers: tuple[BudgetMultiplier, ...] = ()
    extrapolation: float | None = None
    loss_from: LossLawSource = "E = 0"
    floor_aicc: float | None = None
    laws: PowerLaws = PowerLaws()
    noise: RunNoise | None = None
    excess_scatter: ExcessScatter = ExcessScatter()
    refits: Refits | None = None
    validation: BudgetHeldOut = BudgetHeldOut()
    surface: SurfaceConstants | None = None
    budgets: tuple[Minimum, ...] = ()
    refused: tuple[RefusedCurve, ...] = ()
    curves: tuple[IsoflopCurve, ...] = ()
    bands: Bands = Bands()

    @property
    def held_out_error(self) -> float | None:
        """Of its lowest loss."""
        found = self.validation.L
        return None if found is None else abs(found.relative_error)

    def scatter(self, nats: float) -> float:
        """Of runs about their parabolas."""
        return self.noise.nats / nats if self.noise is not None and self.noise.nats else 0.0

    def constants(self) -> tuple[Constant, ...]:
        """Exponents, and the compute multiplier."""
        multiplier = self.multiplier_vs_autoregressive or Quantity()
        return (
            Constant("N*", "exponent of C", self.N_exponent or Quantity()),
            Constant("D*", "exponent of C", self.D_exponent or Quantity()),
            Constant("L*", "exponent of C", self.L_exponent or Quantity()),
            Constant("C/C_AR", "compute for equal loss", multiplier),
        )

    def predict(self, name: str, budget: float, unique_tokens: float | None) -> Forecast | None:
        """Power laws in C; no loss where text would repeat, of which they know nothing."""
        size, tokens, nats = (self._at(symbol, budget) for symbol in "NDL")
        if size is None or tokens is None:
            return None
        if unique_tokens is not None and tokens[0] > unique_tokens:
            how = "an IsoFLOP law knows only fresh text: no loss"
            return Forecast(size, tokens, None, how)
        return Forecast(size, tokens, nats)

    def _at(self, symbol: str, budget: float) -> Array | None:
        """A law and its draws at a budget: [1 + draws]."""
        law: PowerLawConstants | None = getattr(self.laws, symbol)
        if law is None or self.draws is None:
            return None
        first = 3 * "NDL".index(symbol)
        log_k, exponent, floor = np.array(self.draws.rows).reshape(-1, 9)[:, first : first + 3].T
        value = law.irreducible + law.k * budget**law.exponent
        return np.concatenate([[value], floor + exp(log_k + exponent * np.log(budget))])


@dataclass(frozen=True, kw_only=True)
class IsoflopResult(LawResult):
    """The IsoFLOP law of every family: `fits.json`."""

    printed_in: ClassVar = "laws"
    knows_repetition: ClassVar = False

    irreducible: bool = False
    huber: bool = False
    reference: str = REFERENCE
    families: Mapping[str, IsoflopFamily] = field(default_factory=dict)
