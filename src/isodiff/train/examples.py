"""Fine-tuning on questions with answers: prompts are given and clean, answers are noised and scored.

A row is a prompt, `room` tokens of answer (ends behind its end, since a family that decides all tokens at
once has to say how long its answer is), and padding, which nobody sees. Batches are a function of (seed,
step). One example in 20 is not trained on: its answers are what the validation bound is of.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import compress
from typing import Any

import numpy as np
import torch

from isodiff.data.qa_format import TokenizedQuestion
from isodiff.data.tokens import Corpus, shuffled
from isodiff.errors import InputError
from isodiff.families import Family
from isodiff.network.view import Denoiser
from isodiff.record import HeldOutLoss
from isodiff.runs.validation import (
    DrawnNats,
    Over,
    drawn,
    held_out_loss,
    noisy_nats,
    one_by_one,
)
from isodiff.train.lengths import RowLengths, proposed_lengths
from isodiff.train.source import Batch

HELD_OUT = 20


@dataclass(frozen=True, eq=False)
class Examples:
    """A source of batches: the examples of a task that fit.

    Attributes:
        name: of the task.
        fitting: examples of at most `length` tokens with answers of at most `room`, ends included.
        batch_size, seed: of the run.
        left_out: how many examples are longer.
        corpus: knows how many bytes its tokens stand for.
    """

    name: str
    fitting: list[TokenizedQuestion]
    length: int
    room: int
    batch_size: int
    seed: int
    left_out: int
    corpus: Corpus

    @classmethod
    def of(
        cls,
        name: str,
        questions: Sequence[TokenizedQuestion],
        corpus: Corpus,
        *,
        rows: RowLengths,
        batch_size: int,
        seed: int,
    ) -> Examples:
        """Those that fit into such rows, which are no longer than the longest of them needs.

        Raises:
            InputError: fewer than two fit.
        """
        limit, room = rows
        fitting = list(compress(questions, rows.fit(questions)))
        if len(fitting) < 2:
            raise InputError(
                f"{len(fitting)} of {len(questions)} examples fit into {limit} tokens with {room} for the "
                f"answer, and two are needed; {proposed_lengths(questions)}"
            )
        length = max(len(one.prompt) for one in fitting) + room
        left_out = len(questions) - len(fitting)
        return cls(name, fitting, length, room, batch_size, seed, left_out, corpus)

    @cached_property
    def held_out(self) -> list[TokenizedQuestion]:
        """For validation."""
        return self.fitting[::HELD_OUT]

    @cached_property
    def trained_on(self) -> list[TokenizedQuestion]:
        """All others."""
        return [one for number, one in enumerate(self.fitting) if number % HELD_OUT]

    @property
    def task(self) -> dict[str, Any] | None:
        """Name, content (SHA-256 of all tokens, in order) and room: what decides the numbers of a run."""
        digest = hashlib.sha256()
        for one in self.fitting:
            for part in (one.prompt, one.answer):
                digest.update(len(part).to_bytes(8, "little") + part.astype("<i8").tobytes())
        content = {"sha256": digest.hexdigest(), "examples": len(self.fitting)}
        return {"name": self.name, **content, "answer_tokens": self.room}

    @property
    def scored(self) -> int:
        """The answer and the ends behind it."""
        return self.room

    def rows_of(self, examples: Sequence[TokenizedQuestion], device: torch.device) -> Batch:
        """Prompt, answer, padding."""
        x = np.zeros((len(examples), self.length), np.int64)
        start = np.array([len(one.prompt) for one in examples])
        for row, one in zip(x, examples, strict=True):
            text = np.append(one.prompt, one.filled(self.room))
            row[: len(text)] = text
        place, end = np.arange(self.length), start + self.room
        observed = (place < start[:, None]) | (place >= end[:, None])
        parts = (torch.from_numpy(part).to(device) for part in (x, observed, end))
        return Batch(*parts)

    def batch(self, step: int, rows: range, device: torch.device) -> Batch:
        """Rows of the global batch of a step."""
        samples = np.array(rows, np.int64) + step * self.batch_size
        chosen = shuffled(samples, len(self.trained_on), self.seed)
        return self.rows_of([self.trained_on[i] for i in chosen], device)

    def epochs(self, step: int) -> float:
        """How often each example has been seen."""
        return step * self.batch_size / len(self.trained_on)

    def evaluate(
        self,
        family: Family,
        network: Denoiser,
        num: int,
        draws: int,
        noise_error: float | None,
        device: torch.device,
        over: Over = one_by_one,
    ) -> HeldOutLoss:
        """Nats per token of the answers held out, ends included, given their prompts."""
        examples = self.held_out[:num]
        num = len(examples)
        batches = [range(begin, min(begin + 64, num)) for begin in range(0, num, 64)]

        def score(some: range) -> np.ndarray:
            def piece(rows: range) -> np.ndarray:
                batch = self.rows_of(examples[rows.start : rows.stop], device)
                parts = (family, batch.denoiser(network), batch.x)
                how = {"rows": rows, "num_rows": num, "draws": some}
                return noisy_nats(*parts, observed=batch.observed, **how).numpy()

            return np.concatenate(over(piece, batches))

        tokens = self.corpus.split("train")
        nats = drawn(score, family, draws, self.room, noise_error)
        num_bytes = np.array([tokens.bytes_in(one.answer) for one in examples])
        return held_out_loss(family, DrawnNats(nats, num_bytes), self.room, "answers", noise_error)
