"""Published diffusion models read as runs: the log-probabilities of their own forward pass, to 1e-5.

Every view that a family's bound shows the network is shown to the published network as well.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import foreign
import published
import pytest
import torch
from tokenizers import Tokenizer
from torch import Tensor

from isodiff.data.corpora import prepare
from isodiff.errors import InputError
from isodiff.families import sample, undecided
from isodiff.interop.importing import import_checkpoint
from isodiff.network.view import Prediction, View
from isodiff.rng import Rows, Streams, stream
from isodiff.runs.build import Trained, load
from isodiff.runs.spec import Validation

V, HEADS = foreign.BYTES, 2
HUB = {"vocab_size": V + 1, "hidden_dim": 128, "cond_dim": 128, "n_blocks": 2, "n_heads": HEADS}
HUB |= {"model_length": 64, "dropout": 0.1, "time_conditioning": False, "return_dict": False}


def imported(source: Path, tokenizer: str = "bytes", **options: Any) -> Trained:
    out = source.with_name(f"{source.name}-run")
    import_checkpoint(str(source), out, tokenizer=tokenizer, validation=Validation(), **options)
    return load(out)


class Compared:
    """The run's network, which compares each of its answers with the published one."""

    def __init__(
        self, run: Trained, theirs: Callable[..., Tensor], extra: list[int], never: list[int]
    ) -> None:
        self.run, self.theirs, self.never = run, theirs, never
        self.vocab_size = run.network.vocab_size
        self.rows = torch.tensor([*range(self.vocab_size), *extra])
        self.furthest, self.looks = 0.0, 0

    def __call__(self, view: View) -> Prediction:
        ours = self.run.network(view)
        sigma = None if view.time is None else -torch.log1p(-view.time.float() * (1 - 1e-3))
        allowed = view.attention.mask(view.inputs.shape[1], view.inputs.device)
        logits = self.theirs(
            self.rows[view.inputs],
            heads=self.run.spec.shape.heads,
            positions=view.positions,
            allowed=allowed,
            sigma=sigma,
        ).flatten(0, 1)
        logits = logits if view.read is None else logits[view.read]
        logits[:, self.never] = -1e6
        theirs = logits[:, : self.vocab_size].log_softmax(-1)
        kept = [i for i in range(self.vocab_size) if i not in self.never]
        found = (ours.log_probs() - theirs)[:, kept].abs()
        self.furthest, self.looks = max(self.furthest, float(found.max())), self.looks + len(found)
        return ours


