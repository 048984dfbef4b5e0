"""Versions, git revision and machine: what every result file carries."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What a result was computed by; None where a file does not say."""

    isodiff: str | None = None
    python: str | None = None
    torch: str | None = None
    numpy: str | None = None
    git_revision: str | None = None
    machine: str | None = None
    cpu: str | None = None
    num_cores: int | None = None


def provenance() -> Provenance:
    """That of this process."""
    return Provenance(
        isodiff=version("isodiff"),
        python=platform.python_version(),
        torch=installed("torch"),
        numpy=installed("numpy"),
        git_revision=_git_revision(),
        machine=f"{platform.system()} {platform.machine()}",
        cpu=_cpu_name(),
        num_cores=num_cores(),
    )


def installed(package: str) -> str | None:
    """Version of an installed package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def num_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _git_revision() -> str | None:
    """Commit of the source tree this package runs from; None for an installed wheel."""
    here = Path(__file__).resolve().parent
    if here.parent.name != "src":
        return None
    try:
        answer = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True,
            text=True,
            timeout=5,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"
