"""Answers to questions of different lengths, by any family's sampler.

A text is a prompt and `room` undecided tokens behind it, and nothing else: prompts of equal length share a
batch, so there is no padding to attend to or to shift a position. Question i is sample i of the seed: its
answer depends neither on the batch nor on the other questions.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from isodiff.data.final_answer import AnswerAccuracy, score_answers
from isodiff.data.qa_format import QuestionAnswer, tokenize_questions
from isodiff.errors import InputError
from isodiff.evaluate.batching import same_shape
from isodiff.families.base import UNDECIDED, Family, Sampler
from isodiff.families.sampling import sample
from isodiff.files import storing, write_text
from isodiff.network.view import Denoiser
from isodiff.provenance import provenance
from isodiff.rng import Streams
from isodiff.runs.build import Trained
from isodiff.runs.resumable import Kept, Pieces, anew
from isodiff.serialization import to_json, write_result
from isodiff.task_results import TaskResult


class WrittenAnswer(NamedTuple):
    """An answer in tokens, up to its end; whether it has one; and how many network evaluations it took."""

    ids: NDArray[np.int64]
    ended: bool
    nfe: int


def write_answers(
    family: Family,
    denoiser: Denoiser,
    prompts: Sequence[NDArray[np.int64]],
    sampler: Sampler,
    *,
    room: int,
    eos: int,
    seed: int = 0,
    batch_size: int = 64,
    device: torch.device | str = "cpu",
    pieces: Pieces = anew,
) -> list[WrittenAnswer]:
    """An answer of at most `room` tokens to every prompt, in their order.

    Raises:
        InputError: no room, no batch, or a sampler of another family.
    """
    if min(room, batch_size) < 1:
        raise InputError(f"room and batch_size must be at least 1, got {room} and {batch_size}")

    def written(rows: Sequence[int]) -> list[tuple[list[int], int]]:
        observed = torch.from_numpy(np.stack([prompts[row] for row in rows]))
        undecided = torch.full((len(rows), room), UNDECIDED)
        prompt = torch.cat([observed, undecided], 1).to(device)
        rng = Streams.of(seed, rows, device=device)
        tokens, nfe = sample(family, denoiser, prompt, sampler, rng=rng)
        return list(zip(tokens[:, observed.shape[1] :].tolist(), nfe.tolist(), strict=True))

    answers: dict[int, WrittenAnswer] = {}
    for rows in same_shape([len(prompt) for prompt in prompts], lambda _: batch_size):
        for row, (ids, nfe) in zip(rows, pieces(len(rows), partial(written, rows)), strict=True):
            answers[row] = WrittenAnswer(*up_to_end(np.array(ids), eos), nfe)
    return [answers[row] for row in range(len(prompts))]


def up_to_end(ids: NDArray[np.int64], eos: int | None) -> tuple[NDArray[np.int64], bool]:
    """What stands before the text's end, or before a token left undecided; whether there is an end."""
    ends = ((ids == eos) | (ids == UNDECIDED)).nonzero()[0]
    if not len(ends):
        return ids, False
    return ids[: ends[0]], bool(ids[ends[0]] == eos)


@dataclass(frozen=True, kw_only=True)
class _AnswerLine:
    """A line of `answers.jsonl`: a written answer, and whether it is right by either rule."""

    question: str
    answer: str
    gold: str
    strict: bool
    flexible: bool
    ended: bool
    nfe: int


@dataclass(frozen=True, kw_only=True)
class AnswersResult(AnswerAccuracy):
    """Accuracy of written answers.

    Attributes:
        sampler: its options.
        nfe: network evaluations of an answer, mean.
        unended: answers without an end.
        num_too_long: questions that do not fit into the run's length with the room for their answers; they
            are answered all the same.
        answers: the file that holds them.
    """

    sampler: dict[str, Any]
    nfe: float
    unended: int
    answers: str
    num_too_long: int
    share_too_long: float


def evaluate_answers(
    run: Trained,
    questions: Sequence[QuestionAnswer],
    sampler: Sampler,
    *,
    task: str,
    room: int,
    seed: int,
    batch_size: int,
    device: str,
) -> AnswersResult:
    """Write answers of at most `room` tokens and count the right ones.

    All go to `answers.jsonl` in the run's folder, the accuracy to `tasks/<task>.json`.
    """
    tokenizer = run.corpus.tokenizer
    tokenized = tokenize_questions(questions, tokenizer)
    num_too_long = sum(
        len(one.answer) > room or len(one.prompt) + room > run.spec.length for one in tokenized
    )
    too_long = {"num_too_long": num_too_long, "share_too_long": num_too_long / len(questions)}
    asked = {
        **{"questions": [one.prompt for one in questions], "sampler": asdict(sampler)},
        **{"room": room, "seed": seed, "batch_size": batch_size},
    }
    with Kept("answers", len(questions), "questions", folder=run.folder, asked=asked) as pieces:
        written = write_answers(
            run.family,
            run.network,
            [one.prompt for one in tokenized],
            sampler,
            room=room,
            eos=tokenizer.eos,
            seed=seed,
            batch_size=batch_size,
            device=device,
            pieces=pieces,
        )
    texts = [tokenizer.decode(one.ids) for one in written]
    accuracy, right = score_answers(texts, [one.gold for one in questions])
    lines = [
        _AnswerLine(
            question=question.question,
            answer=text,
            gold=str(question.gold),
            strict=is_right.strict,
            flexible=is_right.flexible,
            ended=answer.ended,
            nfe=answer.nfe,
        )
        for question, text, answer, is_right in zip(questions, texts, written, right, strict=True)
    ]
    path = run.folder / "answers.jsonl"
    with storing():
        write_text(path, "".join(json.dumps(line) + "\n" for line in to_json(lines)))
    nfe = sum(one.nfe for one in written)
    result = TaskResult(
        task=task,
        run=run.spec.id,
        family=run.family.name,
        accuracy=accuracy.strict.value,
        accuracy_interval=accuracy.strict.interval,
        num_items=len(questions),
        num_forwards=nfe,
        **too_long,
        protocol=f"written answers, right where they end with #### and the number, seed {seed}",
        provenance=provenance(),
    )
    with storing():
        write_result(run.folder / "tasks" / f"{task}.json", result)
    return AnswersResult(
        **vars(accuracy),
        sampler=asdict(sampler),
        nfe=nfe / len(written),
        unended=sum(not one.ended for one in written),
        answers=str(path),
        **too_long,
    )
