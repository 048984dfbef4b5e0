"""A plan by laws, for people at a terminal."""

from __future__ import annotations

from typing import Any

from isodiff.report.law_text import spread
from isodiff.units import short


def plan_text(plan: dict[str, Any]) -> str:
    """A table of families, the recommendation with its reasons, what to beware of."""
    limit = (
        "" if plan["data_limit"] is None else f" and a text of {short(plan['data_limit'])} tokens"
    )
    head = (
        f"{plan['budget']:.3g} FLOPs{limit}, by the {plan['law']} law of {plan['source']} "
        f"(C: {plan['flops']}, N: {plan['parameters_convention']})"
    )
    errors = [
        f"{law['law']} {law['held_out_error']:.2%}"
        for law in plan["laws"]
        if law["held_out_error"] is not None
    ]
    if errors:
        head += (
            f"\nerror of loss at the largest budgets when these are left out: {', '.join(errors)}"
        )
    parts = [head, table(plan), needs(plan)]
    best = plan["recommendation"]
    reasons = "\n".join(f"  - {reason}" for reason in best["reasons"])
    parts.append(f"Recommended: {best['family'] or 'nothing'}\n{reasons}")
    rules = sorted({line for row in plan["families"].values() for line in sources(row)})
    if rules:
        parts.append("Rules\n" + "\n".join(f"  {line}" for line in rules))
    if plan["warnings"]:
        parts.append("Warnings\n" + "\n".join(f"  {line}" for line in plan["warnings"]))
    return "\n\n".join([*parts, plan["protocol"]])


def table(plan: dict[str, Any]) -> str:
    """One line per family."""
    limited = plan["data_limit"] is not None
    epochs = f"{'epochs':>8}" if limited else ""
    lines = [f"{'family':<22}{'N*':<24}{'D*':<24}{epochs}  {'loss':<24}{'batch':>8}{'rate':>7}"]
    for name, row in sorted(plan["families"].items(), key=rank):
        seen = f"{row['epochs']:>8.3g}" if limited else ""
        mark = "<= " if row["kind"] == "bound" else ""
        loss = (
            "unknown"
            if row["loss"] is None
            else mark + spread(row["loss"], row["loss_interval"], ".3f")
        )
        batch, rate = row["batch_tokens"]["value"], row["learning_rate"]["value"]
        lines.append(
            f"{name:<22}{spread(row['N'], row['N_interval'], None):<24}"
            f"{spread(row['D'], row['D_interval'], None):<24}{seen}  {loss:<24}"
            f"{'-' if batch is None else short(batch):>8}{'-' if rate is None else f'{rate:.2g}':>7}"
        )
    return "\n".join(lines)


def needs(plan: dict[str, Any]) -> str:
    """What training and writing take, one line per family."""
    setting = plan["setting"]
    device = setting["device"]
    count = f"{device['count']} " if device["count"] > 1 else ""
    pace = (
        f"{setting['utilisation']:.0%} of their peak"
        if setting["throughput"] is None
        else f"{short(setting['throughput'])} tokens/s in training"
    )
    lines = [
        f"On {count}{device['name']}, {pace}, texts of {setting['length']} tokens, a vocabulary of "
        f"{setting['vocab_size']}, samplers of {setting['sampler_steps']} steps",
        f"{'family':<22}{'hours':>9}{'memory':>9}{'devices':>9}  {'FLOPs/token':>11}{'evaluations':>13}"
        f"{'tokens/s':>10}{'in batches':>12}",
    ]
    for name, row in sorted(plan["families"].items(), key=rank):
        memory, writing = row["memory"], row["inference"]
        least = memory["devices_needed"]
        cells = ["-"] * 4
        if writing["flops_per_token"] is not None:
            cells = [
                short(writing["flops_per_token"]),
                f"{writing['evaluations']:.0f}",
                short(writing["tokens_per_second_alone"]),
                short(writing["tokens_per_second"]),
            ]
        lines.append(
            f"{name:<22}{row['training']['hours']:>9.3g}"
            f"{short(memory['states_bytes'] + memory['activations_bytes'], 'B'):>9}"
            f"{'none' if least is None else least:>9}  "
            f"{cells[0]:>11}{cells[1]:>13}{cells[2]:>10}{cells[3]:>12}"
        )
    lines.append(
        "memory: weights, gradients, moments and one sequence; devices: fewest among which it fits; "
        "tokens/s: at most, one text alone, and in batches"
    )
    return "\n".join(lines)


def rank(item: tuple[str, dict[str, Any]]) -> tuple[float, str]:
    """By loss, unknown ones last."""
    name, row = item
    return (float("inf") if row["loss"] is None else row["loss"], name)


def sources(row: dict[str, Any]) -> list[str]:
    """Where the numbers of one family that no law gives come from."""
    names = {"batch_tokens": "batch, tokens", "learning_rate": "rate"}
    found = [
        f"{names[rule]}: {row[rule]['statement']} ({row[rule]['source']})"
        for rule in names
        if row[rule]["value"] is not None
    ]
    if "loss_cooled" in row:
        found.append("losses are at a constant learning rate; a cooldown lowers them by 2.4 %")
    return found
