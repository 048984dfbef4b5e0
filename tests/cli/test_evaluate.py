"""`isodiff evaluate text` and `split`, end to end on a tiny run and real text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_runs import answer, corpus, trained

from isodiff.cli import main

KEYS = {
    "nats_per_token",
    "nats_per_token_se",
    "bits_per_byte",
    "bits_per_byte_se",
    "kind",
    "num_forwards",
    "protocol",
    "num_documents",
}
TEXT = (
    "Fellow-Citizens of the Senate and House of Representatives: it affords me much satisfaction.\n"
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evaluate")


@pytest.fixture(scope="module")
def masked(place: Path) -> Path:
    return trained(place, "masked", corpus(place))


@pytest.fixture(scope="module")
def file(place: Path) -> Path:
    (place / "speech.txt").write_text(TEXT + "---" + TEXT.upper())
    return place / "speech.txt"


def test_documents_of_a_file(masked: Path, file: Path) -> None:
    found = answer("evaluate", "text", masked, file, "--separator", "---", "--budget", "17")
    assert found.keys() >= KEYS and "cached_sampler" not in found
    assert found["num_documents"] == 2 and found["kind"] == "bound"
    assert found["num_tokens"] == 2 * (len(TEXT) + 1) and found["num_bytes"] == 2 * len(TEXT)
    assert found["num_forwards"] == 2 * 3 * 17  # 94 tokens each, in windows of 32
    assert 0 < found["nats_per_token_se"] < 0.3 * found["nats_per_token"] < 3
    assert [one["document"].split(", ")[1] for one in found["documents"]] == [
        "document at byte 0",
        f"document at byte {len(TEXT) + 3}",
    ]
    assert "windows of at most 32 tokens" in found["protocol"]
    assert "end of document scored" in found["protocol"]


def test_the_table(masked: Path, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "evaluate",
        "text",
        masked,
        file,
        "--method",
        "left_to_right",
        "--no-end",
        "--stride",
        "16",
    ]
    assert main([*map(str, words)]) == 0
    out = capsys.readouterr().out.splitlines()
    assert "nats/token" in out[0] and "perplexity" in out[0]
    assert str(file) in out[1] and out[2].endswith("all 1")
    assert "masked, the likelihood itself: windows of at most 32" in out[3]


def test_two_laws_have_two_numbers(
    place: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The paper's two columns, for a split, a text and a benchmark; one where a method is asked for."""
    run = trained(place, "interpolating", corpus(place))
    split = answer("evaluate", "split", run, "--windows", "4", "--draws", "1")
    text = answer("evaluate", "text", run, file)
    task = answer("evaluate", "task", run, file, "--task", "plain_text")
    stored = json.loads((run / "tasks" / "plain_text.json").read_text())
    for found in (split, text, task, stored):
        assert "bound of the law that shows all masks left" in found["protocol"]
        cached = found["cached_sampler"]
        assert "bound of the cached sampler (steps: None)" in cached["protocol"]
        assert cached["kind"] == "bound" and cached["bits_per_byte"] != found["bits_per_byte"]
    assert split["cached_sampler"]["nats_per_token"]["num"] == 2  # documents
    assert text["cached_sampler"]["num_tokens"] == text["num_tokens"]
    one = answer("evaluate", "text", run, file, "--method", "any_order:4", "--budget", "8")
    assert "cached_sampler" not in one and one["num_forwards"] == 8 * 6
    assert "4 random orders weighted" in one["protocol"]
    for words in (["split", run], ["text", run, file], ["task", run, file, "--task", "plain_text"]):
        assert main(["evaluate", *map(str, words)]) == 0
        assert "cached sampler" in capsys.readouterr().out


def test_without_files_a_split(masked: Path) -> None:
    found = answer("evaluate", "split", masked, "--windows", "4", "--draws", "1")
    assert found["split"] == "test" and found["nats_per_token"]["num"] == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.txt"], "nowhere.txt does not exist"),
        (["FILE", "--method", "mask_count"], "no method 'mask_count'; did you mean 'mask_counts'?"),
        (["FILE", "--stride", "33"], "stride must lie in 1..32"),
        (["FILE", "--budget", "2"], "budget of 2 network evaluations"),
        (["EMPTY"], "no document with visible text"),
    ],
)
def test_bad_input_is_one_line(
    masked: Path, file: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = file.with_name("empty.txt")
    empty.write_text(" \n")
    words = [{"FILE": str(file), "EMPTY": str(empty)}.get(word, word) for word in words]
    assert main(["evaluate", "text", str(masked), *words]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error and "\n" not in error
