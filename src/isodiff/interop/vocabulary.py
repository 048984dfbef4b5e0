"""The tokenizer of an imported checkpoint: its own, the corpus's, or one that is named."""

from __future__ import annotations

from pathlib import Path

import tokenizers

from isodiff.data.manifest import Manifest, Vocabulary
from isodiff.data.subword import (
    FILE,
    SubwordTokenizer,
    UntrainedBPE,
    from_file,
    gpt2,
    tokenizer_for,
)
from isodiff.data.tokenizer import Tokenizer
from isodiff.errors import InputError
from isodiff.files import write_text


def own_tokenizer(folder: Path) -> Tokenizer | None:
    """The tokenizer that lies beside a checkpoint, if one does."""
    if (folder / FILE).is_file():
        return from_file(folder / FILE, FILE)
    if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        return gpt2(folder)
    return None


def named_tokenizer(name: str) -> Tokenizer:
    """The one that `--tokenizer NAME` asks for.

    Raises:
        InputError: there is none, or it would have to be trained.
    """
    found = tokenizer_for(name)
    if isinstance(found, UntrainedBPE):
        raise InputError(f"{name} is still to be trained; give the tokenizer of the checkpoint")
    return found


def padded(tokenizer: Tokenizer, size: int) -> Tokenizer:
    """The same with further ids, which no text has, up to `size`.

    Raises:
        InputError: it has more ids already, or a vocabulary that takes no others.
    """
    if tokenizer.vocab_size == size:
        return tokenizer
    if not isinstance(tokenizer, SubwordTokenizer) or tokenizer.vocab_size > size:
        raise InputError(
            f"the checkpoint's states are {size} ids, the tokenizer {tokenizer.name} has "
            f"{tokenizer.vocab_size}: wrong vocabulary; give its own with --tokenizer"
        )
    inner = tokenizers.Tokenizer.from_str(tokenizer.source)
    inner.add_special_tokens([f"<|padding {i}|>" for i in range(tokenizer.vocab_size, size)])
    return SubwordTokenizer(inner.to_str(), FILE)


def write_tokenizer(tokenizer: Tokenizer, folder: Path) -> Manifest:
    """A corpus of no text in `folder`, so that the run finds its tokenizer there."""
    for name, content in tokenizer.files().items():
        write_text(folder / name, content)
    manifest = Manifest(
        content_sha256="",
        source=(),
        cut=None,
        validation=0.0,
        test=0.0,
        tokenizer=Vocabulary(tokenizer.name, tokenizer.fingerprint),
        vocab_size=tokenizer.vocab_size,
        eos=tokenizer.eos,
        dtype="<u2" if tokenizer.vocab_size <= 2**16 else "<u4",
        exact_bytes=True,
        splits={},
    ).without_text
    manifest.write(folder)
    return manifest
