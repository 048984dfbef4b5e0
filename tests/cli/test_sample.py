"""`isodiff sample` on tiny runs of every family: what it refuses, what it keeps, where texts end."""

import contextlib
import io
import json
import random
from pathlib import Path

import pytest

from isodiff.cli import main

FAMILIES = ("autoregressive", "masked", "uniform", "interpolating")
LENGTH = 32


def isodiff(*words: str) -> dict:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = main([*words, "--json"])
    assert code == 0
    return json.loads(out.getvalue())


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, str]:
    """A run of each family: bytes, a few steps."""
    folder: Path = tmp_path_factory.mktemp("sample")
    numbers = random.Random(0)
    words = ["".join(numbers.choices("abcdefgh", k=numbers.randint(1, 5))) for _ in range(200)]
    texts = [" ".join(numbers.choices(words, k=30)) for _ in range(400)]
    (folder / "text.txt").write_text("\n\n".join(texts))
    corpus = str(folder / "corpus")
    isodiff(
        *("corpus", "prepare", str(folder / "text.txt"), "--tokenizer", "bytes", "--out", corpus)
    )
    made = {}
    for family in FAMILIES:
        size = ("--budget", "3e9", "--shape", "1x8x1", "--length", str(LENGTH))
        out = str(folder / "runs")
        record = isodiff("train", family, "--corpus", corpus, *size, "--out", out)
        made[family] = f"{out}/{record['id']}"
    return made


@pytest.mark.parametrize(
    ("family", "words", "message"),
    [
        ("masked", ["--prompt", "x" * 40], "which leaves nothing to write of 32"),
        ("masked", ["--prompt", "x" * 20, "--suffix", "y" * 20], "have 40 tokens"),
        ("autoregressive", ["--suffix", "end"], "infilling needs a masked or uniform family"),
        (
            "autoregressive",
            ["--prompt", "a_b", "--blank", "_"],
            "nothing may be given after a blank",
        ),
        ("masked", ["--steps", "0"], "steps must be at least 1, got 0"),
        ("uniform", ["--steps", "-3"], "steps must be at least 1, got -3"),
        ("uniform", ["--steps", "None"], "uniform noise needs a number of steps"),
        ("uniform", ["--kappa", "1.5"], "--kappa must be at most 1, got 1.5"),
        ("interpolating", ["--alpha-0", "-0.5"], "--alpha-0 must be at least 0, got -0.5"),
        ("interpolating", ["--block", "0"], "block must be at least 1, got 0"),
        ("masked", ["--block", "0"], "block must be at least 1, got 0"),
        ("masked", ["--remask", "0.1", "--order", "margin"], "remask needs steps"),
        *((name, ["--top-p", "0"], "--top-p must be more than 0, got 0.0") for name in FAMILIES),
        *((name, ["--top-p", "1.5"], "--top-p must be at most 1, got 1.5") for name in FAMILIES),
        *((name, ["--top-k", "0"], "--top-k must be at least 1, got 0") for name in FAMILIES),
        *((name, ["--min-p", "2"], "--min-p must be at most 1, got 2.0") for name in FAMILIES),
        *(
            (name, ["--temperature", "-1"], "--temperature must be at least 0, got -1.0")
            for name in FAMILIES
        ),
        ("masked", ["--num", "0"], "--num must be at least 1, got 0"),
        (
            "masked",
            ["--kappa", "0.5"],
            "masked has no option --kappa; its sampler has --temperature",
        ),
        ("uniform", ["--order", "margin"], "uniform has no option --order; its sampler has"),
        ("autoregressive", ["--steps", "3"], "autoregressive has no option --steps"),
        ("masked", ["--order", "strided"], "--order of masked is one of random, left_to_right"),
        ("interpolating", ["--order", "margin"], "--order of interpolating is one of random"),
        ("masked", ["--remsk", "0.1"], "no option --remsk; did you mean '--remask'?"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(runs, capsys, family, words, message) -> None:
    assert main(["sample", runs[family], *words]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("isodiff sample: ") and message in error
    assert "\n" not in error


@pytest.mark.parametrize("family", FAMILIES)
def test_text_i_of_a_seed_is_the_same_in_any_batch(runs, family) -> None:
    def texts(*words: str) -> list[dict]:
        return isodiff("sample", runs[family], "--seed", "7", *words)["samples"]

    five = texts("--num", "5")
    assert texts("--num", "5", "--batch-size", "2") == five
    assert texts("--num", "3", "--batch-size", "1") == five[:3]
    assert texts("--num", "5", "--seed", "8") != five
    assert all(0 < one["nfe"] <= 128 for one in five)


@pytest.mark.parametrize("family", FAMILIES)
def test_texts_end_at_their_first_end_of_document(runs, family) -> None:
    """They are the texts without the cut, cut; an autoregressive text costs no more than it has."""
    words = ("--num", "48", "--prompt", "ab")
    whole = isodiff("sample", runs[family], *words)["samples"]
    cut = isodiff("sample", runs[family], *words, "--to-end")["samples"]
    eos = 256
    ended = 0
    for full, short in zip(whole, cut, strict=True):
        assert full["tokens"][:2] == [97, 98] and len(full["tokens"]) == LENGTH
        at = full["tokens"].index(eos) if eos in full["tokens"] else LENGTH
        ended += at < LENGTH
        assert short["tokens"] == full["tokens"][:at]
        if family == "autoregressive":
            assert short["nfe"] == min(at + 1, LENGTH) - 2
            assert full["nfe"] == LENGTH - 2
        else:
            assert short["nfe"] == full["nfe"]
    assert 0 < ended < 48


@pytest.mark.parametrize("family", FAMILIES[1:])
def test_prompt_suffix_and_holes(runs, family) -> None:
    words = ("--prompt", "ab__c", "--suffix", "_z", "--blank", "_", "--num", "3")
    for one in isodiff("sample", runs[family], *words)["samples"]:
        tokens = one["tokens"]
        assert [tokens[i] for i in (0, 1, 4, -1)] == [*b"abcz"]
        assert len(tokens) == LENGTH
