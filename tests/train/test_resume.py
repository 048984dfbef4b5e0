"""Killed at any moment, a run ends with the same weights, bit for bit."""

import hashlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from specs import small

from isodiff.errors import InputError
from isodiff.runs import checkpoint
from isodiff.runs.build import load
from isodiff.runs.metrics import LossRow, read_metrics
from isodiff.train.loop import train
from isodiff.train.run import TrainingRun


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


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def flip(path: Path, place: float = 0.5, bit: int = 0) -> None:
    """Another bit at a place of a file, which begins at 0 and ends at 1."""
    data = bytearray(path.read_bytes())
    data[int(place * (len(data) - 1))] ^= 1 << bit
    path.write_bytes(bytes(data))


def not_finite(path: Path) -> None:
    """Weights that a broken program wrote, with all that vouches for them."""
    tensors = load_file(path)
    next(iter(tensors.values())).view(-1)[-1] = float("nan")
    save_file(tensors, path)
    state = path.with_name("state.json")
    value = json.loads(state.read_text())
    value["sha256"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    del value["checksum"]
    state.write_text(json.dumps(value))


def edited(path: Path, **changes: object) -> None:
    value = json.loads(path.read_text()) | changes
    del value["checksum"]
    path.write_text(json.dumps(value))


DAMAGE: dict[str, tuple[str, Callable[[Path], object]]] = {
    "truncated weights": ("model.safetensors", cut),
    "no optimizer": ("optimizer.safetensors", Path.unlink),
    "one bit of the moments": ("optimizer.safetensors", lambda path: flip(path, 0.9)),
    "one bit of the header": ("model.safetensors", lambda path: flip(path, 0.001)),
    "weights that are not finite": ("model.safetensors", not_finite),
    "one bit of the state": ("state.json", flip),
    "an empty state": ("state.json", lambda path: path.write_bytes(b"")),
    "a state that is no object": ("state.json", lambda path: path.write_text("[1]")),
    "another number of steps": ("state.json", lambda path: edited(path, steps=50)),
    "other FLOPs": ("state.json", lambda path: edited(path, flops=1.0)),
    "another family": ("state.json", lambda path: edited(path, family={"name": "masked"})),
    "a negative step": ("state.json", lambda path: edited(path, step=-1)),
    "another step": ("state.json", lambda path: edited(path, step=12)),
}


@pytest.fixture(scope="module")
def halfway(corpus, tmp_path_factory) -> Path:
    """A run that was interrupted after 40 steps."""
    folder = tmp_path_factory.mktemp("run") / "halfway"
    interrupted(small(corpus, "ar"), folder, corpus, 40)
    return folder


@pytest.fixture(scope="module")
def straight(corpus, tmp_path_factory) -> dict[str, bytes]:
    """The same run, never interrupted."""
    folder = tmp_path_factory.mktemp("run")
    train(small(corpus, "ar"), folder, corpus)
    return newest(folder)


@pytest.mark.parametrize("kind", DAMAGE)
def test_the_newest_whole_checkpoint_serves(kind, corpus, halfway, straight, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(halfway, folder)
    earlier, last = checkpoint.steps(folder / "checkpoint")
    name, damage = DAMAGE[kind]
    damage(last / name)
    assert train(small(corpus, "ar"), folder, corpus).status == "done"
    said = capsys.readouterr().err
    assert last.name in said and f"going on from {earlier.name}" in said
    assert newest(folder) == straight
    kept = [earlier.name, "step_00000100"]
    assert [one.name for one in checkpoint.steps(folder / "checkpoint")] == kept


def test_no_whole_checkpoint_is_one_line(corpus, halfway, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(halfway, folder)
    for place in checkpoint.steps(folder / "checkpoint"):
        cut(place / "model.safetensors")
    for use in (load, lambda folder: train(small(corpus, "ar"), folder, corpus)):
        with pytest.raises(InputError, match=r"00039.model.safetensors is missing, truncated or"):
            use(folder)


def test_rows_that_were_altered_are_trained_again(corpus, halfway, straight, tmp_path, capsys):
    """Those of the last step: the checkpoint before does not rest on them. All: none is left."""
    folder, spec = tmp_path / "run", small(corpus, "ar")
    shutil.copytree(halfway, folder)
    rows = (folder / "metrics.jsonl").read_bytes()
    (folder / "metrics.jsonl").write_bytes(rows.replace(b'"step": 20,', b'"step": 21,'))
    with pytest.raises(InputError, match=r"metrics.jsonl was altered before step_00000039"):
        train(spec, folder, corpus)
    state = json.loads((folder / "checkpoint" / "step_00000038" / "state.json").read_text())
    (folder / "metrics.jsonl").write_bytes(rows[: state["metrics_bytes"]] + b"damage")
    assert train(spec, folder, corpus).status == "done"
    assert newest(folder) == straight and "going on from step_00000038" in capsys.readouterr().err
    assert [
        row.step for row in read_metrics(folder / "metrics.jsonl") if isinstance(row, LossRow)
    ] == [*range(1, 101)]


def test_results_of_a_finished_run_are_those_of_its_last_checkpoint(
    corpus, halfway, straight, tmp_path
):
    folder, spec = tmp_path / "run", small(corpus, "ar")
    shutil.copytree(halfway, folder)
    record = train(spec, folder, corpus, checkpoint_seconds=0.0)
    last = checkpoint.steps(folder / "checkpoint")[-1]
    flip(last / "model.safetensors")
    with pytest.raises(InputError, match=r"delete .*record.json and train the run again: it goes"):
        load(folder)
    (folder / "record.json").unlink()
    assert train(spec, folder, corpus).results == record.results
    assert load(folder).step == 100 and newest(folder) == straight


def test_the_smoothed_loss_is_kept(corpus, tmp_path, monkeypatch):
    """A batch of high loss right after an interruption does not look like divergence."""
    update = TrainingRun.update

    def spike(run, step):
        loss, norm, rate = update(run, step)
        return (30.0 if step == 39 else loss), norm, rate

    monkeypatch.setattr(TrainingRun, "update", spike)
    spec = small(corpus, "ar")
    interrupted(spec, tmp_path, corpus, 40)
    assert train(spec, tmp_path, corpus).status == "done"


@pytest.mark.parametrize("file", ["spec.json", "record.json"])
def test_the_folder_of_another_run_is_refused(file, corpus, halfway, tmp_path):
    folder, other = tmp_path / "run", small(corpus, "ar", seed=1)
    shutil.copytree(halfway, folder)
    if file == "record.json":
        train(small(corpus, "ar"), folder, corpus)
    before = {path: path.read_bytes() for path in folder.rglob("*.json")}
    with pytest.raises(InputError, match=f"{file} is that of run .*, not of {other.id}; choose"):
        train(other, folder, corpus)
    assert before == {path: path.read_bytes() for path in folder.rglob("*.json")}


def test_a_precision_that_was_planned_is_not_timed_again(corpus, tmp_path, monkeypatch):
    spec = small(corpus, "ar", recipe={"precision": "auto"})
    monkeypatch.setattr("isodiff.train.run.resolve", None)
    assert train(spec, tmp_path, corpus, precision="bfloat16").precision == "bfloat16"


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
