"""`isodiff fit`: scaling laws of records, of a table of points, or of published points."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from isodiff.cli import Answer
from isodiff.files import write_json
from isodiff.record import Convention
from isodiff.scaling import fit_isoflop, read_points
from isodiff.scaling.points import Parameters
from isodiff.units import short


def run(
    source: tyro.conf.Positional[tuple[str, ...]],
    law: Literal["isoflop"] = "isoflop",
    bootstrap: int = 1000,
    flops: Convention | None = None,
    parameters: Parameters | None = None,
    irreducible: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    seed: int = 0,
    out: Path | None = None,
) -> Answer:
    """Fit a scaling law to each family: optimal size, tokens and loss against compute.

    Args:
        source: run folders or record.json files; or one points.csv with the columns family,
            budget, parameters, tokens, nats and, optionally, standard_error; or
            published:2602.15014.
        law: isoflop: a parabola in ln N per budget, power laws through the minima.
        bootstrap: replicates behind the 95 % intervals; 0 for none.
        flops: convention of C; left out, C is the budget the runs were given.
        parameters: convention of N; left out, non_embedding, or what the table gives.
        irreducible: let the loss law level off at E: L* = E + k C^p; needs four budgets.
        seed: of the replicates; the same seed gives the same intervals.
        out: also write the JSON, with curves and bands to draw, to this file.
    """
    points = read_points(source, flops, parameters)
    fit = fit_isoflop(points, bootstrap=bootstrap, seed=seed, irreducible=irreducible)
    value = fit.to_json()
    if out is not None:
        write_json(out, value)
    return Answer(value, text(value))


def text(fit: dict[str, Any]) -> str:
    """The fit for people: a table per family, the multipliers, the protocol."""
    parts = [f"IsoFLOP law of {fit['source']}"]
    parts += [family_text(name, family) for name, family in fit["families"].items()]
    multipliers = {
        name: family["multiplier_vs_autoregressive"] for name, family in fit["families"].items()
    }
    width = max(map(len, multipliers))
    parts.append(
        "Compute over that of autoregressive at equal loss\n"
        + "\n".join(
            f"  {name:<{width}}  {quantity(value, '.3g')}" for name, value in multipliers.items()
        )
    )
    if fit["warnings"]:
        parts.append("Warnings\n" + "\n".join(f"  {line}" for line in fit["warnings"]))
    parts.append(fit["protocol"])
    return "\n\n".join(parts)


def family_text(name: str, family: dict[str, Any]) -> str:
    """One family: its minima, its refusals, its exponents."""
    kind = f" ({family['kind']})" if family["kind"] else ""
    lines = [f"{name}{kind}"]
    if family["budgets"]:
        lines.append(f"  {'C':>8}  {'sizes':>5}  {'N*':<24}{'D*':<9}L*, nats per token")
    for row in family["budgets"]:
        size, loss = short(row["N_opt"]), f"{row['L_opt']:.4f}"
        if row["N_low"] is not None:
            size += f" [{short(row['N_low'])}, {short(row['N_high'])}]"
            loss += f" [{row['L_low']:.4f}, {row['L_high']:.4f}]"
        lines.append(
            f"  {row['flops']:>8.3g}  {row['sizes']:>5}  {size:<24}{short(row['D_opt']):<9}{loss}"
        )
    lines += [f"  {row['flops']:>8.3g}  refused: {row['reason']}" for row in family["refused"]]
    for symbol in ("N", "D", "L"):
        exponent = family[f"{symbol}_exponent"]
        floor = " - E" if symbol == "L" and family["irreducible_loss"] is not None else ""
        lines.append(f"  {symbol}*{floor} ~ C^p, p = {quantity(exponent, '.4f')}")
    if family["irreducible_loss"] is not None:
        lines.append(f"  E = {quantity(family['irreducible_loss'], '.3f')}")
    return "\n".join(lines)


def quantity(value: dict[str, Any], form: str) -> str:
    """`value [low, high]`, or why a part is missing."""
    if value["value"] is None:
        return f"unknown: {value['reason']}"
    if value["low"] is None:
        return f"{value['value']:{form}} (no interval: {value['reason']})"
    return f"{value['value']:{form}} [{value['low']:{form}}, {value['high']:{form}}]"
