"""Numbers as a reader wants them: digits that mean something, exponents, intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

from isodiff.scaling.fitting.bootstrap import Quantity
from isodiff.units import scientific, short

MARKS = {"exact": "=", "bound": "≤"}


class _Uncertain(Protocol):
    @property
    def value(self) -> float: ...

    @property
    def standard_error(self) -> float: ...


def decimals(error: float) -> int:
    """Decimals that show two significant digits of an error, between 2 and 5."""
    if error <= 0:
        return 4
    return min(5, max(2, 1 - math.floor(math.log10(error))))


def with_error(mean: _Uncertain) -> str:
    """2.314 ± 0.0081: value and standard error."""
    digits = decimals(mean.standard_error)
    return f"{mean.value:.{digits}f} ± {mean.standard_error:.{digits}f}"


def ratio(value: float) -> str:
    """A factor with three significant digits, with an exponent only where it is extreme."""
    if not 1e-3 <= value < 1e4:
        return scientific(value)
    return f"{value:.3g}" if value < 1000 else f"{float(f'{value:.3g}'):.0f}"


def with_interval(quantity: Quantity | None, show: Callable[[float], str] | str = ratio) -> str:
    """`value [low, high]`; the interval only where there is one; a dash where nothing is.

    `show` is a function or a format.
    """
    if quantity is None or quantity.value is None:
        return "–"

    def said(x: float) -> str:
        return f"{x:{show}}" if isinstance(show, str) else show(x)

    if quantity.low is None or quantity.high is None:
        return said(quantity.value)
    return f"{said(quantity.value)} [{said(quantity.low)}, {said(quantity.high)}]"


def spread(
    value: float | None,
    ends: Sequence[float | None] | None,
    show: Callable[[float], str] | str = short,
) -> str:
    """The same of a value and both ends of its interval, in counts unless told."""
    low, high = ends or (None, None)
    return with_interval(Quantity(value=value, low=low, high=high), show)


def listed(parts: Sequence[str]) -> str:
    """a, b and c."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def sentence(text: str) -> str:
    """`text` with a capital and a full stop."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def decay(r: float) -> str:
    """R_D or R_N of repeated data; without decay it grows beyond all bounds."""
    return "inf" if r > 1e6 else f"{r:.4g}"
