"""Text to token ids and back: bytes, text8's 27 symbols; subwords in `subword.py`.

Every vocabulary is 0..V-1 and clean: no mask, no padding. One id, `eos`, ends a document; it is a
token like any other, is scored, and stands for no bytes. `decode` shows it as `<|endoftext|>`.
"""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

import numpy as np

from isodiff.errors import InputError

END_MARK = "<|endoftext|>"
NO_TOKEN_MARK = "�"


class Tokenizer(ABC):
    """A clean vocabulary of `vocab_size` ids, one of which, `eos`, ends a document.

    Attributes:
        name: how the command line asked for it.
        token_bytes: int64 [V], UTF-8 bytes each token stands for (0 for `eos`); None where tokens
            have no fixed number of bytes.
    """

    name: str
    vocab_size: int
    eos: int
    token_bytes: np.ndarray | None

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what determines the ids of a text."""
        return hashlib.sha256(self.name.encode()).hexdigest()

    def normalize(self, text: str) -> str:
        """The text this tokenizer stands for, counted in bytes; `InputError` where it cannot."""
        return text

    @abstractmethod
    def encode(self, text: str) -> np.ndarray:
        """Token ids of a normalized text, int64 [n], without `eos`."""

    def encode_within(self, text: str) -> np.ndarray:
        """Token ids of a text that stands after others in a document: nothing is put in front."""
        return self.encode(text)

    def encode_divided(self, before: str, after: str) -> tuple[np.ndarray, int]:
        """Token ids of a text in two parts, and how many of them the first part alone begins with.

        The text is encoded as a whole, so its tokens are those it has as it is written, whatever merges
        across the parts; it is divided where they first differ from those of `before`.
        """
        whole = self.encode(before + after)
        alone = self.encode(before)[: len(whole)]
        same = whole[: len(alone)] == alone
        return whole, len(alone) if same.all() else int(same.argmin())

    def encode_batch(self, texts: Sequence[str]) -> Iterable[np.ndarray]:
        """`encode` for several texts."""
        return map(self.encode, texts)

    def decode(self, ids: Iterable[int] | np.ndarray) -> str:
        """Text of any sequence of integers; never raises.

        `eos` is shown as `<|endoftext|>`, an integer outside 0..V-1 and a broken UTF-8 sequence
        as U+FFFD.
        """
        return END_MARK.join(self.decode_documents(ids))

    def decode_documents(self, ids: Iterable[int] | np.ndarray) -> list[str]:
        """The texts before, between and behind all `eos`: one more than there are of those."""
        ids = np.asarray(ids if isinstance(ids, np.ndarray) else list(ids), dtype=np.int64)
        documents = _between(ids, ids == self.eos)
        return [self._decode_document(one) for one in documents]

    def _decode_document(self, ids: np.ndarray) -> str:
        first, *others = _between(ids, (ids < 0) | (ids >= self.vocab_size))
        parts = [self._decode_plain(first) if len(first) else ""]
        parts += [self._decode_within(part) if len(part) else "" for part in others]
        return NO_TOKEN_MARK.join(parts)

    @abstractmethod
    def _decode_plain(self, ids: np.ndarray) -> str:
        """Text of ids in 0..V-1 that are not `eos`."""

    def _decode_within(self, ids: np.ndarray) -> str:
        """Text of such ids where others stand before them."""
        return b"".join(map(self._plain_spelling, ids.tolist())).decode(errors="replace")

    def spelling(self, index: int) -> bytes:
        """UTF-8 bytes of one token, not always whole characters; those of a text's tokens make its UTF-8.

        `eos` is `<|endoftext|>`, as `decode` shows it.
        """
        return END_MARK.encode() if index == self.eos else self._plain_spelling(index)

    @abstractmethod
    def _plain_spelling(self, index: int) -> bytes:
        """UTF-8 bytes of one id in 0..V-1 that is not `eos`."""

    def files(self) -> dict[str, str]:
        """What a prepared corpus keeps of it beyond the name: file name -> text."""
        return {}


class Bytes(Tokenizer):
    """The 256 bytes of UTF-8, and the end of document."""

    name = "bytes"
    vocab_size = 257
    eos = 256
    token_bytes = np.append(np.ones(256, np.int64), 0)

    def encode(self, text: str) -> np.ndarray:
        """One id per UTF-8 byte."""
        return np.frombuffer(text.encode(), np.uint8).astype(np.int64)

    def _decode_plain(self, ids: np.ndarray) -> str:
        return ids.astype(np.uint8).tobytes().decode(errors="replace")

    def _plain_spelling(self, index: int) -> bytes:
        return bytes([index])


class Text8(Tokenizer):
    """Space and a-z (Mahoney 2006, text8), and the end of document.

    Without `normalized`, any other character is refused. With it, text is first brought to this
    alphabet by Mahoney's rule: lower case, digits as words, every run of anything else one space.
    """

    vocab_size = 28
    eos = 27
    token_bytes = np.append(np.ones(27, np.int64), 0)
    digits = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

    def __init__(self, normalized: bool = False) -> None:
        self.normalized = normalized
        self.name = "text8:normalize" if normalized else "text8"

    def normalize(self, text: str) -> str:
        """Mahoney's rule, or a refusal that names the first character outside the alphabet."""
        if self.normalized:
            text = re.sub("[A-Z]+", lambda run: run[0].lower(), text)
            text = re.sub("[0-9]", lambda digit: f" {self.digits[int(digit[0])]} ", text)
            return re.sub("[^a-z]+", " ", text)
        if wrong := re.search("[^ a-z]", text):
            raise InputError(
                f"character {wrong[0]!r} at offset {wrong.start()} is not a space or a-z; "
                "--tokenizer text8:normalize brings text to that alphabet"
            )
        return text

    def encode(self, text: str) -> np.ndarray:
        """Space is 0, a-z are 1..26."""
        codes = np.frombuffer(self.normalize(text).encode(), np.uint8).astype(np.int64)
        return np.where(codes == ord(" "), 0, codes - ord("a") + 1)

    def _decode_plain(self, ids: np.ndarray) -> str:
        return "".join(map(" abcdefghijklmnopqrstuvwxyz".__getitem__, ids))

    def _plain_spelling(self, index: int) -> bytes:
        return self._decode_plain(np.array([index])).encode()


def _between(ids: np.ndarray, cut: np.ndarray) -> list[np.ndarray]:
    """The ids before, between and behind those where `cut` holds."""
    where = np.flatnonzero(cut)
    return [ids[i:j] for i, j in zip([0, *(where + 1)], [*where, len(ids)], strict=True)]


def plain_tokenizer(name: str) -> Tokenizer | None:
    """`bytes`, `text8` or `text8:normalize`; None for subword vocabularies."""
    if name == "bytes":
        return Bytes()
    if name in ("text8", "text8:normalize"):
        return Text8(normalized=name != "text8")
    return None
