"""What is measured of a run with a sampler, how fast and how well it writes, and whether its speed counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Field

from isodiff.scaling.points import Positive
from isodiff.serialization import IfAny

STEADY = 1.2
"""Largest ratio of the quartiles of repeated calls with which a speed counts."""


@dataclass(frozen=True, kw_only=True)
class TextStatistics:
    """What a set of texts is worth, sampled or held out (`evaluate.generation`); each with standard error."""

    reference_model: Annotated[str, Field(alias="judge")] = ""
    num_texts: int = 0
    num_empty: int = 0
    nats_per_token: float
    nats_per_token_se: float
    generative_perplexity: Positive
    generative_perplexity_se: float
    bits_per_byte: float
    bits_per_byte_se: float
    entropy: float
    entropy_se: float
    distinct_1: IfAny[float] = None
    distinct_1_se: IfAny[float] = None
    distinct_2: float
    distinct_2_se: float
    distinct_3: IfAny[float] = None
    distinct_3_se: IfAny[float] = None
    repetition: float
    repetition_se: float
    divergence: float
    divergence_se: float


@dataclass(frozen=True, kw_only=True)
class MeasuredSampler(TextStatistics):
    """Speed and quality of one run with one sampler, on the same texts.

    Attributes:
        sampler, options, steps: a variant of the family's sampler; None where it has no such dial.
        tokens_per_second: at `batch`, the fastest of `sweep`: median and quartiles over `calls`.
        latency_seconds: of one text alone, over `calls_alone`.
        reads_tokens: whether the reference model reads the run's own tokens.
        workers, threads: points measured at the same time, and CPU threads of each.
        load: processes at work or waiting on the machine, mean of the last minute; these workers included.
    """

    run: str
    sampler: str
    options: dict[str, Any] = field(default_factory=dict)
    steps: int | None = None
    length: int
    nfe: float
    tokens_per_second: Positive
    tokens_per_second_low: Positive
    tokens_per_second_high: Positive
    calls: int
    batch: int | None = None
    sweep: dict[int, float] = field(default_factory=dict)
    latency_seconds: Positive
    latency_seconds_low: Positive
    latency_seconds_high: Positive
    calls_alone: int
    peak_bytes: int | None = None
    device: str
    dtype: str
    threads: int
    workers: int
    load: IfAny[float] = None
    reads_tokens: Annotated[bool, Field(alias="judge_reads_tokens")] = True


@dataclass(frozen=True, kw_only=True)
class SamplerPoint(MeasuredSampler):
    """A point of the frontier: `dominated` at the fastest batch, `dominated_alone` one text at a time.

    So with `unsteady`: repeated calls differed too much for a speed that counts (`STEADY`).
    """

    family: str
    budget: Positive
    dominated: bool = False
    dominated_alone: bool = False
    degenerate: bool = False
    unsteady: bool = False
    unsteady_alone: bool = False

    def on_frontier(self, *, alone: bool) -> bool:
        """Whether it is the best at some throughput, in batches or one text at a time."""
        if alone:
            return not (self.degenerate or self.dominated_alone or self.unsteady_alone)
        return not (self.degenerate or self.dominated or self.unsteady)


def is_steady(high: float, low: float) -> bool:
    """Whether the quartiles of repeated calls agree."""
    return high <= STEADY * low


def steady(point: MeasuredSampler) -> bool:
    """Whether both speeds of a point count."""
    return is_steady(point.tokens_per_second_high, point.tokens_per_second_low) and is_steady(
        point.latency_seconds_high, point.latency_seconds_low
    )
