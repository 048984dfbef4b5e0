"""Sums in words, in the form of GSM8K: what a small model can learn to answer exactly.

Half are additions of two numbers of two digits, worked out column by column; half are problems of two steps,
whose last result is written once, as the answer. Numbers are such that the answers of a kind have one layout,
but for sums of three digits.
A sum (its kind and its numbers, in either order where that makes no difference) is held out for the test
set by a hash of its own: training and test sets share none, whatever their seeds and sizes, and names and
things do not tell them apart. Questions are drawn independently, so one may come twice.
"""

from __future__ import annotations

import hashlib
import random
from typing import Literal

from isodiff.data.qa_format import QuestionAnswer
from isodiff.errors import InputError

_HELD_OUT = 10  # one sum in so many
_NAMES = ("Ann", "Ben", "Eva", "Max", "Sue", "Tom")
_THINGS = ("cups", "eggs", "keys", "nuts", "pens")

Split = Literal["train", "test"]
Sum = tuple[str, int, int, int]
"""Kind and numbers."""


def arithmetic(seed: int, num: int, split: Split) -> list[QuestionAnswer]:
    """Questions 0 .. num - 1 of a seed; question i is the same however many there are.

    Raises:
        InputError: fewer than one.
    """
    if num < 1:
        raise InputError(f"{num} questions; at least 1 is needed")
    return [question(random.Random(repr((seed, split, i))), split) for i in range(num)]


def question(rng: random.Random, split: Split) -> QuestionAnswer:
    """One question of the split."""
    kinds = (addition, addition, _spending, _packing)
    while True:
        what, asked = rng.choice(kinds)(rng)
        if in_test_set(what) == (split == "test"):
            return asked


def in_test_set(what: Sum) -> bool:
    """Whether a sum belongs to the test set."""
    return int.from_bytes(hashlib.blake2b(repr(what).encode()).digest()[:8]) % _HELD_OUT == 0


def addition(rng: random.Random) -> tuple[Sum, QuestionAnswer]:
    """Two numbers of two digits, in columns: units first, then tens with what is carried."""
    a, b = rng.randrange(10, 100), rng.randrange(10, 100)
    units = a % 10 + b % 10
    tens = f"{a // 10}+{b // 10}+{units // 10}={a // 10 + b // 10 + units // 10}"
    worked = f"{a % 10}+{b % 10}={units:02}, {tens}\n#### {a + b}"
    low, high = sorted((a, b))
    return ("addition", low, high, 0), QuestionAnswer(f"What is {a} + {b}?", worked)


def _spending(rng: random.Random) -> tuple[Sum, QuestionAnswer]:
    a, b, c = rng.randrange(20, 91), rng.randrange(2, 10), rng.randrange(2, 10)
    name, things = rng.choice(_NAMES), rng.choice(_THINGS)
    asked = f"{name} has {a} {things}, buys {b} and sells {c}. How many are left?"
    worked = f"{a}+{b}={a + b}, {a + b}-{c}\n#### {a + b - c}"
    return ("spending", a, b, c), QuestionAnswer(asked, worked)


def _packing(rng: random.Random) -> tuple[Sum, QuestionAnswer]:
    a, b, c = rng.randrange(3, 10), rng.randrange(4, 10), rng.randrange(2, 10)
    name, things = rng.choice(_NAMES), rng.choice(_THINGS)
    asked = f"{name} has {a} bags of {b} {things} and {c} more. How many {things}?"
    worked = f"{a}*{b}={a * b}, {a * b}+{c}\n#### {a * b + c}"
    low, high = sorted((a, b))
    return ("packing", low, high, c), QuestionAnswer(asked, worked)
