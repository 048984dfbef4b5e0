"""From laws to a decision: what each family would be at a budget, which to train, and why.

Where a source gives several laws, the one that foretold the largest budgets best is followed, and the
others are quoted: their disagreement is an uncertainty that no interval of one law holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from isodiff.errors import InputError
from isodiff.scaling.forecast import Forecast, ends, forecast
from isodiff.scaling.recipes import (
    Advice,
    batch_tokens,
    best_epochs,
    critical_compute,
    learning_rate,
)

FAR = 10.0
"""Times the largest fitted budget beyond which a plan is an extrapolation not to be trusted."""
NOT_COVERED = "no published rule was measured on this family"


def plan(
    laws: Sequence[dict[str, Any]], budget: float, unique_tokens: float | None = None
) -> dict[str, Any]:
    """One entry per family, and a recommendation with its reasons.

    Raises:
        InputError: a budget or a text that is not a positive number, or no law for any family.
    """
    for name, value in (("--budget", budget), ("--data-limit", unique_tokens)):
        if value is not None and not (np.isfinite(value) and value > 0):
            raise InputError(f"{name} is {value}; it must be a positive number, e.g. 1e21")
    chosen = followed(laws, limited=unique_tokens is not None)
    others = [law for law in laws if law is not chosen]
    families, forecasts = {}, {}
    for name, family in chosen["families"].items():
        found = forecast(chosen["law"], name, family, budget, unique_tokens)
        if found is None:
            continue
        forecasts[name] = found
        families[name] = {
            **entry(name, family, found, budget, unique_tokens),
            **cooled(chosen, found),
            "other_laws": [
                second
                for law in others
                if (second := opinion(law, name, budget, unique_tokens)) is not None
            ],
        }
    if not families:
        raise InputError(
            f"{chosen['source']} has no law for any family; it needs two accepted budgets"
        )
    return {
        "budget": budget,
        "data_limit": unique_tokens,
        "law": chosen["law"],
        "source": chosen["source"],
        "flops": chosen["flops"],
        "parameters_convention": chosen["parameters_convention"],
        "laws": [{"law": law["law"], "held_out_error": held_out_error(law)} for law in laws],
        "families": families,
        "recommendation": recommendation(families, forecasts, budget, unique_tokens),
        "warnings": warnings(families, budget),
        "protocol": chosen["protocol"],
    }


def followed(laws: Sequence[dict[str, Any]], *, limited: bool) -> dict[str, Any]:
    """The law with the smallest error at the largest budgets; with limited text one that knows of it."""
    able = [law for law in laws if not limited or law["law"] != "isoflop"]
    return min(able or laws, key=lambda law: held_out_error(law) or float("inf"))


def held_out_error(law: dict[str, Any]) -> float | None:
    """Root mean square over families of the relative error of loss; None where nothing was foretold."""
    errors = [family_error(family) for family in law["families"].values()]
    known = [error for error in errors if error is not None]
    return float(np.sqrt(np.mean(np.square(known)))) if known else None


def family_error(family: dict[str, Any]) -> float | None:
    """Of one family: of its lowest loss, or of its runs."""
    checked = family["validation"]
    if "L" in checked:
        return abs(checked["L"]["relative_error"])
    return checked.get("rmse")


def entry(
    name: str, family: dict[str, Any], found: Forecast, budget: float, unique: float | None
) -> dict[str, Any]:
    """Everything planned of one family."""
    size, tokens = float(found.parameters[0]), float(found.tokens[0])
    batch = batch_tokens(name, tokens)
    rate = None if batch is None else learning_rate(name, batch.value)
    nats = found.with_noise(scatter(family, found))
    known = nats is not None
    return {
        "kind": family["kind"],
        "N": size,
        "N_interval": ends(found.parameters),
        "D": tokens,
        "D_interval": ends(found.tokens),
        "tokens_per_parameter": tokens / size,
        "epochs": None if unique is None else max(1.0, tokens / unique),
        "loss": float(nats[0]) if known else None,
        "loss_interval": ends(nats),
        "repetition": found.repetition,
        "best_epochs": None if unique is None else advice(best_epochs(name, size, unique)),
        "critical_compute": None if unique is None else advice(critical_compute(name, unique)),
        "batch_tokens": advice(batch),
        "learning_rate": advice(rate),
        "extrapolation": budget / family["range"]["C"][1],
        "far": budget > FAR * family["range"]["C"][1] * (1 + 1e-9),
        "held_out_error": family_error(family),
    }


def scatter(family: dict[str, Any], found: Forecast) -> float:
    """Relative scatter of runs about their law."""
    noise = family.get("noise", {})
    if "rms" in noise:
        return float(noise["rms"])
    if noise.get("nats") and found.nats is not None:
        return float(noise["nats"]) / float(found.nats[0])
    return 0.0


def advice(found: Advice | None) -> dict[str, Any]:
    """A rule's value, or why there is none."""
    return {"value": None, "reason": NOT_COVERED} if found is None else found.to_json()


def cooled(law: dict[str, Any], found: Forecast) -> dict[str, Any]:
    """Loss after a cooldown, where the law is of runs at a constant learning rate."""
    ratio = law.get("cooled")
    return {} if not ratio or found.nats is None else {"loss_cooled": float(found.nats[0]) / ratio}


