"""MONAI bundles laid out like those of the Model Zoo, with small networks and seeded weights."""

import json
from pathlib import Path

import torch
from monai.bundle.config_parser import ConfigParser

UNET = {
    "_target_": "UNet",
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 2,
    "channels": [4, 8, 16],
    "strides": [2, 2],
    "num_res_units": 1,
    "norm": "batch",
}
SEGRESNET = {
    "_target_": "SegResNet",
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 4,
    "init_filters": 8,
    "blocks_down": [1, 1],
    "blocks_up": [1],
    "dropout_prob": 0.2,
}
DYNUNET = {
    "_target_": "monai.networks.nets.DynUNet",
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 3,
    "kernel_size": [3, 3, 3],
    "strides": [1, 2, 2],
    "upsample_kernel_size": [2, 2],
    "filters": [4, 8, 16],
}
_RUN = {
    "imports": ["$import glob", "$import os"],
    "bundle_root": ".",
    "output_dir": "$@bundle_root + '/eval'",
    "dataset_dir": "/workspace/data",
    "datalist": "$list(sorted(glob.glob(@dataset_dir + '/*.nii.gz')))",
    "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
    "network": "$@network_def.to(@device)",
    "dataset": {
        "_target_": "Dataset",
        "data": "$[{'image': i} for i in @datalist]",
        "transform": "@preprocessing",
    },
    "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1,
                   "shuffle": False, "num_workers": 0},
    "evaluator": {
        "_target_": "SupervisedEvaluator",
        "device": "@device",
        "val_data_loader": "@dataloader",
        "network": "@network",
        "inferer": "@inferer",
        "postprocessing": "@postprocessing",
        "val_handlers": "@handlers",
        "amp": False,
    },
    "run": ["$@evaluator.run()"],
}  # fmt: skip
_STATS = {"_target_": "StatsHandler", "iteration_log": False}
_LOADER = {
    "_target_": "CheckpointLoader",
    "load_path": "$@bundle_root + '/models/model.pt'",
    "load_dict": {"model": "@network"},
}
_INVERT = {
    "_target_": "Invertd",
    "keys": "pred",
    "transform": "@preprocessing",
    "orig_keys": "image",
    "to_tensor": True,
}
_SOFTMAX = {"_target_": "Activationsd", "keys": "pred", "softmax": True}
_ARGMAX = {"_target_": "AsDiscreted", "keys": "pred", "argmax": True}
_SAVE = {"_target_": "SaveImaged", "keys": "pred", "output_dir": "@output_dir"}


def image_first(*transforms):
    """The start of nearly every bundle: read, channel first, to RAS, to a spacing."""
    keys = {"keys": "image"}
    return {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "LoadImaged", **keys},
            {"_target_": "EnsureChannelFirstd", **keys},
            {"_target_": "Orientationd", **keys, "axcodes": "RAS"},
            *({**transform, **keys} for transform in transforms),
        ],
    }


def spleen():
    """A U-Net; probabilities are brought back before the larger one is taken."""
    return {
        **_RUN,
        "network_def": UNET,
        "preprocessing": image_first(
            {"_target_": "Spacingd", "pixdim": [3.0, 3.0, 4.0], "mode": "bilinear"},
            {"_target_": "ScaleIntensityRanged", "a_min": -57, "a_max": 164, "b_min": 0,
             "b_max": 1, "clip": True},
            {"_target_": "EnsureTyped"},
        ),
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [16, 16, 16],
                    "sw_batch_size": 4, "overlap": 0.5},
        "postprocessing": {"_target_": "Compose", "transforms": [
            _SOFTMAX, {**_INVERT, "nearest_interp": False}, _ARGMAX,
            {**_SAVE, "output_dtype": "$numpy.float32", "output_ext": ".nii.gz",
             "output_postfix": "trans", "separate_folder": True}]},
        "handlers": [_STATS],
        "checkpointloader": _LOADER,
        "initialize": ["$monai.utils.set_determinism(seed=123)", "$@checkpointloader(@evaluator)"],
    }  # fmt: skip


def whole_body():
    """A SegResNet; the label map is brought back, and settings refer to one another."""
    return {
        **_RUN,
        "displayable_configs": {"highres": True, "sw_overlap": 0.25},
        "pixdim": "$[3.0, 3.0, 3.0] if @displayable_configs#highres else [6.0, 6.0, 6.0]",
        "network_def": SEGRESNET,
        "preprocessing": image_first(
            {"_target_": "Spacingd", "pixdim": "@pixdim", "mode": "bilinear"},
            {"_target_": "NormalizeIntensityd", "nonzero": True},
            {"_target_": "ScaleIntensityd", "minv": -1.0, "maxv": 1.0},
        ),
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [24, 24, 24],
                    "sw_batch_size": 1, "overlap": "@displayable_configs#sw_overlap",
                    "padding_mode": "replicate", "mode": "gaussian"},
        "postprocessing": {"_target_": "Compose", "transforms": [
            _SOFTMAX, _ARGMAX, {**_INVERT, "nearest_interp": True}, _SAVE]},
        "handlers": [_LOADER, _STATS],
    }  # fmt: skip


