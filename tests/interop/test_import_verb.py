"""`isodiff import`: a run like any other comes out, or one line and nothing."""

from __future__ import annotations

import json
import pickle
import shutil
import sys
from pathlib import Path

import foreign
import pytest
import torch
from safetensors.torch import load_file

from isodiff.cli import main
from isodiff.data.qa_format import write_questions
from isodiff.evaluate.arithmetic import arithmetic

sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))
import tiny_runs

from tests.report.planted import write_study

pytest.importorskip("transformers")
FEW = ["--validation.windows", "4", "--validation.draws", "1"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A corpus of bytes and a checkpoint of GPT-2's layout."""
    folder = tmp_path_factory.mktemp("import")
    tiny_runs.corpus(folder)
    foreign.gpt2(folder / "gpt2", n_positions=112)
    return folder


@pytest.fixture(scope="module")
def run(place):
    words = [
        "--tokenizer",
        "bytes",
        "--corpus",
        place / "corpus",
        "--tokens",
        "1000000",
        "--length",
        "32",
    ]
    words += ["--validation.windows", "8", "--out", place / "runs" / "gpt2"]
    return tiny_runs.answer("import", place / "gpt2", *words)


def test_the_run_is_evaluated_sampled_and_tuned_like_any_other(place, run):
    folder = place / "runs" / "gpt2"
    assert run["status"] == "done" and run["flops"]["exact"] > 6 * 1e6 * 6000
    nats = run["results"]["validation"]["nats_per_token"]["value"]
    words = ["--split", "validation", "--windows", "8"]
    again = tiny_runs.answer("evaluate", "split", folder, *words)
    assert again["kind"] == "exact" and again["nats_per_token"]["value"] == pytest.approx(nats)
    drawn = tiny_runs.answer("sample", folder, "--num", "2", "--prompt", "Fellow")
    assert all(one["text"].startswith("Fellow") for one in drawn["samples"])
    (row,) = tiny_runs.answer("table", place / "runs")["runs"]
    assert row["run"] == run["id"] and row["nats"] == pytest.approx(nats)
    found = tiny_runs.answer(
        "frontier", folder, "--texts", "2", "--held-out", "2", "--call-seconds", "0.01"
    )
    assert [point["run"] for point in found["points"]] == [run["id"]]


def test_others_start_from_its_weights(place, run):
    folder = place / "runs" / "gpt2"
    words = ["--corpus", place / "corpus", "--init", folder, "--shape", "2x16x2", "--length", "32"]
    words += ["--backbone.biased", "--backbone.learned-positions", "112", "--backbone.tied"]
    words += ["--backbone.mlp", "gelu_tanh", "--budget", "2e10", "--out", place / "tuned"]
    tuned = tiny_runs.answer("train", "autoregressive", *words, *FEW)
    assert tuned["spec"]["init"]["run"] == run["id"] and "imported" not in tuned["spec"]
    write_questions(place / "train.jsonl", arithmetic(0, 120, "train"))
    words = [
        "--data",
        place / "train.jsonl",
        "--length",
        "110",
        "--epochs",
        "14",
    ]
    tuned = tiny_runs.answer("finetune", folder, *words, "--out", place / "tuned", *FEW)
    assert tuned["spec"]["init"]["run"] == run["id"] and "imported" not in tuned["spec"]


def test_a_diffusion_model_too(place):
    config = {"model_type": "mdlm", "n_heads": 2, "model_length": 32}
    foreign.saved(place / "mdlm", foreign.dit(width=16, condition=16), config)
    words = ["--tokenizer", "bytes", "--corpus", place / "corpus", "--validation.windows", "4"]
    found = tiny_runs.answer("import", place / "mdlm", *words, "--out", place / "others" / "mdlm")
    assert found["results"]["validation"]["kind"] == "bound"
    drawn = tiny_runs.answer("sample", place / "others" / "mdlm", "--num", "1", "--steps", "2")
    assert drawn["family"] == "masked"
    words = ["--corpus", place / "corpus", "--init", place / "others" / "mdlm", "--shape", "2x16x2"]
    words += ["--backbone.adaln", "--backbone.mlp", "gelu_tanh", "--backbone.condition-width", "16"]
    words += ["--length", "32", "--budget", "2e10", "--out", place / "tuned", "--threads", "1"]
    tuned = tiny_runs.answer("train", "block", "--block-size", "8", *words, *FEW)
    assert tuned["spec"]["init"]["run"] == found["id"]


def test_it_stands_in_the_report_of_a_study(place, run):
    write_study(place / "study", families={"masked": 1.0})
    shutil.copytree(place / "runs" / "gpt2", place / "study" / "runs" / "gpt2")
    assert run["id"] in Path(tiny_runs.answer("report", place / "study")["report"]).read_text()


def test_without_a_corpus_it_has_a_tokenizer_and_takes_any_corpus_of_that(place, capsys):
    folder = place / "alone"
    said = tiny_runs.answer("import", place / "gpt2", "--tokenizer", "bytes", "--out", folder)
    assert said["results"] == {} and "exact" not in said["flops"]
    assert main(["fit", str(folder)]) == 2
    assert "holds no finished run (1 " in capsys.readouterr().err
    assert len(tiny_runs.answer("sample", folder, "--num", "1")["samples"]) == 1
    assert main(["evaluate", "split", str(folder)]) == 2
    assert "holds a tokenizer and no text; prepare some with" in capsys.readouterr().err
    words = ["--corpus", place / "corpus", "--windows", "8"]
    assert tiny_runs.answer("evaluate", "split", folder, *words)["kind"] == "exact"
    (place / "other").mkdir(exist_ok=True)
    tiny_runs.corpus(place / "other", "bpe:257")
    assert (
        main(["evaluate", "split", str(folder), "--corpus", str(place / "other" / "corpus")]) == 2
    )
    assert "is not the one of run" in capsys.readouterr().err


def _altered(folder: Path, name: str, change) -> Path:
    """A checkpoint like the good one but for `change`."""
    tensors = load_file(folder / "gpt2" / "model.safetensors")
    config = json.loads((folder / "gpt2" / "config.json").read_text())
    change(tensors, config)
    return foreign.saved(folder / "altered" / name.replace(" ", "-"), tensors, config)


ALTERED = {
    "an unknown layout": (
        lambda t, c: (
            t.clear(),
            t.update({"encoder.w": torch.ones(2)}),
            c.update(model_type="bart"),
        ),
        "(model_type 'bart') is of no known layout; nearest: ",
    ),
    "a key too many": (
        lambda t, c: t.update({"transformer.h.0.extra": torch.ones(2)}),
        "has transformer.h.0.extra [2]: not understood",
    ),
    "a key too few": (
        lambda t, c: t.pop("transformer.h.1.ln_2.bias"),
        "lacks transformer.h.1.ln_2.bias; it is not whole",
    ),
    "another shape": (
        lambda t, c: t.update({"transformer.ln_f.bias": torch.ones(3)}),
        "transformer.ln_f.bias has shape [3], expected [16]",
    ),
    "not a number": (
        lambda t, c: t["transformer.ln_f.bias"].fill_(float("nan")),
        "transformer.ln_f.bias holds what is no finite",
    ),
    "an unknown setting": (
        lambda t, c: c.update(mixture=3),
        "config.json has mixture 3: not understood",
    ),
    "a setting of another model": (
        lambda t, c: c.update(activation_function="relu"),
        "config.json has activation_function 'relu', which is not understood",
    ),
    "no beginning": (
        lambda t, c: (c.pop("bos_token_id"), c.pop("eos_token_id")),
        "has neither bos_token_id nor eos_token_id",
    ),
    "too few tokens": (
        lambda t, c: (
            t.update({"transformer.wte.weight": t["transformer.wte.weight"][:200]}),
            c.update(vocab_size=200),
        ),
        "knows 200 tokens, the tokenizer has 257: wrong vocabulary",
    ),
}


def refused(place: Path, source: Path, *words: str | Path, capsys) -> str:
    """The line on stderr; nothing is left behind."""
    before = {*place.rglob("*")}
    code = main(["import", *map(str, (source, "--out", place / "refused", *words))])
    said = capsys.readouterr().err.strip()
    assert code == 2 and said.startswith("isodiff import: ") and "\n" not in said, said
    assert {*place.rglob("*")} == before
    return said


@pytest.mark.parametrize("name", ALTERED)
def test_what_is_not_understood_is_refused_by_name(name, place, capsys):
    change, words = ALTERED[name]
    source = _altered(place, name, change)
    assert words in refused(place, source, "--tokenizer", "bytes", capsys=capsys)


def test_files_that_cannot_be_read(place, capsys):
    folder = place / "files"
    folder.mkdir()
    whole = (place / "gpt2" / "model.safetensors").read_bytes()
    (folder / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    torch.save({"state_dict": {"w": torch.ones(2)}}, folder / "whole.ckpt")
    (folder / "cut.ckpt").write_bytes((folder / "whole.ckpt").read_bytes()[:700])
    (folder / "pickle.ckpt").write_bytes(pickle.dumps({"w": Path("x")}))
    torch.save({"hyper_parameters": Path("x"), "state_dict": {}}, folder / "lightning.ckpt")
    torch.save(torch.ones(2), folder / "tensor.pt")
    torch.save({"w": "text"}, folder / "text.pt")
    (folder / "notes.txt").write_text("weights")
    for name, words in {
        "cut.safetensors": "it is truncated or no safetensors file",
        "cut.ckpt": "it is truncated or not a file of torch.save",
        "pickle.ckpt": "holds more than tensors (",
        "lightning.ckpt": "holds more than tensors (pathlib",
        "whole.ckpt": "is of no known layout",
        "tensor.pt": "holds a Tensor, not tensors by name",
        "text.pt": "w is a str where a tensor is expected",
        "notes.txt": "is no file of weights",
        "absent": "does not exist",
        "": "which file of",
    }.items():
        assert words in refused(place, folder / name, "--tokenizer", "bytes", capsys=capsys), name


def test_what_was_asked_for_wrongly(place, run, capsys):
    for words, said in {
        (): "has no tokenizer.json beside its weights; give --tokenizer",
        ("--tokenizer", "bpe:300"): "is still to be trained",
        ("--tokenizer", "bytes", "--layout", "gpt"): "no layout 'gpt'; did you mean 'gpt2'?",
        ("--tokenizer", "bytes", "--length", "113"): "reads 112 tokens, not 113",
        (
            "--tokenizer",
            "text8",
            "--corpus",
            place / "corpus",
        ): "is of a wrong vocabulary: its id 0 is",
    }.items():
        assert said in refused(place, place / "gpt2", *words, capsys=capsys)
    again = [
        "import",
        str(place / "gpt2"),
        "--tokenizer",
        "bytes",
        "--out",
        str(place / "runs" / "gpt2"),
    ]
    assert main(again) == 2
    assert "exists; choose another --out" in capsys.readouterr().err
