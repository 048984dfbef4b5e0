"""Where points come from: run folders, a CSV table, or a published set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from isodiff.errors import InputError
from isodiff.record import Convention, read_records
from isodiff.scaling.points import Parameters, Points, record_points
from isodiff.scaling.published import published_points
from isodiff.scaling.table import table_points


def read_points(
    sources: Sequence[str],
    flops: Convention | None = None,
    parameters: Parameters | None = None,
) -> Points:
    """Points of a `published:ARXIV` set, of one CSV table, or of any number of run folders.

    `flops=None` takes the budget itself as C; `parameters=None` takes non-embedding parameters,
    or the table's own.

    Raises:
        InputError: nothing is there, the table is malformed, or the convention is not known for
            this source.
    """
    alone = [s for s in sources if s.startswith("published:") or s.lower().endswith(".csv")]
    if not sources:
        raise InputError("nothing to fit; give run folders, a points.csv or published:2602.15014")
    if alone and len(sources) > 1:
        raise InputError(f"{alone[0]} is fitted alone; give it as the only source")
    if sources[0].startswith("published:"):
        return published_points(sources[0], flops, parameters)
    if alone:
        return table_points(Path(sources[0]), flops, parameters)
    return record_points(
        read_records(Path(source) for source in sources),
        ", ".join(sources),
        flops,
        parameters or "non_embedding",
    )
