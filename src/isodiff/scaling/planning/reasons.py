"""Which family to train, and why: losses, how sure their order is, what limited text and devices add."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from isodiff.scaling.laws.law import Forecast
from isodiff.scaling.planning.hardware import Setting
from isodiff.units import clock, short

Rows = dict[str, dict[str, Any]]


def recommendation(
    families: Rows,
    forecasts: dict[str, Forecast],
    budget: float,
    unique: float | None,
    setting: Setting,
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
        sure = (
            "" if confidence is None else f"; {best} is best in {confidence:.0%} of the laws' draws"
        )
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
    reasons.append(training_reason(families[best], setting))
    if not setting.measured:
        reasons.append(memory_reason(families[best], setting))
        reasons += writing_reasons(families, best, setting)
    return {"family": best, "confidence": confidence, "reasons": reasons}


def surer(best: Forecast, others: Sequence[Forecast]) -> float | None:
    """Share of draws in which the best family has the lowest loss; None without draws."""
    losses = [f.nats for f in (best, *others)]
    if any(nats is None or len(nats) < 2 for nats in losses):
        return None
    rows = min(len(nats) for nats in losses if nats is not None)
    drawn = np.stack([nats[1:rows] for nats in losses if nats is not None])
    return float((drawn.argmin(axis=0) == 0).mean())


def disagreements(families: Rows, best: str) -> list[str]:
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


def text_reasons(families: Rows, best: str, budget: float, unique: float) -> list[str]:
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


def training_reason(row: dict[str, Any], setting: Setting) -> str:
    """Hours, and by what they were reckoned."""
    needed = row["training"]
    how = {
        "throughput": f"at {short(needed['tokens_per_second'])} tokens/s",
        "measured": "as fast as its largest runs here",
        "utilisation": f"on {setting.devices} at {setting.utilization:.0%} of the peak",
    }[needed["basis"]]
    return f"training it takes {span(needed['hours'])} {how}"


def span(hours: float) -> str:
    """A time as people plan it."""
    if hours < 1:
        return clock(3600 * hours)
    return f"{hours:.3g} hours" if hours < 72 else f"{hours / 24:.3g} days"


def memory_reason(row: dict[str, Any], setting: Setting) -> str:
    """Whether it fits."""
    needed, kind = row["memory"], setting.devices.name
    whole = short(needed["states_bytes"] + needed["activations_bytes"], "B")
    if needed["fits_one_device"]:
        return f"it fits one {kind}: {whole} with one sequence of {setting.length} tokens"
    count = needed["devices_needed"]
    if count is None:
        return (
            f"the activations of one sequence of {setting.length} tokens do not fit one {kind} unless they "
            "are computed again"
        )
    return f"it does not fit one {kind} ({whole}); in equal parts it fits {count}"


def writing_reasons(families: Rows, best: str, setting: Setting) -> list[str]:
    """How fast the best family writes, beside the one that is fastest alone."""
    known = {
        name: row["inference"]
        for name, row in families.items()
        if row["inference"]["flops_per_token"] is not None
    }
    if best not in known:
        return []
    own = known[best]
    first = max(known, key=lambda name: known[name]["tokens_per_second_alone"])
    said = [f"on one {setting.devices.name} it writes at most {speeds(own)}"]
    if first != best:
        share = known[first]["flops_per_token"] / own["flops_per_token"]
        said.append(
            f"a text alone is written fastest by {first}, in {known[first]['evaluations']:.0f} network "
            f"evaluations: at most {speeds(known[first])}, for {share:.2g} times the FLOPs a token"
        )
    return said


def speeds(row: dict[str, Any]) -> str:
    """Alone and together."""
    alone, together = (short(row[key]) for key in ("tokens_per_second_alone", "tokens_per_second"))
    return f"{alone} tokens/s alone and {together} in batches of {row['batch']}"
