"""One byte that changed on a disk: the same answer, or one line that names the file. Never another answer."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from specs import small
from test_resume import interrupted

from isodiff.cli import main
from isodiff.data.corpora import prepare
from isodiff.data.manifest import SPLITS, read_manifest
from isodiff.data.tokens import Corpus
from isodiff.errors import InputError
from isodiff.record import Record, read_records
from isodiff.report.study_folder import read_study_folder
from isodiff.runs import checkpoint
from isodiff.runs.build import load
from isodiff.runs.location import corpus_of
from isodiff.runs.spec import RunSpec
from isodiff.scaling.laws.load import known_laws
from isodiff.scaling.pareto_result import FrontierResult
from isodiff.scaling.sampler_points import MeasuredSampler
from isodiff.serialization import read_result, write_result
from isodiff.study.plan import StudyPlan
from isodiff.study_record import StudyRecord
from isodiff.task_results import TaskResult
from isodiff.train.loop import train
from isodiff.train.run import TrainingRun
from tests.report.planted import write_study

FLIPS = settings(max_examples=150, deadline=None)
PLACES = st.tuples(st.integers(0, 10**6), st.floats(0, 1), st.integers(0, 7))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Ninety documents in shards of 300 tokens."""
    folder = tmp_path_factory.mktemp("text")
    texts = [f"document {i}: {'é' * (i % 7)} {[i * j % 97 for j in range(12)]}" for i in range(90)]
    (folder / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return prepare([folder / "a.jsonl"], folder / "corpus", shard_tokens=300, tokenizer="bpe:270")


@pytest.fixture(scope="module")
def finished(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is done."""
    folder = tmp_path_factory.mktemp("runs") / "done"
    train(small(corpus, "ar", recipe={"ema": 0.9}), folder, corpus)
    return folder


@pytest.fixture(scope="module")
def halfway(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was interrupted after 20 steps."""
    folder = tmp_path_factory.mktemp("runs") / "halfway"
    interrupted(small(corpus, "ar"), folder, corpus, 20)
    return folder


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole study, its files with checksums."""
    folder = tmp_path_factory.mktemp("study")
    write_study(folder, frontier=True, families={"masked": 1.0, "autoregressive": 1.5})
    for file in folder.rglob("*.json"):
        write_result(file, json.loads(file.read_text()))
    return folder


@contextmanager
def flipped(folder: Path, number: int, place: float, bit: int) -> Iterator[Path]:
    """One file of a folder with another bit at a place of it, which begins at 0 and ends at 1."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
    file = files[number % len(files)]
    whole = file.read_bytes()
    data = bytearray(whole)
    data[int(place * (len(data) - 1))] ^= 1 << bit
    file.write_bytes(bytes(data))
    try:
        yield file
    finally:
        file.write_bytes(whole)


def told(answer: Callable[[], Any], file: Path) -> Any:
    """What a folder with a damaged file says; None where it is refused, in one line that names the file."""
    try:
        return answer()
    except InputError as error:
        said = str(error)
        assert "\n" not in said and file.parent.name in said, said
        return None


def all_tokens(folder: Path) -> dict[str, Any]:
    corpus = Corpus.open(folder)
    said: dict[str, Any] = {"eos": corpus.eos, "vocabulary": corpus.vocab_size}
    said["text"] = corpus.tokenizer.decode(np.arange(corpus.vocab_size))
    for name in SPLITS:
        tokens = corpus.split(name)
        said[name] = (tokens.read(0, tokens.num_tokens).tolist(), tokens.num_bytes)
        said[f"{name} documents"] = corpus.documents(name).tolist()
    return said


@FLIPS
@given(place=PLACES)
def test_a_corpus(corpus: Corpus, place: tuple[int, float, int]) -> None:
    before = all_tokens(corpus.folder)
    with flipped(corpus.folder, *place) as file:
        assert told(lambda: all_tokens(corpus.folder), file) in (None, before)


def everything_of(folder: Path) -> list[Any]:
    run = load(folder)
    weights = {name: tensor.tolist() for name, tensor in run.network.state_dict().items()}
    return [RunSpec.read(folder), read_records([folder]), weights, run.step, corpus_of(folder)]


@FLIPS
@given(place=PLACES)
def test_a_finished_run(finished: Path, place: tuple[int, float, int]) -> None:
    before = everything_of(finished)
    with flipped(finished, *place) as file:
        assert told(lambda: everything_of(finished), file) in (None, before)


def where_it_stands(folder: Path, spec: RunSpec, corpus: Corpus) -> list[Any]:
    run = TrainingRun(spec, folder, corpus)
    weights = {name: tensor.tolist() for name, tensor in run.network.state_dict().items()}
    moments = [
        {key: value.tolist() for key, value in run.optimizer.state[parameter].items()}
        for parameter in run.network.parameters()
    ]
    return [run.restored, weights, moments]


@pytest.fixture(scope="module")
def standing(halfway: Path, corpus: Corpus) -> list[Any]:
    return where_it_stands(halfway, small(corpus, "ar"), corpus)


@settings(FLIPS, max_examples=40)
@given(place=PLACES)
def test_a_run_that_goes_on(
    halfway: Path, standing: list[Any], corpus: Corpus, place: tuple[int, float, int]
) -> None:
    """From where it stood, or from the checkpoint before, which is said."""
    with (
        flipped(halfway, *place) as file,
        contextlib.redirect_stderr(io.StringIO()) as said,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(checkpoint, "set_aside_after", lambda folder, step: None)
        found = told(lambda: where_it_stands(halfway, small(corpus, "ar"), corpus), file)
        if found not in (None, standing):
            assert found[0].step == 18 and "going on from step_00000018" in said.getvalue()
            assert file.name in said.getvalue() or file.parent.name in said.getvalue()


@FLIPS
@given(place=PLACES)
def test_a_study(study: Path, place: tuple[int, float, int]) -> None:
    before = vars(read_study_folder(study))
    with flipped(study, *place) as file:
        assert told(lambda: vars(read_study_folder(study)), file) in (None, before)


@pytest.mark.parametrize("name", ["spec.json", "location.json", "model.safetensors", "state.json"])
def test_the_command_line_says_it_in_one_line(
    name: str, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (file,) = finished.rglob(name)
    whole = file.read_bytes()
    data = bytearray(whole)
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))
    try:
        code = main(["sample", str(finished), "--json"])
    finally:
        file.write_bytes(whole)
    said = capsys.readouterr()
    assert code == 2 and said.out == "" and said.err.count("\n") == 1
    assert file.parent.name in said.err and "Traceback" not in said.err


@pytest.mark.parametrize(
    "words",
    [
        ["study", "FILE"],
        ["fit", "FILE"],
        ["fit", "FILE.csv"],
        ["plan", "budget", "1e20", "--law", "FILE.json"],
        ["cite", "FILE"],
        ["report", "FILE"],
        ["sample", "FILE"],
        ["corpus", "prepare", "FILE", "--out", "OUT"],
        ["corpus", "prepare", "FILE.jsonl", "--out", "OUT"],
        ["corpus", "prepare", "FOLDER", "--out", "OUT"],
        ["corpus", "prepare", "sotu", "--tokenizer", "FILE", "--out", "OUT"],
        ["evaluate", "task", "RUN", "FILE.jsonl"],
        ["evaluate", "text", "RUN", "FILE"],
        ["finetune", "RUN", "--data", "FILE.jsonl", "--out", "OUT"],
        ["train", "ar", "--corpus", "FILE", "--budget", "1e9"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_only_regular_files_are_read(
    words: list[str],
    kind: str,
    finished: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A named pipe would wait for ever for somebody to write, /dev/zero would never end."""
    names = {"RUN": str(finished), "OUT": str(tmp_path / "out"), "FOLDER": str(tmp_path)}
    for word in words:
        if word.startswith("FILE"):
            names[word] = str(tmp_path / f"some{word.removeprefix('FILE')}")
            if kind == "pipe":
                os.mkfifo(names[word])
            else:
                Path(names[word]).symlink_to("/dev/zero")
    assert main([names.get(word, word) for word in words]) == 2
    said = capsys.readouterr()
    assert said.out == "" and len(said.err.splitlines()) == 1, said.err


READERS: dict[str, Callable[[Path], object]] = {
    "spec.json": lambda file: RunSpec.read(file.parent),
    "location.json": lambda file: corpus_of(file.parent),
    "record.json": lambda file: read_records([file]),
    "plan.json": lambda file: read_result(StudyPlan, file),
    "study.json": lambda file: read_result(StudyRecord, file),
    "frontier.json": lambda file: read_result(FrontierResult, file),
    "point.json": lambda file: read_result(MeasuredSampler, file),
    "task.json": lambda file: read_result(TaskResult, file),
    "fits.json": lambda file: known_laws(str(file)),
    "corpus.json": lambda file: read_manifest(file.parent),
    "state.json": lambda file: checkpoint.newest(file.parent.parent, "x", lambda place, state: 0),
}
SHAPES: dict[str, bytes] = {
    "empty": b"",
    "truncated": b'{"id": "a", "sp',
    "not UTF-8": b'{"id": "\xff"}',
    "a list": b"[]",
    "a list of lists": b"[[1], [2]]",
    "null": b"null",
    "text": b'"x"',
    "a number": b"1",
    "no keys": b"{}",
    "NaN": b'{"budget": NaN}',
    "too large": b'{"budget": 1e999}',
    "many digits": b'{"budget": ' + b"9" * 5000 + b"}",
    "deep lists": b"[" * 100_000,
    "deep, and closed": b"[" * 600 + b"]" * 600,
    "deep objects": b'{"a": ' * 993 + b"1" + b"}" * 993,
    "half of a surrogate pair": b'{"id": "\\ud800"}',
    "control characters": b'{"id": "\x1b[2J"}',
    "a number as text": b'{"step": "1", "budget": "nan"}',
}

NO_KNOWN_KEY = ("no keys", "control characters", "a number as text")


@pytest.mark.parametrize("name", READERS)
def test_files_that_are_something_else(name: str, tmp_path: Path) -> None:
    file = tmp_path / "step_00000001" / name
    file.parent.mkdir()

    def refused() -> str:
        with pytest.raises(InputError) as error:
            READERS[name](file)
        assert "\n" not in str(error.value) and len(str(error.value)) < 500
        return str(error.value)

    all_optional = name in ("task.json", "frontier.json")
    for shape, data in SHAPES.items():
        if not all_optional or shape not in NO_KNOWN_KEY:
            file.write_bytes(data)
            assert file.parent.name in refused()
    file.unlink()
    os.mkfifo(file)
    assert file.parent.name in refused()
    file.unlink()
    file.mkdir()
    assert file.parent.name in refused()
    file.rmdir()
    assert file.parent.name in refused()


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.text(max_size=3),
    st.sampled_from([-1, 0, 1e300, 10**30, [], {}, [[]], {"a": {"b": []}}]),
)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container and key of a JSON value."""
    keys = (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    for key in keys:
        yield value, key
        yield from places(value[key])


@pytest.mark.parametrize("name", ["spec.json", "record.json", "location.json", "corpus.json"])
@settings(FLIPS, max_examples=60)
@given(data=st.data())
def test_values_of_another_kind(
    name: str, data: st.DataObject, finished: Path, corpus: Corpus
) -> None:
    """With a checksum they are refused; without, as by hand, they are read as what they are or refused."""
    file = (corpus.folder if name == "corpus.json" else finished) / name
    whole = file.read_text()
    value = json.loads(whole)
    container, key = data.draw(st.sampled_from(list(places(value))))
    if data.draw(st.booleans()):
        del container[key]
    else:
        container[key] = data.draw(VALUES)
    changed = value != json.loads(whole)
    by_hand = data.draw(st.booleans())
    if by_hand:
        value.pop("checksum", None)
    file.write_text(json.dumps(value))
    try:
        READERS[name](file)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert by_hand or not changed or (container is value and key == "checksum")
    finally:
        file.write_text(whole)


def test_an_edited_file_is_vouched_for_by_its_editor(finished: Path, tmp_path: Path) -> None:
    """Without its checksum a file is read as those of earlier versions are."""
    value = json.loads((finished / "record.json").read_text())
    value["message"] = "by hand"
    file = tmp_path / "record.json"
    file.write_text(json.dumps(value))
    with pytest.raises(
        InputError, match=r"record.json was altered: its checksum does not fit; res"
    ):
        read_result(Record, file)
    del value["checksum"]
    file.write_text(json.dumps(value))
    assert read_result(Record, file).message == "by hand"
