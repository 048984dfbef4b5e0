"""Numbers as a reader wants them: digits that mean something, exponents, intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from isodiff.report.schema import Estimated
from isodiff.scaling.fitting.bootstrap import Quantity
from isodiff.scaling.laws.isoflop_result import Minimum
from isodiff.units import short

MARKS = {"exact": "=", "bound": "≤"}
PLAIN = str.maketrans({"±": "+-", "≤": "<=", "×": "x", "–": "-", "−": "-"})


def scientific(value: float) -> str:
    """1e12, 3.16e12: three significant digits, as studies are written."""
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def plain(text: str) -> str:
    """The same text in ASCII marks: +-, <=. For terminals of any encoding."""
    return text.translate(PLAIN)


def decimals(error: float) -> int:
    """Decimals that show two significant digits of an error, between 2 and 5."""
    if error <= 0:
        return 4
    return min(5, max(2, 1 - math.floor(math.log10(error))))


def with_error(mean: Estimated) -> str:
    """2.314 ± 0.0081: value and standard error."""
    digits = decimals(mean.standard_error)
    return f"{mean.value:.{digits}f} ± {mean.standard_error:.{digits}f}"


def ratio(value: float) -> str:
    """A factor with three significant digits, with an exponent only where it is extreme."""
    if not 1e-3 <= value < 1e4:
        return scientific(value)
    return f"{value:.3g}" if value < 1000 else f"{float(f'{value:.3g}'):.0f}"


def interval(quantity: Quantity | None, show: Callable[[float], str] = ratio) -> str:
    """`value [low, high]`; the interval only where there is one; a dash where nothing is."""
    if quantity is None or quantity.value is None:
        return "–"
    if quantity.low is None or quantity.high is None:
        return show(quantity.value)
    return f"{show(quantity.value)} [{show(quantity.low)}, {show(quantity.high)}]"


def shown(value: float | None, ends: Sequence[float] | None, form: str) -> str:
    """`value [low, high]` of a law's JSON, in a format."""
    low, high = ends or (None, None)
    return interval(Quantity(value=value, low=low, high=high), lambda x: f"{x:{form}}")


def size_interval(minimum: Minimum) -> str:
    """N* with its interval: 85k [70k, 100k]."""
    return interval(Quantity(value=minimum.N_opt, low=minimum.N_low, high=minimum.N_high), short)


def listed(parts: list[str]) -> str:
    """a, b and c."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
