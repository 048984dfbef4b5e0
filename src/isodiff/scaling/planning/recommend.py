"""From laws to a decision: what each family would be at a budget, which to train, and why.

Where a source gives several laws, the one that predicted the largest budgets best is followed, and the
others are quoted: their disagreement is an uncertainty that no interval of one law holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from isodiff.errors import InputError
from isodiff.scaling.laws.law import Forecast, LawResult
from isodiff.scaling.planning.family_plan import FAR, FamilyPlan, family_plan
from isodiff.scaling.planning.hardware import SamplingSpeed, Setting
from isodiff.units import duration, short

_Families = Mapping[str, FamilyPlan]


@dataclass(frozen=True, kw_only=True)
class LawError:
    """How well a law predicted the largest budgets: relative error of loss, rms over families."""

    law: str
    held_out_error: float | None


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """The family to train, in what share of the laws' draws it is best, and why it is this one."""

    family: str | None
    confidence: float | None
    reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What laws say of a budget: every family by the law that is followed, and which to train."""

    budget: float
    data_limit: float | None
    law: str
    source: str
    flops: str
    parameters_convention: str
    laws: tuple[LawError, ...]
    families: dict[str, FamilyPlan]
    setting: Setting
    recommendation: Recommendation
    warnings: tuple[str, ...]
    protocol: str


def plan(
    laws: Sequence[LawResult],
    budget: float,
    unique_tokens: float | None = None,
    setting: Setting | None = None,
) -> Plan:
    """One entry per family, and a recommendation with its reasons.

    Args:
        laws: results of fits, of one source.
        budget: training FLOPs, in the convention of the laws.
        unique_tokens: of text that there are; beyond them text repeats.
        setting: devices and texts; one H100 where it is not said.

    Raises:
        InputError: a budget or a text that is not a positive number, or no law for any family.
    """
    for name, value in (("the budget", budget), ("--data-limit", unique_tokens)):
        if value is not None and not (np.isfinite(value) and value > 0):
            raise InputError(f"{name} is {value}; it must be a positive number, e.g. 1e21")
    setting = setting or Setting()
    chosen = _followed(laws, limited=unique_tokens is not None)
    others = [law for law in laws if law is not chosen]
    forecasts = {
        name: found
        for name, family in chosen.families.items()
        if (found := family.predict(name, budget, unique_tokens)) is not None
    }
    if not forecasts:
        raise InputError(
            f"{chosen.source} has no law for any family; it needs two accepted budgets"
        )
    families = {
        name: family_plan(name, chosen, found, budget, unique_tokens, setting, others)
        for name, found in forecasts.items()
    }
    return Plan(
        budget=budget,
        data_limit=unique_tokens,
        law=chosen.law,
        source=chosen.source,
        flops=chosen.flops,
        parameters_convention=chosen.parameters_convention,
        laws=tuple(LawError(law=law.law, held_out_error=_law_error(law)) for law in laws),
        families=families,
        setting=setting,
        recommendation=_recommendation(families, forecasts, budget, unique_tokens, setting),
        warnings=tuple(_warnings(families, budget, setting)),
        protocol=chosen.protocol,
    )


def _followed(laws: Sequence[LawResult], *, limited: bool) -> LawResult:
    """The law with the smallest error at the largest budgets; with limited text one that knows of it."""
    able = [law for law in laws if not limited or law.knows_repetition]
    return min(able or laws, key=lambda law: _law_error(law) or float("inf"))


def _law_error(law: LawResult) -> float | None:
    """Root mean square over families; None where nothing was predicted."""
    errors = (family.held_out_error for family in law.families.values())
    known = [error for error in errors if error is not None]
    return float(np.sqrt(np.mean(np.square(known)))) if known else None


def _recommendation(
    families: _Families,
    forecasts: Mapping[str, Forecast],
    budget: float,
    unique: float | None,
    setting: Setting,
) -> Recommendation:
    known = {name: family.loss for name, family in families.items() if family.loss is not None}
    if not known:
        reasons = ("no law gives a loss here",)
        return Recommendation(family=None, confidence=None, reasons=reasons)
    best, *others = sorted(known, key=known.__getitem__)
    confidence = None
    if not others:
        reasons = [f"{best} is the only family with a law for this budget"]
    else:
        reasons = [f"{best} has the lowest expected loss, {known[best]:.3f} nats per token"]
        confidence = _confidence([forecasts[name] for name in (best, *others)])
        second = known[others[0]]
        said = f"{others[0]} follows with {second:.3f}, {second - known[best]:.3f} more"
        if confidence is not None:
            said += f"; {best} is best in {confidence:.0%} of the laws' draws"
        reasons.append(said)
        bounds = [name for name in (best, *others) if families[name].kind == "bound"]
        if bounds and len(bounds) < len(known):
            reasons.append(
                f"the losses of {', '.join(bounds)} are upper bounds: their true losses are lower by an "
                "unknown amount"
            )
    reasons += _disagreements(families, best)
    if unique is not None:
        reasons += _text_reasons(families, best, budget)
    reasons.append(_training_reason(families[best], setting))
    if not setting.measured:
        reasons.append(_memory_reason(families[best], setting))
        reasons += _speed_reasons(families, best, setting)
    return Recommendation(family=best, confidence=confidence, reasons=tuple(reasons))


def _confidence(forecasts: Sequence[Forecast]) -> float | None:
    """Share of draws in which the first has the lowest loss; None without draws."""
    losses = [found.nats for found in forecasts if found.nats is not None and len(found.nats) > 1]
    if len(losses) < len(forecasts):
        return None
    drawn = np.stack([nats[1 : min(map(len, losses))] for nats in losses])
    return float((drawn.argmin(axis=0) == 0).mean())


def _disagreements(families: _Families, best: str) -> list[str]:
    """Where another law picks another family, or puts the best one's loss outside its interval."""
    said = []
    for law in sorted({other.law for family in families.values() for other in family.other_laws}):
        losses = {
            name: other.loss
            for name, family in families.items()
            for other in family.other_laws
            if other.law == law and other.loss is not None
        }
        if best not in losses:
            continue
        pick, span = min(losses, key=losses.__getitem__), families[best].loss_interval
        if pick != best:
            said.append(f"the {law} law would pick {pick} instead, with {losses[pick]:.3f}")
        elif span is not None and not span[0] <= losses[best] <= span[1]:
            said.append(
                f"the {law} law gives {best} {losses[best]:.3f}, outside the interval "
                f"[{span[0]:.3f}, {span[1]:.3f}]: the form of the law matters more than the noise"
            )
        else:
            said.append(f"the {law} law agrees: {best}, with {losses[best]:.3f}")
    return said


