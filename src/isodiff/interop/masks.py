"""Which row of a checkpoint is the mask, and which are tokens."""

from __future__ import annotations

import torch
from torch import Tensor

from isodiff.data.subword import SubwordTokenizer
from isodiff.data.tokenizer import Tokenizer
from isodiff.errors import InputError
from isodiff.interop.checkpoint import ForeignCheckpoint


def mask_row(checkpoint: ForeignCheckpoint, rows: int, tokenizer: Tokenizer) -> int:
    """The row of the mask: what config.json says, the one after all tokens, or the tokenizer's `[MASK]`.

    Raises:
        InputError: the tokenizer has more tokens than there are rows, or no row is known to be the mask.
    """
    size = tokenizer.vocab_size
    if size > rows:
        raise InputError(
            f"{checkpoint.name} knows {rows} ids, the tokenizer has {size}: wrong vocabulary; give its own "
            "with --tokenizer"
        )
    if "mask_token_id" in checkpoint.config:
        found = checkpoint.config["mask_token_id"]
        return checkpoint.only("mask_token_id", *([found] if found in range(rows) else range(rows)))
    if rows == size + 1:
        return size
    own = tokenizer.inner.token_to_id("[MASK]") if isinstance(tokenizer, SubwordTokenizer) else None
    if rows == size and own is not None:
        return own
    raise InputError(
        f"{checkpoint.name} has {rows} ids for {size} tokens, and which of them is the mask is not said; "
        "give the right --tokenizer, or put mask_token_id into a config.json beside the weights"
    )


def states_and_tokens(mask: int, size: int) -> tuple[Tensor, Tensor]:
    """Rows of the states (the mask last) and of the tokens of a masked model."""
    tokens = torch.arange(size)
    return torch.cat([tokens, torch.tensor([mask])]), tokens


def said_of_masks(mask: int, rows: int, size: int) -> dict[str, str]:
    """The statements."""
    inside = ", a token that is never predicted" if mask < size else ""
    said = {"vocabulary": f"{size} tokens", "mask": f"id {mask}{inside}"}
    unused = rows - size - (mask >= size)
    if unused:
        said["padding"] = f"{unused} rows of ids without a token are dropped"
    return said
