"""What a family would be at a budget by its law: size, tokens, loss, recipe, and what it takes of devices.

What a law leaves open (batch, learning rate, how often text may repeat) is read off published rules: facts of
`data/recipes.json`, each with its source, the families it was measured on and the ranges it was measured
over. A rule says when it is read beyond its range; but for the recipe of AdamW, which every family needs, it
says nothing of families it was not measured on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from isodiff.cost.sampling import TypicalNetwork
from isodiff.network.shape import typical_shape
from isodiff.record import Kind
from isodiff.scaling.laws.effective_data import Unimodal
from isodiff.scaling.laws.law import REFERENCE, Forecast, LawResult, Span, span_of
from isodiff.scaling.laws.load import base_name, printed_laws, printed_rules
from isodiff.scaling.planning.hardware import (
    SamplingSpeed,
    Serving,
    Setting,
    TrainingMemory,
    TrainingTime,
    UnknownSpeed,
    sampling_speed,
    serving,
    training_memory,
    training_time,
)
from isodiff.serialization import IfAny

FAR, FARTHEST = 10.0, 100.0
"""Times beyond the fitted budgets, either way, from which a law is a guess; from which it is not read."""
_SLACK = 1 + 1e-9


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
        loss: nats per token; None where the law gives none that can be ranked.
        least_loss: a lower bound of it instead, and `unranked` why it is no more.
        repetition: how repeated text was counted; None where none repeats.
        extrapolation: the budget over the nearest fitted one, 1 among them; `far` beyond `FAR` either way.
        loss_cooled: after a cooldown, where the law is of runs at a constant learning rate.
        shape: depth x width x heads of about N parameters; None where no network is like that.
        batch_size: sequences of a step, for `batch_tokens`.
        critical_batch_tokens: beyond which larger batches waste tokens.
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
    least_loss: IfAny[float] = None
    unranked: IfAny[str] = None
    repetition: str | None
    best_epochs: Advice | None
    critical_compute: Advice | None
    shape: str | None = None
    optimizer: str = "adamw"
    batch_tokens: Advice
    batch_size: int = 1
    learning_rate: Advice
    critical_batch_tokens: IfAny[Advice] = None
    extrapolation: float
    far: bool
    held_out_error: float | None
    loss_cooled: IfAny[float] = None
    training: TrainingTime
    memory: TrainingMemory
    inference: SamplingSpeed | UnknownSpeed
    serving: IfAny[Serving] = None
    other_laws: tuple[OtherLaw, ...]


def beyond(extrapolation: float, times: float) -> bool:
    """Whether a budget is more than so many times above or below those fitted."""
    return max(extrapolation, 1 / extrapolation) > times * _SLACK


def family_plan(
    name: str,
    law: LawResult,
    found: Forecast,
    budget: float,
    unique: float | None,
    setting: Setting,
    others: Sequence[LawResult],
    *,
    repeats: bool = False,
) -> FamilyPlan:
    """The plan of the family `name`, of which `law` said `found`; with what `others` say.

    `repeats`: the text is too short for one of the families, so evidence on repeated text counts.
    """
    family = law.families[name]
    away = family.beyond_runs(budget)
    size, tokens = float(found.parameters[0]), float(found.tokens[0])
    epochs = None if unique is None else max(1.0, tokens / unique)
    loss = None if found.nats is None else float(found.nats[0])
    nats = found.with_noise(0.0 if loss is None else family.scatter(loss))
    useful = best_epochs(name, size, unique) if repeats and unique else None
    unranked = _unranked(found, epochs, useful)
    network = TypicalNetwork.of(size, law.parameters_convention, setting.vocab_size)
    shape = typical_shape(network.core)
    batch, rate = adamw_recipe(name, size, tokens)
    critical = published_rule("critical_batch_tokens", name, tokens=tokens)
    speed = sampling_speed(name, network, setting)
    opinions = (_opinion(other, name, budget, unique) for other in others)
    ranked = loss if unranked is None else None
    return FamilyPlan(
        kind=family.kind,
        N=size,
        N_interval=span_of(found.parameters),
        D=tokens,
        D_interval=span_of(found.tokens),
        tokens_per_parameter=tokens / size,
        epochs=epochs,
        loss=ranked,
        loss_interval=span_of(nats) if unranked is None else None,
        least_loss=loss if unranked else None,
        unranked=unranked,
        repetition=found.repetition,
        best_epochs=useful,
        critical_compute=published_rule("critical_compute", name, unique_tokens=unique)
        if repeats and unique
        else None,
        shape=None if shape is None else str(shape),
        batch_tokens=batch,
        batch_size=max(1, round((batch.value or 1.0) / setting.length)),
        learning_rate=rate,
        critical_batch_tokens=critical if critical.value is not None else None,
        extrapolation=away,
        far=beyond(away, FAR),
        held_out_error=family.held_out_error,
        loss_cooled=ranked / law.cooled if law.cooled and ranked is not None else None,
        training=training_time(name, budget, tokens, setting),
        memory=training_memory(name, network, setting),
        inference=speed,
        serving=serving(speed, setting) if isinstance(speed, SamplingSpeed) else None,
        other_laws=tuple(opinion for opinion in opinions if opinion is not None),
    )


def _unranked(found: Forecast, epochs: float | None, useful: Advice | None) -> str | None:
    """Why a loss is only a lower bound: what repeated text is worth here was never measured."""
    if found.nats is None:
        return None
    if found.optimistic:
        return found.repetition
    if epochs and useful and useful.value is not None and epochs > useful.value:
        return (
            f"{epochs:.3g} epochs, where {useful.source} finds at most {useful.value:.3g} useful and more "
            "to over-fit"
        )
    return None


def _opinion(law: LawResult, name: str, budget: float, unique: float | None) -> OtherLaw | None:
    family = law.families.get(name)
    if family is None or (found := family.predict(name, budget, unique)) is None:
        return None
    return OtherLaw(
        law=law.law,
        N=float(found.parameters[0]),
        D=float(found.tokens[0]),
        loss=None if found.nats is None or found.optimistic else float(found.nats[0]),
        loss_interval=None if found.optimistic else span_of(found.nats),
        held_out_error=family.held_out_error,
    )
