"""What a report reads of `fits.json`: the IsoFLOP law of every family. Unknown keys are ignored."""

from __future__ import annotations

from pydantic import Field

from isodiff.report.schema import Part, Quantity


class Minimum(Part):
    """The lowest point of an IsoFLOP curve: parameters, tokens, nats per token."""

    flops: float
    budget: float | None = None
    N_opt: float
    L_opt: float
    D_opt: float | None = None
    N_low: float | None = None
    N_high: float | None = None
    L_low: float | None = None
    L_high: float | None = None
    parabola_bias_N: float | None = None

    @property
    def compute(self) -> float:
        """The budget that the curve's runs were given; its FLOPs where that is not said."""
        return self.budget or self.flops


class Refused(Part):
    """A curve whose minimum cannot be trusted."""

    flops: float
    budget: float | None = None
    reason: str


class LinePoint(Part):
    """A point of a fitted parabola."""

    parameters: float
    nats: float


class Curve(Part):
    """One IsoFLOP curve as drawn."""

    flops: float
    budget: float | None = None
    accepted: bool = True
    reason: str | None = None
    line: list[LinePoint] = Field(default_factory=list)


class BandPoint(Part):
    """A law at one C, with its interval."""

    flops: float
    value: float
    low: float | None = None
    high: float | None = None


class Foretold(Part):
    """A quantity of the largest budget, predicted from the others, and observed."""

    predicted: float
    low: float | None = None
    high: float | None = None
    observed: float
    relative_error: float


class LawValidation(Part):
    """The largest budget left out and foretold; or why it could not be."""

    reason: str | None = None
    L: Foretold | None = None


class Scatter(Part):
    """Of runs about their parabolas, nats per token; None where three sizes a budget leave none."""

    nats: float | None = None


class FamilyFit(Part):
    """The IsoFLOP law of a family."""

    noise: Scatter | None = None
    N_exponent: Quantity | None = None
    D_exponent: Quantity | None = None
    L_exponent: Quantity | None = None
    multiplier_vs_autoregressive: Quantity | None = None
    extrapolation: float | None = None
    validation: LawValidation | None = None
    budgets: list[Minimum] = Field(default_factory=list)
    refused: list[Refused] = Field(default_factory=list)
    curves: list[Curve] = Field(default_factory=list)
    bands: dict[str, list[BandPoint]] = Field(default_factory=dict)


class Fits(Part):
    """`fits.json`, as `isodiff fit --out` writes it."""

    law: str = ""
    protocol: str = ""
    bootstrap: int | None = None
    seed: int | None = None
    flops: str = "budget"
    parameters_convention: str = "non_embedding"
    warnings: list[str] = Field(default_factory=list)
    families: dict[str, FamilyFit] = Field(default_factory=dict)
