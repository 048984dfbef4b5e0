r"""Questions with worked answers, as GSM8K has them (arXiv 2110.14168), and how a model reads them.

A file has one JSON object a line, {"question": ..., "answer": "... #### n"}. The model's text is

    Question: {question}\nAnswer: {answer}<end>

where everything up to `Answer:` is the prompt, given and never scored; the answer begins with its space and
its end is a token of its own. The two are encoded apart, so a prompt has the same tokens in training and
when an answer is to be written.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from isodiff.data import final_answer
from isodiff.data.tokenizer import Tokenizer
from isodiff.errors import InputError
from isodiff.files import write_text

SAID = f" {final_answer.MARK}-1,234.5"


@dataclass(frozen=True, slots=True)
class Question:
    """A question and its worked answer, which ends with `#### n`."""

    question: str
    answer: str

    @property
    def gold(self) -> Decimal:
        """n."""
        number = final_answer.gold(self.answer)
        assert number is not None, self.answer
        return number

    @property
    def prompt(self) -> str:
        """What the model is given."""
        return f"Question: {self.question}\nAnswer:"

    @property
    def response(self) -> str:
        """What it should go on with."""
        return f" {self.answer}"


class Malformed(NamedTuple):
    """A line that is no question, and why."""

    line: int
    reason: str


class QuestionFile(NamedTuple):
    """The questions of a file, and the lines that are none."""

    questions: list[Question]
    malformed: list[Malformed]


def read_questions(path: Path) -> QuestionFile:
    """Every question of a file; blank lines are skipped, malformed ones named.

    Raises:
        InputError: the file cannot be read, or no line of it is a question.
    """
    if not path.is_file():
        raise InputError(f"{path} is not a file; give JSON lines with question and answer")
    found = QuestionFile([], [])
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        if line.strip():
            one = parsed(line)
            if isinstance(one, Question):
                found.questions.append(one)
            else:
                found.malformed.append(Malformed(number, one))
    if not found.questions:
        why = "".join(f"; line {line}: {reason}" for line, reason in found.malformed[:1])
        raise InputError(f"{path} has no question{why}")
    return found


def parsed(line: bytes) -> Question | str:
    """A line's question, or what is wrong with it."""
    try:
        fields = json.loads(line)
    except UnicodeDecodeError:
        return "not UTF-8"
    except ValueError as error:
        return f"not JSON ({error})"
    if not isinstance(fields, dict):
        return "not a JSON object"
    for name in ("question", "answer"):
        if not isinstance(fields.get(name), str) or not fields[name].strip():
            return f"no text under {name!r}"
    if final_answer.gold(fields["answer"]) is None:
        return "the answer does not end with `#### n`"
    return Question(fields["question"].strip(), fields["answer"].strip())


def write_questions(path: Path, questions: Iterable[Question]) -> None:
    """The file that `read_questions` reads."""
    lines = (json.dumps({"question": q.question, "answer": q.answer}) + "\n" for q in questions)
    write_text(path, "".join(lines))


@dataclass(frozen=True, slots=True, eq=False)
class Spelt:
    """A question in tokens: the prompt, and the answer with the end of the text as its last token."""

    prompt: NDArray[np.int64]
    answer: NDArray[np.int64]

    def filled(self, room: int) -> NDArray[np.int64]:
        """The answer in `room` tokens, all after its end being ends too.

        A family that decides all tokens at once does not know how long its answer will be: it fills the room
        it is given, and has to learn that what follows an end is nothing but ends.

        Raises:
            InputError: the answer is longer.
        """
        if len(self.answer) > room:
            raise InputError(f"an answer of {len(self.answer)} tokens does not fit into {room}")
        return np.append(self.answer, np.full(room - len(self.answer), self.answer[-1]))


def spelt(questions: Iterable[Question], tokenizer: Tokenizer) -> list[Spelt]:
    """Every question in tokens.

    Raises:
        InputError: the tokenizer has no way to write `#### n`.
    """
    try:
        says_numbers = tokenizer.decode(tokenizer.encode(SAID)).strip() == SAID.strip()
    except InputError:
        says_numbers = False
    if not says_numbers:
        raise InputError(
            f"tokenizer {tokenizer.name} cannot write {SAID.strip()!r}; answers need a run on a corpus "
            "with bytes, bpe:SIZE or gpt2"
        )
    return [
        Spelt(tokenizer.encode(q.prompt), np.append(tokenizer.encode(q.response), tokenizer.eos))
        for q in questions
    ]
