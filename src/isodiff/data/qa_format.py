r"""Questions with worked answers, as GSM8K has them (arXiv 2110.14168), and how a model reads them.

A file has one JSON object a line, {"question": ..., "answer": "... #### n"}. The model's text is

    Question: {question}\nAnswer: {answer}<end>

where everything up to `Answer:` is the prompt, given and never scored; the answer begins with its space and
its end is a token of its own. The two are encoded together and divided where the tokens of the whole are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, StringConstraints

from isodiff.data import final_answer
from isodiff.data.tokenizer import Tokenizer
from isodiff.errors import InputError
from isodiff.files import write_text
from isodiff.json_lines import Fields, LineError, MalformedLine, read_json_lines

_SAMPLE = f" {final_answer.MARK}-1,234.5"


@dataclass(frozen=True, slots=True)
class QuestionAnswer:
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


class _Line(BaseModel):
    question: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
    answer: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


def _parsed(fields: Fields, line: int) -> QuestionAnswer:
    value = _Line.model_validate(fields)
    if final_answer.gold(value.answer) is None:
        raise LineError("the answer does not end with `#### n`")
    return QuestionAnswer(value.question, value.answer)


def read_questions(path: Path) -> tuple[list[QuestionAnswer], list[MalformedLine]]:
    """Every question of a file, and its malformed lines; blank lines are skipped.

    Raises:
        InputError: the file cannot be read, or no line of it is a question.
    """
    return read_json_lines(path, _parsed, what="question", wanted="question and answer")


def write_questions(path: Path, questions: Iterable[QuestionAnswer]) -> None:
    """The file that `read_questions` reads."""
    lines = (json.dumps({"question": q.question, "answer": q.answer}) + "\n" for q in questions)
    write_text(path, "".join(lines))


@dataclass(frozen=True, slots=True, eq=False)
class TokenizedQuestion:
    """The prompt, and the answer with the end of the text as its last token."""

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


def tokenize_questions(
    questions: Iterable[QuestionAnswer], tokenizer: Tokenizer
) -> list[TokenizedQuestion]:
    """Every question in tokens.

    Raises:
        InputError: the tokenizer cannot encode `#### n`.
    """
    try:
        has_numbers = tokenizer.decode(tokenizer.encode(_SAMPLE)).strip() == _SAMPLE.strip()
    except InputError:
        has_numbers = False
    if not has_numbers:
        raise InputError(
            f"tokenizer {tokenizer.name} cannot write {_SAMPLE.strip()!r}; answers need a run on a corpus "
            "with bytes, bpe:SIZE or gpt2"
        )
    return [_tokenized(question, tokenizer) for question in questions]


def _tokenized(question: QuestionAnswer, tokenizer: Tokenizer) -> TokenizedQuestion:
    whole, known = tokenizer.encode_divided(question.prompt, question.response)
    return TokenizedQuestion(whole[:known], np.append(whole[known:], tokenizer.eos))
