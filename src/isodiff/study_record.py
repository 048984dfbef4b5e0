"""What a study leaves in its folder beside its runs: `study.json` and `samples.json`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isodiff.provenance import Provenance
from isodiff.serialization import IfAny, Said, read_result


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusRecord:
    """The text of a study, and how much of it was trained on."""

    source: tuple[Said, ...] = ()
    hash: str | None = None
    tokenizer: str | None = None
    vocab_size: int | None = None
    train_tokens: int | None = None
    train_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyFlops:
    """Training FLOPs of all runs: those they stand for, and those that were spent (prefixes are shared)."""

    exact: float
    trained: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRecord:
    """`study.json`: what was asked for, of which text, and what it took.

    Attributes:
        study: the study's file, every default written out, budgets scaled to the clock.
        id: hash of what was asked.
        minutes: the time allowed, if it was limited.
    """

    name: str
    description: str = ""
    id: str = ""
    minutes: float | None = None
    study: dict[str, Any] = field(default_factory=dict)
    corpus: CorpusRecord = field(default_factory=CorpusRecord)
    planned_runs: int | None = None
    flops: IfAny[StudyFlops] = None
    wall_seconds: float | None = None
    provenance: Provenance = field(default_factory=Provenance)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledTexts:
    """Texts of one family, an entry of `samples.json`; `nfe` counts network evaluations."""

    run: str = ""
    sampler: str = ""
    texts: tuple[str, ...] = ()
    nfe: int | None = None


def read_samples(file: Path) -> dict[str, SampledTexts]:
    """`samples.json` by family; nothing where it is not there yet."""
    return read_result(dict[str, SampledTexts], file) if file.exists() else {}
