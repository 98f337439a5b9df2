"""Asks bundles as Wetread does, and has MONAI run them, in one process: loading takes seconds.

`bundle_runs.py CHILD WORK`: WORK is a JSON file, a list of bundles; what MONAI writes lies in `out`
beside each.
"""

import importlib.util
import json
import os
import sys
from pathlib import Path

import monai.bundle


def main(child_file, work_file):
    """Do each piece of work; Wetread comes first, because MONAI's runs change global settings."""
    spec = importlib.util.spec_from_file_location("bundle_child", child_file)
    child = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(child)
    work = json.loads(Path(work_file).read_text())
    for each in work:
        place = Path(each["folder"]) / "place"
        place.mkdir()
        os.chdir(place)
        config = Path(each["folder"]) / "bundle/configs/inference.json"
        bundle = child._Bundle(config, each["how"], "cpu")
        answer = child._ask(bundle, each["question"])
        Path(each["folder"], "answer.json").write_text(json.dumps(answer))
    for each in work:
        if each["monai"] is not None:
            folder = each["folder"]
            monai.bundle.run(
                config_file=folder + "/bundle/configs/inference.json",
                meta_file=folder + "/bundle/configs/metadata.json",
                workflow_type="inference",
                bundle_root=folder + "/bundle",
                output_dir=folder + "/out",
                logging_file=False,
                **each["monai"],
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
