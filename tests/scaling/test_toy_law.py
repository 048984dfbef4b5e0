"""A scaling law is one file: whatever uses laws finds it."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from isodiff.cli import main
from isodiff.cli.law_text import law_text
from isodiff.report.sections.scaling import scaling_section
from isodiff.report.study_folder import read_study_folder
from isodiff.scaling import laws, read_points
from isodiff.scaling.laws.law import registered
from isodiff.study.laws import fit_all
from tests.report.planted import write_study

TOY = '''
"""The least loss of every budget falls as a power of compute: L = k C^p, N and D as the square root."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from isodiff.scaling.fitting.bootstrap import Quantity
from isodiff.scaling.laws.law import Constant, Draws, FamilyResult, Fit, Forecast, Law, LawResult, Ranges
from isodiff.scaling.points import by_family


@dataclass(frozen=True, kw_only=True)
class ToyFamily(FamilyResult):
    k: float
    p: float

    def constants(self):
        return (Constant(symbol="p", meaning="exponent of C", quantity=Quantity(value=self.p)),)

    def predict(self, name, budget, unique_tokens):
        size = np.array([np.sqrt(budget / 6)])
        return Forecast(size, size, np.array([self.k * budget**self.p]))


@dataclass(frozen=True, kw_only=True)
class ToyResult(LawResult):
    families: Mapping[str, ToyFamily] = field(default_factory=dict)


@dataclass(frozen=True)
class ToyFit(Fit):
    law: ClassVar = "toy"
    families: dict[str, ToyFamily]

    def numbers(self):
        return {name: {"p": family.p} for name, family in self.families.items()}


def fit_toy(points, *, bootstrap=0, seed=0):
    data, named = by_family(points)
    families = {}
    for name, own in named.items():
        log_c = np.log([point.flops for point in own])
        p, log_k = np.polyfit(log_c, np.log([point.nats for point in own]), 1)
        ends = Ranges(C=(float(np.exp(log_c.min())), float(np.exp(log_c.max()))))
        families[name] = ToyFamily(k=float(np.exp(log_k)), p=float(p), range=ends, draws=Draws())
    return ToyFit(data, bootstrap, seed, families)


def diagnose(fit):
    return ToyResult(law="toy", protocol="a toy", source=fit.data.source, families=fit.families)


LAW = Law(name="toy", summary="L = k C^p", fit=fit_toy, diagnose=diagnose, result=ToyResult)
'''


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The package of laws with one file more."""
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "toy.py").write_text(TOY)
    monkeypatch.setattr(laws, "__path__", [*laws.__path__, str(folder)])
    registered.cache_clear()
    sys.modules.pop("isodiff.cli.fit", None)  # its help lists the laws
    yield
    sys.modules.pop("isodiff.scaling.laws.toy", None)
    sys.modules.pop("isodiff.cli.fit", None)
    registered.cache_clear()
    importlib.invalidate_caches()


@pytest.mark.usefixtures("toy")
def test_fit_and_plan_find_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "toy.json"
    assert main(["fit", "published:2203.15556", "--law", "toy", "--out", str(out)]) == 0
    assert "p, exponent of C  -5.44e-2" in capsys.readouterr().out
    assert json.loads(out.read_text())["law"] == "toy"
    assert main(["plan", "budget", "1e22", "--law", str(out), "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["law"] == "toy" and plan["families"]["autoregressive"]["loss"] > 1


@pytest.mark.usefixtures("toy")
def test_its_options_are_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "published:2203.15556", "--law", "toy", "--huber"]) == 2
    assert "--huber is for --law isoflop; the toy law has no such option" in capsys.readouterr().err


@pytest.mark.usefixtures("toy")
def test_a_study_and_its_report_find_it(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    write_study(folder, families={"autoregressive": 1.0, "masked": 2.0}, budgets=(1e11, 1e12))
    fit_all(folder, bootstrap=0)
    study = read_study_folder(folder)
    assert (folder / "toy.json").exists() and study.laws["toy"].families
    titles = {getattr(block, "title", "") for block in scaling_section(study).blocks}
    assert {"toy: autoregressive", "toy: masked"} <= titles


@pytest.mark.usefixtures("toy")
def test_its_fit_gives_its_result() -> None:
    fit = registered()["toy"].fit(read_points(["published:2203.15556"]), bootstrap=0, seed=0)
    assert fit.numbers()["autoregressive"]["p"] < 0
    assert "exponent of C" in law_text(fit.result())


def test_laws_are_found_by_their_files() -> None:
    found = registered()
    assert set(found) == {"isoflop", "parametric", "repeated"}
    assert {law.path for law in found.values()} == {
        "fits.json",
        "parametric.json",
        "repeated.json",
    }
