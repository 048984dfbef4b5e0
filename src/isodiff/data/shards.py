"""Token ids in files: raw little-endian shards and the index of documents, written and checked when read."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

import numpy as np

from isodiff.data.manifest import Shard, SplitFiles, SplitName
from isodiff.errors import InputError

BLOCK_BYTES = 2**20
"""What is hashed together: small beside a shard, large beside a window."""
_MEND = "delete the folder and prepare the corpus again"


class ShardWriter:
    """Appends documents to `<split>-00000.bin`, `<split>-00001.bin`, ... of `shard_tokens` ids.

    A document may straddle two shards: read end to end, the shards are one stream.
    """

    def __init__(self, folder: Path, split: SplitName, dtype: str, shard_tokens: int) -> None:
        self.folder = folder
        self.split: SplitName = split
        self.dtype = np.dtype(dtype)
        self.shard_tokens = shard_tokens
        self.shards: list[Shard] = []
        self.index = array("q")
        self.num_tokens = 0
        self.num_bytes = 0
        self.file: IO[bytes] | None = None
        self.num_in_file = 0

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, *_: object) -> None:
        if self.file is not None:
            # On a full disk closing fails as writing did; the first error is the one to tell.
            with suppress(OSError):
                self.file.close()

    def append(self, documents: Sequence[np.ndarray], eos: int, num_bytes: np.ndarray) -> None:
        """Add documents: their ids, to each of which `eos` is added, and their UTF-8 bytes."""
        ends = np.cumsum([0, *(len(ids) + 1 for ids in documents)]) + self.num_tokens
        self.index.extend(np.stack([ends[:-1], num_bytes], 1).ravel().tolist())
        self.num_tokens = int(ends[-1])
        self.num_bytes += int(num_bytes.sum())
        end = np.array([eos], np.int64)
        ids = np.concatenate([part for one in documents for part in (one, end)]).astype(self.dtype)
        while len(ids):
            if self.file is None:
                self.file = (self.folder / self.next_name()).open("wb")
            room = self.shard_tokens - self.num_in_file
            self.file.write(ids[:room].tobytes())
            self.num_in_file += len(ids[:room])
            ids = ids[room:]
            if self.num_in_file == self.shard_tokens:
                self.close_shard()

    def next_name(self) -> str:
        """The name of the shard that is open, or of the next one."""
        return f"{self.split}-{len(self.shards):05d}.bin"

    def close_shard(self) -> None:
        """Finish the open shard, if any."""
        if self.file is None:
            return
        self.file.close()
        name = self.next_name()
        blocks = _block_hashes(self.folder / name)
        self.shards.append(Shard(name, self.num_in_file, blocks))
        self.file, self.num_in_file = None, 0

    def finish(self) -> SplitFiles:
        """Close the last shard, write the index, and say what was written."""
        self.close_shard()
        name = f"{self.split}.index.npy"
        table = np.array(self.index, "<i8").reshape(-1, 2)
        np.save(self.folder / name, table, allow_pickle=False)
        return SplitFiles(
            shards=tuple(self.shards),
            index=name,
            num_tokens=self.num_tokens,
            num_bytes=self.num_bytes,
            num_documents=len(table),
            index_sha256=_file_hash(self.folder / name),
        )


class ShardReader:
    """The ids of a shard, memory-mapped: a one-dimensional array that is only sliced.

    A block is checked when it is first read: it has the SHA-256 that was written down (by versions that did),
    and every id is in the vocabulary.
    """

    def __init__(self, path: Path, shard: Shard, dtype: str, vocab_size: int) -> None:
        self.path, self.shard, self.vocab_size = path, shard, vocab_size
        self.ids = np.memmap(path, dtype, "r").view(np.ndarray)  # a memmap is slow to slice
        self.block = BLOCK_BYTES // self.ids.itemsize
        self.unchecked = set(range(-(-len(self.ids) // self.block)))
        if shard.blocks is not None and len(shard.blocks) != len(self.unchecked):
            raise InputError(f"{path} has not as many blocks as were written; {_MEND}")

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, part: slice) -> np.ndarray:
        """Ids from part.start to part.stop; `InputError` where they were altered."""
        start, stop, _ = part.indices(len(self.ids))
        if self.unchecked:
            blocks = range(start // self.block, -(-stop // self.block))
            for number in self.unchecked.intersection(blocks):
                self.check(number)
        return self.ids[start:stop]

    def check(self, number: int) -> None:
        """Check a block, once."""
        ids = self.ids[number * self.block : (number + 1) * self.block]
        blocks = self.shard.blocks
        if blocks is not None and hashlib.sha256(ids.tobytes()).hexdigest() != blocks[number]:
            raise InputError(f"{self.path} was altered in block {number}; {_MEND}")
        if ids.max() >= self.vocab_size:
            raise InputError(
                f"{self.path} was altered: token {ids.max()} of a vocabulary of {self.vocab_size}; {_MEND}"
            )
        self.unchecked.discard(number)


def read_index(path: Path, split: SplitFiles) -> np.ndarray:
    """First token and UTF-8 bytes of each document of a split, int64 [num_documents, 2], memory-mapped.

    Raises:
        InputError: it is not what was written.
    """
    shape = (split.num_documents, 2)
    header = path.stat().st_size - 8 * shape[0] * shape[1]
    table = np.memmap(path, "<i8", "r", offset=header, shape=shape)
    starts, sizes = table[:, 0], table[:, 1]
    if split.index_sha256 is not None:
        whole = _file_hash(path) == split.index_sha256
    else:
        rising = starts[0] == 0 and (np.diff(starts) > 0).all() and starts[-1] < split.num_tokens
        whole = rising and (sizes >= 0).all() and sizes.sum() == split.num_bytes
    if not whole:
        raise InputError(f"{path} was altered; {_MEND}")
    return table


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _block_hashes(path: Path) -> tuple[str, ...]:
    with path.open("rb") as file:
        blocks = iter(lambda: file.read(BLOCK_BYTES), b"")
        return tuple(hashlib.sha256(block).hexdigest() for block in blocks)
