"""How long the rows of fine-tuning are: as asked, or as the questions want it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from isodiff.data.qa_format import TokenizedQuestion

_Sizes = NDArray[np.int64]
_MOST = 0.99  # of the questions; the longest few would make every row longer


class RowLengths(NamedTuple):
    """Tokens of a row, and how many of them are room for the answer, its end included."""

    length: int
    room: int

    def fit(self, questions: Sequence[TokenizedQuestion]) -> NDArray[np.bool_]:
        """Which questions fit, with all of their answers."""
        return self._fit(*_sizes(questions))

    def _fit(self, prompts: _Sizes, answers: _Sizes) -> NDArray[np.bool_]:
        return (answers <= self.room) & (prompts + self.room <= self.length)


def row_lengths(
    questions: Sequence[TokenizedQuestion], usual: int, *, length: int | None, room: int | None
) -> RowLengths:
    """As asked; without `length` the usual one, or more where that is too short for 1 % of the questions."""
    able = questions if room is None else [one for one in questions if len(one.answer) <= room]
    limit = length or usual
    own = RowLengths(limit, room or _best_room(questions, limit))
    if length is not None or not able or own.fit(able).mean() >= _MOST:
        return own
    return lengths_that_hold(able, _MOST, room)


def lengths_that_hold(
    questions: Sequence[TokenizedQuestion], share: float, room: int | None = None
) -> RowLengths:
    """The shortest rows that this share of the questions fits into; all answers have to fit into `room`."""
    prompts, answers = _sizes(questions)
    wanted = math.ceil(share * len(questions))
    rooms = np.unique(answers) if room is None else [room]
    fitting = ((int(one), np.sort(prompts[answers <= one])) for one in rooms)
    return min(
        RowLengths(int(some[wanted - 1]) + one, one) for one, some in fitting if len(some) >= wanted
    )


def proposed_lengths(questions: Sequence[TokenizedQuestion]) -> str:
    """The options that hold nearly all and all of the questions."""
    most, every = (lengths_that_hold(questions, share) for share in (_MOST, 1.0))
    options = "--length {} --answer-tokens {}"
    return f"{options.format(*most)} hold {_MOST:.0%} of them, {options.format(*every)} all"


def _best_room(questions: Sequence[TokenizedQuestion], length: int) -> int:
    """The room with which most questions fit into so many tokens, the least of those."""
    prompts, answers = _sizes(questions)
    rooms = np.unique(answers).tolist()
    return max(rooms, key=lambda room: int(RowLengths(length, room)._fit(prompts, answers).sum()))


def _sizes(questions: Sequence[TokenizedQuestion]) -> tuple[_Sizes, _Sizes]:
    """Tokens of the prompts and of the answers."""
    sizes = np.array([(len(one.prompt), len(one.answer)) for one in questions], np.int64)
    return sizes[:, 0], sizes[:, 1]