def opinion(
    law: dict[str, Any], name: str, budget: float, unique: float | None
) -> dict[str, Any] | None:
    """What another law says of a family."""
    family = law["families"].get(name)
    found = None if family is None else forecast(law["law"], name, family, budget, unique)
    if family is None or found is None:
        return None
    return {
        "law": law["law"],
        "N": float(found.parameters[0]),
        "D": float(found.tokens[0]),
        "loss": None if found.nats is None else float(found.nats[0]),
        "loss_interval": ends(found.nats),
        "held_out_error": family_error(family),
    }


def recommendation(
    families: dict[str, dict[str, Any]],
    forecasts: dict[str, Forecast],
    budget: float,
    unique: float | None,
) -> dict[str, Any]:
    """The family of lowest loss, how surely, and what else bears on the choice."""
    known = {name: row["loss"] for name, row in families.items() if row["loss"] is not None}
    if not known:
        return {"family": None, "confidence": None, "reasons": ["no law gives a loss here"]}
    ranked = sorted(known, key=known.__getitem__)
    best = ranked[0]
    row = families[best]
    reasons = [f"{best} has the lowest expected loss, {row['loss']:.3f} nats per token"]
    confidence = None
    if len(ranked) == 1:
        reasons = [f"{best} is the only family with a law for this budget"]
    else:
        second = ranked[1]
        gap = known[second] - known[best]
        confidence = surer(forecasts[best], [forecasts[name] for name in ranked[1:]])
        sure = "" if confidence is None else f", and is best in {confidence:.0%} of the laws' draws"
        reasons.append(f"{second} follows with {known[second]:.3f}, {gap:.3f} more{sure}")
        bounds = [name for name in ranked if families[name]["kind"] == "bound"]
        if bounds and len(bounds) < len(ranked):
            reasons.append(
                f"the losses of {', '.join(bounds)} are upper bounds: their true losses are lower by an "
                "unknown amount"
            )
    reasons += disagreements(families, best)
    if unique is not None:
        reasons += text_reasons(families, best, budget, unique)
    return {"family": best, "confidence": confidence, "reasons": reasons}


def surer(best: Forecast, others: Sequence[Forecast]) -> float | None:
    """Share of draws in which the best family has the lowest loss; None without draws."""
    losses = [f.nats for f in (best, *others)]
    if any(nats is None or len(nats) < 2 for nats in losses):
        return None
    rows = min(len(nats) for nats in losses if nats is not None)
    drawn = np.stack([nats[1:rows] for nats in losses if nats is not None])
    return float((drawn.argmin(axis=0) == 0).mean())


def disagreements(families: dict[str, dict[str, Any]], best: str) -> list[str]:
    """Where another law picks another family, or puts the best one's loss outside its interval."""
    said = []
    laws = {second["law"] for row in families.values() for second in row["other_laws"]}
    for law in sorted(laws):
        losses = {
            name: second["loss"]
            for name, row in families.items()
            for second in row["other_laws"]
            if second["law"] == law and second["loss"] is not None
        }
        if not losses or best not in losses:
            continue
        other = min(losses, key=losses.__getitem__)
        span = families[best]["loss_interval"]
        if other != best:
            said.append(f"the {law} law would pick {other} instead, with {losses[other]:.3f}")
        elif span is not None and not span[0] <= losses[best] <= span[1]:
            said.append(
                f"the {law} law gives {best} {losses[best]:.3f}, outside the interval "
                f"[{span[0]:.3f}, {span[1]:.3f}]: the form of the law matters more than the noise"
            )
        else:
            said.append(f"the {law} law agrees: {best}, with {losses[best]:.3f}")
    return said


def text_reasons(
    families: dict[str, dict[str, Any]], best: str, budget: float, unique: float
) -> list[str]:
    """What limited text adds."""
    said = []
    epochs = families[best]["epochs"]
    if epochs > 1:
        said.append(
            f"{best} would see the text {epochs:.3g} times ({families[best]['repetition']})"
        )
    for name, row in families.items():
        found = row["critical_compute"]
        if found["value"] is not None:
            which = "above" if budget > found["value"] else "below"
            said.append(
                f"the budget is {which} the {found['value']:.2g} FLOPs from which {name} overtook "
                f"autoregressive on such a text in {found['source']}"
            )
        most = row["best_epochs"]
        if most["value"] is not None and row["epochs"] > most["value"]:
            said.append(
                f"{name} would over-fit: {row['epochs']:.3g} epochs, where {most['source']} finds at most "
                f"{most['value']:.3g} useful"
            )
    return said


def warnings(families: dict[str, dict[str, Any]], budget: float) -> list[str]:
    """Extrapolation, and laws that failed to foretell."""
    said = []
    far = [name for name, row in families.items() if row["far"]]
    if far:
        times = max(families[name]["extrapolation"] for name in far)
        said.append(
            f"{budget:.3g} FLOPs are up to {times:.3g} times the largest fitted budget of "
            f"{', '.join(far)}: beyond {FAR:g} times a law is a guess"
        )
    for rule in ("batch_tokens", "learning_rate"):
        beyond = [name for name, row in families.items() if row[rule].get("beyond")]
        if beyond:
            said.append(
                f"{rule} of {', '.join(beyond)}: read outside the range the rule was measured in"
            )
    return said
