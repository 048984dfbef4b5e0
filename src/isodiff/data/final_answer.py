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
from typing import Any

from isodiff.errors import InputError
from isodiff.runs.intervals import Share

MARK = "#### "
DIGITS = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)"
NUMBER = rf"(?:{DIGITS}(?:\.[0-9]+)?|\.[0-9]+)"
MINUS = "[-\N{MINUS SIGN}]"
MARKED = re.compile(rf"{MARK}({MINUS}?{NUMBER})")
ANYWHERE = re.compile(rf"(?:(?<![\w)\].,]){MINUS})?(?:\${MINUS}?)?{NUMBER}")
ENDING = re.compile(rf"{MARK}({MINUS}?\$?{NUMBER})\s*\Z")


def value(number: str) -> Decimal:
    """A number as written, without commas and $."""
    return Decimal(re.sub("[,$]", "", number).replace("\N{MINUS SIGN}", "-"))


def strict(text: str) -> Decimal | None:
    """The number after the first mark that has one; None without."""
    found = MARKED.search(text)
    return value(found[1]) if found else None


def flexible(text: str) -> Decimal | None:
    """The last number; None without."""
    found = ANYWHERE.findall(text)
    return value(found[-1]) if found else None


def gold(answer: str) -> Decimal | None:
    """The number of a worked answer that ends with `#### n`; None where it does not."""
    found = ENDING.search(answer)
    return value(found[1]) if found else None


@dataclass(frozen=True, slots=True)
class Score:
    """How many texts end with the right number.

    Attributes:
        right: by either rule, text by text.
        unmarked: texts without a number after the mark, wrong by the strict rule whatever they say.
    """

    right: tuple[tuple[bool, bool], ...]
    unmarked: int

    @property
    def strict(self) -> Share:
        """By the strict rule."""
        return Share(sum(by_mark for by_mark, _ in self.right), len(self.right))

    @property
    def flexible(self) -> Share:
        """By the flexible rule."""
        return Share(sum(anywhere for _, anywhere in self.right), len(self.right))

    def to_json(self) -> dict[str, Any]:
        """`{"strict", "flexible", "unmarked"}`, accuracies with their 95 % intervals."""
        shares = {"strict": self.strict.to_json(), "flexible": self.flexible.to_json()}
        return {**shares, "unmarked": self.unmarked}


def score(texts: Sequence[str], golds: Sequence[Decimal]) -> Score:
    """Compare each text's number with the right one.

    Raises:
        InputError: no texts, or not one for each number.
    """
    if not texts or len(texts) != len(golds):
        raise InputError(f"{len(texts)} texts for {len(golds)} answers; one each is needed")
    marked = [strict(text) for text in texts]
    right = (
        (one == answer, flexible(text) == answer)
        for one, text, answer in zip(marked, texts, golds, strict=True)
    )
    return Score(right=tuple(right), unmarked=sum(one is None for one in marked))
