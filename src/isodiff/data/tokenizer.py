"""Text to token ids and back: bytes, characters of an alphabet, text8's 27; subwords in `subword.py`.

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


class Alphabet(Tokenizer):
    """A token for each of some characters, in their order, and the end of document; others are refused."""

    def __init__(self, characters: str, name: str, refusal: str = "") -> None:
        self.characters, self.name = characters, name
        self.refusal = refusal or f"in {name}, the tokenizer"
        self.vocab_size, self.eos = len(characters) + 1, len(characters)
        codes = np.array([ord(character) for character in characters])
        self._id_of = np.zeros(codes.max() + 1, np.int64)
        self._id_of[codes] = np.arange(len(codes))
        self.token_bytes = np.array([*(len(one.encode()) for one in characters), 0])

    @classmethod
    def parse(cls, name: str) -> Alphabet:
        """`alphabet:0-9a-q`: characters, and ranges of them.

        Raises:
            InputError: no characters, one of them twice, or a range that goes backwards.
        """
        parts = re.findall("(.)-(.)|(.)", name.removeprefix("alphabet:"), re.DOTALL)
        codes = [
            code
            for first, last, alone in parts
            for code in range(ord(first or alone), ord(last or alone) + 1)
        ]
        backwards = any(first > last for first, last, _ in parts)
        if not codes or backwards or len({*codes}) < len(codes):
            raise InputError(
                f"tokenizer {name!r} is no alphabet; give alphabet: and its characters, each once, or "
                "ranges of them, as in alphabet:ACGT or alphabet:0-9a-q"
            )
        return cls("".join(map(chr, codes)), name)

    def normalize(self, text: str) -> str:
        """The text, or a refusal that names its first character outside the alphabet."""
        if wrong := re.search(f"[^{re.escape(self.characters)}]", text):
            where = f"character {wrong[0]!r} at offset {wrong.start()}"
            raise InputError(f"{where} is not {self.refusal}")
        return text

    def encode(self, text: str) -> np.ndarray:
        """The place of each character in the alphabet."""
        codes = np.frombuffer(self.normalize(text).encode("utf-32-le"), "<u4")
        return self._id_of[codes]

    def _decode_plain(self, ids: np.ndarray) -> str:
        return "".join(map(self.characters.__getitem__, ids))

    def _plain_spelling(self, index: int) -> bytes:
        return self.characters[index].encode()


class Text8(Alphabet):
    """Space and a-z (Mahoney 2006, text8), and the end of document.

    Without `normalized`, any other character is refused. With it, text is first brought to this
    alphabet by Mahoney's rule: lower case, digits as words, every run of anything else one space.
    """

    digits = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

    def __init__(self, normalized: bool = False) -> None:
        self.normalized = normalized
        name = "text8:normalize" if normalized else "text8"
        refusal = "a space or a-z; --tokenizer text8:normalize brings text to that alphabet"
        super().__init__(" abcdefghijklmnopqrstuvwxyz", name, refusal)

    def normalize(self, text: str) -> str:
        """Mahoney's rule, or a refusal."""
        if not self.normalized:
            return super().normalize(text)
        text = re.sub("[A-Z]+", lambda run: run[0].lower(), text)
        text = re.sub("[0-9]", lambda digit: f" {self.digits[int(digit[0])]} ", text)
        return re.sub("[^a-z]+", " ", text)


def _between(ids: np.ndarray, cut: np.ndarray) -> list[np.ndarray]:
    """The ids before, between and behind those where `cut` holds."""
    where = np.flatnonzero(cut)
    return [ids[i:j] for i, j in zip([0, *(where + 1)], [*where, len(ids)], strict=True)]


def plain_tokenizer(name: str) -> Tokenizer | None:
    """`bytes`, `text8`, `text8:normalize` or `alphabet:CHARACTERS`; None for subword vocabularies."""
    if name == "bytes":
        return Bytes()
    if name.startswith("alphabet:"):
        return Alphabet.parse(name)
    if name in ("text8", "text8:normalize"):
        return Text8(normalized=name != "text8")
    return None
