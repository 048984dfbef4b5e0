"""Tiny checkpoints of other programs with random weights, written to a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

BYTES = 257


def random_weights(model: nn.Module, seed: int = 0) -> nn.Module:
    """Nothing is zero or one, so that whatever may matter does."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def causal(kind: str, folder: Path, **settings: Any) -> nn.Module:
    """A model of the transformers library, saved as that saves them."""
    import transformers

    config = getattr(transformers, f"{kind}Config")(
        vocab_size=BYTES + 3, bos_token_id=256, eos_token_id=256, **settings
    )
    name = "GPT2LMHeadModel" if kind == "GPT2" else f"{kind}ForCausalLM"
    model = random_weights(getattr(transformers, name)(config))
    model.save_pretrained(folder)
    return model


def gpt2(folder: Path, **settings: Any) -> nn.Module:
    shape = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32}
    return causal("GPT2", folder, **shape | settings)


def llama(folder: Path, kind: str = "Llama", **settings: Any) -> nn.Module:
    shape = {"hidden_size": 32, "intermediate_size": 24, "num_hidden_layers": 2}
    shape |= {"num_attention_heads": 4, "num_key_value_heads": 4, "max_position_embeddings": 64}
    return causal(kind, folder, **shape | settings)


def saved(folder: Path, tensors: dict[str, Tensor], config: dict[str, Any] | None) -> Path:
    """safetensors and config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {key: one.clone().contiguous() for key, one in tensors.items()},
        folder / "model.safetensors",
    )
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return folder


def dit(
    rows: int = BYTES + 1,
    *,
    width: int = 128,
    condition: int | None = 128,
    stem: str = "backbone.",
    heads: int | None = None,
) -> dict[str, Tensor]:
    """Tensors of the network of MDLM in the order of its parameters; `heads` for the table of rotations."""
    shapes: dict[str, tuple[int, ...]] = {"vocab_embed.embedding": (rows, width)}
    c = condition or 0
    if condition is not None:
        for number, enters in ((0, 256), (2, c)):
            shapes |= {
                f"sigma_map.mlp.{number}.weight": (c, enters),
                f"sigma_map.mlp.{number}.bias": (c,),
            }
    for i in range(2):
        shapes |= {
            f"blocks.{i}.norm1.weight": (width,),
            f"blocks.{i}.attn_qkv.weight": (3 * width, width),
            f"blocks.{i}.attn_out.weight": (width, width),
            f"blocks.{i}.norm2.weight": (width,),
            f"blocks.{i}.mlp.0.weight": (4 * width, width),
            f"blocks.{i}.mlp.0.bias": (4 * width,),
            f"blocks.{i}.mlp.2.weight": (width, 4 * width),
            f"blocks.{i}.mlp.2.bias": (width,),
        } | adaln(f"blocks.{i}.", 6 * width, condition)
    shapes |= {
        "output_layer.norm_final.weight": (width,),
        "output_layer.linear.weight": (rows, width),
        "output_layer.linear.bias": (rows,),
    } | adaln("output_layer.", 2 * width, condition)
    found = drawn({f"{stem}{key}": shape for key, shape in shapes.items()})
    if heads is not None:
        half = width // heads // 2
        found[f"{stem}rotary_emb.inv_freq"] = 10_000.0 ** -(torch.arange(half) / half)
    return found


def adaln(stem: str, leaves: int, condition: int | None) -> dict[str, tuple[int, ...]]:
    if condition is None:
        return {}
    name = f"{stem}adaLN_modulation"
    return {f"{name}.weight": (leaves, condition), f"{name}.bias": (leaves,)}


def smdm(states: int = BYTES + 1, *, width: int = 32, hidden: int = 40) -> dict[str, Tensor]:
    """Tensors of SMDM's network; a twin has as many states as tokens."""
    shapes: dict[str, tuple[int, ...]] = {"lm_head.weight": (BYTES, width)}
    shapes["transformer.wte.weight"] = (states, width)
    for i in range(2):
        stem = f"transformer.h.{i}"
        shapes |= {
            f"{stem}.norm_1.weight": (width,),
            f"{stem}.attn.attn.weight": (3 * width, width),
            f"{stem}.attn.proj.weight": (width, width),
            f"{stem}.norm_2.weight": (width,),
            f"{stem}.mlp.swiglu.w1.weight": (hidden, width),
            f"{stem}.mlp.swiglu.w2.weight": (hidden, width),
            f"{stem}.mlp.swiglu.w3.weight": (width, hidden),
        }
    return drawn(shapes | {"transformer.ln_f.weight": (width,)})


def drawn(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, Tensor]:
    """Entries of the size that keeps a vector's length."""
    rng = torch.Generator().manual_seed(seed)
    return {
        key: torch.randn(shape, generator=rng) * (shape[-1] ** -0.5 if len(shape) > 1 else 0.3)
        for key, shape in shapes.items()
    }
