"""One self-contained HTML page from a template, style sheets and a script of this folder.

Text enters through Jinja's autoescape only. A content security policy forbids everything the page does not
bring itself; its one script is named there by hash.
"""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from isodiff.report.theme import style_rules


def document(name: str, *styles: str, **values: Any) -> str:
    """NAME.html with NAME.js, and the sheets `styles` below the colors of the theme."""

    def read(file: str) -> str:
        return files("isodiff.report").joinpath(file).read_text(encoding="utf-8")

    script = read(f"{name}.js")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    return environment.from_string(read(f"{name}.html")).render(
        style=Markup(style_rules() + "".join(read(f"{sheet}.css") for sheet in styles)),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        **values,
    )
