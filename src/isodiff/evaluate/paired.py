"""Runs compared on the same windows of text under the same noise: differences with their own errors.

A window that is hard for one run is hard for the others. So the error of a mean difference is that of the
differences window by window, often several times smaller than the errors of the two means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from isodiff.errors import InputError
from isodiff.record import Kind, Mean
from isodiff.runs.build import Trained
from isodiff.runs.resumable import Pieces, anew
from isodiff.runs.spec import RunSpec
from isodiff.runs.validation import mean, window_nats


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowNats:
    """Nats per token of each of the common windows, (W,), under one run."""

    spec: RunSpec
    family: str
    kind: Kind
    nats: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedRun:
    """A run's nats per token, and by how much they exceed the baseline's."""

    run: str
    family: str
    kind: Kind
    nats_per_token: Mean
    difference: Mean


@dataclass(frozen=True, slots=True, kw_only=True)
class RunComparison:
    """Runs by their nats per token; `baseline` is the run that the others are compared with."""

    baseline: str
    runs: tuple[ComparedRun, ...]
    protocol: str


def nats_by_window(
    run: Trained,
    label: str,
    *,
    split: str,
    windows: int,
    draws: int,
    noise_error: float | None,
    device: str,
    pieces: Pieces = anew,
) -> WindowNats:
    """The windows and the noise of every run's validation; `label` names the family among the others."""
    length = run.spec.length
    found = window_nats(
        run.family,
        run.network,
        run.corpus.split(split),
        length=length,
        windows=windows,
        draws=draws,
        noise_error=noise_error,
        device=device,
        pieces=pieces,
    )
    return WindowNats(
        spec=run.spec, family=label, kind=run.family.kind, nats=found.nats.mean(1) / length
    )


def check_comparable(specs: Sequence[RunSpec]) -> None:
    """Every run must meet the same windows.

    Raises:
        InputError: two of them have other corpora or lengths.
    """
    for other in specs[1:]:
        if (other.corpus, other.length) != (specs[0].corpus, specs[0].length):
            what = "lengths" if other.corpus == specs[0].corpus else "corpora"
            raise InputError(
                f"runs {specs[0].id} and {other.id} have other {what}, so they share no windows; "
                "compare runs of one corpus and one length"
            )


def compared(runs: Sequence[WindowNats], baseline: str | None, protocol: str) -> RunComparison:
    """Every run against the baseline, by its id; against the best where none is given."""
    known = {run.spec.id: run for run in runs}
    base = min(runs, key=lambda run: run.nats.mean()) if baseline is None else known[baseline]
    rows = [
        ComparedRun(
            run=run.spec.id,
            family=run.family,
            kind=run.kind,
            nats_per_token=mean(run.nats),
            difference=mean(run.nats - base.nats),
        )
        for run in runs
    ]
    rows.sort(key=lambda row: row.nats_per_token.value)
    return RunComparison(baseline=base.spec.id, runs=tuple(rows), protocol=protocol)
