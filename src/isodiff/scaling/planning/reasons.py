"""What speaks for and against the family that a plan puts first, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from isodiff.scaling.laws.law import REFERENCE
from isodiff.scaling.laws.load import base_name
from isodiff.scaling.planning.family_plan import FamilyPlan
from isodiff.scaling.planning.hardware import SamplingSpeed, Setting
from isodiff.units import duration, memory, short

_Families = Mapping[str, FamilyPlan]
Doubt = tuple[str | None, str]
"""A family that may be the better one, if it is one that can be trained here; and why, in a sentence."""


def doubts(families: _Families, best: str, budget: float) -> list[Doubt]:
    """What contradicts the laws that put `best` first: other laws, published evidence, what is not known."""
    return [
        *_by_other_laws(families, best),
        *_by_critical_compute(families, best, budget),
        *_by_unknown_losses(families, best),
    ]


def _by_other_laws(families: _Families, best: str) -> Iterator[Doubt]:
    """Where another law picks another family; or puts the best one's loss outside its interval."""
    for law in sorted({other.law for family in families.values() for other in family.other_laws}):
        losses = {
            name: other.loss
            for name, family in families.items()
            for other in family.other_laws
            if other.law == law and other.loss is not None and family.unranked is None
        }
        if best not in losses:
            continue
        pick, span = min(losses, key=losses.__getitem__), families[best].loss_interval
        if pick != best:
            yield pick, f"the {law} law would pick {pick} instead, with {losses[pick]:.3f}"
        elif span is not None and not span[0] <= losses[best] <= span[1]:
            said = (
                f"the {law} law gives {best} {losses[best]:.3f}, outside the interval "
                f"[{span[0]:.3f}, {span[1]:.3f}]: the form of the law matters more than the noise"
            )
            yield None, said
        else:
            yield None, f"the {law} law agrees: {best}, with {losses[best]:.3f}"


def _by_critical_compute(families: _Families, best: str, budget: float) -> Iterator[Doubt]:
    """Where a family was found to overtake the reference, on a text of that length."""
    reference = next((name for name in families if base_name(name) == REFERENCE), None)
    for name, family in families.items():
        critical = family.critical_compute
        if critical is None or critical.value is None:
            continue
        above = budget > critical.value
        said = (
            f"the budget is {'above' if above else 'below'} the {critical.value:.2g} FLOPs from which {name} "
            f"overtook {REFERENCE} on such a text in {critical.source}"
        )
        if critical.beyond:
            said += ", read outside the range it was measured in"
        rival = {reference: name if above else None, name: None if above else reference}.get(best)
        yield rival, said


def _by_unknown_losses(families: _Families, best: str) -> Iterator[Doubt]:
    """Families without a rank that may yet be better."""
    lowest = families[best].loss
    for name, family in families.items():
        if family.unranked is None or family.least_loss is None or lowest is None:
            continue
        ahead = family.least_loss < lowest
        said = (
            f"{name} is not ranked ({family.unranked}): its loss is {family.least_loss:.3f} or more"
        )
        yield name if ahead else None, said


def epochs_reason(name: str, family: FamilyPlan) -> list[str]:
    """How often it would see the text."""
    if not (family.epochs and family.epochs > 1):
        return []
    return [f"{name} would see the text {family.epochs:.3g} times ({family.repetition})"]


def needs(families: _Families, best: str, setting: Setting) -> list[str]:
    """What training and serving the best family takes."""
    family = families[best]
    said = [_recipe_reason(family), _training_reason(family, setting)]
    if not setting.measured:
        said += [_memory_reason(family, setting), *_speed_reasons(families, best, setting)]
    return said


def _recipe_reason(family: FamilyPlan) -> str:
    shape = family.shape or "no shape near that size"
    rate = family.learning_rate
    borrowed = ", read outside what the rule was measured on" if rate.beyond else ""
    return (
        f"train {shape} with {family.optimizer}, batches of {family.batch_size} texts "
        f"({short(family.batch_tokens.value or 0)} tokens), a peak learning rate of {rate.value:.2g} and "
        f"width_power 0 ({rate.source}{borrowed})"
    )


def _training_reason(family: FamilyPlan, setting: Setting) -> str:
    training = family.training
    how = {
        "training_throughput": f"at {short(training.tokens_per_second)} tokens/s",
        "measured": "as fast as its largest runs here",
        "utilisation": f"on {setting.devices} at {setting.utilization:.0%} of the peak",
    }[training.basis]
    said = f"training it takes {duration(training.hours)} {how}"
    if training.device_hours is not None:
        said += f", {training.device_hours:.3g} GPU-hours"
    if training.price is not None:
        said += f", for {short(training.price)} at {setting.price:g} an hour"
    return said


def _memory_reason(family: FamilyPlan, setting: Setting) -> str:
    needed, kind = family.memory, setting.devices.name
    whole = memory(needed.states_bytes + needed.activations_bytes)
    if needed.fits_one_device:
        return f"it fits one {kind}: {whole} with one sequence of {setting.length} tokens"
    if needed.devices_needed is None:
        return (
            f"the activations of one sequence of {setting.length} tokens do not fit one {kind} unless they "
            "are computed again"
        )
    return f"it does not fit one {kind} ({whole}); in equal parts it fits {needed.devices_needed}"


def _speed_reasons(families: _Families, best: str, setting: Setting) -> list[str]:
    """How fast the best family samples and for how much, beside the one that is fastest alone."""
    known = {
        name: family.inference
        for name, family in families.items()
        if isinstance(family.inference, SamplingSpeed)
    }
    if best not in known:
        return []
    own, served = known[best], families[best].serving
    name, first = max(known.items(), key=lambda item: item[1].tokens_per_second_alone)
    on = (
        f"{own.devices} {setting.devices.name}"
        if own.devices > 1
        else f"one {setting.devices.name}"
    )
    said = [f"on {on} it writes at most {_speeds(own)}"]
    if served is not None and served.price_per_million_tokens is not None:
        price = short(served.price_per_million_tokens)
        said[0] += (
            f": {price} or more for a million tokens, and {short(own.flops_per_token)} FLOPs each"
        )
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
