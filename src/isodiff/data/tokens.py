"""Reading a prepared corpus: memory-mapped tokens, and batches as a pure function of (seed, step).

The documents of a split, each closed by `eos`, form one stream. It is cut into windows of `length`
tokens on a fixed grid: window i holds tokens i*length .. (i+1)*length - 1, and the last tokens
that fill no window are never seen. Sample number i of a run is sample i mod W of epoch i div W,
where W is the number of windows; within an epoch every window comes once, in an order that
`permutation.permute` computes from (seed, epoch). There is no loader state to save or to resume.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from isodiff.data.manifest import Manifest, SplitName, read_manifest
from isodiff.data.permutation import permute
from isodiff.data.shards import ShardReader, read_index
from isodiff.data.tokenizer import Tokenizer, plain_tokenizer
from isodiff.errors import InputError, nearest

_CHUNK = 4096  # samples whose windows are worked out together


class Tokens:
    """A stream of token ids in one or more arrays, memory-mapped or not.

    Attributes:
        num_tokens: tokens in the stream, `eos` included.
        num_bytes: UTF-8 bytes of text that the stream stands for.
        name: what error messages call it.
    """

    def __init__(
        self,
        shards: Sequence[np.ndarray | ShardReader],
        *,
        num_bytes: int,
        token_bytes: np.ndarray | None = None,
        documents: Callable[[], np.ndarray] | None = None,
        name: str = "the corpus",
    ) -> None:
        """Lay the integer arrays `shards` end to end.

        Args:
            token_bytes: as in `Tokenizer`.
            documents: reads the first token of each document; None where nobody knows them.
        """
        self._shards = shards
        self._bounds = np.cumsum([0, *map(len, shards)])
        self.num_tokens = int(self._bounds[-1])
        self.num_bytes = num_bytes
        self.token_bytes = token_bytes
        self._documents = documents
        self.name = name

    def read(self, start: int, stop: int) -> np.ndarray:
        """Tokens start..stop-1 of the stream, int64 [stop - start], across shards."""
        if not 0 <= start <= stop <= self.num_tokens:
            raise IndexError(f"tokens {start}..{stop} of {self.name}, which has {self.num_tokens}")
        out = np.empty(stop - start, np.int64)
        shard = int(np.searchsorted(self._bounds, start, side="right")) - 1
        done = 0
        while done < len(out):
            offset = start + done - self._bounds[shard]
            part = self._shards[shard][offset : offset + len(out) - done]
            out[done : done + len(part)] = part
            done += len(part)
            shard += 1
        return out

    def num_windows(self, length: int) -> int:
        """Whole windows of `length` tokens, at least one.

        Raises:
            InputError: the stream is shorter than one window.
        """
        if length < 1:
            raise InputError(f"a window of {length} tokens is not possible; use 1 or more")
        if self.num_tokens < length:
            raise InputError(
                f"{self.name} has {self.num_tokens} tokens, less than one window of {length}; "
                "use a shorter length or more text"
            )
        return self.num_tokens // length

    def window(self, index: int, length: int) -> np.ndarray:
        """Window `index`, int64 [length]."""
        return self.gather(np.array([index]), length)[0]

    def gather(self, indices: np.ndarray | Sequence[int], length: int) -> np.ndarray:
        """Several windows, int64 [B, length]; IndexError outside 0..num_windows-1."""
        num_windows = self.num_windows(length)
        out = np.empty((len(indices), length), np.int64)
        for row, index in enumerate(indices):
            if not 0 <= index < num_windows:
                raise IndexError(f"window {index} of {self.name}, which has {num_windows}")
            out[row] = self.read(int(index) * length, (int(index) + 1) * length)
        return out

    def document_at(self, positions: np.ndarray) -> np.ndarray | None:
        """The number of the document that holds each token of the stream, int64; None where not known."""
        if self._documents is None:
            return None
        return np.searchsorted(self._documents(), positions, side="right") - 1

    def bytes_in(self, ids: np.ndarray) -> float:
        """UTF-8 bytes that `ids` stand for: exact where tokens have fixed bytes, else the mean."""
        if self.token_bytes is None:
            return ids.size * self.num_bytes / self.num_tokens
        return float(self.token_bytes[ids].sum())


class Corpus:
    """A prepared corpus: `Corpus.open(folder).split("train")`."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest
        self._splits: dict[str, Tokens] = {}  # so that what was checked is not checked again

    @classmethod
    def open(cls, folder: Path | str) -> Corpus:
        """Check `corpus.json` and the size of every shard; tokens are checked when they are read.

        Raises:
            InputError: not a corpus, an altered `corpus.json`, a missing or truncated file.
        """
        folder = Path(folder)
        manifest = read_manifest(folder)
        width = np.dtype(manifest.dtype).itemsize
        for split in manifest.splits.values():
            if sum(shard.num_tokens for shard in split.shards) != split.num_tokens:
                raise InputError(f"{folder}: tokens of the shards do not add up; prepare it again")
            for shard in split.shards:
                _check_size(folder / shard.file, shard.num_tokens * width)
            _check_size(folder / split.index, 16 * split.num_documents, header=True)
        return cls(folder, manifest)

    @property
    def vocab_size(self) -> int:
        """V: ids are 0..V-1."""
        return self.manifest.vocab_size

    @property
    def eos(self) -> int:
        """The id that ends a document."""
        return self.manifest.eos

    @property
    def hash(self) -> str:
        """SHA-256 (hexadecimal) of documents, tokenizer and split: equal hash, equal tokens."""
        return self.manifest.hash

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer, as it was when the corpus was prepared.

        Its `token_bytes` is None where token bytes did not add up to the corpus's bytes.

        Raises:
            InputError: its file is missing or was altered.
        """
        tokenizer = plain_tokenizer(self.manifest.tokenizer.name)
        if tokenizer is None:
            from isodiff.data import subword

            file = self.folder / subword.FILE
            tokenizer = subword.from_file(file, name=self.manifest.tokenizer.name)
        if tokenizer.fingerprint != self.manifest.tokenizer.sha256:
            raise InputError(
                f"the tokenizer in {self.folder} is not the one the corpus was prepared with; "
                "prepare it again"
            )
        if (tokenizer.vocab_size, tokenizer.eos) != (self.vocab_size, self.eos):
            raise InputError(
                f"{self.folder}: vocabulary and end of document are not those of its tokenizer; "
                "prepare it again"
            )
        if not self.manifest.exact_bytes:
            tokenizer.token_bytes = None
        return tokenizer

    def split(self, name: SplitName | str) -> Tokens:
        """The tokens of `train`, `validation` or `test`, memory-mapped."""
        splits = {str(key): split for key, split in self.manifest.splits.items()}
        if not splits:
            asked = self.manifest.tokenizer.name
            asked = asked if plain_tokenizer(asked) else str(self.folder)
            raise InputError(
                f"{self.folder} holds a tokenizer and no text; prepare some with isodiff corpus prepare "
                f"TEXT --tokenizer {asked} --out FOLDER, and give that with --corpus FOLDER"
            )
        if name not in splits:
            known = ", ".join(splits)
            raise InputError(f"no split {name!r}{nearest(name, splits)}; splits: {known}")
        if name not in self._splits:
            kind, split = (self.manifest.dtype, self.vocab_size), splits[name]
            self._splits[name] = Tokens(
                [ShardReader(self.folder / shard.file, shard, *kind) for shard in split.shards],
                num_bytes=split.num_bytes,
                token_bytes=self.tokenizer.token_bytes,
                documents=lambda: read_index(self.folder / split.index, split)[:, 0],
                name=f"{name} of {self.folder}",
            )
        return self._splits[name]

    @cached_property
    def labels(self) -> np.ndarray:
        """Tokens that begin the training documents and stand nowhere else in them, int64 [C].

        None where some document begins with another token, as far as the first 2^22 tokens tell.
        """
        tokens, first = self.split("train"), self.documents("train")[:, 0]
        ids = tokens.read(0, min(tokens.num_tokens, 2**22))
        first = first[first < len(ids)]
        labels = np.unique(ids[first])
        return labels[:0] if np.isin(np.delete(ids, first), labels).any() else labels

    def documents(self, name: SplitName) -> np.ndarray:
        """First token and UTF-8 bytes of each document of a split, int64 [num_documents, 2]."""
        split = self.manifest.splits[name]
        return read_index(self.folder / split.index, split)


def _check_size(path: Path, size: int, header: bool = False) -> None:
    """`InputError` unless the file has `size` bytes (after a header of unknown length)."""
    if not path.is_file():
        raise InputError(f"{path} is missing; delete the folder and prepare the corpus again")
    found = path.stat().st_size
    if found < size or (found > size and not header):
        raise InputError(
            f"{path} has {found} bytes where {size} were written; "
            "delete the folder and prepare the corpus again"
        )


def batch(
    tokens: Tokens,
    *,
    length: int,
    batch_size: int,
    step: int,
    seed: int,
    rows: slice | None = None,
) -> np.ndarray:
    """The windows of one training step, a pure function of (seed, step).

    Args:
        tokens: the stream.
        length: tokens per window.
        batch_size: windows per step, over all ranks and accumulation parts.
        step: 0, 1, 2, ...
        seed: any integer.
        rows: the rows of the batch wanted here; None for all. Any slice equals those rows of the
            full batch, so the same data reach any number of ranks.

    Returns:
        int64 [b, length].

    Raises:
        InputError: the stream is shorter than one window.
    """
    samples = np.arange(batch_size)[slice(None) if rows is None else rows] + step * batch_size
    return tokens.gather(shuffled(samples, tokens.num_windows(length), seed), length)


def shuffled(samples: np.ndarray, num_windows: int, seed: int) -> np.ndarray:
    """The window of every sample, int64 [B]."""
    chunk, offset = np.divmod(samples, _CHUNK)
    windows = np.empty(len(samples), np.int64)
    for number in np.unique(chunk):
        here = chunk == number
        windows[here] = _order(seed, num_windows, int(number))[offset[here]]
    return windows


@lru_cache(maxsize=8)
def _order(seed: int, num_windows: int, chunk: int) -> np.ndarray:
    """Windows of samples chunk * CHUNK onwards: many at once, because small calls dominate small steps."""
    epoch, position = np.divmod(np.arange(_CHUNK) + chunk * _CHUNK, num_windows)
    return permute(seed, epoch, position, num_windows)


def epochs(tokens: Tokens, *, length: int, batch_size: int, step: int) -> float:
    """How often each window has been seen, on average, after `step` steps."""
    return step * batch_size / tokens.num_windows(length)
