"""Plan a study, a budget by known laws, or the next runs: sizes, tokens, time, memory. Trains nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from isodiff.bounds import Positive, SomeFraction, Utf8
from isodiff.cli.options import (
    Flops,
    Folder,
    Number,
    NumDraws,
    NumTokens,
    Source,
    StudyFile,
    StudyPlace,
    TokensPerSecond,
)
from isodiff.cli.verb import Answer, Commands
from isodiff.errors import InputError
from isodiff.serialization import to_json

if TYPE_CHECKING:
    from isodiff.scaling.laws.law import LawResult
    from isodiff.scaling.planning.hardware import Setting

_ROWS = 4  # sequences of a step: enough that every family's shares of them come out even


def _study(study: StudyFile, place: StudyPlace) -> Answer:
    """The runs of a study: parameters, tokens, epochs, steps, time, memory.

    Time comes from timing a few steps of each kind here; the corpus is prepared if it is not yet.
    """
    from isodiff.cli.plan_text import plan_table
    from isodiff.study.plan import corpus_folder, plan_study

    wanted, folder = place.read(study)
    with place.workers_in(folder) as pool:
        corpus = corpus_folder(wanted, folder, pool)
        scale, runs = plan_study(wanted, corpus, pool, place.minutes)
    rows = [{**to_json(run), "memory_bytes": run.memory_bytes} for run in runs]
    value = {"study": wanted.scaled(scale).to_json(), "runs": rows}
    return Answer(value, plan_table(runs, len(pool.members)))


def _budget(
    budget: Annotated[Flops, Positional],
    *,
    law: Annotated[Utf8, arg(metavar="LAW")],
    data_limit: Annotated[Positive | None, arg(metavar="TOKENS")] = None,
    device: Annotated[Utf8 | None, arg(metavar="DEVICE")] = None,
    price: Annotated[Positive | None, arg(metavar="PRICE")] = None,
    throughput: TokensPerSecond | None = None,
    training_throughput: TokensPerSecond | None = None,
    utilization: Annotated[SomeFraction | None, arg(metavar="SHARE")] = None,
    length: NumTokens | None = None,
    vocab_size: NumTokens | None = None,
    sampler_steps: NumDraws | None = None,
    extrapolate: bool = False,
) -> Answer:
    """By known laws: per family the best size, tokens, loss, hours, memory and speed; and which to train.

    Args:
        budget: Training FLOPs, in the law's convention: 1e21, say.
        law: A file that isodiff fit --out wrote, or published:ARXIV (2602.15014, 2510.03280, 2512.10858,
            2203.15556, 2305.16264).
        data_limit: Tokens of text that there are; beyond them text repeats.
        device: What to train on: a100-40, a100-80, h100, h200, b200, l40s or rtx4090, h100x8 for eight of
            them; one h100 by default.
        price: Of one device for an hour, in any currency: what training and a million tokens written cost.
        throughput: Tokens per second that all devices together must serve: families that cannot are not
            recommended.
        training_throughput: Tokens per second of the whole training job, where you measured it: hours are
            then D over this for every family, whatever its size.
        utilization: Share of the device's peak (dense bfloat16) that training reaches; 0.4 by default, as
            published runs do.
        length: Tokens of a text, for memory and sampling; 2048 by default.
        vocab_size: Tokens of the vocabulary, likewise; 32000 by default.
        sampler_steps: Steps of the samplers that have that dial, for sampling; 128 by default.
        extrapolate: Read laws more than 100 times beyond the budgets they were fitted to, too.
    """
    from isodiff.cli.plan_text import plan_text
    from isodiff.scaling.laws.load import known_laws
    from isodiff.scaling.planning.hardware import Devices, Setting
    from isodiff.scaling.planning.recommend import plan

    setting = {
        "utilization": utilization,
        "training_throughput": training_throughput,
        "throughput": throughput,
        "price": price,
        "length": length,
        "vocab_size": vocab_size,
        "sampler_steps": sampler_steps,
        "devices": None if device is None else Devices.parse(device),
    }
    chosen: dict[str, Any] = {name: value for name, value in setting.items() if value is not None}
    laws = known_laws(law)
    where = workloads(laws, Setting(**chosen))
    found = plan(laws, budget, data_limit, where, extrapolate=extrapolate)
    return Answer(to_json(found), plan_text(found))


def _next(
    sources: Annotated[tuple[Source, ...], Positional],
    *,
    num: Number = 3,
    budget: Flops | None = None,
    budget_left: Flops | None = None,
    verdict: Literal["lead", "multiplier"] = "lead",
    out: Folder | None = None,
) -> Answer:
    """Of finished runs: those after which it will be surest which family is best.

    Args:
        sources: Run folders, folders of runs, tables of points, published:ARXIV, or a study's YAML file.
        num: How many runs to propose.
        budget: Training FLOPs at which the verdict should hold; the largest budget of the runs by default.
        budget_left: FLOPs that the proposed runs may cost together; by default so many times the largest
            budget.
        verdict: What the runs should make sure. lead: the first family against the one that may overtake it;
            multiplier: the compute of the best family over that of autoregressive for equal loss.
        out: Folder of the study, where its YAML file is given; runs/<name> by default.
    """
    from isodiff.cli.plan_text import next_text
    from isodiff.scaling import read_points
    from isodiff.scaling.planning.candidate_runs import shape_sizes
    from isodiff.scaling.planning.experimental_design import next_runs

    if any(source.endswith((".yaml", ".yml")) for source in sources):
        from isodiff.study.study_file import read_study

        study, *more = sources
        if more:
            raise InputError("give one study, or run folders")
        sources = (str(out or Path("runs") / read_study(Path(study)).name),)
    elif out is not None:
        raise InputError("--out is the folder of a study; give the study's YAML file")
    points = read_points(sources)
    cores = shape_sizes([Path(source) for source in sources])
    proposal = next_runs(
        points, num, verdict=verdict, target=budget, allowance=budget_left, cores=cores
    )
    return Answer(to_json(proposal), next_text(proposal))


COMMANDS = Commands(functions={"study": _study, "budget": _budget, "next": _next})


def workloads(laws: Sequence[LawResult], setting: Setting) -> Setting:
    """The setting with what the families of the laws show a network, in training and in sampling."""
    from isodiff.families import FAMILIES
    from isodiff.scaling.laws.load import base_name

    sampling, shown = {}, {}
    for name in {name for law in laws for name in law.families}:
        cls = FAMILIES.get(base_name(name))
        if cls is None:
            continue
        family = cls(vocab_size=setting.vocab_size)  # type: ignore[call-arg]
        cost = family.sampling_cost(setting.length, setting.sampler_steps)
        if cost is not None:
            sampling[name] = cost
        views = family.training_views(_ROWS, setting.length)
        positions = sum(
            view.inputs.shape[0] * view.inputs.shape[1] for view in views if view.trained
        )
        shown[name] = positions / (_ROWS * setting.length)
    return dataclasses.replace(setting, sampling=sampling, shown=shown)
