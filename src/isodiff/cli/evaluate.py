"""Evaluate a run: nats per token and bits per byte of text, or its score on a benchmark."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from isodiff.bounds import PartFraction, Positive, Utf8
from isodiff.cli.evaluation_text import (
    documents_text,
    harness_text,
    split_text,
    task_text,
)
from isodiff.cli.options import (
    File,
    Folder,
    Name,
    Number,
    NumberOrNone,
    NumDraws,
    NumTokens,
    Opening,
    RunFolder,
    Seed,
    Text,
)
from isodiff.cli.verb import Answer, Commands, resumable
from isodiff.data.documents import documents
from isodiff.errors import InputError, one_line
from isodiff.evaluate.documents import evaluate_documents
from isodiff.evaluate.tasks import TASKS, TaskSettings, run_task, task_named
from isodiff.families.base import Family, SamplerLaw
from isodiff.record import HeldOutLoss
from isodiff.runs.resumable import Kept
from isodiff.runs.spec import NOISE_ERROR
from isodiff.runs.validation import evaluate
from isodiff.serialization import to_json
from isodiff.task_results import ChoiceResult, ClozeResult, SplitResult
from isodiff.units import perplexity as perplexity_of

_TaskName = Annotated[
    Utf8, arg(metavar="NAME", help_behavior_hint=lambda _: f"(one of {', '.join(TASKS)})")
]


@dataclass(frozen=True, kw_only=True)
class _Scoring:
    """How a benchmark is scored.

    Attributes:
        limit: Items taken, from the first on; all by default.
        draws: Most noise draws per option, where it is a bound; 32 by default.
        error: Chance, per item, that the sequential test drops the best option.
        steps: Of the sampler, where something is written.
        batch_tokens: Most tokens of a batch.
    """

    limit: Number | None = None
    draws: NumDraws | None = None
    error: Annotated[PartFraction, arg(metavar="CHANCE")] = 0.05
    steps: NumDraws = 64
    seed: Seed = 0
    batch_tokens: NumTokens = 2**14

    def settings(self, *, pmi: bool = False) -> TaskSettings:
        """For what runs the task."""
        return TaskSettings(**asdict(self), pmi=pmi)


@dataclass(frozen=True, kw_only=True)
class _TaskScoring(_Scoring):
    """How a benchmark is scored.

    Attributes:
        draws: Most noise draws per option, where it is a bound; 128 by default. Of a text: most forwards
            per window.
    """


@resumable
def _split(
    folder: RunFolder,
    opening: Opening,
    *,
    split: Literal["validation", "test", "train"] = "test",
    windows: Number = 512,
    draws: NumDraws = 4,
) -> Answer:
    """Nats per token and bits per byte of a split of the run's own corpus.

    Args:
        split: Which part of the corpus.
        windows: How many windows of the training length.
        draws: Noise draws per window, where the likelihood is a bound; more where they leave too much noise.
    """
    trained = opening.load(folder)
    tokens, length = trained.corpus.split(split), trained.spec.length
    asked = {"split": split, "windows": windows, "draws": draws, "step": trained.step}
    total = min(windows, tokens.num_windows(length))

    def measured(law: Family | SamplerLaw) -> HeldOutLoss:
        key = {**asked, "law": law.law} if law.law else asked
        with Kept(split, total, "windows", folder=trained.folder, asked=key) as pieces:
            return evaluate(
                law,
                trained.network,
                tokens,
                length=length,
                windows=windows,
                draws=draws,
                noise_error=NOISE_ERROR,
                device=opening.device,
                pieces=pieces,
            )

    other = trained.family.cached_sampler if trained.family.kind == "bound" else None
    cached = None if other is None else measured(other)
    found = measured(trained.family)
    text = f"{trained.family.name} on {split}: {split_text(found)}"
    if cached is not None:
        text += f"\nits cached sampler: {split_text(cached)}"
    result = SplitResult(
        run=trained.spec.id,
        split=split,
        kind=found.kind,
        nats_per_token=found.nats_per_token,
        bits_per_byte=found.bits_per_byte,
        protocol=found.protocol,
        draws=found.draws,
        noise_error=found.noise_error,
        perplexity=perplexity_of(found.nats_per_token.value),
        cached_sampler=cached,
    )
    return Answer(to_json(result), text)


@resumable
def _text(
    folder: RunFolder,
    opening: Opening,
    files: Annotated[tuple[Utf8, ...], Positional, arg(metavar="FILE [FILE ...]")],
    *,
    method: Name = "auto",
    target_se: Annotated[Positive | None, arg(metavar="NATS")] = None,
    budget: NumDraws | None = None,
    stride: NumTokens | None = None,
    end: bool = True,
    separator: Text | None = None,
    text_field: Name = "text",
    seed: Seed = 0,
    batch_size: Number = 64,
) -> Answer:
    """Nats per token and bits per byte of any text, scored whole, document by document.

    Args:
        files: Files of text, JSON lines, tables or Parquet, or folders of them (docs/corpora.md).
        method: How the likelihood is estimated (docs/estimators.md); auto takes the family's best.
        target_se: Go on until the standard error of nats per token is no larger.
        budget: Network evaluations per window at most; with neither limit, 4 rounds of 16 draws.
        stride: Tokens scored by a window, given those before them; the context by default.
        end: Score the end of each document too.
        separator: What stands between the documents of a text file.
        text_field: Field of JSON lines, or column of tables, with the text.
        batch_size: Texts shown to the network at a time.
    """
    if not files:
        raise InputError(
            "which text? give files after the run; isodiff evaluate split RUN needs none"
        )
    trained = opening.load(folder)
    found = evaluate_documents(
        trained,
        documents(files, separator=separator, text_field=text_field),
        method=method,
        target_se=target_se,
        budget=budget,
        stride=stride,
        end=end,
        seed=seed,
        batch_size=batch_size,
        device=opening.device,
    )
    return Answer(to_json(found), documents_text(trained.family.name, found))


@resumable
def _task(
    folder: RunFolder,
    opening: Opening,
    file: Annotated[File, Positional],
    scoring: Annotated[_TaskScoring, arg(name="")],
    *,
    task: _TaskName | None = None,
    joiner: Text | None = None,
    pmi: bool = False,
) -> Answer:
    """Score a run on a benchmark: the option that it finds likeliest, or the word that it would write.

    The result is written to tasks/NAME.json in the run's folder, where reports find it.

    Args:
        file: JSON lines: query, choices, gold; context_options, continuation, gold; or context, continuation.
            Or the text of a task that is one.
        task: The benchmark that the file holds, which says how its parts are joined and names the result.
        joiner: What stands between context and continuation, for a file that is no named task.
        pmi: Score the difference to the option without its context as well (two forwards).
    """
    known = None if task is None else task_named(task)
    if joiner is not None and task is not None:
        raise InputError(f"task {task} has a joiner of its own; leave out --joiner")
    trained = opening.load(folder)
    result = run_task(
        trained, file, scoring.settings(pmi=pmi), task=known, joiner=joiner, device=opening.device
    )
    if isinstance(result, ChoiceResult | ClozeResult):
        for one in result.malformed:
            said = one_line(f"isodiff evaluate: {file} line {one.line}: {one.reason}")
            print(said, file=sys.stderr)
        if lines := result.too_long:
            some = ", ".join(map(str, lines[:10])) + (", ..." if len(lines) > 10 else "")
            said = f"isodiff evaluate: {file}: {len(lines)} items are too long (lines {some}); a run of "
            print(one_line(f"{said}{result.longest} tokens takes all"), file=sys.stderr)
    return Answer(to_json(result), task_text(result))


def _harness(
    folder: RunFolder,
    opening: Opening,
    task: Annotated[Utf8, Positional, arg(metavar="TASK")],
    scoring: Annotated[_Scoring, arg(name="")],
    *,
    include_path: Folder | None = None,
    num_fewshot: NumberOrNone | None = None,
) -> Answer:
    """Score a run on a task of lm-evaluation-harness, which brings its own data.

    Args:
        task: The name of a task, a group or a tag in the harness.
        include_path: Folder of further task files.
        num_fewshot: Examples before each question; as many as the task says by default.
    """
    try:
        from isodiff.interop.harness import run_harness
    except ImportError as error:
        raise InputError(
            f"lm-evaluation-harness is not installed ({error}); pip install 'isodiff[harness]'"
        ) from None
    result = run_harness(
        opening.load(folder),
        task,
        scoring.settings(),
        include_path=include_path,
        num_fewshot=num_fewshot,
        device=opening.device,
    )
    return Answer(to_json(result), harness_text(result))


COMMANDS = Commands(functions={"split": _split, "text": _text, "task": _task, "harness": _harness})