def without_inverse():
    """A DynUNet with ids of other names; writing the file brings the label map back."""
    keys = {"keys": "image"}
    return {
        **{key: value for key, value in _RUN.items() if key not in {"dataset", "evaluator"}},
        "network_def": DYNUNET,
        "dataset": {
            "_target_": "Dataset",
            "data": "$[{'image': i} for i in @datalist]",
            "transform": {"_target_": "Compose", "transforms": [
                {"_target_": "LoadImaged", **keys, "image_only": True,
                 "ensure_channel_first": True},
                {"_target_": "Spacingd", **keys, "pixdim": [4.0, 4.0, 4.0]},
                {"_target_": "ScaleIntensityd", **keys},
                {"_target_": "DivisiblePadd", **keys, "k": 8},
            ]},
        },
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "postprocessing": {"_target_": "Compose", "transforms": [_ARGMAX, _SAVE]},
            "val_handlers": [_LOADER],
        },
    }  # fmt: skip


def short_axis():
    """A U-Net of slices whose data list wants a library that nobody has."""
    keys = {"keys": "image"}
    return {
        **_RUN,
        "imports": ["$import glob", "$import library_of_nobody as lists"],
        "network_def": {**UNET, "spatial_dims": 2, "out_channels": 3},
        "preprocessing": {"_target_": "Compose", "transforms": [
            {"_target_": "LoadImaged", **keys},
            {"_target_": "EnsureChannelFirstd", **keys},
            {"_target_": "ScaleIntensityd", **keys, "minv": -9.0, "maxv": 9.0},
            {"_target_": "Resized", **keys, "spatial_size": [32, 32]},
        ]},
        "inferer": {"_target_": "SimpleInferer"},
        "postprocessing": {"_target_": "Compose", "transforms": [
            {"_target_": "Activationsd", "keys": "pred", "softmax": True},
            {**_INVERT, "nearest_interp": False}, _ARGMAX, _SAVE]},
        "handlers": [_LOADER],
    }  # fmt: skip


def graded(dimensions):
    """A DenseNet that tells three classes apart and was evaluated with labels."""
    both = {"keys": ["image", "label"]}
    return {
        **_RUN,
        "network_def": {"_target_": "DenseNet", "spatial_dims": dimensions, "in_channels": 1,
                        "out_channels": 3, "init_features": 4, "growth_rate": 4,
                        "block_config": [2, 2]},
        "preprocessing": {"_target_": "Compose", "transforms": [
            {"_target_": "LoadImaged", "keys": "image"},
            {"_target_": "EnsureChannelFirstd", "keys": "image"},
            {"_target_": "Resized", "keys": "image", "spatial_size": [16] * dimensions},
            {"_target_": "ScaleIntensityd", "keys": "image"},
            {"_target_": "EnsureTyped", **both},
        ]},
        "inferer": {"_target_": "SimpleInferer"},
        "postprocessing": {"_target_": "Compose", "transforms": [
            _SOFTMAX,
            {"_target_": "AsDiscreted", "keys": ["pred", "label"], "argmax": [True, False],
             "to_onehot": 3},
        ]},
        "handlers": [_LOADER, {"_target_": "ClassificationSaver", "output_dir": "@output_dir"}],
    }  # fmt: skip


def four_channels():
    """A SegResNet of four MR contrasts whose answer is one map of the numbers 1, 2 and 4."""
    config = dict(_RUN)
    config["test_datalist"] = "$[]"
    config["dataset"] = {**_RUN["dataset"], "data": "@test_datalist"}
    choice = "torch.where(x[[0]] > 0, 1, torch.where(x[[1]] > 0, 2, 0))"
    return {
        **config,
        "network_def": {**SEGRESNET, "in_channels": 4, "out_channels": 3},
        "preprocessing": {"_target_": "Compose", "transforms": [
            {"_target_": "LoadImaged", "keys": "image", "image_only": False},
            {"_target_": "NormalizeIntensityd", "keys": "image", "nonzero": True,
             "channel_wise": True},
        ]},
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [24, 24, 16],
                    "sw_batch_size": 1, "overlap": 0.5},
        "postprocessing": {"_target_": "Compose", "transforms": [
            {"_target_": "Activationsd", "keys": "pred", "sigmoid": True},
            {**_INVERT, "meta_keys": "pred_meta_dict", "nearest_interp": False},
            {"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.5},
            {"_target_": "Lambdad", "keys": "pred",
             "func": f"$lambda x: torch.where(x[[2]] > 0, 4, {choice})"},
            {**_SAVE, "meta_keys": "pred_meta_dict", "output_dtype": "uint8", "resample": False,
             "squeeze_end_dims": True}]},
        "handlers": [_LOADER, _STATS],
    }  # fmt: skip


