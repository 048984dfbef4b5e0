"""A run finds its corpus where it was, seen from itself: both may move together."""

import json
import shutil
from pathlib import Path

import pytest
from specs import small

from isodiff.data.corpora import prepare
from isodiff.errors import InputError
from isodiff.runs.build import load
from isodiff.runs.location import corpus_of
from isodiff.serialization import write_result
from isodiff.train.loop import train


@pytest.fixture(scope="module")
def study(corpus, tmp_path_factory) -> Path:
    """A folder laid out as a study's, with one run."""
    folder = tmp_path_factory.mktemp("location") / "study"
    shutil.copytree(corpus.folder, folder / "corpus")
    spec = small(corpus, "ar")
    train(spec, folder / "runs" / "one", type(corpus).open(folder / "corpus"))
    return folder


def test_a_study_is_moved_whole(study, tmp_path):
    moved = tmp_path / "elsewhere" / "renamed"
    shutil.copytree(study, moved)
    written = json.loads((moved / "runs" / "one" / "location.json").read_text())
    assert written["corpus"] == "../../corpus"
    assert corpus_of(moved / "runs" / "one") == moved / "corpus"
    assert load(moved / "runs" / "one").step == 100


def test_a_run_is_found_through_a_link_and_from_any_folder(study, tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(study / "runs" / "one")
    monkeypatch.chdir(tmp_path)
    assert corpus_of(Path("link")) == study / "corpus"


def test_a_place_as_earlier_versions_wrote_it(study, tmp_path):
    """An absolute path: if nothing is there any more, the corpus of the study."""
    moved = tmp_path / "moved"
    shutil.copytree(study, moved)
    file = moved / "runs" / "one" / "location.json"
    file.write_text(json.dumps({"corpus": str(study / "corpus")}))
    assert corpus_of(file.parent) == study / "corpus"
    file.write_text(json.dumps({"corpus": str(tmp_path / "gone")}))
    assert corpus_of(file.parent) == moved / "corpus"
    assert load(file.parent).step == 100


def test_what_is_not_there_or_another_is_one_line(study, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(study, moved)
    run = moved / "runs" / "one"
    shutil.rmtree(moved / "corpus")
    with pytest.raises(
        InputError, match=r"the corpus of .*one is not at .*corpus any more; give its folder"
    ):
        load(run)
    texts = [f"another text {i} {[i * j % 89 for j in range(20)]}" for i in range(90)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": one}) + "\n" for one in texts))
    prepare([tmp_path / "a.jsonl"], moved / "corpus")
    with pytest.raises(InputError, match="is not the one of run"):
        load(run)
    write_result(run / "location.json", {"corpus": 3})
    with pytest.raises(InputError, match=r"location.json: corpus must be text"):
        load(run)
