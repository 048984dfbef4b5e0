"""MDLM (arXiv 2406.07524), of its own code, of the Hub, and of the scaling study (arXiv 2602.15014).

Its network has a row for the mask in the head, whose logit is taken to be minus infinity: the row is dropped.
"""

from __future__ import annotations

from isodiff.data.tokenizer import Tokenizer
from isodiff.interop.checkpoint import ForeignCheckpoint
from isodiff.interop.dit import MARKS, read_dit
from isodiff.interop.layout import Layout, ReadNetwork
from isodiff.interop.masks import mask_row, said_of_masks, states_and_tokens


def _read(checkpoint: ForeignCheckpoint, tokenizer: Tokenizer) -> ReadNetwork:
    checkpoint.only("time_conditioning", False)
    checkpoint.only("causal", False)
    found, size = read_dit(checkpoint), tokenizer.vocab_size
    mask = mask_row(checkpoint, found.rows, tokenizer)
    states, tokens = states_and_tokens(mask, size)
    said = said_of_masks(mask, found.rows, size)
    family = {"name": "masked"}
    return found.network(family, said, states=states, tokens=tokens, never=mask)


MDLM = Layout(name="mdlm", model_types=("mdlm",), marks=MARKS, read=_read)
