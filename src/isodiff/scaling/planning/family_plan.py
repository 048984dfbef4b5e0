"""What a family would be at a budget by its law: size, tokens, loss, recipe, and what it takes of devices.

What a law leaves open (batch, learning rate, repeated text) is read off published rules: facts of
`data/recipes.json`, each with its source, the families it was measured on and the range it was measured over.
A rule says nothing of other families, and says when it is read beyond its range.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from isodiff.cost.sampling import TypicalNetwork
from isodiff.record import Kind
from isodiff.scaling.laws.effective_data import Unimodal
from isodiff.scaling.laws.law import Forecast, LawResult, Span, span_of
from isodiff.scaling.laws.load import base_name, printed_laws, printed_rules
from isodiff.scaling.planning.hardware import (
    SamplingSpeed,
    Setting,
    TrainingMemory,
    TrainingTime,
    UnknownSpeed,
    sampling_speed,
    training_memory,
    training_time,
)
from isodiff.serialization import IfAny

FAR = 10.0
"""Times the largest fitted budget beyond which a plan is an extrapolation not to be trusted."""


@dataclass(frozen=True, kw_only=True)
class Advice:
    """A value, whose rule it is, and whether it was read outside the range measured; or why there is none."""

    value: float | None
    source: IfAny[str] = None
    statement: IfAny[str] = None
    beyond: IfAny[bool] = None
    reason: IfAny[str] = None


NOT_COVERED = Advice(value=None, reason="no published rule was measured on this family")


def published_rule(rule: str, family: str, x: float) -> Advice:
    """coefficient x^exponent, for a family it was measured on.

    `batch_tokens`: the critical batch of a run of x tokens. `learning_rate`: the best one at a batch of x
    tokens, for the optimizer that the statement names. `critical_compute`: the compute from which the family
    beats autoregressive on a text of x tokens.
    """
    known = printed_rules()[rule]
    if base_name(family) not in known["families"]:
        return NOT_COVERED
    return _within(rule, known["coefficient"] * x ** known["exponent"], x)


def best_epochs(family: str, parameters: float, unique_tokens: float) -> Advice:
    """Epochs beyond which a network of that size over-fits a text of that length (arXiv 2510.03280)."""
    if base_name(family) not in printed_rules()["best_epochs"]["families"]:
        return NOT_COVERED
    known = printed_laws()["2510.03280"]["unimodal"]
    shape = np.array(
        [known["p"], np.log(known["gamma"]), np.log(known["c"]), known["m"], known["k"]]
    )
    found = Unimodal().best_epochs(shape, np.log(parameters), np.log(unique_tokens))
    return _within("best_epochs", found, unique_tokens)


def _within(rule: str, value: float, x: float) -> Advice:
    known = printed_rules()[rule]
    low, high = known["range"]
    beyond = not low <= x <= high
    return Advice(value=value, source=known["source"], statement=known["statement"], beyond=beyond)


@dataclass(frozen=True, kw_only=True)
class OtherLaw:
    """What another law of the same source says of a family."""

    law: str
    N: float
    D: float
    loss: float | None
    loss_interval: Span | None
    held_out_error: float | None


@dataclass(frozen=True, kw_only=True)
class FamilyPlan:
    """N*, D* and L* with intervals (of a run, not of the law), a recipe, and what devices need for it.

    Attributes:
        loss: nats per token; None where the law gives none.
        repetition: how repeated text was counted; None where none repeats.
        extrapolation: the budget over the largest that was fitted; `far` beyond `FAR`.
        loss_cooled: after a cooldown, where the law is of runs at a constant learning rate.
    """

    kind: Kind | None
    N: float
    N_interval: Span | None
    D: float
    D_interval: Span | None
    tokens_per_parameter: float
    epochs: float | None
    loss: float | None
    loss_interval: Span | None
    repetition: str | None
    best_epochs: Advice | None
    critical_compute: Advice | None
    batch_tokens: Advice
    learning_rate: Advice
    extrapolation: float
    far: bool
    held_out_error: float | None
    loss_cooled: IfAny[float] = None
    training: TrainingTime
    memory: TrainingMemory
    inference: SamplingSpeed | UnknownSpeed
    other_laws: tuple[OtherLaw, ...]


def family_plan(
    name: str,
    law: LawResult,
    found: Forecast,
    budget: float,
    unique: float | None,
    setting: Setting,
    others: Sequence[LawResult],
) -> FamilyPlan:
    """The plan of the family `name`, of which `law` said `found`; with what `others` say."""
    family = law.families[name]
    size, tokens = float(found.parameters[0]), float(found.tokens[0])
    loss = None if found.nats is None else float(found.nats[0])
    nats = found.with_noise(0.0 if loss is None else family.scatter(loss))
    network = TypicalNetwork.of(size, law.parameters_convention, setting.vocab_size)
    batch = published_rule("batch_tokens", name, tokens)
    rate = (
        NOT_COVERED if batch.value is None else published_rule("learning_rate", name, batch.value)
    )
    critical = None if unique is None else published_rule("critical_compute", name, unique)
    opinions = (_opinion(other, name, budget, unique) for other in others)
    return FamilyPlan(
        kind=family.kind,
        N=size,
        N_interval=span_of(found.parameters),
        D=tokens,
        D_interval=span_of(found.tokens),
        tokens_per_parameter=tokens / size,
        epochs=None if unique is None else max(1.0, tokens / unique),
        loss=loss,
        loss_interval=span_of(nats),
        repetition=found.repetition,
        best_epochs=None if unique is None else best_epochs(name, size, unique),
        critical_compute=critical,
        batch_tokens=batch,
        learning_rate=rate,
        extrapolation=budget / family.most_compute,
        far=budget > FAR * family.most_compute * (1 + 1e-9),
        held_out_error=family.held_out_error,
        loss_cooled=loss / law.cooled if law.cooled and loss is not None else None,
        training=training_time(name, budget, tokens, setting),
        memory=training_memory(name, network, setting),
        inference=sampling_speed(name, network, setting),
        other_laws=tuple(opinion for opinion in opinions if opinion is not None),
    )


def _opinion(law: LawResult, name: str, budget: float, unique: float | None) -> OtherLaw | None:
    family = law.families.get(name)
    if family is None or (found := family.predict(name, budget, unique)) is None:
        return None
    return OtherLaw(
        law=law.law,
        N=float(found.parameters[0]),
        D=float(found.tokens[0]),
        loss=None if found.nats is None else float(found.nats[0]),
        loss_interval=span_of(found.nats),
        held_out_error=family.held_out_error,
    )
