"""Published rules for what a law leaves open: batch, learning rate, cooldown, repeated text.

Every rule is a fact of `data/recipes.json` with its source, the families it was measured on and the range
it was measured over. A rule says nothing of other families, and says when it is read beyond its range.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isodiff.scaling.fitting.power_law import Array
from isodiff.scaling.laws.effective_data import Unimodal
from isodiff.scaling.laws.printed_constants import base_name, printed_laws, printed_rules
from isodiff.serialization import IfAny


@dataclass(frozen=True, kw_only=True)
class Advice:
    """A value, whose rule it is, and whether it was read outside the range measured; or why there is none."""

    value: float | None
    source: IfAny[str] = None
    statement: IfAny[str] = None
    beyond: IfAny[bool] = None
    reason: IfAny[str] = None


NOT_COVERED = Advice(value=None, reason="no published rule was measured on this family")


def batch_tokens(family: str, tokens: float) -> Advice:
    """The critical batch size, in tokens, of a run of so many tokens."""
    return _power_rule("batch_tokens", family, tokens)


def learning_rate(family: str, batch: float) -> Advice:
    """The best rate at a batch of so many tokens, for the optimizer that the statement names."""
    return _power_rule("learning_rate", family, batch)


def critical_compute(family: str, unique_tokens: float) -> Advice:
    """C_crit(U): the compute from which the family beats autoregressive on a text of U tokens."""
    return _power_rule("critical_compute", family, unique_tokens)


def _power_rule(rule: str, family: str, x: float) -> Advice:
    """coefficient x^exponent for a family it was measured on."""
    known = printed_rules()[rule]
    if base_name(family) not in known["families"]:
        return NOT_COVERED
    return _within(rule, known["coefficient"] * x ** known["exponent"], x)


def best_epochs(family: str, parameters: float, unique_tokens: float) -> Advice:
    """Epochs beyond which a network of that size over-fits a text of that length."""
    if base_name(family) not in printed_rules()["best_epochs"]["families"]:
        return NOT_COVERED
    found = Unimodal().best_epochs(_unimodal_shape(), np.log(parameters), np.log(unique_tokens))
    return _within("best_epochs", found, unique_tokens)


def _within(rule: str, value: float, x: float) -> Advice:
    """The value of a rule read at x."""
    known = printed_rules()[rule]
    low, high = known["range"]
    return Advice(
        value=value,
        source=known["source"],
        statement=known["statement"],
        beyond=not low <= x <= high,
    )


def _unimodal_shape() -> Array:
    """The constants of arXiv 2510.03280 as `effective_data.Unimodal` takes them."""
    known = printed_laws()["2510.03280"]["unimodal"]
    return np.array(
        [known["p"], np.log(known["gamma"]), np.log(known["c"]), known["m"], known["k"]]
    )
