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

import hashlib
import re
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from isodiff.data.documents import Document, documents
from isodiff.data.manifest import SPLITS, Cut
from isodiff.data.subword import UntrainedBPE
from isodiff.data.tokenizer import Tokenizer
from isodiff.errors import InputError
from isodiff.progress import ProgressLine

CUTS: dict[Cut, re.Pattern[str]] = {
    "blank lines": re.compile(r"\n(?:[ \t\r]*\n)+"),
    "lines": re.compile(r"\n+"),
    "spaces": re.compile(r"\s+"),
}
TRAIN, VALIDATION, TEST = range(len(SPLITS))
# Below this a piece is a few words, and a held-out split of such pieces says nothing.
_SMALLEST_PIECE = 64


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


def _piece_length(num_bytes: int, validation: float, test: float) -> int:
    """The least length of a piece, in characters, when `num_bytes` of text must be cut."""
    return max(_SMALLEST_PIECE, int(num_bytes * min(validation, test) / 16))


def pieces(document: Document, cut: Cut | None, length: int) -> Iterator[Document]:
    """`document` in pieces of at least `length` characters, but for the last; whole without a cut."""
    if cut is None:
        yield document
        return
    text, origin = document
    start, last = 0, len(text.rstrip())
    for place in CUTS[cut].finditer(text):
        if place.end() - start < length or place.end() >= last:
            continue
        # Every piece holds something visible.
        if not (piece := text[start : place.end()]).isspace():
            yield Document(piece, f"{origin}, from character {start}")
            start = place.end()
    yield Document(text[start:], f"{origin}, from character {start}" if start else origin)


@dataclass(frozen=True)
class DocumentSource:
    """Documents that can be read again: sources, how to read and normalize them, where to cut."""

    sources: tuple[str, ...]
    separator: str | None
    text_field: str
    tokenizer: Tokenizer | UntrainedBPE
    cut: Cut | None = None
    piece: int = 0

    def __iter__(self) -> Iterator[Document]:
        """The documents, or their pieces, normalized, in order."""
        for text, origin in documents(
            self.sources, separator=self.separator, text_field=self.text_field
        ):
            try:
                text = self.tokenizer.normalize(text)
            except InputError as error:
                raise InputError(f"{origin}: {error}") from None
            if text and not text.isspace():
                yield from pieces(Document(text, origin), self.cut, self.piece)


@dataclass(frozen=True)
class DocumentHashes:
    """What one reading of n documents tells.

    Attributes:
        keys: uint64 [n], the leading bits of each document's SHA-256.
        num_bytes: int64 [n], UTF-8 bytes of each.
        sha256: of all the hashes, in order.
    """

    keys: np.ndarray
    num_bytes: np.ndarray
    sha256: str


def split_documents(
    source: DocumentSource, validation: float, test: float
) -> tuple[DocumentSource, DocumentHashes, np.ndarray]:
    """The documents, cut no further than the split needs, their hashes and their split int8 [n]."""
    hashes = _hash_documents(source)
    total = int(hashes.num_bytes.sum())
    if not total:
        raise InputError(f"{', '.join(source.sources)}: no text; every document is empty")
    length = _piece_length(total, validation, test)
    for cut in (None, *CUTS):
        if cut is not None:
            source = replace(source, cut=cut, piece=length)
            hashes = _hash_documents(source)
        split = assign(hashes.keys, hashes.num_bytes, validation, test)
        if split is not None:
            return source, hashes, split
    raise InputError(
        f"{', '.join(source.sources)}: {total} bytes cannot be split by content into train, "
        f"{validation:g} validation and {test:g} test: too little text, or it repeats itself; "
        "give more text or larger shares"
    )


def _hash_documents(source: DocumentSource) -> DocumentHashes:
    keys, num_bytes = array("Q"), array("q")
    total = hashlib.sha256()
    for _, size, digest in _hashed(source, "reading"):
        total.update(digest)
        keys.append(_key(digest))
        num_bytes.append(size)
    return DocumentHashes(
        np.array(keys, np.uint64), np.array(num_bytes, np.int64), total.hexdigest()
    )


def read_again(source: DocumentSource, hashes: DocumentHashes, what: str) -> Iterator[Document]:
    """The documents once more; `InputError` if they are not those of the hashes."""
    num_read = 0
    for document, _, digest in _hashed(source, what):
        if num_read == len(hashes.keys) or _key(digest) != hashes.keys[num_read]:
            raise InputError(f"{document.origin} changed while it was read; run it again")
        num_read += 1
        yield document
    if num_read < len(hashes.keys):
        raise InputError(f"{', '.join(source.sources)} became shorter while read; run it again")


def _hashed(documents: Iterable[Document], what: str) -> Iterator[tuple[Document, int, bytes]]:
    """Each document with its UTF-8 bytes and their SHA-256."""
    count = 0

    def describe(line: ProgressLine) -> str:
        speed = f"{line.done / 1e6:.1f} MB, {line.rate / 1e6:.1f} MB/s"
        return f"{what}: {count} documents, {speed}"

    line = ProgressLine(describe)
    for document in documents:
        data = document.text.encode()
        count += 1
        line.advance(len(data))
        yield document, len(data), hashlib.sha256(data).digest()
    line.close()


def _key(digest: bytes) -> int:
    return int.from_bytes(digest[:8], "big")
