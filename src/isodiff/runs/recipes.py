"""Recipes with a name: how a published study built its networks and trained them, all under one word.

`paper` is that of "Scaling Beyond Masked Diffusion" (arXiv 2602.15014), by its public code: one for all
families and sizes, on windows of 2048 tokens. Two things differ: there weight decay takes vectors and
embeddings too, and the warm-up has at least 100 steps.
"""

from __future__ import annotations

from typing import Any, Literal

from isodiff.errors import InputError, nearest, shown

RecipeName = Literal["paper"]
_RECIPES: dict[RecipeName, dict[str, dict[str, Any]]] = {
    "paper": {
        "recipe": {
            "batch_size": 256,
            "learning_rate": 2e-4,
            "width_power": 0.0,
            "schedule": "cosine",
            "warmup": 0.01,
            "final": 0.1,
            "beta1": 0.9,
            "beta2": 0.95,
            "weight_decay": 0.1,
            "clip": 1.0,
            "ema": None,
            "precision": "bfloat16",
            "parametrization": "standard",
            "optimizer": "adamw",
        },
        "backbone": {
            "norm": "layer",
            "mlp": "gelu_tanh",
            "qk_norm": False,
            "tied": False,
            "adaln": True,
            "rotary_base": 10_000.0,
            "condition_width": 128,
            "relative_bias": 0,
        },
    }
}
"""Fields of recipe and backbone by name: all that decide numbers, so that no default moves one."""


def with_named_recipe(asked: dict[str, Any]) -> dict[str, Any]:
    """`asked` with a recipe that is a name, or a mapping with one, written out; and its backbone.

    Fields that stand beside the name, in `recipe` or in `backbone`, keep their values.

    Raises:
        InputError: no recipe has this name.
    """
    recipe = asked.get("recipe")
    own = {"name": recipe} if isinstance(recipe, str) else recipe
    if not isinstance(own, dict) or "name" not in own:
        return asked
    name = own["name"]
    if not isinstance(name, str) or name not in _RECIPES:
        near = nearest(name, _RECIPES) if isinstance(name, str) else ""
        raise InputError(
            f"recipe: no recipe is called {shown(name)}{near}; names: {', '.join(_RECIPES)}"
        )
    said = {"recipe": own, "backbone": asked.get("backbone") or {}}
    if not isinstance(said["backbone"], dict):
        return {**asked, "recipe": {}}  # refused by what checks the backbone
    merged = {part: {**_RECIPES[name][part], **said[part]} for part in said}
    del merged["recipe"]["name"]
    return {**asked, **merged}