def three_files():
    """A U-Net of three phases that lie in files of their own."""
    keys = {"keys": ["artery", "vein", "excret"]}
    concat = "$lambda d: {**d, 'image': torch.cat([d['artery'], d['vein'], d['excret']])}"
    return {
        **_RUN,
        "dataset": {**_RUN["dataset"], "data": "@datalist"},
        "network_def": {**UNET, "in_channels": 3, "out_channels": 3},
        "preprocessing": {"_target_": "Compose", "transforms": [
            {"_target_": "LoadImaged", **keys},
            {"_target_": "EnsureChannelFirstd", **keys},
            {"_target_": "Orientationd", **keys, "axcodes": "LPS"},
            {"_target_": "Spacingd", **keys, "pixdim": [3.0, 3.0, 3.0], "mode": "bilinear"},
            {"_target_": "Lambda", "func": concat},
            {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": -1000, "a_max": 1000,
             "b_min": 0.0, "b_max": 1.0, "clip": True},
        ]},
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [16, 16, 16],
                    "sw_batch_size": 4, "overlap": 0.25},
        "postprocessing": {"_target_": "Compose", "transforms": [
            _ARGMAX,
            {**_INVERT, "orig_keys": "artery", "nearest_interp": True}, _SAVE]},
        "handlers": [{**_LOADER, "strict": "True"}],
    }  # fmt: skip


def slice_inferer():
    """A U-Net of slices whose inferer takes the volume and cuts it itself."""
    keys = {"keys": "image"}
    return {
        **_RUN,
        "ckpt_path": "$@bundle_root + '/models/model.pt'",
        "network_def": {**UNET, "spatial_dims": 2, "out_channels": 4},
        "preprocessing": {"_target_": "Compose", "transforms": [
            {"_target_": "LoadImaged", **keys, "image_only": False},
            {"_target_": "EnsureChannelFirstd", **keys},
            {"_target_": "ScaleIntensityd", **keys, "minv": -9.0, "maxv": 9.0},
            {"_target_": "EnsureTyped", **keys, "device": "@device"},
        ]},
        "inferer": {"_target_": "SliceInferer", "roi_size": [32, 32], "spatial_dim": 2},
        "postprocessing": {"_target_": "Compose", "transforms": [
            _SOFTMAX,
            {**_INVERT, "meta_key_postfix": "meta_dict", "nearest_interp": False},
            _ARGMAX, {**_SAVE, "meta_keys": "pred_meta_dict"}]},
        "handlers": [{**_LOADER, "load_path": "@ckpt_path"}],
        "evaluating": ["$@evaluator.run()"],
    }  # fmt: skip


def wants_a_gpu():
    """A bundle that was written where there always is a GPU."""
    config = spleen()
    config["network"] = "$@network_def.to(torch.device('cuda'))"
    return config


CONFIGS = {
    "spleen": spleen,
    "whole_body": whole_body,
    "without_inverse": without_inverse,
    "four_channels": four_channels,
    "three_files": three_files,
    "slice_inferer": slice_inferer,
}


def metadata(names, **changes):
    """`metadata.json` of a bundle that tells the structures `names` apart."""
    form = changes.pop("form", "segmentation")
    image = {"type": "image", "format": "hounsfield", "modality": "CT", "num_channels": 1,
             "spatial_shape": [16, 16, 16], "channel_def": {"0": "image"}}  # fmt: skip
    channels = {"0": "background", **{str(at): name for at, name in enumerate(names, start=1)}}
    if form != "segmentation":
        channels = {str(at): name for at, name in enumerate(names)}
    pred = {"type": "image", "format": form, "num_channels": len(channels),
            "spatial_shape": [16, 16, 16], "channel_def": channels}  # fmt: skip
    return {
        "version": "0.5.3",
        "monai_version": "1.4.0",
        "name": "Organs",
        "task": "Segmentation of organs",
        "description": "Outlines organs in CT",
        "authors": "MONAI team",
        "copyright": "Copyright (c) MONAI Consortium",
        "intended_use": "An example, not to be used for diagnostic purposes",
        "eval_metrics": {"mean_dice": 0.96},
        "network_data_format": {"inputs": {"image": {**image, **changes}},
                                "outputs": {"pred": pred}},
    }  # fmt: skip


def write_bundle(folder: Path, config, names=("spleen",), *, wrapped=False, **changes) -> Path:
    """Write a bundle whose weights come from its own network definition, by a fixed seed."""
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata(names, **changes)))
    (folder / "configs" / "inference.json").write_text(json.dumps(config))
    state = weights(config["network_def"])
    torch.save({"model": state} if wrapped else state, folder / "models" / "model.pt")
    return folder


def weights(definition):
    """The weights of a network by a fixed seed, large enough that every class is met."""
    torch.manual_seed(3)
    network = ConfigParser({"network_def": definition}).get_parsed_content("network_def")
    return network.state_dict()
