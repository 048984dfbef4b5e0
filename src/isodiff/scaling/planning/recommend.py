"""From laws to a decision: what each family would be at a budget, which to train, and why.

Where a source gives several laws, the one that predicted the lowest loss of the largest budget best is
followed; where a text is too short for its optimum, the best of those that know of repetition. What the
others say is an uncertainty that no interval of one law holds: where they, or published evidence, put another
family first, or where a family of unknown loss may be better, it is not determined which to train.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from isodiff.errors import InputError
from isodiff.scaling.laws.law import Forecast, LawResult
from isodiff.scaling.planning.family_plan import FAR, FARTHEST, FamilyPlan, beyond, family_plan
from isodiff.scaling.planning.hardware import Setting
from isodiff.scaling.planning.reasons import doubts, epochs_reason, needs
from isodiff.units import short

_Families = Mapping[str, FamilyPlan]
_NEAR = 1.05
"""Times beyond the fitted budgets that are not worth a word."""


@dataclass(frozen=True, kw_only=True)
class LawError:
    """How well a law predicted the largest budgets: relative error of the lowest loss, rms over families."""

    law: str
    held_out_error: float | None


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """The family to train, in what share of the laws' draws it is best, and why it is this one.

    `undetermined`: where laws or evidence contradict, those between which it is open; then `family` is None.
    """

    family: str | None
    confidence: float | None
    reasons: tuple[str, ...]
    undetermined: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """In a few words."""
        if self.undetermined:
            return f"Not determined: {' or '.join(self.undetermined)}"
        return f"Recommended: {self.family or 'nothing'}"


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
    *,
    extrapolate: bool = False,
) -> Plan:
    """One entry per family, and a recommendation with its reasons.

    Args:
        laws: results of fits, of one source.
        budget: training FLOPs, in the convention of the laws.
        unique_tokens: of text that there are; beyond them text repeats. More than any family needs changes
            nothing.
        setting: devices and texts; one H100 where it is not said.
        extrapolate: read laws more than 100 times beyond the budgets they were fitted to.

    Raises:
        InputError: a budget or a text that is not a positive number, no law for any family, or a budget
            that is too far.
    """
    for name, value in (("the budget", budget), ("--data-limit", unique_tokens)):
        if value is not None and not (np.isfinite(value) and value > 0):
            raise InputError(f"{name} is {value}; it must be a positive number, e.g. 1e21")
    setting = setting or Setting()
    chosen = first = _followed(laws)
    forecasts = _read(first, budget, unique_tokens)
    limit = np.inf if unique_tokens is None else unique_tokens
    repeats = [name for name, found in forecasts.items() if found.tokens[0] > limit]
    if repeats and (able := [law for law in laws if law.knows_repetition]):
        chosen = first if first.knows_repetition else _followed(able)
        forecasts = _read(chosen, budget, unique_tokens)
    if not forecasts:
        raise InputError(
            f"{chosen.source} has no law for any family; it needs two accepted budgets"
        )
    warnings = [] if extrapolate else _leave_out_far(chosen, forecasts, budget)
    if chosen is not first:
        warnings.append(
            f"the text is too short for one pass of {', '.join(repeats)}: the {chosen.law} law is followed, "
            f"as the {first.law} law knows fresh text only"
        )
    others = [law for law in laws if law is not chosen]
    families = {
        name: family_plan(
            name, chosen, found, budget, unique_tokens, setting, others, repeats=bool(repeats)
        )
        for name, found in forecasts.items()
    }
    return Plan(
        budget=budget,
        data_limit=unique_tokens,
        law=chosen.law,
        source=chosen.source,
        flops=chosen.flops,
        parameters_convention=chosen.parameters_convention,
        laws=_errors(laws),
        families=families,
        setting=setting,
        recommendation=_recommendation(families, forecasts, budget, setting),
        warnings=(*warnings, *_warnings(families, budget, setting)),
        protocol=chosen.protocol,
    )


def _read(law: LawResult, budget: float, unique_tokens: float | None) -> dict[str, Forecast]:
    found = {
        name: family.predict(name, budget, unique_tokens) for name, family in law.families.items()
    }
    return {name: one for name, one in found.items() if one is not None}


def _leave_out_far(law: LawResult, forecasts: dict[str, Forecast], budget: float) -> list[str]:
    """Take out families whose runs are too far from the budget, and say so; refuse where none is left."""
    times = {name: law.families[name].beyond_runs(budget) for name in forecasts}
    far = {name: x for name, x in times.items() if beyond(x, FARTHEST)}
    if not far:
        return []
    said = (
        f"{budget:.3g} FLOPs are {_away(far.values())}; laws are read up to {FARTHEST:g} times beyond, "
        "farther with --extrapolate"
    )
    if len(far) == len(times):
        raise InputError(said)
    for name in far:
        del forecasts[name]
    return [f"{', '.join(far)} left out: {said}"]


def _away(extrapolations: Iterable[float]) -> str:
    """How far a budget is from those fitted, in words."""
    most = max(extrapolations, key=lambda x: max(x, 1 / x))
    if most > 1:
        return f"{most:.3g} times the largest fitted budget"
    return f"{1 / most:.3g} times below the smallest fitted budget"


def _followed(laws: Sequence[LawResult]) -> LawResult:
    """The law with the smallest error at the largest budgets."""
    known = zip(laws, _errors(laws), strict=True)
    none = float("inf")
    return min(known, key=lambda one: none if (e := one[1].held_out_error) is None else e)[0]


def _errors(laws: Sequence[LawResult]) -> tuple[LawError, ...]:
    """Root mean squares over the families that every law with an error has one for; None without."""
    errors = [
        {
            name: error
            for name, one in law.families.items()
            if (error := one.held_out_error) is not None
        }
        for law in laws
    ]
    named = [set(own) for own in errors if own]
    shared = set.intersection(*named) if named else set()
    rows = []
    for law, own in zip(laws, errors, strict=True):
        known = [error for name, error in own.items() if name in shared or not shared]
        rms = float(np.sqrt(np.mean(np.square(known)))) if known else None
        rows.append(LawError(law=law.law, held_out_error=rms))
    return tuple(rows)


def _recommendation(
    families: _Families,
    forecasts: Mapping[str, Forecast],
    budget: float,
    setting: Setting,
) -> Recommendation:
    slow = [name for name, family in families.items() if _too_slow(family, setting)]
    able = {name: family for name, family in families.items() if name not in slow}
    known = {name: family.loss for name, family in able.items() if family.loss is not None}
    too_slow = [
        f"{', '.join(slow)} cannot be served at {short(setting.throughput or 0)} tokens/s on "
        f"{setting.devices}"
    ][: len(slow)]
    if not known:
        reasons = [family.unranked for family in able.values() if family.unranked is not None]
        nothing = (
            "no law gives a loss here that can be ranked" if able else "no family is fast enough"
        )
        return Recommendation(
            family=None, confidence=None, reasons=(nothing, *dict.fromkeys(reasons), *too_slow)
        )
    best, *others = sorted(known, key=known.__getitem__)
    confidence = None
    if not others:
        what = "law for this budget" if len(families) == 1 else "loss that can be ranked"
        reasons = [f"{best} is the only family with a {what}"]
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
    doubted = doubts(able, best, budget)
    rivals = tuple(dict.fromkeys(rival for rival, _ in doubted if rival is not None))
    reasons += [said for _, said in doubted]
    reasons += too_slow + epochs_reason(best, families[best])
    if rivals:
        return Recommendation(
            family=None, confidence=None, reasons=tuple(reasons), undetermined=(best, *rivals)
        )
    reasons += needs(able, best, setting)
    return Recommendation(family=best, confidence=confidence, reasons=tuple(reasons))


def _too_slow(family: FamilyPlan, setting: Setting) -> bool:
    """Whether it is not known to be served fast enough."""
    if setting.throughput is None:
        return False
    return family.serving is None or family.serving.tokens_per_second < setting.throughput


def _confidence(forecasts: Sequence[Forecast]) -> float | None:
    """Share of draws in which the first has the lowest loss; None without draws."""
    losses = [found.nats for found in forecasts if found.nats is not None and len(found.nats) > 1]
    if len(losses) < len(forecasts):
        return None
    drawn = np.stack([nats[1 : min(map(len, losses))] for nats in losses])
    return float((drawn.argmin(axis=0) == 0).mean())


def _warnings(families: _Families, budget: float, setting: Setting) -> list[str]:
    said = []

    def those(condition: Callable[[FamilyPlan], bool | None]) -> str:
        return ", ".join(name for name, family in families.items() if condition(family))

    if outside := those(lambda family: beyond(family.extrapolation, _NEAR)):
        guess = f": beyond {FAR:g} times a law is a guess" if those(lambda one: one.far) else ""
        times = _away(family.extrapolation for family in families.values())
        said.append(f"{budget:.3g} FLOPs are up to {times} of {outside}{guess}")
    if names := those(lambda family: family.batch_tokens.beyond or family.learning_rate.beyond):
        said.append(
            f"batch and learning rate of {names}: read outside what their rule was measured on"
        )
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
