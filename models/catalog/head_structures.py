"""Head structures: trained by `scripts/train.py scripts/training/head_model.toml`."""

from models.catalog.recipe import Beside, Recipe

RECIPE = Recipe(
    name="head-structures",
    title="Intracranial space, brain and lateral ventricles on MR and CT",
    source=Beside(file="head_structures.onnx"),
    manifest="head_structures.toml",
)
