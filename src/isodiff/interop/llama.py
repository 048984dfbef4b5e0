"""Llama, and what is laid out like it: Qwen 2, Mistral. RMSNorm, SwiGLU, rotary positions, grouped queries.

Keys and values that a group of heads shares are written out for each of its heads, which is the same function
of more parameters. Rotations are of the first half of a head against the second, as here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from isodiff.data.tokenizer import Tokenizer
from isodiff.errors import InputError, shown
from isodiff.interop.causal import head_of, head_weights, vocabulary_rows
from isodiff.interop.checkpoint import ForeignCheckpoint
from isodiff.interop.layout import Layout, ReadNetwork
from isodiff.network.shape import Backbone, Shape

_QWEN, _FULL = "qwen2", "full_attention"


@dataclass(frozen=True, slots=True)
class _Attention:
    """Sizes of the projections of attention, and which of them have biases."""

    width: int
    heads: int
    groups: int
    biased: bool
    out_biased: bool

    def read(self, checkpoint: ForeignCheckpoint, stem: str) -> dict[str, Tensor]:
        """Queries, keys and values of every head, and the way out."""
        few = self.width // self.heads * self.groups
        sizes = {"q": self.width, "k": few, "v": few}
        names = {name: f"{stem}.{name}_proj" for name in (*sizes, "o")}
        found = {
            "qkv.weight": torch.cat(
                [
                    self.for_every_head(checkpoint.take(f"{names[x]}.weight", n, self.width))
                    for x, n in sizes.items()
                ]
            ),
            "out.weight": checkpoint.take(f"{names['o']}.weight", self.width, self.width),
        }
        if self.biased:
            found["qkv.bias"] = torch.cat(
                [
                    self.for_every_head(checkpoint.take(f"{names[x]}.bias", n))
                    for x, n in sizes.items()
                ]
            )
            found["out.bias"] = torch.zeros(self.width)
        if self.out_biased:
            found["out.bias"] = checkpoint.take(f"{names['o']}.bias", self.width)
        return found

    def for_every_head(self, rows: Tensor) -> Tensor:
        """The rows of groups, repeated for each head of a group; those of all heads as they are."""
        if len(rows) == self.width:
            return rows
        by_group = rows.unflatten(0, (self.groups, -1))
        return by_group.repeat_interleave(self.heads // self.groups, 0).flatten(0, 1)


def _read(checkpoint: ForeignCheckpoint, tokenizer: Tokenizer) -> ReadNetwork:
    vocab_size = tokenizer.vocab_size
    width, depth = checkpoint.whole("hidden_size"), checkpoint.whole("num_hidden_layers")
    hidden, rows = checkpoint.whole("intermediate_size"), checkpoint.whole("vocab_size")
    checkpoint.only("hidden_act", "silu")
    checkpoint.only("mlp_bias", False)
    checkpoint.only("use_mrope", False)
    checkpoint.only("rope_interleaved", False)
    checkpoint.ignore("is_llama_config")
    tied = checkpoint.only("tie_word_embeddings", False, True)
    attention = _attention(checkpoint, width)
    context, statements = _context(checkpoint)
    epsilon = float(checkpoint.setting("rms_norm_eps", 1e-6))
    table = checkpoint.take("model.embed_tokens.weight", rows, width)
    embedding, of_vocabulary = vocabulary_rows(checkpoint, table, vocab_size)
    weights = {
        "embedding.weight": embedding,
        "norm.weight": checkpoint.take("model.norm.weight", width),
    }
    for i in range(depth):
        stem = f"model.layers.{i}"
        mlp = (
            checkpoint.take(f"{stem}.mlp.{x}_proj.weight", hidden, width) for x in ("gate", "up")
        )
        block = {
            "norm1.weight": checkpoint.take(f"{stem}.input_layernorm.weight", width),
            **attention.read(checkpoint, f"{stem}.self_attn"),
            "norm2.weight": checkpoint.take(f"{stem}.post_attention_layernorm.weight", width),
            "up.weight": torch.cat([*mlp]),
            "down.weight": checkpoint.take(f"{stem}.mlp.down_proj.weight", width, hidden),
        }
        weights |= {f"blocks.{i}.{name}": tensor for name, tensor in block.items()}
    weights |= head_weights(head_of(checkpoint, table, tied=tied), vocab_size)
    if attention.groups < attention.heads:
        statements["groups"] = (
            f"keys and values of {attention.groups} heads are written out for {attention.heads}: more "
            "parameters and FLOPs than the checkpoint has"
        )
    return ReadNetwork(
        family={"name": "autoregressive"},
        shape=Shape(depth=depth, width=width, heads=attention.heads),
        backbone=Backbone(
            norm="rms",
            mlp="swiglu",
            tied=tied,
            biased=attention.biased,
            rotary_base=_rotary_base(checkpoint),
            mlp_hidden=hidden,
            norm_epsilon=None if epsilon == 1e-6 else epsilon,
        ),
        context=context,
        weights=weights,
        statements=of_vocabulary | statements,
    )


def _attention(checkpoint: ForeignCheckpoint, width: int) -> _Attention:
    """Its sizes: as many queries as the width, in heads that groups of the same size share."""
    heads = checkpoint.whole("num_attention_heads")
    groups = checkpoint.whole("num_key_value_heads", heads)
    head = checkpoint.whole("head_dim", max(1, width // heads))
    if heads % groups or head * heads != width:
        raise InputError(
            f"{checkpoint.name}: config.json has num_attention_heads {heads}, num_key_value_heads {groups}, "
            f"head_dim {head} and hidden_size {width}, which is not understood together"
        )
    said = checkpoint.only("attention_bias", False, True)
    qwen = checkpoint.config.get("model_type") == _QWEN  # biased, but for the way out
    return _Attention(width, heads, groups, biased=said or qwen, out_biased=said)


def _context(checkpoint: ForeignCheckpoint) -> tuple[int, dict[str, str]]:
    """What it reads at most: no more than a window that slides, within which it sees everything."""
    context = checkpoint.whole("max_position_embeddings")
    qwen = checkpoint.config.get("model_type") == _QWEN
    checkpoint.only("use_sliding_window", False)
    kinds = checkpoint.setting("layer_types", [])
    if not isinstance(kinds, list) or set(kinds) - {_FULL}:
        raise InputError(
            f"{checkpoint.name}: config.json has layer_types {shown(kinds)}, not {_FULL}"
        )
    checkpoint.ignore("max_window_layers")
    window = checkpoint.setting("sliding_window", None)
    if window is None or qwen or checkpoint.whole("sliding_window") >= context:
        return context, {}
    return window, {"sliding window": f"of {window} tokens; longer texts are not read"}


def _rotary_base(checkpoint: ForeignCheckpoint) -> float:
    """Slowest rotation; any scaling of positions is refused."""
    base = checkpoint.setting("rope_theta", None)
    for key in ("rope_parameters", "rope_scaling"):
        said = checkpoint.setting(key, {})
        kind = (
            said.get("rope_type", said.get("type", "default")) if isinstance(said, dict) else said
        )
        if kind != "default" or set(said) - {"rope_type", "type", "rope_theta"}:
            raise InputError(
                f"{checkpoint.name}: config.json has {key} {shown(said)}: not understood"
            )
        base = said.get("rope_theta", base)
    return 10_000.0 if base is None else float(base)


LLAMA = Layout(
    name="llama",
    model_types=("llama", "mistral", _QWEN),
    marks=(
        r"model\.embed_tokens\.weight",
        r"model\.layers\.0\.self_attn\.q_proj\.weight",
        r"model\.layers\.0\.mlp\.gate_proj\.weight",
        r"model\.norm\.weight",
    ),
    read=_read,
)
