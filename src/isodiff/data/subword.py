"""Tokenizers by name: subword ones of the `tokenizers` library (trained here, GPT-2, any tokenizer.json)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from isodiff.data.literal import LiteralEncoder, bytes_of
from isodiff.data.tokenizer import END_MARK, Tokenizer, plain_tokenizer
from isodiff.errors import InputError, nearest, reason
from isodiff.files import regular

FILE = "tokenizer.json"
_FORMS = (
    *("bytes", "text8", "text8:normalize", "alphabet:CHARACTERS"),
    *("bpe:SIZE", "gpt2", "gpt2:DIR", FILE),
)
# In order of preference; the first that the vocabulary has ends a document.
_END_TOKENS = (END_MARK, "<|end_of_text|>", "</s>", "<eos>", "[EOS]", "[SEP]")


class SubwordTokenizer(Tokenizer):
    """A `tokenizers` tokenizer, used for plain text only.

    Special tokens written in a text are read as text; nothing is added, padded or truncated.
    """

    def __init__(self, source: str, name: str) -> None:
        """Build from the text of a tokenizer.json; any exception of the library passes through."""
        self.name = name
        self.source = source
        self._encoder = LiteralEncoder(source, _END_TOKENS)
        self.inner = self._encoder.inner
        self.eos, self.vocab_size = self._encoder.eos, self._encoder.vocab_size
        self.token_bytes = self._count_bytes() if self._encoder.byte_level else None
        # A blank put in front is taken off again, by the library's decoder or here.
        self._own_prefix = ""
        if self.decode(self.encode("a")) == self._encoder.prefix + "a":
            self._own_prefix = self._encoder.prefix

    def _count_bytes(self) -> np.ndarray:
        count = np.zeros(self.vocab_size, np.int64)
        for token, index in self.inner.get_vocab().items():
            count[index] = len(bytes_of(token))
        count[self.eos] = 0
        return count

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the tokenizer.json."""
        return hashlib.sha256(self.source.encode()).hexdigest()

    def encode(self, text: str) -> np.ndarray:
        """Token ids of a text."""
        return self._encoder.encode(text)

    def encode_within(self, text: str) -> np.ndarray:
        """Token ids of a text that stands after others in a document."""
        return self._encoder.encode(text, within=True)

    def encode_batch(self, texts: Sequence[str]) -> Iterable[np.ndarray]:
        """`encode` for several texts, on all cores."""
        return self._encoder.encode_batch(texts)

    def _decode_plain(self, ids: np.ndarray) -> str:
        """Text of ids, special tokens as text."""
        text = self.inner.decode(ids.tolist(), skip_special_tokens=False)
        return text.removeprefix(self._own_prefix)

    def _plain_spelling(self, index: int) -> bytes:
        """Of a vocabulary that is not byte-level: what the token adds to a text."""
        token = self.inner.id_to_token(index) or ""
        if self._encoder.byte_level:
            return bytes_of(token)
        if index in self._encoder.bytes_by_id:
            return self._encoder.bytes_by_id[index]
        once, twice = (self._decode_plain(np.full(count, index)) for count in (1, 2))
        return twice.removeprefix(once).encode()

    def files(self) -> dict[str, str]:
        """`tokenizer.json`."""
        return {FILE: self.source}


