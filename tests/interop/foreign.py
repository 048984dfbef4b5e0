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
