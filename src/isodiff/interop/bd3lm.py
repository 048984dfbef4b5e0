"""BD3-LM (arXiv 2503.09573): the network of MDLM, shown a noisy and a clean copy of the text in blocks."""

from __future__ import annotations

from isodiff.data.tokenizer import Tokenizer
from isodiff.interop.checkpoint import ForeignCheckpoint
from isodiff.interop.dit import MARKS, read_dit
from isodiff.interop.layout import Layout, ReadNetwork
from isodiff.interop.masks import mask_row, said_of_masks, states_and_tokens

_RANGE = ("sampling_eps_min", "sampling_eps_max")


def _read(checkpoint: ForeignCheckpoint, tokenizer: Tokenizer) -> ReadNetwork:
    checkpoint.only("time_conditioning", False)
    checkpoint.only("causal", False)
    checkpoint.only("cross_attn", True)
    checkpoint.ignore(*_RANGE)
    for key in _RANGE:  # noise levels of its training; a bound has all of them
        checkpoint.tensors.pop(key, None)
    block = checkpoint.whole("block_size")
    found, size = read_dit(checkpoint), tokenizer.vocab_size
    mask = mask_row(checkpoint, found.rows, tokenizer)
    states, tokens = states_and_tokens(mask, size)
    said = {**said_of_masks(mask, found.rows, size), "blocks": f"of {block} tokens"}
    family = {"name": "block", "block_size": block}
    return found.network(family, said, states=states, tokens=tokens, never=mask)


BD3LM = Layout(name="bd3lm", model_types=("bd3lm",), marks=MARKS, read=_read)
