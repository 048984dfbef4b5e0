"""Do small networks of four families learn to answer sums in words, from a base run to exact answers?

    python reproductions/arithmetic/arithmetic.py        # about 80 minutes on two cores; writes result.json
    python reproductions/arithmetic/arithmetic.py FOLDER # keeps runs and answers there, and goes on from them
    python reproductions/arithmetic/arithmetic.py FOLDER block # that family alone, in its place

One network shape for all, more compute for those that need it: a short base run on the text of the questions,
then `isodiff finetune`, then the answers to sums that no training question has.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from isodiff.data.qa_format import read_questions
from isodiff.provenance import provenance
from isodiff.serialization import to_json

QUESTIONS, TESTED, AT_ONCE = 40_000, 400, 2
SHAPE, BASE, BUDGET = "2x64x4", "2e11", "1.2e13"
MORE = {"masked": "4.8e13", "block": "4.8e13", "uniform": "6.4e13"}  # these learn the sum last
LEAST = {"block": "3e11"}  # 100 steps are the least, and blocks are shown twice
COMMON = ["--threads", "1", "--recipe.batch-size", "16"]
FAMILIES: dict[str, tuple[list[str], dict[str, list[str]]]] = {
    "autoregressive": ([], {"plain": [], "greedy": ["--temperature", "0"]}),
    "masked": (
        [],
        {"plain": [], "surest first": ["--order", "confidence", "--temperature", "0"]},
    ),
    "uniform": ([], {"plain": [], "greedy": ["--temperature", "0", "--tail", "posterior"]}),
    "block": (["--block-size", "4"], {"plain": [], "greedy": ["--temperature", "0"]}),
}
"""Options of the family, and the samplers that answer."""
RESULT = Path(__file__).with_name("result.json")


def isodiff(*words: str) -> dict[str, Any]:
    """What a command says."""
    command = [sys.executable, "-m", "isodiff.cli", *words, "--json"]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout)


def accuracy(family: str, folder: Path) -> list[dict[str, Any]]:
    """A row for every sampler."""
    own, samplers = FAMILIES[family]
    base = isodiff(
        *(
            "train",
            family,
            "--corpus",
            str(folder / "corpus"),
            "--budget",
            LEAST.get(family, BASE),
            *own,
            *COMMON,
        ),
        *("--shape", SHAPE, "--length", "104", "--out", str(folder / "base")),
    )
    rows = []
    for sampler, words in samplers.items():
        found = isodiff(
            *("finetune", str(folder / "base" / base["id"]), "--out", str(folder / "tuned")),
            *("--data", str(folder / "train.jsonl"), "--test", str(folder / "test.jsonl")),
            *("--budget", MORE.get(family, BUDGET), *COMMON, *words),
        )
        rows.append(
            {
                "family": family,
                "sampler": sampler,
                "steps": found["steps"],
                "train_flops": found["flops"]["exact"],
                "wall_seconds": found["wall_seconds"],
                "parameters": found["parameters"]["total"],
                "nats_per_answer_token": found["results"]["validation"]["nats_per_token"],
                **{key: found["accuracy"][key] for key in ("strict", "flexible", "nfe", "unended")},
                "provenance": to_json(provenance()),
            }
        )
        print(family, sampler, found["accuracy"]["strict"], file=sys.stderr, flush=True)
    return rows


def main(folder: Path, families: Sequence[str]) -> None:
    """These families, two at a time; the table of all."""
    folder.mkdir(parents=True, exist_ok=True)
    sizes = ("--train", str(QUESTIONS), "--test", str(TESTED))
    isodiff("questions", str(folder), *sizes)
    if not (folder / "corpus").exists():
        text = folder / "text.txt"
        asked = read_questions(folder / "train.jsonl").questions[: QUESTIONS // 4]
        text.write_text("\n\n".join(one.prompt + one.response for one in asked))
        isodiff(
            *("corpus", "prepare", str(text), "--tokenizer", "bytes"),
            *("--out", str(folder / "corpus")),
        )
    longest = sorted(families, key=lambda family: -float(MORE.get(family, BUDGET)))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = [
            row for rows in pool.map(lambda one: accuracy(one, folder), longest) for row in rows
        ]
    before = json.loads(RESULT.read_text())["rows"] if RESULT.exists() else []
    kept = [row for row in before if row["family"] not in families]
    rows = sorted(kept + found, key=lambda row: list(FAMILIES).index(row["family"]))
    for row in rows:
        one = row["strict"]
        print(
            f"{row['family']:15} {row['sampler']:13} {one['value']:.1%} [{one['low']:.1%}, {one['high']:.1%}]"
        )
    result = {"questions": QUESTIONS, "tested": TESTED, "rows": rows}
    RESULT.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]), sys.argv[2:] or list(FAMILIES))
    else:
        with tempfile.TemporaryDirectory() as place:
            main(Path(place), list(FAMILIES))
