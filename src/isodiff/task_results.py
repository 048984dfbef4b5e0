"""What a run reached on a benchmark: `tasks/NAME.json` in its folder, `isodiff evaluate --json`. No torch.

A number that a task does not have is None here and absent from the JSON.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from isodiff.json_lines import MalformedLine
from isodiff.provenance import Provenance
from isodiff.record import HeldOutLoss, Kind, Mean
from isodiff.serialization import IfAny

Fraction = Annotated[float, Field(ge=0, le=1)]
Interval = tuple[Fraction, Fraction]
"""At 95 %, Wilson's."""


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """What every kind of task may say, and reports show.

    Attributes:
        kind: of the likelihoods that decided; None where answers were written.
        accuracy: share of items whose right option, or continuation, has the highest score.
        accuracy_per_byte: the same by nats per byte.
        undecided: items in which the sequential test left more than one option.
        chance: the accuracy of guessing.
        perplexity: per token, or of a whole cloze target.
        num_too_long: items that are longer than the run takes, and are not among `num_items`; questions to be
            answered are, and are answered all the same.
        share_too_long: of all items that are well formed.
        classes: labels of those that items are classified into.
        confusion: items by right class (rows) and chosen one.
        asked: the settings; in files only, as is `provenance`.
    """

    task: str = ""
    run: str = ""
    family: str = ""
    file: IfAny[str] = None
    kind: IfAny[Kind] = None
    accuracy: IfAny[Fraction] = None
    accuracy_interval: IfAny[Interval] = None
    undecided: IfAny[int] = None
    accuracy_per_byte: IfAny[Fraction] = None
    chance: IfAny[Fraction] = None
    perplexity: IfAny[float] = None
    bits_per_byte: IfAny[float] = None
    bits_per_byte_se: IfAny[float] = None
    num_items: IfAny[int] = None
    num_forwards: IfAny[int] = None
    num_too_long: IfAny[int] = None
    share_too_long: IfAny[Fraction] = None
    classes: IfAny[tuple[str, ...]] = None
    confusion: IfAny[tuple[tuple[int, ...], ...]] = None
    protocol: str = ""
    asked: IfAny[Any] = None
    provenance: IfAny[Provenance] = None


@dataclass(frozen=True, kw_only=True)
class ItemResult:
    """Of one multiple-choice item: the right option, the chosen one, nats and draws of every option."""

    line: int
    gold: int
    chosen: int
    undecided: bool
    nats: tuple[float, ...]
    draws: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class _ItemsResult(TaskResult):
    """Of items of a file.

    Attributes:
        num_shortened: items whose contexts lost their beginnings.
        too_long: lines of the items that are left out since a target alone is too long.
        longest: tokens of the longest of these targets.
    """

    num_shortened: int
    num_malformed: int = 0
    malformed: tuple[MalformedLine, ...] = ()
    too_long: tuple[int, ...] = ()
    longest: IfAny[int] = None


@dataclass(frozen=True, kw_only=True)
class ChoiceResult(_ItemsResult):
    """Of multiple choice; `items` in files only."""

    num_options: int
    accuracy_per_byte_interval: Interval
    undecided_per_byte: int
    accuracy_pmi: IfAny[Fraction] = None
    accuracy_pmi_interval: IfAny[Interval] = None
    undecided_pmi: IfAny[int] = None
    items: IfAny[tuple[ItemResult, ...]] = None


@dataclass(frozen=True, kw_only=True)
class ClassificationResult(_ItemsResult):
    """Of texts given to classes; `items` in files only.

    Attributes:
        prompts: what stands before a text of each class.
        forwards_per_item: network evaluations of one text.
    """

    prompts: tuple[str, ...]
    forwards_per_item: float
    items: IfAny[tuple[ItemResult, ...]] = None


@dataclass(frozen=True, kw_only=True)
class ClozeResult(_ItemsResult):
    """Of texts to be completed: nats of a target, mean over targets."""

    nats: Mean


@dataclass(frozen=True, kw_only=True)
class SplitResult(HeldOutLoss):
    """Of a split of a run's own corpus; perplexity is exp of the nats.

    Attributes:
        cached_sampler: the bound of the family's cached sampler, where that is another law.
    """

    run: str
    split: str
    perplexity: float
    cached_sampler: IfAny[HeldOutLoss] = None


@dataclass(frozen=True, kw_only=True)
class TextLikelihood:
    """Nats of a text per token and bits per byte, with standard errors; perplexity is exp of the nats."""

    nats_per_token: float
    nats_per_token_se: float
    bits_per_byte: float
    bits_per_byte_se: float
    perplexity: float
    num_tokens: int
    num_bytes: int
    num_forwards: int


@dataclass(frozen=True, kw_only=True)
class LawLikelihood(TextLikelihood):
    """Of a text under a law that the protocol names."""

    kind: Kind
    protocol: str


@dataclass(frozen=True, kw_only=True)
class TextResult(TextLikelihood, TaskResult):
    """Of the likelihood of a text; `cached_sampler` as in `SplitResult`."""

    num_documents: int
    cached_sampler: IfAny[LawLikelihood] = None


@dataclass(frozen=True, kw_only=True)
class HarnessResult(TaskResult):
    """Of a task, a group or a tag of lm-evaluation-harness, by its own metrics.

    Attributes:
        metrics: by their names there, with the filter where it is not `none`; none of a tag.
        parts: results of a group's or a tag's tasks and groups.
    """

    metrics: dict[str, float]
    harness_version: str
    parts: IfAny[tuple[HarnessResult, ...]] = None
