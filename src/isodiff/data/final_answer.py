r"""The number that a worked answer ends with, and whether it is the right one.

*Strict*: the number after the first `#### `, the mark of GSM8K (arXiv 2110.14168); nothing but a minus sign
may stand between them. *Flexible*: the last number anywhere, with $, thousands commas, decimals and sign.
lm-evaluation-harness reports the same two under the names `strict-match` and `flexible-extract`. Here
numbers are compared as numbers, so that 18.00 is 18 (there, as strings without commas, $ and a last dot); a
minus after a digit, letter or bracket subtracts and is no sign; and dots alone are no number.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from isodiff.errors import InputError
from isodiff.intervals import SuccessRate

MARK = "#### "
_DIGITS = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)"
_NUMBER = rf"(?:{_DIGITS}(?:\.[0-9]+)?|\.[0-9]+)"
_MINUS = "[-\N{MINUS SIGN}]"
_MARKED = re.compile(rf"{MARK}({_MINUS}?{_NUMBER})")
_ANYWHERE = re.compile(rf"(?:(?<![\w)\].,]){_MINUS})?(?:\${_MINUS}?)?{_NUMBER}")
_ENDING = re.compile(rf"{MARK}({_MINUS}?\$?{_NUMBER})\s*\Z")


def _value(number: str) -> Decimal:
    """A number as written, without commas and $."""
    return Decimal(re.sub("[,$]", "", number).replace("\N{MINUS SIGN}", "-"))


def strict(text: str) -> Decimal | None:
    """The number after the first mark that has one; None without."""
    found = _MARKED.search(text)
    return _value(found[1]) if found else None


def flexible(text: str) -> Decimal | None:
    """The last number; None without."""
    found = _ANYWHERE.findall(text)
    return _value(found[-1]) if found else None


def gold(answer: str) -> Decimal | None:
    """The number of a worked answer that ends with `#### n`; None where it does not."""
    found = _ENDING.search(answer)
    return _value(found[1]) if found else None


class IsRight(NamedTuple):
    """Whether a text ends with the right number, by either rule."""

    strict: bool
    flexible: bool


@dataclass(frozen=True, kw_only=True)
class AnswerAccuracy:
    """How many texts end with the right number.

    Attributes:
        unmarked: texts without a number after the mark, wrong by the strict rule whatever they say.
    """

    strict: SuccessRate
    flexible: SuccessRate
    unmarked: int


def score_answers(
    texts: Sequence[str], golds: Sequence[Decimal]
) -> tuple[AnswerAccuracy, list[IsRight]]:
    """Compare each text's number with the right one.

    Raises:
        InputError: no texts, or not one for each number.
    """
    if not texts or len(texts) != len(golds):
        raise InputError(f"{len(texts)} texts for {len(golds)} answers; one each is needed")
    marked = [strict(text) for text in texts]
    right = [
        IsRight(number == gold, flexible(text) == gold)
        for number, text, gold in zip(marked, texts, golds, strict=True)
    ]
    accuracy = AnswerAccuracy(
        strict=SuccessRate.of(sum(one.strict for one in right), len(right)),
        flexible=SuccessRate.of(sum(one.flexible for one in right), len(right)),
        unmarked=marked.count(None),
    )
    return accuracy, right
