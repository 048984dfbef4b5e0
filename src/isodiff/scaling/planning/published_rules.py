"""What laws leave open, off published rules: batch, learning rate, how often a text may repeat.

Rules are facts of `data/recipes.json`, each with its source, the families it was measured on and the ranges
it was measured over. A rule says when it is read beyond its range; but for the recipe of AdamW, which every
family needs, it says nothing of families it was not measured on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from isodiff.scaling.laws.effective_data import Unimodal
from isodiff.scaling.laws.law import REFERENCE
from isodiff.scaling.laws.load import base_name, printed_laws, printed_rules
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


def published_rule(rule: str, family: str, **at: float) -> Advice:
    """A product of powers, for a family it was measured on.

    `critical_batch_tokens`: beyond which larger batches waste tokens, of a run of so many `tokens`.
    `critical_compute`: from which the family beats autoregressive on a text of `unique_tokens`.
    """
    known = printed_rules()[rule]
    if base_name(family) not in known["families"]:
        return NOT_COVERED
    powers = (math.log(at[name]) * power for name, power in known["exponents"].items())
    return _within(rule, known["coefficient"] * math.exp(math.fsum(powers)), **at)


def adamw_recipe(family: str, parameters: float, tokens: float) -> tuple[Advice, Advice]:
    """Batch in tokens and peak learning rate of AdamW, measured together; borrowed by other families.

    Below the sizes and tokens measured the rate stays what it is at the lowest: it would rise without end.
    """
    ranges = printed_rules()["learning_rate"]["ranges"]
    at = {"parameters": parameters, "tokens": tokens}
    held = {name: max(value, ranges[name][0]) for name, value in at.items()}
    batch = published_rule("batch_tokens", REFERENCE, tokens=tokens)
    rate = published_rule("learning_rate", REFERENCE, **held)
    borrowed = base_name(family) not in printed_rules()["batch_tokens"]["families"]
    return (
        replace(batch, beyond=batch.beyond or borrowed),
        replace(rate, beyond=rate.beyond or borrowed or held != at),
    )


def best_epochs(family: str, parameters: float, unique_tokens: float) -> Advice:
    """Epochs beyond which a network of that size over-fits a text of that length (arXiv 2510.03280)."""
    if base_name(family) not in printed_rules()["best_epochs"]["families"]:
        return NOT_COVERED
    known = printed_laws()["2510.03280"]["unimodal"]
    shape = np.array(
        [known["p"], np.log(known["gamma"]), np.log(known["c"]), known["m"], known["k"]]
    )
    found = Unimodal().best_epochs(shape, np.log(parameters), np.log(unique_tokens))
    return _within("best_epochs", found, unique_tokens=unique_tokens)


def _within(rule: str, value: float, **at: float) -> Advice:
    known = printed_rules()[rule]
    inside = (low <= at[name] <= high for name, (low, high) in known["ranges"].items())
    return Advice(
        value=value,
        source=known["source"],
        statement=known["statement"],
        beyond=not all(inside),
    )
