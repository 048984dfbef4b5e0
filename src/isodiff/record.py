"""Specs and results as JSON: canonical hash, one record per run, the table of records. No torch.

A run's identity is the hash of its spec, so the same spec always lands in the same folder,
`runs/<id>/{spec.json, metrics.jsonl, checkpoint/, record.json}`.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from isodiff.errors import InputError
from isodiff.files import read_json

Kind = Literal["exact", "bound"]
Convention = Literal["exact", "no_attention", "6ND"]
CONVENTIONS: tuple[Convention, ...] = ("exact", "no_attention", "6ND")


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean that carries its standard error, over `num` independent values."""

    value: float
    standard_error: float
    num: int

    def to_json(self) -> dict[str, Any]:
        """`{"value", "standard_error", "num"}`."""
        return {"value": self.value, "standard_error": self.standard_error, "num": self.num}


def canonical(spec: Any) -> str:
    """The one JSON text of `spec`: sorted keys, no spaces."""
    return json.dumps(spec, sort_keys=True, separators=(",", ":"), allow_nan=False)


def identity(spec: Any) -> str:
    """First 12 hexadecimal digits of the SHA-256 of the canonical JSON."""
    return hashlib.sha256(canonical(spec).encode()).hexdigest()[:12]


def provenance() -> dict[str, Any]:
    """Versions, git revision and machine: what every result file carries."""
    return {
        "isodiff": version("isodiff"),
        "python": platform.python_version(),
        "torch": installed("torch"),
        "numpy": installed("numpy"),
        "git_revision": git_revision(),
        "machine": f"{platform.system()} {platform.machine()}",
        "cpu": cpu_name(),
        "num_cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
    }


def installed(package: str) -> str | None:
    """Version of an installed package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def git_revision() -> str | None:
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


def cpu_name() -> str:
    """Model name of the processor, as the system gives it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def read_records(paths: Iterable[Path]) -> list[dict[str, Any]]:
    """Every record under `paths` (record files, run folders or studies), each run once.

    Raises:
        InputError: a path does not exist, or nothing under it is a record.
    """
    return list(find_records(paths).values())


def find_records(paths: Iterable[Path]) -> dict[Path, dict[str, Any]]:
    """The same by the folder of each run."""
    found: dict[str, tuple[Path, dict[str, Any]]] = {}
    for path in paths:
        if not path.exists():
            raise InputError(f"{path} does not exist; give a run, a study folder or a record.json")
        files = [path] if path.is_file() else sorted(path.rglob("record.json"))
        if not files:
            raise InputError(f"{path} holds no record.json; train something there first")
        for file in files:
            record = read_json(file)
            if not isinstance(record, dict) or "id" not in record or "spec" not in record:
                raise InputError(f"{file} is not a record of a run; it lacks 'id' or 'spec'")
            found[record["id"]] = (file.parent, record)
    return dict(found.values())
