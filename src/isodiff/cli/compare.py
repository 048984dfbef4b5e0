"""Compare runs on the same held-out windows: differences with their own errors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from isodiff.cli.options import Number, Opening, RunFolders
from isodiff.cli.verb import Answer, resumable
from isodiff.errors import InputError
from isodiff.evaluate.paired import (
    ComparedRun,
    RunComparison,
    check_comparable,
    compared,
    nats_by_window,
)
from isodiff.record import find_records
from isodiff.report.blocks import Table
from isodiff.report.text import terminal
from isodiff.runs.resumable import Kept
from isodiff.runs.spec import NOISE_ERROR, RunSpec
from isodiff.scaling.points import family_labels, variants
from isodiff.serialization import to_json


@resumable
def run(
    runs: Annotated[tuple[RunFolders, ...], Positional],
    opening: Opening,
    *,
    baseline: Annotated[Path | None, arg(metavar="RUN")] = None,
    split: Literal["validation", "test", "train"] = "validation",
    windows: Number | None = None,
    draws: Number | None = None,
) -> Answer:
    """Compare runs of one corpus and length on the same windows, under the same noise.

    A window that is hard for one run is hard for the others, so the difference of two means is known better
    than either: its error is that of the differences, window by window.

    Args:
        runs: Run folders, or folders of runs; those that finished are compared.
        baseline: The folder of the run that the others are compared with; the best by default.
        split: Which part of the corpus.
        windows: How many windows; as many as the first run's validation by default.
        draws: Noise draws per window, where a likelihood is a bound; likewise.
    """
    paths = [*runs, *([] if baseline is None else [baseline])]
    records = {f: one for f, one in find_records(paths).items() if one.validation is not None}
    if len(records) < 2:
        raise InputError(f"{len(records)} finished runs here; give two or more, or their folder")
    specs = [RunSpec.read(folder) for folder in records]
    check_comparable(specs)
    settings = specs[0].validation
    asked = {"windows": windows or settings.windows, "draws": draws or settings.draws}
    labels = family_labels(variants([record.spec for record in records.values()]))
    error = NOISE_ERROR if draws is None else None
    found = []
    for folder, label in zip(records, labels, strict=True):
        trained = opening.load(folder)
        total = trained.corpus.split(split).num_windows(trained.spec.length)
        total = min(asked["windows"], total)
        key = {"compare": split, **asked, "noise_error": error, "step": trained.step}
        with Kept(split, total, "windows", folder=folder, asked=key) as pieces:
            found.append(
                nats_by_window(
                    trained,
                    label,
                    split=split,
                    **asked,
                    noise_error=error,
                    device=opening.device,
                    pieces=pieces,
                )
            )
    base = None if baseline is None else RunSpec.read(baseline).id
    protocol = (
        f"{len(found[0].nats)} windows of {specs[0].length} tokens ({split}), the same for all, "
        f"{asked['draws']} noise draws each {'or more ' if error else ''}where the likelihood is a bound"
    )
    result = compared(found, base, protocol)
    return Answer(to_json(result), _text(result))


def _text(found: RunComparison) -> str:
    """A row per run, best first."""

    def difference(row: ComparedRun) -> str:
        if row.run == found.baseline:
            return "baseline"
        value, error = row.difference.value, row.difference.standard_error
        return f"{value:+.4f} ± {error:.4f}"

    table = Table.of_columns(
        {
            "run": lambda row: row.run,
            "family": lambda row: row.family,
            "nats/token": lambda row: (
                f"{'≤ ' if row.kind == 'bound' else ''}{row.nats_per_token.value:.4f} "
                f"± {row.nats_per_token.standard_error:.4f}"
            ),
            "difference": difference,
        },
        [(row,) for row in found.runs],
    )
    return f"{terminal(table)}\n{found.protocol}"
