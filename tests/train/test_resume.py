"""Killed at any moment, a run ends with the same weights, bit for bit."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from specs import small

from isodiff.errors import InputError
from isodiff.runs import checkpoint
from isodiff.runs.build import load
from isodiff.runs.metrics import LossRow, read_metrics
from isodiff.train.loop import train


def command(corpus, out: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "isodiff.cli", "train", "masked", "--corpus", str(corpus.folder)),
        *("--budget", "9e9", "--shape", "1x16x2", "--length", "32", "--out", str(out)),
        *("--recipe.batch-size", "64", "--recipe.precision", "float32", "--recipe.ema", "0.9"),
        *("--validation.windows", "16", "--validation.curve-windows", "4", "--threads", "1"),
        *("--checkpoint-seconds", "0", "--json"),
    ]


def newest(folder: Path) -> dict[str, bytes]:
    path = checkpoint.steps(folder / "checkpoint")[-1]
    return {name: (path / name).read_bytes() for name in checkpoint.FILES}


KILLED = """
import os, signal, sys
import isodiff.cli.training as verb
from isodiff.cli import main
from isodiff.runs import checkpoint

where, step = sys.argv[1], int(sys.argv[2])

def die():
    os.kill(os.getpid(), signal.SIGKILL)

class Line(verb.TrainingLine):
    def __call__(self, progress):
        if where == "between steps" and progress.step == step:
            die()

def save_file(tensors, path):
    written(tensors, path)
    if where == "half-way through a checkpoint" and path.parent.name == f".step_{step:08d}.tmp":
        path.write_bytes(path.read_bytes()[:1000])
        die()

verb.TrainingLine, written, checkpoint.save_file = Line, checkpoint.save_file, save_file
main(sys.argv[3:])
"""


def killed(argv: list[str], where: str, step: int) -> None:
    """The command, which kills itself as `kill -9` would, at a step or while it writes one down."""
    start = [argv[0], "-c", KILLED, where, str(step)]
    process = subprocess.run([*start, *argv[argv.index("train") :]], capture_output=True)
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()


@pytest.mark.slow
def test_two_kills_and_an_epoch_boundary_change_nothing(corpus, tmp_path):
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    done = subprocess.run(command(corpus, straight), capture_output=True, text=True, check=True)
    record = json.loads(done.stdout)
    assert record["epochs"] > 1.5, "the run must cross an epoch boundary"
    saved = broken / record["id"] / "checkpoint"
    first, second = round(0.3 * record["steps"]), round(0.8 * record["steps"])
    killed(command(corpus, broken), "between steps", first)
    assert checkpoint.steps(saved)[-1].name == f"step_{first - 1:08d}"
    killed(command(corpus, broken), "half-way through a checkpoint", second)
    assert checkpoint.steps(saved)[-1].name == f"step_{second - 1:08d}"
    subprocess.run(command(corpus, broken), capture_output=True, check=True)
    run = record["id"]
    assert newest(straight / run) == newest(broken / run)
    again = json.loads((broken / run / "record.json").read_text())
    assert again["results"] == record["results"]
    losses = [
        [r.loss for r in read_metrics(place / run / "metrics.jsonl") if isinstance(r, LossRow)]
        for place in (straight, broken)
    ]
    assert losses[0] == losses[1]


class Stop(Exception):
    pass


def interrupted(spec, folder, corpus, at: int, **more) -> None:
    def report(progress):
        if progress.step == at:
            raise Stop

    with pytest.raises(Stop):
        train(spec, folder, corpus, **{"report": report, "checkpoint_seconds": 0.0, **more})


def test_a_truncated_checkpoint_is_named_and_nothing_is_lost(corpus, tmp_path):
    spec = small(corpus)
    interrupted(spec, tmp_path, corpus, 40)
    newest = checkpoint.steps(tmp_path / "checkpoint")[-1]
    whole = (newest / "model.safetensors").read_bytes()
    (newest / "model.safetensors").write_bytes(whole[:100])
    with pytest.raises(
        InputError, match=r"model.safetensors is missing, truncated or altered; delete"
    ):
        train(spec, tmp_path, corpus)
    with pytest.raises(InputError, match="truncated"):
        load(tmp_path)
    (newest / "model.safetensors").write_bytes(whole)
    assert train(spec, tmp_path, corpus).status == "done"


@pytest.mark.parametrize("part", ["learned_schedule", "learned_embeddings", "self_conditioning"])
def test_what_a_process_learns_is_saved_and_what_it_does_not_is_made_again(part, corpus, tmp_path):
    spec = small(corpus, "gaussian", options={part: False}, recipe={"ema": 0.9})
    train(spec, tmp_path / "straight", corpus)
    interrupted(spec, tmp_path / "broken", corpus, 40)
    train(spec, tmp_path / "broken", corpus)
    assert newest(tmp_path / "straight") == newest(tmp_path / "broken")
    once, again = (load(tmp_path / "broken").network for _ in range(2))
    assert torch.equal(once.latent.table(), again.latent.table())


def test_a_foreign_checkpoint_is_refused(corpus, tmp_path):
    spec, other = small(corpus), small(corpus, seed=1)
    interrupted(spec, tmp_path / "a", corpus, 20)
    interrupted(other, tmp_path / "b", corpus, 20)
    place = checkpoint.steps(tmp_path / "b" / "checkpoint")[-1]
    place.rename(tmp_path / "a" / "checkpoint" / "step_00000099")
    with pytest.raises(InputError, match=f"belongs to run {other.id}, not {spec.id}"):
        train(spec, tmp_path / "a", corpus)


def test_two_processes_cannot_share_a_run(corpus, tmp_path):
    spec = small(corpus)

    def report(progress):
        if progress.step == 5:
            code = (
                "import sys; from pathlib import Path; from isodiff.files import exclusive\n"
                "from isodiff.errors import InputError\n"
                "try:\n with exclusive(Path(sys.argv[1])): pass\n"
                "except InputError as error: print(error)"
            )
            answer = subprocess.run(
                [sys.executable, "-c", code, str(tmp_path)],
                capture_output=True,
                text=True,
                check=True,
            )
            assert "is in use by another isodiff process" in answer.stdout

    train(spec, tmp_path, corpus, report=report)


def test_a_full_disk_leaves_the_last_checkpoint_whole(corpus, tmp_path, monkeypatch):
    spec = small(corpus)
    interrupted(spec, tmp_path, corpus, 10)
    before = newest(tmp_path)

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_file", full)
        with pytest.raises(OSError, match="No space left"):
            train(spec, tmp_path, corpus, checkpoint_seconds=0.0)
    assert newest(tmp_path) == before
    assert not list((tmp_path / "checkpoint").glob(".*.tmp"))
    assert train(spec, tmp_path, corpus).status == "done"
