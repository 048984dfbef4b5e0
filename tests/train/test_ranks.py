"""Several processes train what one trains: the same tokens and noise, the same losses to rounding."""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from rank_group import Group, Said, command
from safetensors.torch import load_file
from specs import small
from torch import Tensor

from isodiff.cli import main
from isodiff.data.tokens import Corpus
from isodiff.families import FAMILIES
from isodiff.files import exclusive
from isodiff.record import HeldOutLoss, Record
from isodiff.runs import checkpoint
from isodiff.runs.metrics import AdaptRow, LossRow, Written, read_metrics
from isodiff.runs.spec import RunSpec, Validation
from isodiff.serialization import read_result
from isodiff.train import engine, ranks
from isodiff.train.loop import train
from isodiff.train.ranks import ALONE, Parallel, Ranks, joined
from isodiff.train.run import TrainingRun

Losses = dict[str, list[tuple[float, float]]]
STEPS = 50
SHARED: list[tuple[Parallel, int, int]] = [
    *(("ddp", 2, STEPS), ("ddp", 4, STEPS)),
    *(("fsdp", 2, 10), ("fsdp", 4, 10)),  # 50 take half a minute; docs/scale.md has what they give
]


@pytest.fixture(scope="module")
def group() -> Iterator[Group]:
    """Up to four processes."""
    found = Group()
    yield found
    found.close()


def specs_of(corpus: Corpus) -> dict[str, RunSpec]:
    """One run of each family, and of what is done with gradients."""
    recipe = {"precision": "float32", "batch_size": 16}
    found = {name: small(corpus, name, recipe=recipe) for name in sorted(FAMILIES)}
    recipe |= {"micro_batch_size": 2, "ema": 0.9, "parametrization": "complete_p"}
    return {**found, "in passes": small(corpus, "masked", recipe=recipe)}


def losses_of(
    specs: dict[str, RunSpec], corpus: Corpus, folder: Path, ranks: Ranks, steps: int = STEPS
) -> Losses:
    """Loss and gradient norm of each step."""
    runs = {
        name: TrainingRun(spec, folder, corpus, ranks=ranks, steps=100)
        for name, spec in specs.items()
    }
    return {name: [run.update(i)[:2] for i in range(steps)] for name, run in runs.items()}


def losses_on_ranks(corpus: Path, folder: Path, parallel: Parallel, steps: int) -> Losses:
    text = Corpus.open(corpus)
    with joined(parallel) as ranks:
        return losses_of(specs_of(text), text, folder, ranks, steps)