def compared(
    run: Trained,
    theirs: Callable[..., Tensor],
    extra: list[int],
    never: list[int] | None = None,
) -> None:
    """Over the views of a bound; `extra`: rows of the states behind the tokens, `never`: without a logit."""
    network = Compared(run, theirs, extra, never or [])
    x = torch.randint(V, (4, 24), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        run.family.nelbo(network, x, rng=Rows.of(stream(0), 4))
    assert network.looks >= 4 and network.furthest < 1e-5, network.furthest
    drawn, _ = sample(
        run.family, run.network, undecided(2, 8), run.family.sampler_with(4), rng=Streams(0, 2)
    )
    assert int(drawn.min()) >= 0 and int(drawn.max()) < run.network.vocab_size
    assert not set(drawn.flatten().tolist()) & set(network.never)


def of(weights: dict[str, Tensor], forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda ids, **how: forward(weights, ids, **how)


def test_mdlm_of_the_hub(tmp_path):
    weights = foreign.dit()
    run = imported(foreign.saved(tmp_path / "mdlm", weights, HUB | {"model_type": "mdlm"}))
    compared(run, of(weights, published.dit), [V], [V])
    said = run.spec.imported
    assert (said.layout, said.context, run.family.name) == ("mdlm", 64, "masked")
    assert said.statements["mask"] == "id 257" and said.parameters == sum(
        one.numel() for one in weights.values()
    )


def test_a_mask_among_the_tokens_is_never_predicted(tmp_path):
    weights = foreign.dit(V, condition=32)
    config = {key: one for key, one in HUB.items() if key not in ("vocab_size", "cond_dim")}
    config |= {"model_type": "mdlm", "mask_token_id": 103}
    run = imported(foreign.saved(tmp_path / "bert", weights, config))
    compared(run, of(weights, published.dit), [103], [103])
    assert run.spec.imported.statements["mask"] == "id 103, a token that is never predicted"
    x = torch.zeros(1, 8, dtype=torch.long)
    view = View(x, torch.arange(8), run.family.training_views(1, 8)[0].attention)
    assert float(run.network(view).probs().detach()[:, 103].max()) == 0


def test_mdlm_of_lightning_takes_the_averages(tmp_path):
    raw, averaged = foreign.dit(heads=HEADS), foreign.dit()
    for tensor in averaged.values():
        tensor.mul_(0.9)
    compiled = {key.replace("backbone.", "backbone._orig_mod."): one for key, one in raw.items()}
    shadows = {"decay": 0.9999, "num_updates": 7, "shadow_params": [*averaged.values()]}
    torch.save({"state_dict": compiled, "ema": shadows, "epoch": 3}, tmp_path / "last.ckpt")
    run = imported(tmp_path / "last.ckpt", layout="mdlm")
    compared(run, of(averaged, published.dit), [V], [V])
    assert run.spec.imported.averaged is True and run.spec.imported.context is None
    with pytest.raises(InputError, match=r"may be of layout mdlm, duo, .* say which with --layout"):
        import_checkpoint(
            str(tmp_path / "last.ckpt"), tmp_path / "x", tokenizer="bytes", validation=Validation()
        )
    shadows["shadow_params"].pop()
    torch.save({"state_dict": compiled, "ema": shadows}, tmp_path / "short.ckpt")
    with pytest.raises(InputError, match=r"ema\.shadow_params has 29 tensors, state_dict 30"):
        imported(tmp_path / "short.ckpt", layout="mdlm")


def test_duo_is_shown_the_noise(tmp_path):
    weights = foreign.dit(V)
    config = HUB | {"model_type": "duo", "vocab_size": V, "causal": False, "var_min": True}
    run = imported(foreign.saved(tmp_path / "duo", weights, config | {"time_conditioning": True}))
    compared(run, of(weights, published.dit), [])
    assert run.family.name == "uniform" and run.family.time_conditioned


def test_uniform_runs_of_the_scaling_study_never_predict_the_mask(tmp_path):
    weights = foreign.dit(V, heads=HEADS, stem="")
    run = imported(foreign.saved(tmp_path / "scaling", weights, None), layout="scaling-duo")
    compared(run, of(weights, published.dit), [], [V - 1])


def test_a_tokenizer_is_padded_to_the_states_of_uniform_noise(tmp_path):
    (tmp_path / "text").mkdir()
    for number in range(40):
        (tmp_path / "text" / f"{number}.txt").write_text(f"a text of {number} words, and {number}.")
    prepare([tmp_path / "text"], tmp_path / "corpus", tokenizer="bpe:260", validation=0.2, test=0.2)
    weights = foreign.dit(263)
    source = foreign.saved(
        tmp_path / "duo", weights, HUB | {"vocab_size": 263, "model_type": "duo"}
    )
    config = json.loads((source / "config.json").read_text()) | {"time_conditioning": True}
    (source / "config.json").write_text(json.dumps(config))
    run = imported(source, str(tmp_path / "corpus"))
    assert run.network.vocab_size == run.corpus.vocab_size == 263
    ours = Tokenizer.from_file(str(run.folder / "corpus" / "tokenizer.json"))
    assert ours.get_vocab_size() == 263 and ours.id_to_token(262) == "<|padding 262|>"
    with pytest.raises(InputError, match="states are 263 ids, the tokenizer bytes has 257"):
        import_checkpoint(str(source), tmp_path / "x", tokenizer="bytes", validation=Validation())


def test_bd3lm(tmp_path):
    weights = foreign.dit()
    clipping = {"sampling_eps_min": torch.tensor(0.3), "sampling_eps_max": torch.tensor(0.8)}
    config = HUB | {"model_type": "bd3lm", "block_size": 8, "cross_attn": True, "var_min": True}
    config |= {"attn_backend": "sdpa", "sampling_eps_min": 0.001, "sampling_eps_max": 0.999}
    run = imported(foreign.saved(tmp_path / "bd3lm", weights | clipping, config))
    compared(run, of(weights, published.dit), [V], [V])
    assert run.spec.family["name"] == "block" and run.spec.family["block_size"] == 8


@pytest.mark.parametrize("variant", ["A", "B"])
def test_esolm(variant, tmp_path):
    weights = foreign.dit(heads=HEADS)
    config = {"model_type": "esolm", "alpha_0": 0.5, "variant": variant}
    run = imported(foreign.saved(tmp_path / "esolm", weights, config))
    del weights["backbone.rotary_emb.inv_freq"]
    compared(run, of(weights, published.dit), [V], [V])
    (tmp_path / "esolm" / "config.json").write_text(json.dumps({"model_type": "esolm"}))
    with pytest.raises(InputError, match=r"config\.json lacks alpha_0"):
        import_checkpoint(
            str(tmp_path / "esolm"), tmp_path / "x", tokenizer="bytes", validation=Validation()
        )


@pytest.mark.parametrize("condition", [None, 128])
def test_autoregressive_baselines(condition, tmp_path):
    weights = foreign.dit(heads=HEADS, condition=condition)
    run = imported(foreign.saved(tmp_path / "ar", weights, None), layout="dit-ar")
    del weights["backbone.rotary_emb.inv_freq"]
    compared(run, of(weights, published.dit), [256], [V])
    assert run.family.name == "autoregressive"


@pytest.mark.parametrize("states", [V, V + 1])
def test_smdm_and_its_twin(states, tmp_path):
    weights = foreign.smdm(states)
    config = {"model_type": "smdm", "n_head": 4, "block_size": 64, "bos_token_id": 1}
    config = config if states == V else {key: one for key, one in config.items() if key[0] != "b"}
    run = imported(foreign.saved(tmp_path / "smdm", weights, config))
    compared(run, of(weights, published.smdm), [V if states > V else 1])
    assert run.family.name == ("masked" if states > V else "autoregressive")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hidden_dim": 64}, "has hidden_dim 64, which is not understood; known: 128"),
        ({"n_heads": 4}, "has n_heads 4, which is not understood; known: 2"),
        ({"time_conditioning": True}, "has time_conditioning True"),
        ({"mask_token_id": 300}, "has mask_token_id 300, which is not understood"),
    ],
)
def test_settings_that_do_not_fit_the_weights(change, words, tmp_path):
    weights = foreign.dit(heads=HEADS)
    source = foreign.saved(tmp_path / "mdlm", weights, HUB | {"model_type": "mdlm"} | change)
    with pytest.raises(InputError, match=words):
        imported(source)


def test_a_mask_that_nobody_names(tmp_path):
    weights = foreign.dit(V + 3)
    source = foreign.saved(
        tmp_path / "m", weights, HUB | {"model_type": "mdlm", "vocab_size": V + 3}
    )
    with pytest.raises(InputError, match="which of them is the mask is not said"):
        imported(source)
