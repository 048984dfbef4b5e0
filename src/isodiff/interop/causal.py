"""What causal language models of the `transformers` library have in common: their vocabulary's ends."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from isodiff.errors import InputError, shown
from isodiff.interop.checkpoint import ForeignCheckpoint


def vocabulary_rows(
    checkpoint: ForeignCheckpoint, table: Float[Tensor, "R D"], vocab_size: int
) -> tuple[Float[Tensor, "S D"], dict[str, str]]:
    """The rows of V tokens and of the beginning of a sequence, from those of a checkpoint; and what was done.

    A sequence begins with the token that the checkpoint begins with, or else with the one that ends a
    document: after that its training texts began.

    Raises:
        InputError: it has fewer rows than tokens, or says neither how texts begin nor how they end.
    """
    rows = len(table)
    if rows < vocab_size:
        raise InputError(
            f"{checkpoint.name} knows {rows} tokens, the tokenizer has {vocab_size}: wrong vocabulary; give "
            "its own with --tokenizer"
        )
    statements = {"vocabulary": f"{vocab_size} tokens"}
    if rows > vocab_size:
        statements["padding"] = (
            f"{rows - vocab_size} rows of ids without a token are dropped, so that probabilities are given "
            "that the next is a token"
        )
    beginning, end = _token(checkpoint, "bos_token_id"), _token(checkpoint, "eos_token_id")
    first = end if beginning is None else beginning
    if first is None:
        raise InputError(
            f"{checkpoint.name}: config.json has neither bos_token_id nor eos_token_id; it has to say how a "
            "text begins"
        )
    if first >= rows:
        raise InputError(f"{checkpoint.name}: a text begins with token {first}, of {rows}")
    what = "eos_token_id, for want of a bos_token_id" if beginning is None else "bos_token_id"
    statements["beginning"] = f"a text is shown after token {first} ({what}), which is not scored"
    if end is not None:
        statements["end"] = f"the checkpoint's own is token {end}"
    return torch.cat([table[:vocab_size], table[first : first + 1]]), statements


def _token(checkpoint: ForeignCheckpoint, key: str) -> int | None:
    """A token's id; the first where there are several."""
    found = checkpoint.setting(key, None)
    found = found[0] if isinstance(found, list) and found else found
    if found is None or (isinstance(found, int) and not isinstance(found, bool) and found >= 0):
        return found
    raise InputError(f"{checkpoint.name}: config.json has {key} {shown(found)}, no token")


def head_of(
    checkpoint: ForeignCheckpoint, table: Float[Tensor, "R D"], *, tied: bool
) -> Float[Tensor, "R D"] | None:
    """The matrix of the vocabulary head; None where it is the embedding."""
    key = "lm_head.weight"
    if tied:
        if key in checkpoint and not checkpoint.same(key, table):
            raise InputError(f"{checkpoint.name}: {key} differs from the embedding it is tied to")
        return None
    return checkpoint.take(key, *table.shape)


def head_weights(head: Float[Tensor, "R D"] | None, vocab_size: int) -> dict[str, Tensor]:
    """Those of an untied head without a bias."""
    if head is None:
        return {}
    return {"head.weight": head[:vocab_size], "head.bias": torch.zeros(vocab_size)}
