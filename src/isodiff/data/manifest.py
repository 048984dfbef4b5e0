"""`corpus.json`: what a prepared corpus is, checked when read."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import NonNegativeInt, PositiveInt, StringConstraints

from isodiff.errors import InputError
from isodiff.serialization import (
    IfAny,
    canonical,
    from_json,
    read_sealed,
    to_json,
    write_result,
)

_VERSION = 1
_MEND = "; prepare the corpus again"
FILE = "corpus.json"
SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")
Cut = Literal["blank lines", "lines", "spaces"]
# A name without a folder: a manifest never leads out of its own.
FileName = Annotated[str, StringConstraints(pattern=r"^[a-z]+[-.][a-z0-9]+\.(bin|npy)$")]


@dataclass(frozen=True, slots=True)
class Shard:
    """One file of raw little-endian token ids; `blocks` are the SHA-256 of its blocks (shards.py)."""

    file: FileName
    num_tokens: PositiveInt
    blocks: IfAny[tuple[str, ...]] = None


@dataclass(frozen=True, slots=True)
class SplitFiles:
    """One split: its shards in order, its document index, its counts.

    `index` is an int64 .npy [num_documents, 2]: first token of the document, its UTF-8 bytes.
    `num_tokens` counts the end-of-document token of every document; `num_bytes` does not.
    """

    shards: tuple[Shard, ...]
    index: FileName
    num_tokens: PositiveInt
    num_bytes: PositiveInt
    num_documents: PositiveInt
    index_sha256: IfAny[str] = None


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The tokenizer by name and fingerprint; a subword tokenizer lies in `tokenizer.json`."""

    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """All of `corpus.json`; no splits where there is a tokenizer alone.

    Attributes:
        cut: where documents were divided so that they could be split.
        unigram_nats: unigram entropy (unigram.py), nats per token; None in corpora of earlier versions.
    """

    content_sha256: str
    source: tuple[str, ...]
    cut: Cut | None
    validation: float
    test: float
    tokenizer: Vocabulary
    vocab_size: PositiveInt
    eos: NonNegativeInt
    dtype: Literal["<u2", "<u4"]
    exact_bytes: bool
    splits: dict[SplitName, SplitFiles]
    unigram_nats: IfAny[float] = None

    @property
    def without_text(self) -> Manifest:
        """A corpus of this tokenizer and of no text: what an imported run has until it is given one."""
        no_text = hashlib.sha256().hexdigest()
        return replace(
            self,
            content_sha256=no_text,
            source=(),
            cut=None,
            validation=0.0,
            test=0.0,
            exact_bytes=True,
            splits={},
            unigram_nats=None,
        )

    @property
    def hash(self) -> str:
        """SHA-256 of what fixes every token: documents in order, tokenizer, split."""
        fixed = {
            "version": _VERSION,
            "content_sha256": self.content_sha256,
            "tokenizer": to_json(self.tokenizer),
            "cut": self.cut,
            "validation": self.validation,
            "test": self.test,
        }
        return hashlib.sha256(canonical(fixed).encode()).hexdigest()

    def write(self, folder: Path) -> None:
        """Write `corpus.json` into `folder`."""
        head = {"format": "isodiff corpus", "version": _VERSION, "hash": self.hash}
        write_result(folder / FILE, head | to_json(self))


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a prepared corpus.

    Raises:
        InputError: no corpus there, a foreign or newer `corpus.json`, a field missing or altered.
    """
    path = folder / FILE
    if not path.exists():
        raise InputError(
            f"{folder} is not a prepared corpus (it has no {FILE}); "
            f"make one with `isodiff corpus prepare ... --out {folder}`"
        )
    value: Any = read_sealed(path, mend=_MEND)
    if not isinstance(value, dict) or value.get("format") != "isodiff corpus":
        raise InputError(
            f"{path} was not written by isodiff; prepare the corpus into another folder"
        )
    if value.get("version") != _VERSION:
        raise InputError(
            f"{path} has format version {value.get('version')}; this isodiff reads {_VERSION}; "
            "prepare the corpus again"
        )
    manifest = from_json(Manifest, value, path, mend=_MEND, strict=True)
    if set(manifest.splits) != (set(SPLITS) if manifest.source else set()):
        raise InputError(f"{path} does not have the splits {', '.join(SPLITS)}; prepare it again")
    if value.get("hash") != manifest.hash:
        raise InputError(f"{path} was altered: its hash does not fit its fields; prepare it again")
    return manifest
