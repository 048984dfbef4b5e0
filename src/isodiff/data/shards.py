"""Writing token ids: raw little-endian shards and the index of documents."""

from __future__ import annotations

from array import array
from contextlib import suppress
from pathlib import Path
from typing import IO

import numpy as np

from isodiff.data.manifest import Shard, SplitFiles, SplitName


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

    def append(self, ids: np.ndarray, num_bytes: int) -> None:
        """Add one document: its ids with the end of document, and its UTF-8 bytes."""
        self.index.extend((self.num_tokens, num_bytes))
        self.num_tokens += len(ids)
        self.num_bytes += num_bytes
        ids = ids.astype(self.dtype)
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
        self.shards.append(Shard(self.next_name(), self.num_in_file))
        self.file, self.num_in_file = None, 0

    def finish(self) -> SplitFiles:
        """Close the last shard, write the index, and say what was written."""
        self.close_shard()
        name = f"{self.split}.index.npy"
        table = np.array(self.index, "<i8").reshape(-1, 2)
        np.save(self.folder / name, table, allow_pickle=False)
        return SplitFiles(tuple(self.shards), name, self.num_tokens, self.num_bytes, len(table))