def _text_reasons(families: _Families, best: str, budget: float) -> list[str]:
    said = []
    epochs, repetition = families[best].epochs, families[best].repetition
    if epochs and epochs > 1:
        said.append(f"{best} would see the text {epochs:.3g} times ({repetition})")
    for name, family in families.items():
        critical, most = family.critical_compute, family.best_epochs
        if critical and critical.value is not None:
            which = "above" if budget > critical.value else "below"
            said.append(
                f"the budget is {which} the {critical.value:.2g} FLOPs from which {name} overtook "
                f"autoregressive on such a text in {critical.source}"
            )
        if most and most.value is not None and family.epochs and family.epochs > most.value:
            said.append(
                f"{name} would over-fit: {family.epochs:.3g} epochs, where {most.source} finds at most "
                f"{most.value:.3g} useful"
            )
    return said


def _training_reason(family: FamilyPlan, setting: Setting) -> str:
    how = {
        "throughput": f"at {short(family.training.tokens_per_second)} tokens/s",
        "measured": "as fast as its largest runs here",
        "utilisation": f"on {setting.devices} at {setting.utilization:.0%} of the peak",
    }[family.training.basis]
    return f"training it takes {duration(family.training.hours)} {how}"


def _memory_reason(family: FamilyPlan, setting: Setting) -> str:
    needed, kind = family.memory, setting.devices.name
    whole = short(needed.states_bytes + needed.activations_bytes, "B")
    if needed.fits_one_device:
        return f"it fits one {kind}: {whole} with one sequence of {setting.length} tokens"
    if needed.devices_needed is None:
        return (
            f"the activations of one sequence of {setting.length} tokens do not fit one {kind} unless they "
            "are computed again"
        )
    return f"it does not fit one {kind} ({whole}); in equal parts it fits {needed.devices_needed}"


def _speed_reasons(families: _Families, best: str, setting: Setting) -> list[str]:
    """How fast the best family samples, beside the one that is fastest alone."""
    known = {
        name: family.inference
        for name, family in families.items()
        if isinstance(family.inference, SamplingSpeed)
    }
    if best not in known:
        return []
    own = known[best]
    name, first = max(known.items(), key=lambda item: item[1].tokens_per_second_alone)
    said = [f"on one {setting.devices.name} it writes at most {_speeds(own)}"]
    if name != best:
        share = first.flops_per_token / own.flops_per_token
        said.append(
            f"a text alone is written fastest by {name}, in {first.evaluations:.0f} network "
            f"evaluations: at most {_speeds(first)}, for {share:.2g} times the FLOPs a token"
        )
    return said


def _speeds(speed: SamplingSpeed) -> str:
    alone, together = short(speed.tokens_per_second_alone), short(speed.tokens_per_second)
    return f"{alone} tokens/s alone and {together} in batches of {speed.batch}"


def _warnings(families: _Families, budget: float, setting: Setting) -> list[str]:
    said = []

    def those(condition: Callable[[FamilyPlan], bool | None]) -> str:
        return ", ".join(name for name, family in families.items() if condition(family))

    if far := those(lambda family: family.far):
        times = max(family.extrapolation for family in families.values() if family.far)
        said.append(
            f"{budget:.3g} FLOPs are up to {times:.3g} times the largest fitted budget of {far}: beyond "
            f"{FAR:g} times a law is a guess"
        )
    beyond = "read outside the range the rule was measured in"
    if names := those(lambda family: family.batch_tokens.beyond):
        said.append(f"batch of {names}: {beyond}")
    if names := those(lambda family: family.learning_rate.beyond):
        said.append(f"learning rate of {names}: {beyond}")
    if fast := those(lambda family: (family.training.utilization or 0) > 1):
        said.append(
            f"at that throughput {fast} would do more FLOPs than {setting.devices} can at its peak"
        )
    count = setting.devices.count
    if small := those(lambda family: (family.memory.devices_needed or count + 1) > count):
        said.append(
            f"{setting.devices} has too little memory for {small}, even with everything in equal parts on "
            "all devices"
        )
    return said
