"""Measuring a frontier: every chosen run with every sampler worth comparing, point by point, in the workers.

`OUT/frontier/<id>.json` holds one point each, so an interrupted measurement goes on where it stopped and one
of more runs measures those; `OUT/frontier/held_out/` the same of held-out text. `OUT/frontier.json` holds all
with the verdict. An id is the hash of all that decides a point. A point whose speed is unsteady counts as not
measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from isodiff.errors import InputError
from isodiff.files import storing
from isodiff.progress import ProgressLine
from isodiff.provenance import provenance
from isodiff.record import HeldOutLoss, Record, find_records, identity
from isodiff.scaling.pareto_result import ENTROPY_FLOOR, FrontierResult, frontier_result
from isodiff.scaling.points import family_labels, variants
from isodiff.scaling.sampler_points import MeasuredSampler, SamplerPoint, TextStatistics, steady
from isodiff.serialization import read_result, to_json, write_result
from isodiff.study.jobs import ListSamplers, MeasurePoint, SamplerSetting, ScoreHeldOut
from isodiff.study.study import FrontierSettings, Study
from isodiff.study.workers import JobFailed, Workers

_CALLS, _SCORING = 7, 0.6
"""Calls of full length that a point takes, and seconds to score its texts: for planning only."""


class NoReferenceModel(InputError):
    """None of the runs can score texts: their families have bounds only."""


@dataclass(frozen=True, slots=True)
class SampledRun:
    """A run that takes part."""

    folder: Path
    record: Record
    label: str

    @property
    def loss(self) -> HeldOutLoss:
        """Its validation."""
        assert self.record.validation is not None
        return self.record.validation

    @property
    def nats(self) -> float:
        """Validation nats per token."""
        return self.loss.nats_per_token.value

    @property
    def budget(self) -> float:
        """Training FLOPs."""
        return self.record.spec.budget


def runs_to_sample(
    paths: Sequence[Path], judge: str = ""
) -> tuple[list[SampledRun], SampledRun | None]:
    """The runs to sample, and the reference model among all runs under `paths`.

    A run named by its own folder takes part; of a folder of runs the best of each family and budget (its
    compute-optimal model). The reference model is the run of id `judge`, or else that of lowest loss with an
    exact likelihood.

    Raises:
        InputError: nothing under `paths` is a finished run.
    """
    records = {f: r for f, r in find_records(paths).items() if r.validation is not None}
    if not records:
        raise InputError(f"no finished run under {', '.join(map(str, paths))}; train some first")
    labels = family_labels(variants([record.spec for record in records.values()]))
    every = [
        SampledRun(folder, record, label)
        for (folder, record), label in zip(records.items(), labels, strict=True)
    ]
    named = {path.parent if path.is_file() else path for path in paths}
    best: dict[tuple[str, float], SampledRun] = {}
    for one in sorted(every, key=lambda one: one.nats):
        if one.folder not in named:
            best.setdefault((one.label, one.budget), one)
    chosen = [one for one in every if one.folder in named] + list(best.values())
    chosen.sort(key=lambda one: (one.label, one.budget, one.record.id))
    exact = [one for one in every if one.loss.kind == "exact"]
    known = [one for one in exact if one.record.id == judge]
    return chosen, min(known or exact, key=lambda one: one.nats, default=None)


def stored_frontier(out: Path) -> FrontierResult | None:
    """What was measured in this folder, if anything was."""
    file = out / "frontier.json"
    found = read_result(FrontierResult, file) if file.exists() else None
    return found if found is not None and found.points else None


def stored_settings(found: FrontierResult | None) -> dict[str, Any]:
    """With which settings and by which reference model."""
    return {} if found is None or not isinstance(found.settings, dict) else dict(found.settings)


def measure_frontier(
    paths: Sequence[Path],
    out: Path,
    settings: FrontierSettings,
    pool: Workers,
    *,
    reference_model: str | None = None,
    floor: float = ENTROPY_FLOOR,
    device: str = "cpu",
) -> FrontierResult:
    """Measure what is not measured yet, and write `out/frontier.json`.

    Args:
        paths: runs, or folders of runs.
        out: folder of the results.
        settings: samplers' steps, texts and time per point.
        pool: workers.
        reference_model: a run's folder or hf:NAME; by default the one that judged what is there, or else
            the strongest exact run.
        floor: see `frontier_result`.
        device: where to sample.

    Raises:
        InputError: no finished run, no reference model, or a point that cannot be measured.
        JobFailed: a worker failed. The points that were measured are kept.
    """
    stored = stored_frontier(out)
    before = stored_settings(stored).get("reference_model") or ""
    if reference_model is None and before.startswith("hf:"):
        reference_model = before
    chosen, strongest = runs_to_sample(paths, before)
    if reference_model is None and strongest is None:
        raise NoReferenceModel(
            "no run here has an exact likelihood to score texts with; give --reference-model RUN or hf:NAME"
        )
    name = reference_model or str(strongest.folder if strongest else "")
    # First of all, so that a reference model that cannot score ends it before anything is sampled.
    scoring = ScoreHeldOut(folder=chosen[0].folder, reference_model=name, texts=settings.held_out)
    file = out / "frontier" / "held_out" / f"{_id(scoring)}.json"
    if not file.exists():
        write_result(file, pool.ask(scoring))
    held_out = read_result(TextStatistics, file)
    runs, jobs = _point_jobs(chosen, name, settings, pool, device)
    files = [out / "frontier" / f"{_id(job)}.json" for job in jobs]
    waiting = [i for i, file in enumerate(files) if not _measured(file)]
    new = _measure_points([jobs[i] for i in waiting], [files[i] for i in waiting], pool)
    measured = [new[file] if file in new else read_result(MeasuredSampler, file) for file in files]
    found = frontier_result(
        [
            SamplerPoint(**vars(point), family=run.label, budget=run.budget)
            for point, run in zip(measured, runs, strict=True)
        ],
        held_out=held_out,
        measure="generative_perplexity"
        if all(point.reads_tokens for point in measured)
        else "bits_per_byte",
        floor=floor,
    )
    found = replace(found, settings={**asdict(settings), "reference_model": _portable(name)})
    if stored is not None and to_json(replace(stored, provenance=None)) == to_json(found):
        return stored
    found = replace(found, provenance=provenance())
    with storing():
        write_result(out / "frontier.json", found)
    return found


def _portable(reference_model: str) -> str:
    """Its name wherever the results go: a run's id, or that of a hub; nothing for a path."""
    if reference_model.startswith("hf:"):
        return "" if Path(reference_model.removeprefix("hf:")).exists() else reference_model
    return read_result(Record, Path(reference_model) / "record.json").id


