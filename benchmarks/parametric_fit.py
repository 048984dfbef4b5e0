r"""The parametric law on Chinchilla's 240 points, 1000 replicates, beside `chinchilla` from PyPI.

    python -m venv other && other/bin/pip install chinchilla==0.2.0
    python benchmarks/parametric_fit.py --other other/bin/python \
        --out benchmarks/results/parametric_fit_cpu.json

Both minimize Huber's loss (delta 1e-3) of log loss. `chinchilla` has no bootstrap: its fit from one start,
the optimum found before, is timed on a few sets of runs drawn again and multiplied by 1000; it spreads starts
over all cores, and is also timed from its own lattice of starts. Rounds are interleaved.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import time
from importlib.resources import files
from pathlib import Path

import numpy as np

from isodiff.provenance import provenance
from isodiff.scaling import fit_parametric, published_points
from isodiff.scaling.fitting.huber import rho
from isodiff.serialization import to_json

REPLICATES = 1000
OTHER = r"""
import csv, json, os, sys, tempfile, time
from functools import partial
import numpy as np
from chinchilla import Chinchilla
from chinchilla._metrics import log_huber
path, drawn = sys.argv[1], int(sys.argv[2])
rows = sorted(csv.DictReader(open(path)), key=lambda r: float(r["loss"]))[:240]
def fit(rows, grid):
    with tempfile.TemporaryDirectory() as folder:
        cc = Chinchilla(folder, param_grid=grid, loss_fn=partial(log_huber, delta=1e-3), log_level=50)
        for r in rows:
            n, c = float(r["params"]), float(r["flops"])
            cc.append(C=c, N=n, D=c / (6 * n), loss=float(r["loss"]))
        cc.visualizer.optim = lambda *a, **k: None  # figures are not part of a fit
        start = time.perf_counter()
        cc.fit()
        seconds = time.perf_counter() - start
        return seconds, [float(getattr(cc, k)) for k in ("E", "A", "B", "alpha", "beta")]
lattice = dict(e=np.linspace(-1, 1, 3), a=np.linspace(0, 25, 3), b=np.linspace(0, 25, 3),
               alpha=np.linspace(0.2, 1.5, 3), beta=np.linspace(0.2, 1.5, 3))
many, best = fit(rows, lattice)
warm = dict(e=[np.log(best[0])], a=[np.log(best[1])], b=[np.log(best[2])], alpha=[best[3]], beta=[best[4]])
rng = np.random.default_rng(0)
times = [fit([rows[i] for i in rng.integers(len(rows), size=len(rows))], warm)[0] for _ in range(drawn)]
print(json.dumps({"lattice_seconds": many, "starts": 243, "constants": best, "warm_seconds": times}))
"""


def ours() -> dict[str, object]:
    """Seconds of the fit with its replicates, and with everything that `--json` prints."""
    points = published_points("published:2203.15556")
    start = time.perf_counter()
    fit = fit_parametric(points, bootstrap=REPLICATES)
    fitted = time.perf_counter() - start
    value = fit.to_json()
    return {
        "fit_seconds": fitted,
        "all_seconds": time.perf_counter() - start,
        "starts": value["families"]["autoregressive"]["starts"]["num"],
        "objective": value["objective"],
    }


def objective(constants: list[float]) -> float:
    """Sum of Huber's loss of (E, A, B, alpha, beta) on the same points."""
    e, a, b, alpha, beta = constants
    points = published_points("published:2203.15556").points
    n, d, nats = (
        np.array([getattr(p, k) for p in points]) for k in ("parameters", "tokens", "nats")
    )
    return float(rho(np.log(e + a / n**alpha + b / d**beta) - np.log(nats)).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--other", help="an interpreter that has chinchilla")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--drawn", type=int, default=20, help="replicates that chinchilla is timed on"
    )
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    table = files("isodiff.scaling") / "data" / "chinchilla_2203_15556.csv"
    here, there = [], []
    for _ in range(options.rounds):
        here.append(ours())
        if options.other:
            command = [options.other, "-c", OTHER, str(table), str(options.drawn)]
            plain = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
            done = subprocess.run(command, capture_output=True, text=True, check=True, env=plain)
            there.append(json.loads(done.stdout.strip().splitlines()[-1]))
    result: dict[str, object] = {
        "replicates": REPLICATES,
        "load": os.getloadavg(),
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "isodiff": here,
    }
    print(
        f"isodiff: {min(r['fit_seconds'] for r in here):.2f} s, with all checks "
        f"{min(r['all_seconds'] for r in here):.2f} s, objective {here[0]['objective']:.10g}"
    )
    if there:
        warm = min(float(np.median(r["warm_seconds"])) for r in there)
        lattice = min(r["lattice_seconds"] for r in there)
        found = objective(there[0]["constants"])
        result["chinchilla"] = {
            "version": "0.2.0",
            "rounds": there,
            "seconds_of_1000_warm_fits": 1000 * warm,
            "objective": found,
        }
        print(
            f"chinchilla: {lattice:.2f} s from 243 starts, {warm:.3f} s a replicate, "
            f"{lattice + 1000 * warm:.0f} s in all, objective {found:.10g}"
        )
    result["provenance"] = to_json(provenance())
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