@dataclass(frozen=True)
class UntrainedBPE:
    """A byte-level BPE of `size` ids that still has to see its training text."""

    size: int

    @classmethod
    def parse(cls, name: str) -> UntrainedBPE:
        """`bpe:SIZE`; SIZE counts the 256 bytes, the merges and the end of document."""
        digits = name.removeprefix("bpe:")
        if not digits.isascii() or not digits.isdigit() or not 257 <= int(digits) <= 2**24:
            raise InputError(f"{name!r}: give bpe:SIZE with SIZE in 257..16777216, e.g. bpe:8192")
        return cls(int(digits))

    @property
    def name(self) -> str:
        """`bpe:SIZE`."""
        return f"bpe:{self.size}"

    def normalize(self, text: str) -> str:
        """Byte-level BPE takes any text as it is."""
        return text

    def train(self, texts: Iterator[str]) -> SubwordTokenizer:
        """Byte-level BPE with GPT-2's pre-tokenizer, trained on `texts` (Sennrich et al. 2016).

        Raises:
            InputError: the texts do not hold enough distinct pairs for SIZE.
        """
        inner = _byte_level(models.BPE())
        trainer = trainers.BpeTrainer(
            vocab_size=self.size - 1,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        inner.train_from_iterator(texts, trainer)
        if (found := inner.get_vocab_size()) < self.size - 1:
            raise InputError(
                f"the training text has merges for bpe:{found + 1} only, not {self.name}; "
                f"ask for at most bpe:{found + 1} or give more text"
            )
        inner.add_special_tokens([END_MARK])
        return SubwordTokenizer(inner.to_str(), self.name)


def _byte_level(model: models.BPE) -> tokenizers.Tokenizer:
    """GPT-2's pre-tokenizer and decoder around a BPE model."""
    inner = tokenizers.Tokenizer(model)
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    return inner


def gpt2(folder: Path | None) -> SubwordTokenizer:
    """GPT-2's tokenizer from its two files, or from the Hugging Face hub when no folder is given.

    Raises:
        InputError: the folder lacks the files, or the hub cannot be reached.
    """
    if folder is None:
        return _gpt2_from_hub()
    for names in (("encoder.json", "vocab.bpe"), ("vocab.json", "merges.txt")):
        vocab, merges = (folder / name for name in names)
        if vocab.is_file() and merges.is_file():
            break
    else:
        raise InputError(
            f"{folder} has neither encoder.json + vocab.bpe nor vocab.json + merges.txt"
        )
    try:
        inner = _byte_level(models.BPE.from_file(str(vocab), str(merges)))
        if inner.token_to_id(END_MARK) is not None:
            inner.add_special_tokens([END_MARK])
        return SubwordTokenizer(inner.to_str(), "gpt2")
    except Exception as error:  # the library raises bare Exception
        raise InputError(f"{vocab} and {merges} are not a BPE vocabulary: {error}") from None


def _gpt2_from_hub() -> SubwordTokenizer:
    try:
        inner = tokenizers.Tokenizer.from_pretrained("openai-community/gpt2")
    except Exception as error:  # whatever the hub or the network raises
        raise InputError(
            f"gpt2 could not be fetched from the Hugging Face hub ({reason(error)}); give gpt2:DIR, "
            "a folder with GPT-2's encoder.json and vocab.bpe (or vocab.json and merges.txt)"
        ) from None
    return SubwordTokenizer(inner.to_str(), "gpt2")


def from_file(path: Path, name: str) -> SubwordTokenizer:
    """A tokenizer.json of the `tokenizers` library.

    Raises:
        InputError: the file is missing or is not such a tokenizer.
    """
    if not path.exists():
        raise InputError(f"{path} is missing; prepare the corpus again")
    data = regular(path).read_bytes()
    if kind := _foreign(path, data):
        raise InputError(
            f"{path} is {kind}; give the tokenizer.json that most models have beside it, or write one with "
            "the transformers library: AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)"
        )
    try:
        return SubwordTokenizer(data.decode("utf-8-sig"), name)
    except BaseException as error:  # the library raises bare Exception, and panics below that
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise InputError(
            f"{path} is not a tokenizer of the tokenizers library: {reason(error)}"
        ) from None


def _foreign(path: Path, data: bytes) -> str | None:
    """What a vocabulary of another library is called."""
    if re.match(rb"(?s)\n.\n.<(unk|pad|s)>", data) or path.suffix in (".model", ".spm"):
        return "a SentencePiece model"
    return "a tiktoken vocabulary" if re.match(rb"[A-Za-z0-9+/]+=* 0\r?\n", data) else None


def tokenizer_for(name: str) -> Tokenizer | UntrainedBPE:
    """The tokenizer that `--tokenizer NAME` asks for; `bpe:SIZE` still has to be trained.

    Raises:
        InputError: no such tokenizer, or its files are missing or damaged.
    """
    if plain := plain_tokenizer(name):
        return plain
    kind, _, rest = name.partition(":")
    if kind == "bpe":
        return UntrainedBPE.parse(name)
    if kind == "gpt2":
        return gpt2(Path(rest).expanduser() if rest else None)
    path = Path(name).expanduser()
    if name and path.is_dir():
        if not (path / FILE).is_file():
            raise InputError(
                f"{path} holds no {FILE}; give the path of one, or gpt2:DIR for GPT-2's files"
            )
        path = path / FILE
    if path.is_file():
        return from_file(path, name=FILE)
    raise InputError(
        f"no tokenizer {name!r}{nearest(name, _FORMS)}; "
        "give bytes, text8, text8:normalize, alphabet:CHARACTERS, bpe:SIZE, gpt2, gpt2:DIR or the path of "
        "a tokenizer.json"
    )
