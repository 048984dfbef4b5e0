"""Eso-LM (arXiv 2506.01928): the network of MDLM, causal over the tokens in the order of their decision.

Weights do not say the share of diffusion nor the variant of attention: config.json has to.
"""

from __future__ import annotations

from isodiff.data.tokenizer import Tokenizer
from isodiff.interop.checkpoint import ForeignCheckpoint
from isodiff.interop.dit import MARKS, read_dit
from isodiff.interop.layout import Layout, ReadNetwork
from isodiff.interop.masks import mask_row, said_of_masks, states_and_tokens


def _read(checkpoint: ForeignCheckpoint, tokenizer: Tokenizer) -> ReadNetwork:
    checkpoint.only("time_conditioning", False)
    checkpoint.ignore("causal")
    family = {
        "name": "interpolating",
        "alpha_0": float(checkpoint.setting("alpha_0")),
        "variant": checkpoint.setting("variant"),
    }
    found, size = read_dit(checkpoint), tokenizer.vocab_size
    mask = mask_row(checkpoint, found.rows, tokenizer)
    states, tokens = states_and_tokens(mask, size)
    order = f"alpha_0 {family['alpha_0']:g}, variant {family['variant']}"
    said = {**said_of_masks(mask, found.rows, size), "order": order}
    return found.network(family, said, states=states, tokens=tokens, never=mask)


ESOLM = Layout(name="esolm", model_types=("esolm",), marks=MARKS, read=_read)
