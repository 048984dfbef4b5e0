"""`isodiff plan`: the runs of a study and what they will cost here; or a budget by known laws."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from isodiff.cli import Answer
from isodiff.errors import InputError
from isodiff.serialization import to_json

if TYPE_CHECKING:
    from isodiff.scaling.laws.law import LawResult
    from isodiff.scaling.planning.hardware import Setting

ROWS = 4  # sequences of a step: enough that every family's shares of them come out even


def run(
    sources: Annotated[tuple[Path, ...], tyro.conf.Positional] = (),
    /,
    *,
    next_: Annotated[int | None, tyro.conf.arg(name="next")] = None,
    budget_left: float | None = None,
    verdict: Literal["lead", "multiplier"] = "lead",
    budget: float | None = None,
    law: str | None = None,
    data_limit: float | None = None,
    device: str | None = None,
    throughput: float | None = None,
    utilization: float | None = None,
    length: int | None = None,
    vocab_size: int | None = None,
    sampler_steps: int | None = None,
    out: Path | None = None,
    minutes: float | None = None,
    workers: int | None = None,
    threads: int = 1,
) -> Answer:
    """Plan a study, a budget, or the next runs. Trains nothing.

    With a study's file: the table of its runs: parameters, tokens, epochs, steps, time, memory. Time comes
    from timing a few steps of each kind here; the corpus is prepared if it is not yet.
    With --budget and --law: per family the best size, tokens, expected loss, hours and memory of training,
    and speed of writing; and which to train.
    With --next K: of finished runs, the K after which it will be surest which family is best at --budget (the
    largest budget of the runs, unless given).

    Args:
        sources: the study's YAML file; with --next also run folders, a points.csv or published:ARXIV.
        next_: how many runs to propose.
        budget_left: FLOPs that these may cost together; by default so many times the largest budget.
        verdict: what the runs should make sure: lead, the first family against the one that may overtake it;
            multiplier, the compute of the best family over that of autoregressive for equal loss.
        budget: training FLOPs, in the law's convention.
        law: a file that isodiff fit --out wrote, or published:ARXIV (2602.15014, 2510.03280, 2512.10858,
            2203.15556, 2305.16264).
        data_limit: tokens of text that there are; beyond them text repeats.
        device: what to train on: a100-40, a100-80, h100, h200, b200, l40s or rtx4090, h100x8 for eight of
            them; one h100 by default.
        throughput: training tokens per second of the whole job, where you measured it: hours are then D over
            this for every family, whatever its size.
        utilization: share of the device's peak (dense bfloat16) that training reaches; 0.4 by default, as
            published runs do.
        length: tokens of a text, for memory and writing; 2048 by default.
        vocab_size: tokens of the vocabulary, likewise; 32000 by default.
        sampler_steps: steps of the samplers that have that dial, for writing; 128 by default.
        out: the study's folder; runs/<name> by default.
        minutes: scale all budgets so that the whole study takes this long on this machine.
        workers: runs trained at the same time; by default as many as cores allow.
        threads: CPU threads of each worker.
    """
    setting = {
        "utilization": utilization,
        "throughput": throughput,
        "length": length,
        "vocab_size": vocab_size,
        "sampler_steps": sampler_steps,
    }
    by_laws = (law, data_limit, device, *setting.values())
    lawful = any(option is not None for option in by_laws)
    if next_ is not None:
        if lawful or minutes is not None:
            raise InputError(
                "--next goes by the runs' own laws; leave out --law and what goes with it, and --minutes"
            )
        return by_results(sources, out, next_, verdict, budget, budget_left)
    if budget_left is not None:
        raise InputError("--budget-left is for --next K")
    if not sources:
        return by_law(budget, law, data_limit, device, setting)
    study, *more = sources
    if more:
        raise InputError(f"{len(sources)} sources; plan one study at a time, or give --next K")
    if lawful or budget is not None:
        raise InputError(
            "--budget, --law and what goes with them plan without a study; leave one or the other out"
        )
    return of_study(study, out, minutes, workers, threads)


def by_law(
    budget: float | None,
    law: str | None,
    data_limit: float | None,
    device: str | None,
    options: dict[str, Any],
) -> Answer:
    """What laws say of a budget. `options` are those of `Setting`; None where nobody chose."""
    if budget is None or law is None:
        raise InputError(
            "plan what? give a study.yaml, or --budget FLOPs with --law laws.json (or published:2602.15014)"
        )
    from isodiff.report.plan_text import plan_text
    from isodiff.scaling.laws.load import known_laws
    from isodiff.scaling.planning.hardware import Devices, Setting
    from isodiff.scaling.planning.recommend import plan

    chosen = {name: value for name, value in options.items() if value is not None}
    if device is not None:
        chosen["devices"] = Devices.parse(device)
    setting, laws = Setting(**chosen), known_laws(law)
    value = plan(laws, budget, data_limit, workloads(laws, setting))
    return Answer(value, plan_text(value))


def by_results(
    sources: Sequence[Path],
    out: Path | None,
    num: int,
    verdict: Literal["lead", "multiplier"],
    budget: float | None,
    budget_left: float | None,
) -> Answer:
    """The runs that finished ones call for."""
    from isodiff.report.next_text import next_text
    from isodiff.scaling import read_points
    from isodiff.scaling.planning.candidate_runs import shape_sizes
    from isodiff.scaling.planning.experimental_design import next_runs

    if any(source.suffix in (".yaml", ".yml") for source in sources):
        from isodiff.study.study import read_study

        if len(sources) > 1:
            raise InputError("give one study, or run folders")
        sources = [out or Path("runs") / read_study(sources[0]).name]
    elif out is not None:
        raise InputError("--out is the folder of a study; give the study's YAML file")
    points = read_points([str(source) for source in sources])
    cores = shape_sizes(sources)
    proposal = next_runs(
        points, num, verdict=verdict, target=budget, allowance=budget_left, cores=cores
    )
    return Answer(to_json(proposal), next_text(proposal))


def workloads(laws: list[LawResult], setting: Setting) -> Setting:
    """The setting with what the families of the laws show a network, in training and in writing."""
    from isodiff.families import FAMILIES
    from isodiff.scaling.planning.published_rules import base_name

    sampling, shown = {}, {}
    for name in {name for law in laws for name in law.families}:
        cls = FAMILIES.get(base_name(name))
        if cls is None:
            continue
        family = cls(vocab_size=setting.vocab_size)  # type: ignore[call-arg]
        cost = family.sampling_cost(setting.length, setting.sampler_steps)
        if cost is not None:
            sampling[name] = cost
        views = family.training_views(ROWS, setting.length)
        positions = sum(
            view.inputs.shape[0] * view.inputs.shape[1] for view in views if view.trained
        )
        shown[name] = positions / (ROWS * setting.length)
    return dataclasses.replace(setting, sampling=sampling, shown=shown)


def of_study(
    study: Path, out: Path | None, minutes: float | None, workers: int | None, threads: int
) -> Answer:
    """The runs of a study, timed here."""
    from isodiff.provenance import num_cores
    from isodiff.serialization import to_json
    from isodiff.study.plan import corpus_folder, plan, plan_table
    from isodiff.study.study import read_study
    from isodiff.study.workers import Workers

    wanted = read_study(study)
    place = out or Path("runs") / wanted.name
    count = workers or max(1, num_cores() // threads)
    with Workers(count, threads, place) as pool:
        scaled, runs = plan(wanted, corpus_folder(wanted, place), pool, minutes)
    rows = [{**to_json(run), "memory_bytes": run.memory_bytes} for run in runs]
    return Answer({"study": scaled.to_json(), "runs": rows}, plan_table(runs, count))
