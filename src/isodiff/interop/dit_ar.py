"""Autoregressive baselines with the network of MDLM: with a constant conditioning or without any.

Their head has a row for the mask too, whose logit is taken to be minus infinity.
"""

from __future__ import annotations

import torch

from isodiff.data.tokenizer import Tokenizer
from isodiff.interop.checkpoint import ForeignCheckpoint
from isodiff.interop.dit import MARKS, read_dit
from isodiff.interop.layout import Layout, ReadNetwork
from isodiff.interop.masks import mask_row, said_of_masks


def _read(checkpoint: ForeignCheckpoint, tokenizer: Tokenizer) -> ReadNetwork:
    checkpoint.only("time_conditioning", False)
    checkpoint.only("causal", True)
    checkpoint.ignore("block_size", "cross_attn", "sampling_eps_min", "sampling_eps_max")
    found, size = read_dit(checkpoint), tokenizer.vocab_size
    mask = mask_row(checkpoint, found.rows, tokenizer)
    first = checkpoint.setting("bos_token_id", tokenizer.eos)
    tokens = torch.arange(size)
    said = {
        **said_of_masks(mask, found.rows, size),
        "beginning": f"a text is shown after token {first}, which is not scored",
    }
    return found.network(
        {"name": "autoregressive"},
        said,
        states=torch.cat([tokens, torch.tensor([checkpoint.only("bos_token_id", first)])]),
        tokens=tokens,
        never=mask,
    )


DIT_AR = Layout(name="dit-ar", model_types=(), marks=MARKS, read=_read)