def _measured(file: Path) -> bool:
    """Whether a point is there whose speeds count."""
    return file.exists() and steady(read_result(MeasuredSampler, file))


def _point_jobs(
    chosen: Sequence[SampledRun],
    reference_model: str,
    settings: FrontierSettings,
    pool: Workers,
    device: str,
) -> tuple[list[SampledRun], list[MeasurePoint]]:
    """One job per run, sampler and number of steps; and the run of each."""
    runs, jobs = [], []
    for one in chosen:
        spec = one.record.spec
        assert spec.length is not None, f"run {one.record.id} was not trained here"
        for sampler in _samplers_of([spec.family], spec.length, settings, pool)[0]:
            runs.append(one)
            jobs.append(
                MeasurePoint(
                    folder=one.folder,
                    variant=sampler.variant,
                    options=sampler.options,
                    steps=sampler.steps,
                    reference_model=reference_model,
                    texts=settings.texts,
                    held_out=settings.held_out,
                    call_seconds=settings.call_seconds,
                    device=device,
                    workers=len(pool.members),
                )
            )
    return runs, jobs


def _samplers_of(
    families: Sequence[str | dict[str, Any]], length: int, settings: FrontierSettings, pool: Workers
) -> list[list[SamplerSetting]]:
    """The samplers that are compared, for each family as a study writes it."""
    names = [family if isinstance(family, str) else family["name"] for family in families]
    return pool.ask(ListSamplers(families=names, length=length, steps=settings.steps))


def expected_seconds(study: Study, pool: Workers) -> float:
    """Roughly how long the frontier of a study will take: sweep and repeats, then scoring."""
    if study.frontier is None:
        return 0.0
    found = _samplers_of(study.families, study.length, study.frontier, pool)
    points = len(study.budgets) * sum(map(len, found))
    return points * (_CALLS * study.frontier.call_seconds + _SCORING) / len(pool.members)


def _id(job: MeasurePoint | ScoreHeldOut) -> str:
    """The hash of what decides an answer: runs by their ids, not by where they lie."""
    do = "frontier_point" if isinstance(job, MeasurePoint) else "held_out"
    key: dict[str, Any] = {"do": do, **to_json(job)}
    for name in {"folder", "judge", "reference_model"} & set(key):
        record = Path(key[name]) / "record.json"
        if record.exists():
            key[name] = read_result(Record, record).id
    return identity(key)


def _measure_points(
    jobs: Sequence[MeasurePoint], files: Sequence[Path], pool: Workers
) -> dict[Path, MeasuredSampler]:
    """Every job's answer, which goes into its file too.

    Raises:
        InputError, JobFailed: some could not be measured; the others' files are written.
    """
    found: dict[Path, MeasuredSampler] = {}
    errors: list[Exception] = []
    line = ProgressLine(
        lambda line: f"{line.done:.0f}/{len(jobs)} points of the frontier, ETA {line.eta}",
        len(jobs),
    )

    def finished(index: int, answer: MeasuredSampler | Exception) -> None:
        if isinstance(answer, Exception):
            errors.append(answer)
            return
        with storing():
            write_result(files[index], answer)
        found[files[index]] = answer
        line.advance()

    pool.share(jobs, finished)
    line.close(leave=bool(jobs) and not errors)
    if errors:
        kind = InputError if isinstance(errors[0], InputError) else JobFailed
        raise kind(f"{len(errors)} of {len(jobs)} points were not measured: {errors[0]}")
    return found
