"""Fit scaling laws to records, to a table of points, or to published points."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

from tyro.conf import Positional, arg

from isodiff.bounds import Utf8
from isodiff.cli.law_text import law_text
from isodiff.cli.options import File, NumReplicates, Seed, Source, Text
from isodiff.cli.verb import Answer
from isodiff.errors import InputError, nearest
from isodiff.files import storing
from isodiff.record import Convention
from isodiff.scaling import read_points
from isodiff.scaling.columns import parse_columns
from isodiff.scaling.fitting.bootstrap import Resampling
from isodiff.scaling.laws.law import Fit, Law, registered
from isodiff.scaling.points import Parameters, Points
from isodiff.scaling.sensitivity import under_each
from isodiff.serialization import to_json, write_result

_FLAGS = {"resampling": "resample", "irreducible": "no-irreducible"}
"""Options of laws whose flags are called otherwise."""


def run(
    source: Annotated[tuple[Source, ...], Positional],
    *,
    law: Annotated[Utf8, arg(metavar="{" + ",".join(registered()) + "}")] = "isoflop",
    bootstrap: NumReplicates = 1000,
    resample: Resampling | None = None,
    flops: Convention | None = None,
    parameters: Parameters | None = None,
    columns: Text | None = None,
    best_of_sweep: bool = False,
    irreducible: bool = True,
    huber: bool = False,
    reference: Text | None = None,
    conventions: bool = False,
    seed: Seed = 0,
    out: File | None = None,
) -> Answer:
    """Fit a scaling law to each family: optimal size, tokens and loss against compute.

    Args:
        source: Run folders or record.json files; or tables of points (CSV, TSV, JSON, JSON lines, Parquet;
            .gz, .bz2, .xz) with a loss and two of budget (C), parameters (N), tokens (D), by these or the
            usual names, and, optionally, family, standard_error, unique_tokens, kind;
            or published:2602.15014, published:2203.15556, published:2305.16264.
        law: isoflop: a parabola in ln N per budget, power laws through the minima. parametric:
            E + A/N^alpha + B/D^beta. repeated: the same with effective N and D of text seen several
            times; the runs must say how long their text is.
        bootstrap: Replicates behind the 95 % intervals; 0 for none.
        resample: Of the parametric law: case (default) weighs the runs anew and assumes nothing of
            their noise; residual redraws the noise, as if all runs scattered alike.
        flops: Convention of C; left out, C is the budget the runs were given.
        parameters: Convention of N; left out, non_embedding, or what the table gives.
        columns: Of tables: which column is which, C=compute_budget,N=params,loss=val_loss. A number stands
            for itself, C=gflops*1e9 multiplies, family==masked is the same for all rows.
        best_of_sweep: Keep the run of lowest loss of each family, N and D, where learning rates or batches
            were tried.
        conventions: Also refit under every convention of C and N that the source knows, and say how far
            each number moves.
        irreducible: Of the isoflop law: the loss levels off at E, L* = E + k C^p; with fewer than four
            budgets E is that of one surface through the runs of all families. --no-irreducible: E = 0.
        huber: Of the isoflop law: parabolas by Huber's regression, which one bad run does not bend.
        reference: Of the isoflop law: the family that compute multipliers compare with; autoregressive by
            default.
        out: Also write the JSON, with curves and bands to draw, to this file.
    """
    known = registered()
    if law not in known:
        near = nearest(law, known) or f"; one of {', '.join(known)}"
        raise InputError(f"--law cannot be {law!r}{near}")
    chosen = known[law]
    given = {
        "irreducible": None if irreducible else False,
        "huber": huber or None,
        "reference": reference,
        "resampling": resample,
    }
    options = _chosen_options(chosen, given)

    def fit(points: Points, replicates: int) -> Fit:
        return chosen.fit(points, bootstrap=replicates, seed=seed, **options)

    chosen_columns = None if columns is None else parse_columns(columns)
    read = functools.partial(read_points, columns=chosen_columns, best_of_sweep=best_of_sweep)
    points = read(source, flops, parameters)
    result = fit(points, bootstrap).result()
    chosen.check(points, result)
    if conventions:
        result = replace(
            result, conventions=under_each(source, lambda points: fit(points, 0), read)
        )
    if out is not None:
        with storing():
            write_result(out, result)
    return Answer(to_json(result), law_text(result))


def _chosen_options(law: Law, given: Mapping[str, bool | str | None]) -> dict[str, bool | str]:
    """The options of a law that were given.

    Raises:
        InputError: one is for another law.
    """
    options = {name: value for name, value in given.items() if value is not None}
    for name in options:
        if name not in law.options:
            flag = _FLAGS.get(name, name)
            takers = " or ".join(one.name for one in registered().values() if name in one.options)
            raise InputError(
                f"--{flag} is for --law {takers}; the {law.name} law has no such option"
            )
    return options
