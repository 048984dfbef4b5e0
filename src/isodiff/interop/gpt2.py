"""GPT-2 (Radford et al., 2019) as the `transformers` library writes it.

Matrices are stored (in, out); everything has a bias but the head, which is the embedding.
"""

from __future__ import annotations

from isodiff.data.tokenizer import Tokenizer
from isodiff.interop.causal import head_of, head_weights, vocabulary_rows
from isodiff.interop.checkpoint import ForeignCheckpoint
from isodiff.interop.layout import Layout, ReadNetwork
from isodiff.network.shape import Backbone, Shape

_MLP = {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu": "gelu"}
_BLOCK = {
    # ours: (theirs, whether it is stored the other way around)
    "norm1.weight": ("ln_1.weight", False),
    "norm1.bias": ("ln_1.bias", False),
    "qkv.weight": ("attn.c_attn.weight", True),
    "qkv.bias": ("attn.c_attn.bias", False),
    "out.weight": ("attn.c_proj.weight", True),
    "out.bias": ("attn.c_proj.bias", False),
    "norm2.weight": ("ln_2.weight", False),
    "norm2.bias": ("ln_2.bias", False),
    "up.weight": ("mlp.c_fc.weight", True),
    "up.bias": ("mlp.c_fc.bias", False),
    "down.weight": ("mlp.c_proj.weight", True),
    "down.bias": ("mlp.c_proj.bias", False),
}


def _read(checkpoint: ForeignCheckpoint, tokenizer: Tokenizer) -> ReadNetwork:
    vocab_size = tokenizer.vocab_size
    width, depth = checkpoint.whole("n_embd"), checkpoint.whole("n_layer")
    hidden = checkpoint.whole("n_inner", 4 * width)
    context, rows = checkpoint.whole("n_positions"), checkpoint.whole("vocab_size")
    checkpoint.only("scale_attn_weights", True)
    checkpoint.only("scale_attn_by_inverse_layer_idx", False)
    checkpoint.only("add_cross_attention", False)
    checkpoint.ignore("reorder_and_upcast_attn")
    tied = checkpoint.only("tie_word_embeddings", True, False)
    backbone = Backbone(
        mlp=_MLP[checkpoint.only("activation_function", *_MLP)],  # type: ignore[arg-type]
        tied=tied,
        biased=True,
        learned_positions=context,
        mlp_hidden=0 if hidden == 4 * width else hidden,
        norm_epsilon=_unless_usual(float(checkpoint.setting("layer_norm_epsilon", 1e-5))),
    )
    stem = "transformer." if "transformer.wte.weight" in checkpoint else ""
    table = checkpoint.take(f"{stem}wte.weight", rows, width)
    embedding, statements = vocabulary_rows(checkpoint, table, vocab_size)
    weights = {
        "embedding.weight": embedding,
        "positions.weight": checkpoint.take(f"{stem}wpe.weight", context, width),
        "norm.weight": checkpoint.take(f"{stem}ln_f.weight", width),
        "norm.bias": checkpoint.take(f"{stem}ln_f.bias", width),
    }
    sizes = {"qkv": (width, 3 * width), "out": (width, width)}
    sizes |= {"up": (width, hidden), "down": (hidden, width)}
    for i in range(depth):
        for ours, (theirs, turned) in _BLOCK.items():
            enters, leaves = sizes.get(ours.partition(".")[0], (width, width))
            shape = (enters, leaves) if turned else (leaves,)
            found = checkpoint.take(f"{stem}h.{i}.{theirs}", *shape)
            weights[f"blocks.{i}.{ours}"] = found.T.contiguous() if turned else found
    weights |= head_weights(head_of(checkpoint, table, tied=tied), vocab_size)
    return ReadNetwork(
        family={"name": "autoregressive"},
        shape=Shape(depth=depth, width=width, heads=checkpoint.whole("n_head")),
        backbone=backbone,
        context=context,
        weights=weights,
        statements=statements,
    )


def _unless_usual(epsilon: float) -> float | None:
    return None if epsilon == 1e-5 else epsilon


GPT2 = Layout(
    name="gpt2",
    model_types=("gpt2",),
    marks=(r"(transformer\.)?wte\.weight", r"(transformer\.)?h\.0\.attn\.c_attn\.weight"),
    read=_read,
)
