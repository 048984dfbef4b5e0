"""Workers that are killed, orphaned, talked into and started in a hostile folder."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import tiny_study

from isodiff.cli import main
from isodiff.data.tokens import Corpus
from isodiff.errors import InputError
from isodiff.runs.build import corpus_identity, describe, make_family
from isodiff.serialization import to_json
from isodiff.study.jobs import CalibrateSteps, ListDevices
from isodiff.study.workers import Worker, WorkerKilled, Workers

WORKER = [sys.executable, "-m", "isodiff.study.worker", "1", "cpu"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_study.small_corpus(tmp_path_factory.mktemp("workers") / "corpus")


def calibration(corpus: Path) -> CalibrateSteps:
    text = Corpus.open(corpus)
    draft = {
        "family": describe(make_family({"name": "masked"}, text.vocab_size)),
        "shape": {"depth": 1, "width": 8, "heads": 1},
        **{"budget": 1e9, "length": 16, "corpus": to_json(corpus_identity(text))},
        "recipe": {"batch_size": 4, "precision": "float32"},
        "validation": {"windows": 8, "curve_windows": 8},
    }
    from isodiff.runs.spec import RunSpec

    return CalibrateSteps(corpus=corpus, spec=RunSpec.from_json(draft), precision="float32")


def line(job: Any) -> str:
    return json.dumps({"do": type(job).__name__, "job": to_json(job)}) + "\n"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
@pytest.mark.parametrize("times", [1, 2])
def test_a_job_whose_worker_was_killed_is_done_once_more(
    number: signal.Signals,
    times: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    started: list[int] = []

    class Killed(subprocess.Popen[str]):
        def __init__(self, command: list[str], **options: Any) -> None:
            ready = 'import sys; sys.stdin.readline(); print(\'{"answer": ["cpu"]}\', flush=True)'
            super().__init__([sys.executable, "-c", ready], **options)
            started.append(self.pid)
            if len(started) <= times:
                self.send_signal(number)

    monkeypatch.setattr("isodiff.study.workers.subprocess.Popen", Killed)
    with Workers(["cpu"], 1, tmp_path) as pool:
        if times == 1:
            assert pool.ask(ListDevices(device="cpu")) == ["cpu"]
        else:
            with pytest.raises(WorkerKilled, match=f"was killed .{number.name}."):
                pool.ask(ListDevices(device="cpu"))
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and said[0].endswith("it is tried once more")
    assert ("memory runs out" in said[0]) == (number == signal.SIGKILL)
    assert len(started) == 2


def test_a_worker_says_nothing_but_answers_and_runs_nothing_of_the_folder_it_stands_in(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also libraries that print, from C too (ONEDNN_VERBOSE)."""
    for name in ("torch", "numpy", "json", "isodiff", "sitecustomize"):
        trap = f"open({str(tmp_path / 'sprung')!r}, 'w').write({name!r})\n"
        (tmp_path / f"{name}.py").write_text(trap)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONEDNN_VERBOSE", "1")
    with Workers(["cpu"], 1, tmp_path) as pool:
        assert pool.ask(calibration(corpus)).step > 0
    assert not (tmp_path / "sprung").exists()
    assert "onednn_verbose" in (tmp_path / "worker-0.log").read_text()


@pytest.mark.parametrize(
    "words", [["study", "STUDY"], ["plan", "study", "STUDY"], ["frontier", "RUNS"]], ids=" ".join
)
def test_no_verb_starts_a_process_that_looks_for_modules_here(
    words: list[str], corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refused(Exception):
        pass

    def started(command: list[str], *, env: dict[str, str], **options: Any) -> None:
        assert command[:3] == WORKER[:3] and env["PYTHONSAFEPATH"] == "1"
        raise Refused

    record = {"id": "a", "status": "done", "spec": {"family": {"name": "autoregressive"}}}
    record["spec"] |= {"shape": {"depth": 1, "width": 8, "heads": 1}, "budget": 1e9}
    loss = {"value": 1.0, "standard_error": 0.1, "num": 4}
    loss = {"kind": "exact", "nats_per_token": loss, "bits_per_byte": loss}
    record["results"] = {"validation": loss}
    (tmp_path / "runs" / "a").mkdir(parents=True)
    (tmp_path / "runs" / "a" / "record.json").write_text(json.dumps(record))
    study = tiny_study.write_study(tmp_path / "tiny.yaml", corpus)
    names = {"STUDY": study, "RUNS": str(tmp_path / "runs")}
    monkeypatch.setattr("isodiff.study.workers.subprocess.Popen", started)
    with pytest.raises(Refused):
        main([*(names.get(word, word) for word in words), "--out", str(tmp_path / "out")])


def last_words(process: subprocess.Popen[str], last: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a worker whose parent goes after a last word."""
    try:
        out, err = process.communicate(last, timeout=60)
    finally:
        process.kill()
    return process.returncode, out, err


def test_an_orphan_ends_at_once(corpus: Path) -> None:
    """Whatever it is doing: reading modules, or a job."""
    pipe: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(WORKER, text=True, **pipe) as process:
        assert last_words(process, line(calibration(corpus))) == (1, "", "")
    with subprocess.Popen(WORKER, text=True, **pipe) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(line(ListDevices(device="cpu")))
        process.stdin.flush()
        assert json.loads(process.stdout.readline()) == {"answer": ["cpu"]}
        assert last_words(process, line(calibration(corpus))) == (1, "", "")


def test_an_interrupted_queue_ends_nothing_and_begins_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, over = [], []

    def ask(self: Worker, job: ListDevices, progress: Any) -> list[str]:
        asked.append(job)
        progress(0.5)
        while len(over) < 1:
            time.sleep(0.01)
        raise WorkerKilled("ended by its pool")

    def interrupt(index: int, share: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Worker, "ask", ask)
    pool = Workers(["cpu"], 1, tmp_path)
    jobs = [ListDevices(device="cpu")] * 3
    ended: list[int] = []
    with pytest.raises(KeyboardInterrupt), pool:
        pool.share(jobs, lambda index, answer: ended.append(index), interrupt)
    over.append(True)
    time.sleep(0.05)
    assert len(asked) == 1 and ended == []


def test_a_device_is_a_worker_for_each_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    tiny_study.in_this_process(monkeypatch)

    def devices(name: str, count: int | None = None) -> list[str]:
        return [one.device for one in Workers.on(name, tmp_path, count=count).members]

    assert devices("cuda") == ["cuda:0", "cuda:1", "cuda:2"]
    assert devices("cuda", 4) == ["cuda:0", "cuda:1", "cuda:2", "cuda:0"]
    assert devices("cuda", 2) == ["cuda:0", "cuda:1"]
    assert devices("cuda:1") == ["cuda:1"]
    assert devices("cpu", 2) == ["cpu", "cpu"]
    for wrong, said in (("cuda:3", "has 3 CUDA devices"), ("gpu", "no device 'gpu'")):
        with pytest.raises(InputError, match=said):
            devices(wrong)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    with pytest.raises(InputError, match="has 0 CUDA devices"):
        devices("cuda")
