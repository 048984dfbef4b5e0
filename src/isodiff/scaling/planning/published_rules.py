"""Published rules for what a law leaves open: batch, learning rate, cooldown, repeated text.

Every rule is a fact of `data/recipes.json` with its source, the families it was measured on and the range
it was measured over. A rule says nothing of other families, and says when it is read beyond its range.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from isodiff.scaling.fitting.power_law import Array
from isodiff.scaling.laws.effective_data import Unimodal
from isodiff.scaling.laws.printed_constants import base_name, printed_laws, printed_rules


@dataclass(frozen=True, slots=True)
class Advice:
    """A value, whose rule it is, and whether it was read outside the range measured."""

    value: float
    source: str
    statement: str
    beyond: bool

    def to_json(self) -> dict[str, Any]:
        """The same."""
        return {
            "value": self.value,
            "source": self.source,
            "statement": self.statement,
            "beyond": self.beyond,
        }


def power_rule(rule: str, family: str, x: float) -> Advice | None:
    """coefficient x^exponent for a family it was measured on; None for others."""
    known = printed_rules()[rule]
    if base_name(family) not in known["families"]:
        return None
    low, high = known["range"]
    value = known["coefficient"] * x ** known["exponent"]
    return Advice(value, known["source"], known["statement"], not low <= x <= high)


def batch_tokens(family: str, tokens: float) -> Advice | None:
    """The critical batch size, in tokens, of a run of so many tokens."""
    return power_rule("batch_tokens", family, tokens)


def learning_rate(family: str, batch: float) -> Advice | None:
    """The best rate at a batch of so many tokens, for the optimizer that the statement names."""
    return power_rule("learning_rate", family, batch)


def critical_compute(family: str, unique_tokens: float) -> Advice | None:
    """C_crit(U): the compute from which the family beats autoregressive on a text of U tokens."""
    return power_rule("critical_compute", family, unique_tokens)


def unimodal_shape() -> Array:
    """The constants of arXiv 2510.03280 as `effective.Unimodal` takes them."""
    known = printed_laws()["2510.03280"]["unimodal"]
    return np.array(
        [known["p"], np.log(known["gamma"]), np.log(known["c"]), known["m"], known["k"]]
    )


def best_epochs(family: str, parameters: float, unique_tokens: float) -> Advice | None:
    """Epochs beyond which a network of that size over-fits a text of that length."""
    known = printed_rules()["best_epochs"]
    if base_name(family) not in known["families"]:
        return None
    found = Unimodal().best_epochs(unimodal_shape(), np.log(parameters), np.log(unique_tokens))
    low, high = known["range"]
    return Advice(found, known["source"], known["statement"], not low <= unique_tokens <= high)
