"""Muon: the library's numbers from batches of matrices; all else by AdamW; resumed bit for bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from specs import small
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from isodiff.data.tokens import Corpus
from isodiff.errors import InputError
from isodiff.record import Record
from isodiff.rng import stream
from isodiff.runs import checkpoint
from isodiff.runs.spec import Recipe
from isodiff.serialization import read_result
from isodiff.train.loop import train
from isodiff.train.muon import MuonWithAdamW, optimizer_flops
from isodiff.train.optimizer import set_rate
from isodiff.train.run import TrainingRun

MUON = {"optimizer": "muon"}
SHAPES = [(24, 8), (8, 8), (32, 8), (8, 32), (24, 8)]


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=stream(seed))


def test_steps_are_the_librarys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten steps of matrices of four shapes, in one precision."""
    monkeypatch.setattr(torch.Tensor, "bfloat16", Tensor.clone)
    ours = [nn.Parameter(drawn(*shape, seed=i)) for i, shape in enumerate(SHAPES)]
    theirs = [nn.Parameter(p.detach().clone()) for p in ours]
    groups = [{"params": ours, "momentum": 0.95, "weight_decay": 0.1}]
    optimizers = (
        MuonWithAdamW([{"params": [nn.Parameter(torch.zeros(3))]}, *groups], lr=0.02, fused=True),
        torch.optim.Muon(theirs, lr=0.02, momentum=0.95, weight_decay=0.1),
    )
    for step in range(10):
        for i, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            one.grad = drawn(*one.shape, seed=100 * step + i)
            other.grad = one.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for i, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
        assert (one - drawn(*one.shape, seed=i)).abs().max() > 0.05


@pytest.mark.parametrize("rows", [8, 160])
def test_directions_are_kept_and_lengths_are_made_alike(rows: int) -> None:
    """Also in bfloat16, which large matrices take."""
    matrices = [nn.Parameter(torch.zeros(rows, 2 * rows)) for _ in range(2)]
    group = {"params": matrices, "momentum": 0.9, "weight_decay": 0.0}
    optimizer = MuonWithAdamW([group], lr=1.0, fused=True)
    for i, matrix in enumerate(matrices):
        matrix.grad = drawn(*matrix.shape, seed=i) * 10.0 ** (-3 * i)
    optimizer.step()
    for matrix in matrices:
        assert matrix.grad is not None
        u, _, v = torch.linalg.svd(matrix.grad, full_matrices=False)
        along = -(u.mT @ matrix.detach() @ v.mT)
        assert along.diagonal().min() > 0.6 and along.diagonal().max() < 1.3
        assert (along - along.diagonal().diag()).abs().max() < 0.1


def test_its_flops_are_those_of_the_flop_counter() -> None:
    matrices = [nn.Parameter(drawn(*shape, seed=0)) for shape in SHAPES]
    optimizer = MuonWithAdamW([{"params": matrices, "momentum": 0.9}], lr=0.1, fused=True)
    for matrix in matrices:
        matrix.grad = torch.ones_like(matrix)
    with FlopCounterMode(display=False) as counter:
        optimizer.step()
    assert optimizer_flops(optimizer) == counter.get_total_flops()
    assert optimizer_flops(torch.optim.AdamW(matrices)) == 0


def test_matrices_of_blocks_are_its_and_all_else_is_adamws(corpus: Corpus, tmp_path: Path) -> None:
    run = TrainingRun(small(corpus, recipe=MUON), tmp_path, corpus)
    run.update(0)
    name_of = {parameter: name for name, parameter in run.network.named_parameters()}
    stepped = {name_of[p] for p, state in run.optimizer.state.items() if "exp_avg" not in state}
    assert stepped == {f"blocks.0.{m}.weight" for m in ("qkv", "out", "up", "down")}
    assert len(run.optimizer.state) == len(name_of)
    (group,) = (g for g in run.optimizer.param_groups if "momentum" in g)
    set_rate(run.optimizer, 0.5)
    assert group["lr"] == 0.5 * Recipe().muon_rate and group["weight_decay"] == 0.1


def test_a_run_resumes_bit_for_bit_and_records_what_it_adds(corpus: Corpus, tmp_path: Path) -> None:
    spec = small(corpus, recipe={**MUON, "precision": "float32", "ema": 0.9})
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    record = train(spec, whole, corpus)

    def interrupt(progress) -> None:
        if progress.step == 60:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(spec, parts, corpus, report=interrupt, checkpoint_seconds=0)
    train(spec, parts, corpus)
    ends = [checkpoint.steps(folder / "checkpoint")[-1] for folder in (whole, parts)]
    for name in checkpoint.FILES:
        assert (ends[0] / name).read_bytes() == (ends[1] / name).read_bytes()
    assert record.flops.optimizer is not None and record.flops.exact is not None
    assert record.flops.optimizer == 100 * 5 * (4 * 16**2 * (48 + 16 + 64 + 64) + 4 * 2 * 16**3)
    assert read_result(Record, whole / "record.json").flops == record.flops
    plain = train(small(corpus), tmp_path / "plain", corpus)
    assert plain.flops.optimizer is None and "optimizer" not in spec_json(small(corpus))


def spec_json(spec) -> dict:
    return spec.to_json()["recipe"]


def test_complete_p_is_of_adamw() -> None:
    with pytest.raises(InputError, match="complete_p"):
        Recipe(optimizer="muon", parametrization="complete_p")