@pytest.fixture(scope="module")
def alone(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Losses:
    return losses_of(specs_of(corpus), corpus, tmp_path_factory.mktemp("none"), ALONE)


@pytest.mark.parametrize(("parallel", "count", "steps"), SHARED)
def test_any_number_of_ranks_has_the_losses_of_one(
    parallel: Parallel,
    count: int,
    steps: int,
    alone: Losses,
    corpus: Corpus,
    group: Group,
    tmp_path: Path,
) -> None:
    first, *others = group.run(count, losses_on_ranks, corpus.folder, tmp_path, parallel, steps)
    assert all(other == first for other in others)
    assert first.keys() == alone.keys() and len(first) == len(FAMILIES) + 1
    for name, found in first.items():
        losses, norms = zip(*found, strict=True)
        wanted_losses, wanted_norms = zip(*alone[name][:steps], strict=True)
        assert losses == pytest.approx(wanted_losses, rel=1e-6), name
        assert norms == pytest.approx(wanted_norms, rel=1e-5), name
        assert losses != wanted_losses, f"{name}: not even the order of sums differs"


# Checkpoints.


def digests(tensors: dict[str, Tensor]) -> dict[str, str]:
    return {
        name: hashlib.sha256(tensor.numpy().tobytes()).hexdigest()
        for name, tensor in tensors.items()
    }


def halfway(corpus: Corpus) -> RunSpec:
    recipe = {"precision": "float32", "batch_size": 16, "ema": 0.9}
    validation = Validation(windows=130, draws=1, curve_points=2, curve_windows=8)
    return small(corpus, "gaussian", recipe=recipe, validation=validation)


def left_on_ranks(corpus: Path, folder: Path, parallel: Parallel) -> None:
    """Five steps and a checkpoint."""
    text = Corpus.open(corpus)
    with joined(parallel) as ranks:
        run = TrainingRun(halfway(text), folder, text, ranks=ranks)
        for step in range(5):
            run.update(step)
            run.flops += run.size.step_flops
        run.save(5, Written(0, None))


def taken_up(run: TrainingRun) -> tuple[int, dict[str, str], HeldOutLoss]:
    """Step, tensors and held-out loss of a run as it was restored."""
    parts = checkpoint.gathered(run.network, run.optimizer, run.average, run.engine.whole)
    return run.step, digests(parts.weights) | digests(parts.moments), run.validate(130, 1)


def taken_up_on_ranks(
    corpus: Path, folder: Path, parallel: Parallel
) -> tuple[int, dict[str, str], HeldOutLoss]:
    text = Corpus.open(corpus)
    with joined(parallel) as ranks:
        return taken_up(TrainingRun(halfway(text), folder, text, ranks=ranks))


def finished_on_ranks(corpus: Path, folder: Path, parallel: Parallel) -> Record:
    text = Corpus.open(corpus)
    with joined(parallel) as ranks:
        return train(halfway(text), folder, text, ranks=ranks)


@pytest.fixture(scope="module")
def of_four(corpus: Corpus, group: Group, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that four ranks, each with a part, left after five steps."""
    folder = tmp_path_factory.mktemp("of_four")
    group.run(4, left_on_ranks, corpus.folder, folder, "fsdp")
    return folder


@pytest.mark.parametrize(("parallel", "count"), [("fsdp", 4), ("fsdp", 2), ("ddp", 2), ("ddp", 1)])
def test_a_checkpoint_of_four_ranks_is_taken_up_bit_for_bit(
    parallel: Parallel, count: int, of_four: Path, corpus: Corpus, group: Group
) -> None:
    """Weights, moments and averages; and what is held out is evaluated alike, shared or not."""
    last = checkpoint.steps(of_four / "checkpoint")[-1]
    written = digests(load_file(last / "model.safetensors"))
    written |= digests(load_file(last / "optimizer.safetensors"))
    one = taken_up(TrainingRun(halfway(corpus), of_four, corpus))
    assert one[:2] == (5, written) and any(name.startswith("average/") for name in written)
    found = group.run(count, taken_up_on_ranks, corpus.folder, of_four, parallel)
    assert found[0] == one
    assert [loss for *_, loss in found] == [one[2]] * count


def test_fewer_ranks_end_a_run_as_one_process_would(
    of_four: Path, corpus: Corpus, group: Group, tmp_path: Path
) -> None:
    straight = train(halfway(corpus), tmp_path, corpus)
    found = group.run(2, finished_on_ranks, corpus.folder, of_four, "fsdp")
    assert found[0] == found[1] == read_result(Record, of_four / "record.json")
    assert straight.ranks is None and found[0].ranks == 2
    assert found[0].flops == straight.flops and found[0].steps == straight.steps
    ours, theirs = straight.validation, found[0].validation
    assert ours is not None and theirs is not None
    assert theirs.nats_per_token.value == pytest.approx(ours.nats_per_token.value, rel=1e-5)
    rows = [read_metrics(folder / "metrics.jsonl") for folder in (tmp_path, of_four)]
    steps = [[row.step for row in some if isinstance(row, LossRow)] for some in rows]
    assert steps[0] == [1, 2, 3, 4, 5, *steps[1]] and len(steps[1]) == 95


def grown_on_ranks(corpus: Path, folder: Path, parallel: Parallel) -> None:
    """A run that takes a branch along, and one that searches its options."""
    text = Corpus.open(corpus)
    with joined(parallel) as ranks:
        for longest, *branches in growing(text):
            train(longest, folder / longest.id, text, branches=branches, ranks=ranks)


def growing(corpus: Corpus) -> list[list[RunSpec]]:
    wsd = {"precision": "float32", "schedule": "wsd", "warmup_steps": 10}
    options = {"block_size": 4, "objective": "nelbo", "adapt_every": 40}
    both = [small(corpus, "masked", steps=steps, recipe=wsd) for steps in (120, 101)]
    recipe = {"precision": "float32", "learning_rate": 1e-2}
    return [both, [small(corpus, "block", options=options, recipe=recipe)]]


def test_branches_and_searches_are_those_of_one_process(
    corpus: Corpus, group: Group, tmp_path: Path
) -> None:
    group.run(2, grown_on_ranks, corpus.folder, tmp_path / "shared", "fsdp")
    (longest, branch), (searching,) = growing(corpus)
    train(longest, tmp_path / longest.id, corpus, branches=[branch])
    train(searching, tmp_path / searching.id, corpus)
    places = [tmp_path / branch.id, tmp_path / "shared" / branch.id]
    tensors = [
        load_file(checkpoint.steps(place / "checkpoint")[-1] / "model.safetensors")
        for place in places
    ]
    for name, ours in tensors[0].items():
        assert float((tensors[1][name] - ours).norm() / ours.norm()) < 1e-3, name
    rows = [
        [
            row
            for row in read_metrics(place / searching.id / "metrics.jsonl")
            if isinstance(row, AdaptRow)
        ]
        for place in (tmp_path, tmp_path / "shared")
    ]
    chosen = [
        [(row.step, row.adapted["low"], row.adapted["high"]) for row in some] for some in rows
    ]
    assert chosen[0] == chosen[1] and len(chosen[0]) >= 2


# The command line.


def words(corpus: Corpus, out: Path, *more: str, family: str = "masked") -> list[str]:
    """A tiny run, hardly validated."""
    small = {
        **{"corpus": corpus.folder, "out": out, "budget": 2e9, "shape": "1x16x2", "length": 32},
        **{"recipe.precision": "float32", "validation.windows": 8, "validation.noise-error": 1},
    }
    said = [str(word) for name, value in small.items() for word in (f"--{name}", value)]
    return ["train", family, *said, *more]


def one_line(said: Sequence[Said], code: int = 2) -> str:
    """What the ranks say together, which is one line."""
    assert [one.code for one in said] == [code] * len(said), said
    (line,) = "".join(one.err for one in said).splitlines()
    assert not any(one.out for one in said)
    return line


def test_one_rank_answers(corpus: Corpus, group: Group, tmp_path: Path) -> None:
    asked = words(corpus, tmp_path, "--json")
    first, second = group.run(2, command, *asked)
    assert second == Said(0, "", "")
    assert first.code == 0 and json.loads(first.out)["ranks"] == 2
    assert [line.partition(" ")[0] for line in first.err.splitlines()][-1] == "masked"
    again = group.run(2, command, *asked)
    assert again[0].out == first.out and again[1] == Said(0, "", "")
    dry = group.run(2, command, *asked, "--dry-run")
    assert json.loads(dry[0].out)["steps"] > 100 and dry[1] == Said(0, "", "")


@pytest.mark.parametrize(
    ("more", "family", "said"),
    [
        (
            ["--recipe.batch-size", "18", "--budget", "1e10"],
            "masked",
            "batch_size 18 cannot be divided among 4 ranks",
        ),
        (
            ["--recipe.batch-size", "8", "--budget", "1e10"],
            "gaussian",
            "needs a multiple of 4 at a time, not 2 of 2",
        ),
        (["--parallel", "fsdp", "--recipe.optimizer", "muon"], "masked", "which fsdp divides"),
        (["--device", "cuda:1"], "masked", "each rank has a device of its own"),
        (["--corpus", "nowhere"], "masked", "nowhere"),
        (["--budget", "2"], "masked", "FLOPs gives"),
        (["--bugdet", "2"], "masked", "no option --bugdet"),
    ],
)
def test_what_ranks_cannot_do_is_said_once(
    more: list[str], family: str, said: str, corpus: Corpus, group: Group, tmp_path: Path
) -> None:
    found = group.run(4, command, *words(corpus, tmp_path, *more, family=family))
    line = one_line(found)
    assert said in line and line.startswith("isodiff train: ") and found[0].err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("own", "said"),
    [
        (["--seed", "1"], "rank 1 has another spec"),
        (["--corpus", "nowhere"], "rank 1 of 2: nowhere"),
    ],
)
def test_a_rank_that_differs_ends_all(
    own: list[str], said: str, corpus: Corpus, group: Group, tmp_path: Path
) -> None:
    found = group.run(2, command, *words(corpus, tmp_path), own=[[], own])
    (line,) = "".join(one.err for one in found).splitlines()
    assert said in line and found[1].code == 2 and found[0].code in (1, 2)
    assert not list(tmp_path.iterdir())


def test_a_rank_with_another_torch_is_refused(corpus: Corpus, group: Group, tmp_path: Path) -> None:
    said = group.run(2, with_another_torch, words(corpus, tmp_path), patched=[False, True])
    assert "rank 1 has another torch (another) than rank 0" in one_line(said)


def with_another_torch(words: list[str], *, patched: bool) -> Said:
    with pytest.MonkeyPatch.context() as patch:
        if patched:
            patch.setattr(torch, "__version__", "another")
        return command(*words)


def test_a_folder_in_use_is_refused_once(
    corpus: Corpus, group: Group, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = words(corpus, tmp_path)
    assert main([*asked, "--dry-run", "--json"]) == 0
    folder = tmp_path / json.loads(capsys.readouterr().out)["id"]
    with exclusive(folder):
        first, second = group.run(2, command, *asked)
    assert second == Said(2, "", "") and first.code == 2
    assert f"{folder} is in use" in first.err.splitlines()[-1]


def failing(words: list[str], *, how: Callable[[], Any] | None) -> Said:
    """A rank that fails at step 5, if it is to."""
    update = TrainingRun.update

    def failed(run: TrainingRun, step: int) -> tuple[float, float, float]:
        if step == 5 and how is not None:
            how()
        return update(run, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingRun, "update", failed)
        return command(*words)


def disk_is_full() -> None:
    raise OSError(28, "No space left on device")


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_rank_that_fails_says_why_and_ends_all(
    corpus: Corpus, group: Group, tmp_path: Path
) -> None:
    asked = words(corpus, tmp_path)
    first, *others = group.run(2, failing, asked, how=[None, disk_is_full])
    assert first == Said(1, "", first.err) and "no space left" not in first.err
    assert others[0].code == 2 and "no space left" in others[0].err


def test_a_rank_that_is_killed_is_missed_in_one_line(
    corpus: Corpus, group: Group, tmp_path: Path
) -> None:
    asked = words(corpus, tmp_path, "--checkpoint-seconds", "0")
    first, dead = group.run(2, failing, asked, how=[None, killed])
    assert dead is None and first.code == 1
    line = first.err.splitlines()[-1]
    assert line.startswith("isodiff train: rank 0 of 2 lost another one"), first.err
    assert "goes on from the last checkpoint" in line
    assert group.run(2, command, *asked)[0].code == 0


def test_a_rank_that_nobody_joins(
    corpus: Corpus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "9"}
    for name, value in place.items():
        monkeypatch.setenv(name, value)
    assert main(words(corpus, tmp_path, "--rank-timeout", "1")) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "ranks did not meet within 1 s (RANK=1 WORLD_SIZE=2 MASTER_ADDR=127.0.0.1" in line


def test_one_process_has_nothing_to_divide(
    corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(corpus, tmp_path, "--parallel", "fsdp")) == 2
    assert "start it with torchrun" in capsys.readouterr().err


def test_torchrun_starts_the_ranks(corpus: Corpus, tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m"]
    asked = [*torchrun, "isodiff.cli", *words(corpus, tmp_path, "--json")]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ranks"] == 2


# One process.


def test_rows_are_divided() -> None:
    four = [Ranks() for _ in range(4)]
    for number, one in enumerate(four):
        one.number, one.count = number, 4
    assert [i for one in four for i in one.rows(12)] == list(range(12))
    assert ALONE.rows(12) == range(12) and [one.leads for one in four] == [True, *[False] * 3]


@pytest.mark.parametrize("module", [ranks, engine])
def test_nothing_distributed_is_imported_for_one_process(module: Any) -> None:
    tree = ast.parse(Path(module.__file__).read_text("utf-8"))
    for node in tree.body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not any(name.startswith("torch.distributed") for name in names)
    assert any("torch.distributed" in ast.dump(node) for node in ast.walk(tree))


def test_records_of_one_process_do_not_speak_of_ranks(corpus: Corpus, tmp_path: Path) -> None:
    record = train(small(corpus), tmp_path, corpus)
    assert "ranks" not in json.loads((tmp_path / "record.json").read_text())
    assert dataclasses.replace(record, ranks=2) != record
