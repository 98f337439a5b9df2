"""What does not fit together in a manifest whose every value can be read."""

from models.manifest import Activation, Manifest, Mode, Sizing, Task


def contradictions(manifest: Manifest) -> list[str]:
    """Name what is readable but does not fit together."""
    labels, classes = manifest.labels, manifest.classes
    spec, inference = manifest.input, manifest.inference
    segments = manifest.task is Task.SEGMENTATION
    rules = {
        "a segmentation needs [[labels]] and no [[classes]]": segments == bool(labels),
        "a classification needs [[classes]] and no [[labels]]": segments != bool(classes),
        "labels must be numbered 1, 2, 3, ...":
            [item.number for item in labels] == list(range(1, len(labels) + 1)),
        "labels.inside must be the number of an earlier label":
            all(0 <= item.inside < item.number for item in labels),
        "derived.of and derived.within must be numbers of [[labels]]":
            all({each.of, each.within} <= {item.number for item in labels}
                for each in manifest.derived),
        "classes must be indexed 0, 1, 2, ...":
            [item.index for item in classes] == list(range(len(classes))),
        "input.sizing needs input.size": (spec.sizing is Sizing.KEEP) == (spec.size is None),
        "a classification runs whole or in slices":
            segments or inference.mode is not Mode.SLIDING_WINDOW,
        "input.spacing_mm is not for slices that are classified":
            segments or inference.mode is not Mode.SLICES or spec.spacing_mm is None,
        "inference.step_mm and gate are for slices that are classified":
            not segments or not (inference.step_mm or inference.gate),
        "input.size of a slice must begin with 1":
            inference.mode is not Mode.SLICES or spec.size is None or spec.size[0] == 1,
        "inference.mode sliding_window needs inference.patch":
            (inference.mode is Mode.SLIDING_WINDOW) == (inference.patch is not None),
        "inference.gate must be in model.uses":
            not inference.gate or inference.gate in manifest.uses,
        "input.intensity.upper must be above lower":
            all(each.lower < each.upper for each in (spec.intensity, *spec.intensities.values())),
        "input.intensity has a table for a modality that is not in needs.modalities":
            spec.intensities.keys() <= set(manifest.needs.modalities),
        "inference.activation numbers is for segmentation":
            segments or inference.activation is not Activation.NUMBERS,
        "input.channels, channels_last and crop are not for several [[inputs]]":
            not manifest.needs.others
            or (spec.channels, spec.channels_last, spec.crop) == (1, False, False),
        "slices that are classified have one input":
            not manifest.needs.others or segments or inference.mode is not Mode.SLICES,
    }  # fmt: skip
    return [rule for rule, holds in rules.items() if not holds]
