"""The diffusion transformer that MDLM, Duo, BD3-LM, Eso-LM and the scaling study share.

`Backbone(adaln=True, mlp="gelu_tanh")` here. Weights say all sizes but the number of heads, which
`rotary_emb.inv_freq` gives, or config.json. Without a noise level its conditioning is that of sigma = 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from isodiff.errors import InputError
from isodiff.interop.checkpoint import ForeignCheckpoint
from isodiff.interop.layout import ReadNetwork
from isodiff.network.shape import Backbone, Shape

MARKS = tuple(
    rf"(backbone\.)?{key}"
    for key in (
        r"vocab_embed\.embedding",
        r"blocks\.0\.attn_qkv\.weight",
        r"output_layer\.linear\.weight",
    )
)
"""Of every layout with this network: which of them it is, keys do not say."""
_NEVER = -1e6
"""The logit of what is never predicted."""
_FREQUENCIES = 128  # sinusoids of the noise level, whatever the width of the conditioning
_BLOCK = {
    # ours: theirs
    "norm1.weight": "norm1.weight",
    "qkv.weight": "attn_qkv.weight",
    "out.weight": "attn_out.weight",
    "norm2.weight": "norm2.weight",
    "up.weight": "mlp.0.weight",
    "up.bias": "mlp.0.bias",
    "down.weight": "mlp.2.weight",
    "down.bias": "mlp.2.bias",
}


@dataclass(frozen=True, slots=True)
class _DiT:
    """Its parts, with a row of the embedding and of the head for every one of its R ids."""

    shape: Shape
    backbone: Backbone
    context: int | None
    embedding: Float[Tensor, "R D"]
    head: Float[Tensor, "R D"]
    bias: Float[Tensor, " R"]
    weights: Mapping[str, Tensor]

    @property
    def rows(self) -> int:
        """R."""
        return len(self.embedding)

    def network(
        self,
        family: Mapping[str, Any],
        statements: Mapping[str, str],
        *,
        states: Tensor,
        tokens: Tensor,
        never: int | None = None,
    ) -> ReadNetwork:
        """With these rows as its states and these as what it predicts, `never` excepted.

        Args:
            states: row of each state, int [S].
            tokens: row of each token, int [V].
            never: a row that is no prediction, though it is among the tokens.
        """
        head, bias = self.head[tokens], self.bias[tokens]
        if never is not None:
            head[tokens == never], bias[tokens == never] = 0.0, _NEVER
        own = {"embedding.weight": self.embedding[states], "head.weight": head, "head.bias": bias}
        return ReadNetwork(
            family=family,
            shape=self.shape,
            backbone=self.backbone,
            context=self.context,
            weights={**self.weights, **own},
            statements=statements,
        )


def rows_of(checkpoint: ForeignCheckpoint) -> int:
    """R: ids that the embedding has."""
    return checkpoint.shape(f"{_stem(checkpoint)}vocab_embed.embedding")[0]


def read_dit(checkpoint: ForeignCheckpoint, *, timed: bool = False) -> _DiT:
    """Take everything; `timed` where it is shown the noise level.

    Raises:
        InputError: something is missing, or of another size than the rest.
    """
    stem = _stem(checkpoint)
    rows, width = checkpoint.shape(f"{stem}vocab_embed.embedding")
    numbers = [
        int(key.removeprefix(f"{stem}blocks.").partition(".")[0])
        for key in checkpoint.tensors
        if key.startswith(f"{stem}blocks.")
    ]
    depth, condition = 1 + max(numbers), None
    if f"{stem}sigma_map.mlp.2.weight" in checkpoint:
        condition = checkpoint.shape(f"{stem}sigma_map.mlp.2.weight")[0]
    elif timed:
        raise InputError(f"{checkpoint.name} lacks {stem}sigma_map: it is not shown a noise level")
    _check_settings(checkpoint, rows=rows, width=width, depth=depth, condition=condition)
    weights = (
        {} if condition is None else _conditioning(checkpoint, stem, width, condition, timed=timed)
    )
    sizes = {"qkv": (3 * width, width), "out": (width, width)}
    sizes |= {"up": (4 * width, width), "down": (width, 4 * width)}
    for i in range(depth):
        block = f"{stem}blocks.{i}"
        for ours, theirs in _BLOCK.items():
            layer, _, kind = ours.partition(".")
            size = sizes.get(layer, (width,))
            shape = size if kind == "weight" else size[:1]
            weights[f"blocks.{i}.{ours}"] = checkpoint.take(f"{block}.{theirs}", *shape)
        if condition is not None:
            for kind, shape in (("weight", (6 * width, condition)), ("bias", (6 * width,))):
                theirs = f"{block}.adaLN_modulation.{kind}"
                weights[f"blocks.{i}.modulation.{kind}"] = checkpoint.take(theirs, *shape)
    last = f"{stem}output_layer"
    weights["norm.weight"] = checkpoint.take(f"{last}.norm_final.weight", width)
    return _DiT(
        shape=Shape(depth=depth, width=width, heads=_heads(checkpoint, width)),
        backbone=Backbone(
            mlp="gelu_tanh",
            adaln=condition is not None,
            condition_width=condition or Backbone().condition_width,
        ),
        context=checkpoint.whole("model_length") if "model_length" in checkpoint.config else None,
        embedding=checkpoint.take(f"{stem}vocab_embed.embedding", rows, width),
        head=checkpoint.take(f"{last}.linear.weight", rows, width),
        bias=checkpoint.take(f"{last}.linear.bias", rows),
        weights=weights,
    )


def _stem(checkpoint: ForeignCheckpoint) -> str:
    return "backbone." if "backbone.vocab_embed.embedding" in checkpoint else ""


def _check_settings(
    checkpoint: ForeignCheckpoint, *, rows: int, width: int, depth: int, condition: int | None
) -> None:
    """That config.json, where there is one, speaks of these weights."""
    checkpoint.only("vocab_size", rows)
    checkpoint.only("hidden_dim", width)
    checkpoint.only("n_blocks", depth)
    if condition is None:
        checkpoint.ignore("cond_dim")
    else:
        checkpoint.only("cond_dim", condition)
    checkpoint.ignore("attn_backend", "var_min", "adaln", "tie_word_embeddings")
    if condition is not None and condition > width:
        raise InputError(f"{checkpoint.name}: cond_dim {condition} exceeds hidden_dim {width}")


def _heads(checkpoint: ForeignCheckpoint, width: int) -> int:
    """Of half as many frequencies as a head is wide; or else what config.json says."""
    tables = [t for key, t in checkpoint.buffers.items() if key.endswith("rotary_emb.inv_freq")]
    if not tables:
        return checkpoint.whole("n_heads")
    (frequencies,) = tables
    half = len(frequencies)
    usual = 10_000.0 ** -(torch.arange(half, dtype=torch.float64) / half)
    if width % (2 * half) or not torch.allclose(frequencies.double(), usual, rtol=1e-2):
        raise InputError(f"{checkpoint.name}: rotary_emb.inv_freq is not that of base 10000")
    return checkpoint.only("n_heads", width // (2 * half))


def _conditioning(
    checkpoint: ForeignCheckpoint, stem: str, width: int, condition: int, *, timed: bool
) -> dict[str, Tensor]:
    """What turns the noise level into a vector, and what that does to the last norm.

    Ours has as many sinusoids as the vector has entries. Where that is not 128, a constant level is added up.
    """
    first = checkpoint.take(f"{stem}sigma_map.mlp.0.weight", condition, 2 * _FREQUENCIES)
    bias = checkpoint.take(f"{stem}sigma_map.mlp.0.bias", condition)
    if condition != _FREQUENCIES:
        if timed:
            raise InputError(
                f"{checkpoint.name}: cond_dim is {condition}; of models that are shown the noise level, "
                f"{_FREQUENCIES} is understood"
            )
        bias = bias + first[:, :_FREQUENCIES].sum(1)  # cosines of 0; its sines are 0
        first = torch.zeros(condition, 2 * condition)
    last = f"{stem}output_layer.adaLN_modulation"
    return {
        "noise_level.first.weight": first,
        "noise_level.first.bias": bias,
        "noise_level.second.weight": checkpoint.take(
            f"{stem}sigma_map.mlp.2.weight", condition, condition
        ),
        "noise_level.second.bias": checkpoint.take(f"{stem}sigma_map.mlp.2.bias", condition),
        "modulation.weight": checkpoint.take(f"{last}.weight", 2 * width, condition),
        "modulation.bias": checkpoint.take(f"{last}.bias", 2 * width),
    }
