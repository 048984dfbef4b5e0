"""From laws to a decision: what each family would be at a budget, which to train, and why.

Where a source gives several laws, the one that predicted the largest budgets best is followed, and the
others are quoted: their disagreement is an uncertainty that no interval of one law holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from isodiff.cost.sampling import TypicalNetwork
from isodiff.errors import InputError
from isodiff.scaling.laws.law import FamilyResult, Forecast, LawResult, span_of
from isodiff.scaling.planning.hardware import (
    Setting,
    sampling_speed,
    training_memory,
    training_time,
)
from isodiff.scaling.planning.published_rules import (
    Advice,
    batch_tokens,
    best_epochs,
    critical_compute,
    learning_rate,
)
from isodiff.scaling.planning.reasons import recommendation
from isodiff.serialization import to_json

FAR = 10.0
"""Times the largest fitted budget beyond which a plan is an extrapolation not to be trusted."""
NOT_COVERED = "no published rule was measured on this family"


def plan(
    laws: Sequence[LawResult],
    budget: float,
    unique_tokens: float | None = None,
    setting: Setting | None = None,
) -> dict[str, Any]:
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
    chosen = followed(laws, limited=unique_tokens is not None)
    others = [law for law in laws if law is not chosen]
    families, forecasts = {}, {}
    for name, family in chosen.families.items():
        found = family.predict(name, budget, unique_tokens)
        if found is None:
            continue
        forecasts[name] = found
        families[name] = {
            **entry(name, family, found, budget, unique_tokens),
            **cooled(chosen, found),
            **needs(name, found, budget, chosen.parameters_convention, setting),
            "other_laws": [
                second
                for law in others
                if (second := opinion(law, name, budget, unique_tokens)) is not None
            ],
        }
    if not families:
        raise InputError(
            f"{chosen.source} has no law for any family; it needs two accepted budgets"
        )
    return {
        "budget": budget,
        "data_limit": unique_tokens,
        "law": chosen.law,
        "source": chosen.source,
        "flops": chosen.flops,
        "parameters_convention": chosen.parameters_convention,
        "laws": [{"law": law.law, "held_out_error": held_out_error(law)} for law in laws],
        "families": families,
        "setting": to_json(setting),
        "recommendation": recommendation(families, forecasts, budget, unique_tokens, setting),
        "warnings": warnings(families, budget, setting),
        "protocol": chosen.protocol,
    }


def followed(laws: Sequence[LawResult], *, limited: bool) -> LawResult:
    """The law with the smallest error at the largest budgets; with limited text one that knows of it."""
    able = [law for law in laws if not limited or law.knows_repetition]
    return min(able or laws, key=lambda law: held_out_error(law) or float("inf"))


def held_out_error(law: LawResult) -> float | None:
    """Root mean square over families of the relative error of loss; None where nothing was predicted."""
    errors = [family.held_out_error for family in law.families.values()]
    known = [error for error in errors if error is not None]
    return float(np.sqrt(np.mean(np.square(known)))) if known else None


def _ends(samples: np.ndarray | None) -> list[float] | None:
    found = span_of(samples)
    return None if found is None else list(found)


def entry(
    name: str, family: FamilyResult, found: Forecast, budget: float, unique: float | None
) -> dict[str, Any]:
    """Everything planned of one family."""
    size, tokens = float(found.parameters[0]), float(found.tokens[0])
    batch = batch_tokens(name, tokens)
    rate = None if batch is None else learning_rate(name, batch.value)
    nats = found.with_noise(0.0 if found.nats is None else family.scatter(float(found.nats[0])))
    known = nats is not None
    return {
        "kind": family.kind,
        "N": size,
        "N_interval": _ends(found.parameters),
        "D": tokens,
        "D_interval": _ends(found.tokens),
        "tokens_per_parameter": tokens / size,
        "epochs": None if unique is None else max(1.0, tokens / unique),
        "loss": float(nats[0]) if known else None,
        "loss_interval": _ends(nats),
        "repetition": found.repetition,
        "best_epochs": None if unique is None else advice(best_epochs(name, size, unique)),
        "critical_compute": None if unique is None else advice(critical_compute(name, unique)),
        "batch_tokens": advice(batch),
        "learning_rate": advice(rate),
        "extrapolation": budget / family.most_compute,
        "far": budget > FAR * family.most_compute * (1 + 1e-9),
        "held_out_error": family.held_out_error,
    }


def needs(
    name: str, found: Forecast, budget: float, convention: str, setting: Setting
) -> dict[str, Any]:
    """What the planned network takes to train, and to write with."""
    network = TypicalNetwork.of(float(found.parameters[0]), convention, setting.vocab_size)
    return {
        "training": to_json(training_time(name, budget, float(found.tokens[0]), setting)),
        "memory": to_json(training_memory(name, network, setting)),
        "inference": to_json(sampling_speed(name, network, setting)),
    }


def advice(found: Advice | None) -> dict[str, Any]:
    """A rule's value, or why there is none."""
    return {"value": None, "reason": NOT_COVERED} if found is None else found.to_json()


def cooled(law: LawResult, found: Forecast) -> dict[str, Any]:
    """Loss after a cooldown, where the law is of runs at a constant learning rate."""
    ratio = law.cooled
    return {} if not ratio or found.nats is None else {"loss_cooled": float(found.nats[0]) / ratio}


def opinion(
    law: LawResult, name: str, budget: float, unique: float | None
) -> dict[str, Any] | None:
    """What another law says of a family."""
    family = law.families.get(name)
    found = None if family is None else family.predict(name, budget, unique)
    if family is None or found is None:
        return None
    return {
        "law": law.law,
        "N": float(found.parameters[0]),
        "D": float(found.tokens[0]),
        "loss": None if found.nats is None else float(found.nats[0]),
        "loss_interval": _ends(found.nats),
        "held_out_error": family.held_out_error,
    }


def warnings(families: dict[str, dict[str, Any]], budget: float, setting: Setting) -> list[str]:
    """Extrapolation, rules read out of their range, and devices that cannot do what is asked of them."""
    said = []
    far = [name for name, row in families.items() if row["far"]]
    if far:
        times = max(families[name]["extrapolation"] for name in far)
        said.append(
            f"{budget:.3g} FLOPs are up to {times:.3g} times the largest fitted budget of "
            f"{', '.join(far)}: beyond {FAR:g} times a law is a guess"
        )
    for rule, words in (("batch_tokens", "batch"), ("learning_rate", "learning rate")):
        beyond = [name for name, row in families.items() if row[rule].get("beyond")]
        if beyond:
            said.append(
                f"{words} of {', '.join(beyond)}: read outside the range the rule was measured in"
            )
    fast = [name for name, row in families.items() if (row["training"]["utilisation"] or 0) > 1]
    if fast:
        said.append(
            f"at that throughput {', '.join(fast)} would do more FLOPs than {setting.devices} can at its peak"
        )
    small = [
        name
        for name, row in families.items()
        if row["memory"]["devices_needed"] is None
        or row["memory"]["devices_needed"] > setting.devices.count
    ]
    if small:
        said.append(
            f"{setting.devices} has too little memory for {', '.join(small)}, even with everything in equal "
            "parts on all devices"
        )
    return said
