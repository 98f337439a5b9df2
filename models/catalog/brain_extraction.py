"""Brain extraction: the 3D U-Net of the wheel `deepbrain`, a frozen TensorFlow graph."""

from models.catalog.graphdef import read_graph, to_onnx
from models.catalog.recipe import InWheel, Recipe
from models.catalog.wheel import Wheel

_SIZE = 128


def convert(graph: bytes) -> bytes:
    """Return deepbrain's `graph.pb` as ONNX: (1, 1, 128, 128, 128) to probability."""
    model = to_onnx(read_graph(graph), source="img", result="prob", size=_SIZE)
    encoded: bytes = model.SerializeToString(deterministic=True)
    return encoded


RECIPE = Recipe(
    name="brain-extraction",
    title="Brain mask and brain volume on T1-weighted MR",
    source=InWheel(
        wheel=Wheel(
            distribution="deepbrain",
            version="0.1",
            sha256="87c10e8cf906977dfc828320fb0c319e6ff4de460235cfe33a1c04906a8890de",
        ),
        member="deepbrain/models/graph.pb",
        convert=convert,
    ),
    manifest="brain_extraction.toml",
)
