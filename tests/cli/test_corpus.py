"""`isodiff corpus`: prepare, show, JSON, help, errors."""

import json
import math

import pytest

from isodiff.cli import main
from isodiff.data.tokens import Corpus


@pytest.fixture
def files(tmp_path):
    for name in ("a.txt", "b.txt"):
        parts = "\f".join(f"{name} part {i} of a text, number {i * i}" for i in range(60))
        (tmp_path / name).write_text(parts)
    return [str(tmp_path / "a.txt"), str(tmp_path / "b.txt")]


def test_prepare_and_show(files, tmp_path, capsys):
    out = str(tmp_path / "out")
    options = [*files, "--tokenizer", "bytes", "--out", out, "--separator", r"\f"]
    assert main(["corpus", "prepare", *options, "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["hash"] == Corpus.open(out).hash and value["vocab_size"] == 257
    assert sum(split["num_documents"] for split in value["splits"].values()) == 120
    assert value["cut"] is None and value["exact_bytes"] is True
    assert 2 < value["unigram_nats"] < math.log(257)
    assert main(["corpus", "show", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == value
    assert main(["corpus", "show", out]) == 0
    text = capsys.readouterr().out
    assert (
        "tokenizer bytes, 257 ids" in text and f"{value['splits']['train']['num_tokens']:,}" in text
    )
    assert f"unigram entropy {value['unigram_nats']:.3f} nats per token" in text


def test_prepare_twice_says_so_and_refuses_another(files, tmp_path, capsys):
    command = ["corpus", "prepare", *files, "--out", str(tmp_path / "out"), "--separator", r"\f"]
    assert main(command) == 0
    assert main(command) == 0
    assert "already prepared" in capsys.readouterr().err
    assert main([*command, "--tokenizer", "bpe:300"]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and len(captured.err.splitlines()) == 1
    assert "holds another corpus (other tokenizer)" in captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prepare", "missing.txt", "--out", "o"], "missing.txt does not exist"),
        (["prepare", "--out", "o"], "no sources"),
        (["prepare", "a", "--out", "o", "--tokenizer", "bpe:7"], "give bpe:SIZE"),
        (["prepare", "a", "--out", "o", "--test", "0.6"], "at most 0.5 together"),
        (["show", "nowhere"], "nowhere is not a prepared corpus"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["corpus", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and message in captured.err and len(captured.err.splitlines()) == 1


def test_cut_is_shown(tmp_path, capsys):
    (tmp_path / "a.txt").write_text("\n\n".join(f"paragraph {i} of one text" for i in range(500)))
    assert main(["corpus", "prepare", str(tmp_path / "a.txt"), "--out", str(tmp_path / "o")]) == 0
    assert "documents were cut at blank lines to fill every split" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["prepare", "show"]),
        (["prepare"], ["--tokenizer", "--separator", "--text-field", "--validation", "bpe:SIZE"]),
        (["show"], ["isodiff corpus prepare"]),
    ],
)
def test_help(arguments, words, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["corpus", *arguments, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert all(word in text for word in words)
