"""Causal models of the transformers library, read as runs: the same log-probabilities, to 1e-5."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import foreign
import pytest
import torch
from torch import nn

from isodiff.errors import InputError
from isodiff.interop.importing import import_checkpoint
from isodiff.record import Record
from isodiff.runs.build import load
from isodiff.runs.spec import Validation

pytest.importorskip("transformers")
BASE = {"rope_theta": 1e3, "rope_type": "default"}
GPT2 = {
    "as usual": {},
    "untied": {"tie_word_embeddings": False},
    "another MLP": {"n_inner": 24, "activation_function": "gelu", "layer_norm_epsilon": 1e-2},
}
LLAMA = {
    "Llama": ("Llama", {}),
    "grouped and tied": ("Llama", {"num_key_value_heads": 2, "tie_word_embeddings": True}),
    "one group": ("Llama", {"num_key_value_heads": 1, "rms_norm_eps": 1e-2}),
    "biased": ("Llama", {"attention_bias": True}),
    "Qwen 2": ("Qwen2", {"num_key_value_heads": 2, "rope_parameters": BASE}),
    "Mistral": ("Mistral", {"num_key_value_heads": 2, "sliding_window": 32}),
}


def imported(source: Path, **options: Any) -> Record:
    out = source.with_name(f"{source.name}-run")
    return import_checkpoint(
        str(source), out, tokenizer="bytes", validation=Validation(), **options
    )


def ours_and_theirs(folder: Path, model: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities of every token of some texts, by the run and by the model it is read from."""
    run = load(folder.with_name(f"{folder.name}-run"))
    x = torch.randint(foreign.BYTES, (3, 32), generator=torch.Generator().manual_seed(1))
    shown = torch.cat([torch.full((3, 1), 256), x[:, :-1]], 1)
    with torch.no_grad():
        ours = run.network(run.family.view(x)).log_probs().unflatten(0, x.shape)
        theirs = model(shown).logits[..., : foreign.BYTES].log_softmax(-1)
    return ours, theirs


@pytest.mark.parametrize("settings", GPT2.values(), ids=GPT2)
def test_gpt2(settings, tmp_path):
    model = foreign.gpt2(tmp_path / "gpt2", **settings)
    record = imported(tmp_path / "gpt2")
    ours, theirs = ours_and_theirs(tmp_path / "gpt2", model)
    assert float((ours - theirs).abs().max()) < 1e-5
    assert record.spec.imported.layout == "gpt2" and record.spec.imported.context == 32
    assert record.spec.imported.parameters == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(("kind", "settings"), LLAMA.values(), ids=LLAMA)
def test_llama(kind, settings, tmp_path):
    model = foreign.llama(tmp_path / "llama", kind, **settings)
    record = imported(tmp_path / "llama", length=32)
    ours, theirs = ours_and_theirs(tmp_path / "llama", model)
    assert float((ours - theirs).abs().max()) < 1e-5
    said = record.spec.imported
    assert said.layout == "llama" and said.context == (32 if kind == "Mistral" else 64)
    assert ("groups" in said.statements) == ("num_key_value_heads" in settings)
    assert said.parameters == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "has rope_scaling {'rope_type'"),
        (
            {"rope_parameters": {"rope_type": "default", "factor": 8.0}},
            "has rope_parameters {'rope",
        ),
        ({"head_dim": 16}, "head_dim 16 and hidden_size 32, which is not understood together"),
        ({"mlp_bias": True}, "has mlp_bias True, which is not understood; known: False"),
        ({"layer_types": ["sliding_attention"]}, "has layer_types ['sliding_attention']"),
        ({"use_sliding_window": True}, "has use_sliding_window True"),
    ],
)
def test_what_a_llama_may_not_be(settings, words, tmp_path):
    foreign.llama(tmp_path / "llama", "Llama")
    config = tmp_path / "llama" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | settings))
    with pytest.raises(InputError, match=re.escape(words)):
        imported(tmp_path / "llama")


def test_the_record_says_what_was_read(tmp_path):
    foreign.gpt2(tmp_path / "gpt2")
    said = imported(tmp_path / "gpt2", tokens=10**6).spec.imported
    assert said.source == "gpt2" and said.training_tokens == 10**6
    assert said.statements == {
        "tokenizer": "bytes; documents end with token 256",
        "vocabulary": "257 tokens",
        "padding": "3 rows of ids without a token are dropped, so that probabilities are given that the "
        "next is a token",
        "beginning": "a text is shown after token 256 (bos_token_id), which is not scored",
        "end": "the checkpoint's own is token 256",
        "context": "32 tokens, in windows of 32",
    }


def test_beyond_its_positions_there_is_nothing(tmp_path):
    foreign.gpt2(tmp_path / "gpt2")
    imported(tmp_path / "gpt2")
    run = load(tmp_path / "gpt2-run")
    with pytest.raises(InputError, match="a text of 33 tokens is longer than the 32 positions"):
        run.network(run.family.view(torch.zeros(1, 33, dtype=torch.long)))
