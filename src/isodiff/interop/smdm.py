"""SMDM (arXiv 2410.18514): masked diffusion with the network of TinyLlama, and its autoregressive twins.

RMSNorm, SwiGLU, rotary positions; queries, keys and values are stored head by head. The embedding has one row
more than the head, the mask; in the twins it has none. Weights do not say the number of heads: config.json
has to (n_head).
"""

from __future__ import annotations

import torch

from isodiff.data.tokenizer import Tokenizer
from isodiff.errors import InputError
from isodiff.interop.causal import head_weights, vocabulary_rows
from isodiff.interop.checkpoint import ForeignCheckpoint
from isodiff.interop.layout import Layout, ReadNetwork
from isodiff.network.shape import Backbone, Shape


def _read(checkpoint: ForeignCheckpoint, tokenizer: Tokenizer) -> ReadNetwork:
    rows, width = checkpoint.shape("transformer.wte.weight")
    (tokens, _), size = checkpoint.shape("lm_head.weight"), tokenizer.vocab_size
    heads = checkpoint.whole("n_head")
    head = checkpoint.take("lm_head.weight", tokens, width)
    table = checkpoint.take("transformer.wte.weight", rows, width)
    if rows == tokens:
        embedding, said = vocabulary_rows(checkpoint, table, size)
        family = {"name": "autoregressive"}
    elif rows == tokens + 1 and size <= tokens:
        embedding, family = torch.cat([table[:size], table[tokens:]]), {"name": "masked"}
        said = {"vocabulary": f"{size} tokens", "mask": f"id {tokens}"}
    else:
        raise InputError(
            f"{checkpoint.name} has {rows} states and {tokens} tokens, the tokenizer {size}: wrong "
            "vocabulary; give its own with --tokenizer"
        )
    weights = {
        "embedding.weight": embedding,
        "norm.weight": checkpoint.take("transformer.ln_f.weight", width),
        **head_weights(head, size),
    }
    hidden = checkpoint.shape("transformer.h.0.mlp.swiglu.w1.weight")[0]
    depth = sum(key.endswith("norm_1.weight") for key in checkpoint.tensors)
    for i in range(depth):
        stem = f"transformer.h.{i}"
        qkv = checkpoint.take(f"{stem}.attn.attn.weight", 3 * width, width)
        gates = (checkpoint.take(f"{stem}.mlp.swiglu.w{k}.weight", hidden, width) for k in (1, 2))
        block = {
            "norm1.weight": checkpoint.take(f"{stem}.norm_1.weight", width),
            "qkv.weight": qkv.unflatten(0, (heads, 3, -1)).transpose(0, 1).flatten(0, 2),
            "out.weight": checkpoint.take(f"{stem}.attn.proj.weight", width, width),
            "norm2.weight": checkpoint.take(f"{stem}.norm_2.weight", width),
            "up.weight": torch.cat([*gates]),
            "down.weight": checkpoint.take(f"{stem}.mlp.swiglu.w3.weight", width, hidden),
        }
        weights |= {f"blocks.{i}.{name}": tensor.contiguous() for name, tensor in block.items()}
    return ReadNetwork(
        family=family,
        shape=Shape(depth=depth, width=width, heads=heads),
        backbone=Backbone(norm="rms", mlp="swiglu", mlp_hidden=hidden, norm_epsilon=1e-5),
        context=checkpoint.whole("block_size") if "block_size" in checkpoint.config else None,
        weights=weights,
        statements=said,
    )


SMDM = Layout(
    name="smdm",
    model_types=("smdm",),
    marks=(
        r"transformer\.wte\.weight",
        r"transformer\.h\.0\.attn\.attn\.weight",
        r"transformer\.h\.0\.mlp\.swiglu\.w1\.weight",
    ),
    read=_read,
)
