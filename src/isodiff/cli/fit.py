"""Fit scaling laws to records, to a table of points, or to published points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Literal

from tyro.conf import Positional

from isodiff.cli import Answer
from isodiff.cli.law_text import law_text
from isodiff.cli.options import File, Number, Seed, Source
from isodiff.errors import InputError
from isodiff.record import Convention
from isodiff.scaling import fit_isoflop, fit_parametric, fit_repeated, read_points
from isodiff.scaling.fitting.resample import Resampling
from isodiff.scaling.laws.isoflop_result import IsoflopFamily, IsoflopResult
from isodiff.scaling.points import Parameters, Points
from isodiff.scaling.sensitivity import Fit, under_each
from isodiff.serialization import to_json, write_result


def run(
    source: Annotated[tuple[Source, ...], Positional],
    *,
    law: Literal["isoflop", "parametric", "repeated"] = "isoflop",
    bootstrap: Number = 1000,
    resample: Resampling | None = None,
    flops: Convention | None = None,
    parameters: Parameters | None = None,
    irreducible: bool = False,
    huber: bool = False,
    conventions: bool = False,
    seed: Seed = 0,
    out: File | None = None,
) -> Answer:
    """Fit a scaling law to each family: optimal size, tokens and loss against compute.

    Args:
        source: Run folders or record.json files; or one points.csv with the columns family,
            budget, parameters, tokens, nats and, optionally, standard_error, unique_tokens, kind;
            or published:2602.15014, published:2203.15556, published:2305.16264.
        law: isoflop: a parabola in ln N per budget, power laws through the minima. parametric:
            E + A/N^alpha + B/D^beta. repeated: the same with effective N and D of text seen several
            times; the runs must say how long their text is.
        bootstrap: Replicates behind the 95 % intervals; 0 for none.
        resample: Of the parametric law: case (default) weighs the runs anew and assumes nothing of
            their noise; residual redraws the noise, as if all runs scattered alike.
        flops: Convention of C; left out, C is the budget the runs were given.
        parameters: Convention of N; left out, non_embedding, or what the table gives.
        conventions: Also refit under every convention of C and N that the source knows, and say how far
            each number moves.
        irreducible: Of the isoflop law: let the loss level off at E: L* = E + k C^p; needs four budgets.
        huber: Of the isoflop law: parabolas by Huber's regression, which one bad run does not bend.
        out: Also write the JSON, with curves and bands to draw, to this file.
    """
    if irreducible and law != "isoflop":
        raise InputError(f"--irreducible is for --law isoflop; the {law} law has its E anyway")
    if huber and law != "isoflop":
        raise InputError(f"--huber is for --law isoflop; the {law} law is robust anyway")
    if resample is not None and law != "parametric":
        raise InputError("--resample is for --law parametric; isoflop redraws the noise of runs")

    def fit(points: Points, replicates: int) -> Fit:
        if law == "parametric":
            how = resample or "case"
            return fit_parametric(points, bootstrap=replicates, seed=seed, resampling=how)
        if law == "repeated":
            return fit_repeated(points, bootstrap=replicates, seed=seed)
        return fit_isoflop(
            points, bootstrap=replicates, seed=seed, irreducible=irreducible, huber=huber
        )

    points = read_points(source, flops, parameters)
    result = fit(points, bootstrap).result()
    if isinstance(result, IsoflopResult):
        check_curves(points, result.families)
    if conventions:
        result = replace(result, conventions=under_each(source, lambda points: fit(points, 0)))
    if out is not None:
        write_result(out, result)
    return Answer(to_json(result), law_text(result))


def check_curves(points: Points, families: Mapping[str, IsoflopFamily]) -> None:
    """Refuse runs of which no IsoFLOP law can come.

    Raises:
        InputError: there is one budget only, or no curve has a minimum.
    """
    budgets = {point.budget for point in points.points}
    if len(budgets) == 1:
        raise InputError(
            f"{points.source} has one budget only, {min(budgets):.3g} FLOPs; a law in C needs two at least"
        )
    if any(family.budgets for family in families.values()):
        return
    reasons = sorted({row.reason for family in families.values() for row in family.refused})
    raise InputError(
        f"no IsoFLOP curve of {points.source} has a minimum inside its sizes ({', '.join(reasons)}); run "
        "three sizes or more at each budget, some on either side of the best"
    )
