"""Which document belongs to which split: decided by content, not by order or chance.

Documents are ordered by the first 64 bits of the SHA-256 of their text; equal keys stay together.
Laid end to end in that order, a document whose middle lies in the first `validation` of all bytes
is validation, in the next `test` is test, and train otherwise. So the split does not depend on the
order of files, equal documents never stand on both sides, and shares are met to half a document.

Where documents are too few or too unequal for that (a held-out split would have less than half
or more than one and a half times its share), every document is first cut into pieces: at blank
lines, or where that does not do at line ends, or at spaces. A piece is closed at the first such
place after 1/16 of the smaller held-out share; joined, the pieces of a document give it back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from isodiff.data.documents import Document
from isodiff.data.manifest import SPLITS, Cut
from isodiff.errors import InputError

CUTS: dict[Cut, re.Pattern[str]] = {
    "blank lines": re.compile(r"\n(?:[ \t\r]*\n)+"),
    "lines": re.compile(r"\n+"),
    "spaces": re.compile(r"\s+"),
}
TRAIN, VALIDATION, TEST = range(len(SPLITS))
# Below this a piece is a few words, and a held-out split of such pieces says nothing.
SMALLEST_PIECE = 64


def check_shares(validation: float, test: float) -> None:
    """Shares of bytes held out; `InputError` unless each is above 0 and they leave half to train."""
    if not (validation > 0 and test > 0 and validation + test <= 0.5):
        raise InputError(
            f"validation {validation:g} and test {test:g} must be above 0 and at most 0.5 together"
        )


def assign(
    keys: np.ndarray, num_bytes: np.ndarray, validation: float, test: float
) -> np.ndarray | None:
    """The split of each document; None where a held-out share would be missed by over a half.

    Args:
        keys: uint64 [n], the leading bits of each document's SHA-256.
        num_bytes: int64 [n], UTF-8 bytes of each document.
        validation: share of all bytes, between 0 and 1.
        test: the same.

    Returns:
        int8 [n], indices into SPLITS.
    """
    unique, group = np.unique(keys, return_inverse=True)
    group_bytes = np.zeros(len(unique), np.int64)
    np.add.at(group_bytes, group, num_bytes)
    middle = (np.cumsum(group_bytes) - group_bytes / 2) / max(1, group_bytes.sum())
    split = np.full(len(unique), TRAIN, np.int8)
    split[middle < validation + test] = TEST
    split[middle < validation] = VALIDATION
    shares = np.bincount(split, group_bytes, len(SPLITS)) / max(1, group_bytes.sum())
    for index, wanted in ((VALIDATION, validation), (TEST, test)):
        if abs(shares[index] - wanted) > wanted / 2:
            return None
    return split[group]


def piece_length(num_bytes: int, validation: float, test: float) -> int:
    """The least length of a piece, in characters, when `num_bytes` of text must be cut."""
    return max(SMALLEST_PIECE, int(num_bytes * min(validation, test) / 16))


def pieces(document: Document, cut: Cut | None, length: int) -> Iterator[Document]:
    """`document` in pieces of at least `length` characters, but for the last; whole without a cut."""
    text, origin = document
    start, last = 0, len(text.rstrip())
    if cut is not None:
        for place in CUTS[cut].finditer(text):
            if place.end() - start < length or place.end() >= last:
                continue
            # Every piece holds something visible.
            if not (piece := text[start : place.end()]).isspace():
                yield Document(piece, f"{origin}, from character {start}")
                start = place.end()
    yield Document(text[start:], f"{origin}, from character {start}" if start else origin)
