"""What a worker does with samplers: list a family's, measure a point of a frontier, score held-out text."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from isodiff.data.tokenizer import Tokenizer
from isodiff.evaluate.generation import Quality, quality
from isodiff.evaluate.reference_model import (
    HUGGING_FACE,
    HuggingFaceReference,
    ReferenceModel,
    RunReference,
    TokenizedText,
)
from isodiff.evaluate.speed import Drawn, measure_speed
from isodiff.families import family_named, sample, undecided
from isodiff.families.base import Stepped
from isodiff.record import Mean
from isodiff.rng import Streams
from isodiff.runs.build import Trained, load
from isodiff.scaling.sampler_points import MeasuredSampler, TextStatistics, is_steady
from isodiff.study.jobs import ListSamplers, MeasurePoint, SamplerSetting, ScoreHeldOut
from isodiff.train.precision import device_name

_SEED = 0  # of the texts and of the choice of held-out windows
_SHARES = (16, 4, 1)  # steps by default: the length over these


def samplers(job: ListSamplers, device: str) -> list[list[SamplerSetting]]:
    """The variants of each family, at each number of steps."""
    steps = job.steps or sorted({max(1, job.length // share) for share in _SHARES})
    found = []
    for name in job.families:
        cls = family_named(name)
        dial = issubclass(cls.sampler, Stepped)
        found.append(
            [
                SamplerSetting(
                    variant=variant, options=dict(options), steps=count if dial else None
                )
                for variant, options in cls.variants.items()
                for count in (steps if dial else steps[:1])
            ]
        )
    return found


@lru_cache(maxsize=4)
def _opened(folder: str, device: str) -> Trained:
    """A run, kept while its samplers are measured one after the other."""
    return load(Path(folder), device=device)


def reference_model_named(name: str, tokenizer: Tokenizer, device: str) -> ReferenceModel:
    """A run by its folder, or a Hugging Face model by hf:NAME, for texts of `tokenizer`."""
    if name.startswith(HUGGING_FACE):
        return _hugging_face(name.removeprefix(HUGGING_FACE), device)
    run = _opened(name, device)
    return RunReference(
        run=run.spec.id,
        family=run.family,
        denoiser=run.network,
        tokenizer=run.corpus.tokenizer,
        context=run.spec.length,
        own=run.corpus.tokenizer.fingerprint == tokenizer.fingerprint,
        device=device,
    )


@lru_cache(maxsize=1)
def _hugging_face(name: str, device: str) -> HuggingFaceReference:
    """A Hugging Face model, loaded once."""
    return HuggingFaceReference.open(name, device)


def measured_sampler(job: MeasurePoint, device: str) -> MeasuredSampler:
    """Speed and quality of one run with one sampler, on the same texts."""
    run = _opened(str(job.folder), device)
    options = job.options if job.steps is None else {**job.options, "steps": job.steps}
    sampler = run.family.sampler(**options)
    length, place = run.spec.length, torch.device(device)

    def draw(first: int, batch: int) -> Drawn:
        rng = Streams(_SEED, batch, first=first, device=place)
        prompt = undecided(batch, length, place)
        return Drawn(*sample(run.family, run.network, prompt, sampler, rng=rng))

    speed, drawn = measure_speed(
        draw,
        length=length,
        num_texts=job.texts,
        call_seconds=job.call_seconds,
        device=place,
        steady=is_steady,
    )
    reference_model = reference_model_named(job.reference_model, run.corpus.tokenizer, device)
    found = quality(
        as_texts(drawn.tokens.numpy(), run.corpus.tokenizer),
        held_out_texts(run, job.held_out),
        reference_model,
    )
    return MeasuredSampler(
        run=run.spec.id,
        sampler=job.variant,
        options=job.options,
        steps=job.steps,
        length=length,
        nfe=speed.nfe,
        tokens_per_second=speed.tokens_per_second,
        tokens_per_second_low=speed.low,
        tokens_per_second_high=speed.high,
        calls=speed.calls,
        batch=speed.batch,
        sweep=speed.sweep,
        latency_seconds=speed.latency_seconds,
        latency_seconds_low=speed.latency_low,
        latency_seconds_high=speed.latency_high,
        calls_alone=speed.calls_alone,
        peak_bytes=speed.peak_bytes,
        load=speed.load,
        device=device_name(place),
        dtype=str(next(run.network.parameters()).dtype).removeprefix("torch."),
        threads=torch.get_num_threads(),
        workers=job.workers,
        reads_tokens=isinstance(reference_model, RunReference) and reference_model.own,
        **_statistics(found),
    )


def held_out_statistics(job: ScoreHeldOut, device: str) -> TextStatistics:
    """The same statistics of held-out text: every other window against the rest."""
    run = _opened(str(job.folder), device)
    texts = held_out_texts(run, 2 * job.texts)
    reference_model = reference_model_named(job.reference_model, run.corpus.tokenizer, device)
    return TextStatistics(**_statistics(quality(texts[::2], texts[1::2], reference_model)))


def held_out_texts(run: Trained, number: int) -> list[TokenizedText]:
    """Windows of the validation split, of the run's length."""
    tokens = run.corpus.split("validation")
    windows = tokens.num_windows(run.spec.length)
    chosen = np.random.default_rng(_SEED).permutation(windows)[:number]
    return as_texts(tokens.gather(np.sort(chosen), run.spec.length), run.corpus.tokenizer)


def as_texts(ids: np.ndarray, tokenizer: Tokenizer) -> list[TokenizedText]:
    """Each row as ids and as what it says."""
    return [TokenizedText(row, tuple(tokenizer.decode_documents(row))) for row in ids]


def _statistics(found: Quality) -> dict[str, Any]:
    """Fields of `TextStatistics`: every mean as two, NAME and NAME_se."""
    means = {name: getattr(found, name) for name in Quality.__slots__}
    values: dict[str, Any] = {"reference_model": means.pop("reference_model")}
    means |= {f"distinct_{n}": mean for n, mean in means.pop("distinct").items()}
    for name, value in means.items():
        if isinstance(value, Mean):
            values |= {name: value.value, f"{name}_se": value.standard_error}
        else:
            values[name] = value
    return values
