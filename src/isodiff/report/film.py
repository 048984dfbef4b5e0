"""The film of a sample: one HTML page that plays how its texts came about, evaluation by evaluation.

It holds the initial state, the noise at its undecided positions and, for every network evaluation, the
positions that changed with their new tokens. A token is its text; where it is part of a character only, its
bytes, which the page joins with those beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isodiff.files import storing, write_text
from isodiff.report.theme import document

SHOWN = 8
"""Texts in a film; more would not be looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Take:
    """How one text came about. A negative token stands for an undecided position.

    Attributes:
        start: the initial state: tokens that were given by the prompt, the rest undecided.
        noise: what stood at undecided positions before the first evaluation.
        frames: what each network evaluation changed: positions, each with its new token.
        text: what was drawn.
        kept: how many tokens of the last state `text` has; the rest was cut off.
    """

    start: Sequence[int]
    frames: Sequence[Sequence[tuple[int, int]]]
    text: str
    kept: int
    noise: Sequence[tuple[int, int]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """The texts of one call and what is said of them.

    Attributes:
        family, run, seed: of the call.
        sampler: the options that it was given.
        takes: the texts shown, the first SHOWN of `num`.
        spelling: UTF-8 bytes of a token.
        end: the token that ends a document.
    """

    family: str
    run: str
    seed: int
    sampler: Mapping[str, Any]
    takes: Sequence[Take]
    num: int
    spelling: Callable[[int], bytes]
    end: int


def write_film(path: Path, film: Film) -> None:
    """Write the page."""
    with storing():
        write_text(path, film_page(film))


def film_page(film: Film) -> str:
    """The page."""
    options = " · ".join(
        f"{name.replace('_', ' ')} {f'{value:g}' if isinstance(value, float) else value}"
        for name, value in film.sampler.items()
        if value is not None
    )
    return document("film", "page", "film", film=film, sampler=options, reel=_reel(film))


def _reel(film: Film) -> dict[str, Any]:
    """What the page's script is given: tokens numbered in the order in which they appear, -1 for none."""
    number: dict[int, int] = {}

    def numbered(token: int) -> int:
        return -1 if token < 0 else number.setdefault(token, len(number))

    def flat(frame: Sequence[tuple[int, int]]) -> list[int]:
        return [part for place, token in frame for part in (place, numbered(token))]

    takes = [
        {
            "start": [numbered(token) for token in take.start],
            "noise": flat(take.noise),
            "frames": [flat(frame) for frame in take.frames],
            "kept": take.kept,
        }
        for take in film.takes
    ]
    pieces = [piece(film.spelling(token)) for token in number]
    return {"pieces": pieces, "end": number.get(film.end, -2), "takes": takes}


def piece(spelling: bytes) -> str | list[int]:
    """Text, or bytes where they are not whole characters."""
    try:
        return spelling.decode()
    except UnicodeDecodeError:
        return list(spelling)
