"""Reading documents more than once: for their hashes and the split, for training, for writing."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from isodiff.data.documents import Document, documents
from isodiff.data.manifest import Cut
from isodiff.data.split import CUTS, assign, piece_length, pieces
from isodiff.data.subword import Untrained
from isodiff.data.text import Tokenizer
from isodiff.errors import InputError
from isodiff.progress import ProgressLine


@dataclass(frozen=True)
class Text:
    """Documents that can be read again: sources, how to read and normalize them, where to cut."""

    sources: tuple[str, ...]
    separator: str | None
    text_field: str
    tokenizer: Tokenizer | Untrained
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
class Survey:
    """What one reading of the documents tells: keys uint64 [n], bytes int64 [n], their SHA-256."""

    keys: np.ndarray
    num_bytes: np.ndarray
    sha256: str


def divide(text: Text, validation: float, test: float) -> tuple[Text, Survey, np.ndarray]:
    """The documents, cut no further than the split needs, their survey and their split int8 [n]."""
    survey = take_survey(text)
    total = int(survey.num_bytes.sum())
    if not total:
        raise InputError(f"{', '.join(text.sources)}: no text; every document is empty")
    length = piece_length(total, validation, test)
    for cut in (None, *CUTS):
        if cut is not None:
            text = replace(text, cut=cut, piece=length)
            survey = take_survey(text)
        split = assign(survey.keys, survey.num_bytes, validation, test)
        if split is not None:
            return text, survey, split
    raise InputError(
        f"{', '.join(text.sources)}: {total} bytes cannot be split by content into train, "
        f"{validation:g} validation and {test:g} test: too little text, or it repeats itself; "
        "give more text or larger shares"
    )


def take_survey(text: Text) -> Survey:
    """Read every document once."""
    keys, num_bytes = array("Q"), array("q")
    total = hashlib.sha256()
    for _, size, digest in _hashed(text, "reading"):
        total.update(digest)
        keys.append(_key(digest))
        num_bytes.append(size)
    return Survey(np.array(keys, np.uint64), np.array(num_bytes, np.int64), total.hexdigest())


def again(text: Text, survey: Survey, what: str) -> Iterator[Document]:
    """The documents once more; `InputError` if they are not those of the survey."""
    num_read = 0
    for document, _, digest in _hashed(text, what):
        if num_read == len(survey.keys) or _key(digest) != survey.keys[num_read]:
            raise InputError(f"{document.origin} changed while it was read; run it again")
        num_read += 1
        yield document
    if num_read < len(survey.keys):
        raise InputError(f"{', '.join(text.sources)} became shorter while read; run it again")


def _hashed(documents: Iterable[Document], what: str) -> Iterator[tuple[Document, int, bytes]]:
    """Each document with its UTF-8 bytes and their SHA-256."""
    count = 0

    def describe(line: ProgressLine) -> str:
        speed = f"{line.done / 1e6:.1f} MB, {line.rate / 1e6:.1f} MB/s"
        return f"{what}: {count} documents, {speed}"

    line = ProgressLine(describe)
    for document in documents:
        data = _utf8(document)
        count += 1
        line.advance(len(data))
        yield document, len(data), hashlib.sha256(data).digest()
    line.close()


def _key(digest: bytes) -> int:
    """The first 64 bits of a hash."""
    return int.from_bytes(digest[:8], "big")


def _utf8(document: Document) -> bytes:
    """The bytes of a document; JSON can hold half a character, which has none."""
    try:
        return document.text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{document.origin}: character {error.start} is half of a surrogate pair, which UTF-8 "
            "cannot hold; mend or remove it"
        ) from None
