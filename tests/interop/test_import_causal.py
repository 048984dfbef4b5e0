"""Causal models of the transformers library, read as runs: the same log-probabilities, to 1e-5."""

from __future__ import annotations

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
GPT2 = {
    "as usual": {},
    "untied": {"tie_word_embeddings": False},
    "another MLP": {"n_inner": 24, "activation_function": "gelu", "layer_norm_epsilon": 1e-2},
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
