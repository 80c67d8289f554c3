"""Every value of profiles/papers.yaml that a paper states: what it is, where it says so, and in which words.

SEC: Kolesnikov & Lampert, ECCV 2016. GS: Oh et al., CVPR 2017, with supplement A to G. "SEC code" and "GS code" are what
the authors released; DeepLab is Chen et al. 2015, DeepLab-v2 Chen et al. 2016, whose training GS §F follows for saliency.
"""

from typing import Any, NamedTuple


class Pin(NamedTuple):
    """`words` stand in the section as they are, but for spaces; none where the source is code or another paper."""

    value: Any
    source: str
    words: str = ""


def below(prefix: str, pins: dict[str, Pin]) -> dict[str, Pin]:
    return {f"{prefix}.{key}": pin for key, pin in pins.items()}


def said(source: str, words: str, **values: Any) -> dict[str, Pin]:
    """Several values that the same words of one section state."""
    return {key: Pin(value, source, words) for key, value in values.items()}


# --- stochastic gradient descent ------------------------------------------------------------------------------------------


def sgd(source: str, steps: Pin, batch: Pin, every: Pin, rate: str, decay: str, momentum: Pin) -> dict[str, Pin]:
    return {
        "steps": steps,
        "batch_size": batch,
        "optimizer": Pin("sgd", source, "stochastic gradient descent"),
        "learning_rate": Pin(0.001, source, rate),
        "new_layers_factor": Pin(10.0, "DeepLab"),
        "momentum": momentum,
        "weight_decay": Pin(0.0005, source, decay),
        "schedule.kind": Pin("step", source, every.words),
        "schedule.step_every": every,
        "schedule.step_factor": Pin(0.1, source, every.words.split("every")[0].split("at")[0].strip()),
    }


SEC_SGD = sgd(
    "SEC §4.1",
    Pin(8000, "SEC §4.1", "We run SGD for 8000 iterations"),
    Pin(15, "SEC §4.1", "the batch size is 15"),
    Pin(2000, "SEC §4.1", "decreased by a factor of 10 every 2000 iterations"),
    "The initial learning rate is 0.001",
    "the weight decay parameter is 0.0005",
    Pin(0.9, "DeepLab"),  # "with parameters used successfully in [6]" (SEC §4.1)
)
GAP_SGD = sgd(
    "GS §B.2",
    Pin(8000, "GS §B.2", "The training stops at 8000 iterations"),
    Pin(15, "GS §B.2", "minibatch size 15"),
    Pin(2000, "GS §B.2", "decreased by the factor of 10 at every 2000 iterations"),
    "base learning rate 0.001",
    "weight decay 5×10^{-4}",
    Pin(0.9, "GS §B.2", "momentum 0.9"),
)
CLASSIFIER_SGD = sgd(
    "GS §F",
    Pin(30000, "GS §F", "The training stops at 30 000 iterations"),
    Pin(40, "GS §F", "minibatch size 40"),
    Pin(5000, "GS §F", "decreased by the factor of 10 at every 5 000 iterations"),
    "base learning rate 0.001",
    "weight decay 5×10^{-4}",
    Pin(0.9, "GS §F", "momentum 0.9"),
)
SALIENCY_SGD = {  # "follows the training procedure for DeepLab-v2 ResNet in [7]" (GS §F)
    key: Pin(value, "DeepLab-v2")
    for key, value in {
        "steps": 20000, "batch_size": 10, "optimizer": "sgd", "learning_rate": 0.00025, "new_layers_factor": 10.0,
        "momentum": 0.9, "weight_decay": 0.0005, "schedule.kind": "poly", "schedule.power": 0.9,
    }.items()
}  # fmt: skip


def as_before(pins: dict[str, Pin], source: str, words: str) -> dict[str, Pin]:
    """The same values, which another section refers to."""
    return {key: Pin(pin.value, source, words) for key, pin in pins.items()}


# --- networks -------------------------------------------------------------------------------------------------------------

SEC_NET = {
    **said("SEC §6.1", "the standard VGG network, initialized from the publicly available model", backbone="vgg16", pretrained="imagenet"),
    "loss.kind": Pin("logistic", "SEC §6.1", "finetuned with multilabel logistic loss"),
    "geometry": Pin("warp", "SEC code"),
    "augmentation.crop_borders_fraction": Pin(0.0, "SEC code"),
    "augmentation.flip": Pin(False, "SEC code"),
    "training.sampling": Pin("shuffle", "SEC code"),
}  # fmt: skip
GS_NET = {
    "loss.kind": Pin("logistic", "GS §6.1", "We use the VGG-16 architecture [42] with a multi-label loss"),
    "pretrained": Pin("imagenet", "GS §6.1", "we use the ImageNet [10] pretrained models for initialisation"),
    "dropout": Pin(0.5, "GS code"),
    "input_px": Pin(321, "GS code"),
    "geometry": Pin("pad", "GS code"),
    "augmentation.crop_borders_fraction": Pin(0.1, "GS code"),
    "augmentation.flip": Pin(True, "GS code"),
    "training.sampling": Pin("shuffle", "GS code"),
}
CLASSIFIERS = {
    **below("train_classifier.foreground", {
        **SEC_NET,
        "network": Pin("gap_highres", "SEC §6.1", "omit the two last max-pooling layers, *pool*4 and *pool*5"),
        "vgg16.fc_channels": Pin(1024, "SEC §6.1", "1024 output channels and kernels of size 3"),
        "vgg16.relu_after_fc7": Pin(False, "SEC code"),
        "fc_from_pretrained": Pin(False, "SEC §6.1", "are substituted with randomly initialized convolutional layers"),
        "dropout": Pin(0.5, "SEC §6.1", "we use the same optimization parameters as in Section 4"),
        "input_px": Pin(321, "SEC §6.1", "we increase the input size to 321x321"),
        **below("training", as_before(SEC_SGD, "SEC §6.1", "we use the same optimization parameters as in Section 4")),
    }),
    **below("train_classifier.background", {
        **SEC_NET,
        "network": Pin("classifier", "SEC §6.1", "We also use the VGG as the underlying network"),
        "vgg16.fc_channels": Pin(1024, "SEC §6.1", "fc6 and fc7, from 4096 to 1024"),
        "fc_from_pretrained": Pin(True, "SEC §6.1", "Analogously to [6]"),
        "dropout": Pin(0.5, "SEC §6.1", "using the same procedure as for the network for localizing the foreground classes"),
        "input_px": Pin(321, "SEC §6.1", "have input resolution of size 321x321"),
        **below("training", as_before(SEC_SGD, "SEC §6.1", "using the same procedure as for the network for localizing the foreground classes")),
    }),
    **below("train_classifier.seeder", {
        **GS_NET,
        "network": Pin("gap_highres", "GS §6.1", "Results in tables 2 and 3 are obtained using GAP-HighRes"),
        "backbone": Pin("vgg16", "GS §4.2", "all architectures being based on VGG-16"),
        "vgg16.fc_channels": Pin(1024, "GS table 6", "(1024, 3, 3)"),
        "vgg16.relu_after_fc7": Pin(True, "GS code"),
        "fc_from_pretrained": Pin(False, "GS table 6", "(1024, 3, 3)"),
        "input_px": Pin(321, "GS table 6", "(3, 321, 321)"),
        **below("training", GAP_SGD),
    }),
    **below("train_classifier.classifier", {
        **GS_NET,
        "network": Pin("classifier", "GS §F", "All classifiers discussed in the paper are VGG-16"),
        "backbone": Pin("vgg16", "GS §F", "All classifiers discussed in the paper are VGG-16"),
        "vgg16.fc_channels": Pin(4096, "GS table 6", "(4096, 7, 7)"),
        "fc_from_pretrained": Pin(True, "GS §6.1", "we use the ImageNet [10] pretrained models for initialisation"),
        **below("training", CLASSIFIER_SGD),
    }),
}  # fmt: skip
SALIENCY = {
    **said("GS §6.1", "We train a DeepLab-v2 ResNet network", **{"train_saliency.backbone": "resnet101", "train_saliency.head": "aspp"}),
    "train_saliency.pretrained": Pin("imagenet", "DeepLab-v2"),
    "train_saliency.input_px": Pin(321, "DeepLab-v2"),
    "train_saliency.input_scales": Pin([0.5, 0.75, 1.0], "DeepLab-v2"),
    "train_saliency.augmentation.scales": Pin([0.5, 1.5], "DeepLab-v2"),
    "train_saliency.augmentation.flip": Pin(True, "DeepLab-v2"),
    "train_saliency.training.sampling": Pin("shuffle", "DeepLab-v2"),
    **below("train_saliency.training", SALIENCY_SGD),
    "select_saliency_photos.classifier": Pin("classifier", "GS §6.1", "We constrain the training only to data samples of non-Pascal categories"),
    "predict_saliency.max_side_px": Pin(321, "GS code"),
    "evaluate_saliency.threshold": Pin(0.5, "GS §6.1", "$\\geq 50\\%$ of the maximal foreground probability"),
}  # fmt: skip
SEGMENTER = {
    "start_from": Pin("pretrained/imagenet", "SEC §4.1", "initialized from the publicly available VGG model"),
    "backbone": Pin("vgg16", "SEC §4.1", "a slightly modified version of the 16-layer VGG network"),
    "fc_from_pretrained": Pin(True, "SEC §4.1", "All other convolutional layers are initialized from the publicly available VGG model"),
    "dropout": Pin(0.5, "SEC §4.1", "the dropout rate is 0.5"),
    "input_px": Pin(321, "SEC §4.1", "The network has inputs of size 321x321"),
    "augmentation.scales": Pin([1.0, 1.0], "SEC code"),
    "training.sampling": Pin("shuffle", "SEC code"),
    **below("training", SEC_SGD),
}  # fmt: skip

# --- heat maps, cues, seeds, guides ------------------------------------------------------------------------------------------

MAPS = {
    "make_cams.foreground.method": Pin("gap", "SEC §6.1", "provide class-specific localization heat maps"),
    "make_cams.foreground.input_px": Pin(321, "SEC §6.1", "we increase the input size to 321x321"),
    "make_cams.foreground.geometry": Pin("warp", "SEC code"),
    "make_cams.background.method": Pin("background_gradient", "SEC §6.1", "Following the gradient-based procedure from [32]"),
    "make_cams.background.input_px": Pin(321, "SEC §6.1", "have input resolution of size 321x321"),
    "make_cams.background.geometry": Pin("warp", "SEC code"),
    "make_cams.seeder.method": Pin("gap", "GS §4.2", "we take the output per-class heatmaps before the GAP layer"),
    "make_cams.seeder.input_px": Pin(321, "GS table 6", "(3, 321, 321)"),
    "make_cams.seeder.geometry": Pin("pad", "GS code"),
    "make_cams.seeder.excitation_at": Pin("image", "GS §4.2", "the maximal absolute gradient value among the RGB channels on each pixel"),
    **{f"make_cams.{net}.scales": Pin([1.0], f"{paper} code") for net, paper in (("foreground", "SEC"), ("background", "SEC"), ("seeder", "GS"))},
    **{f"make_cams.{net}.flip": Pin(False, f"{paper} code") for net, paper in (("foreground", "SEC"), ("background", "SEC"), ("seeder", "GS"))},
    "make_cues.foreground_net": Pin("foreground", "SEC §6.1", "one for localizing the foreground classes"),
    "make_cues.background_net": Pin("background", "SEC §6.1", "the other for the background class"),
    "make_cues.foreground.threshold": Pin(0.2, "SEC §6.1", "threshold the corresponding heat map by 20% of its maximum value"),
    "make_cues.background_fraction": Pin(0.1, "SEC §6.1", "10% of the least salient locations in each image are selected as background cues"),
    "make_cues.median_size": Pin(3, "SEC §6.1", "the median filter with a window of size $3 \\times 3$"),
    "make_cues.grid": Pin(41, "SEC §4.1", "produces segmentation masks of size 41x41"),
    "make_seeds.net": Pin("seeder", "GS §4.2", "we use GAP-HighRes as the seeder module"),
    "make_seeds.foreground.threshold": Pin(0.2, "GS §6.1", "The test time foreground threshold τ is set to 0.2"),
    "make_seeds.crf": Pin("none", "GS §5.1", "We propose to use object saliency to extract information about the object extent"),
    "evaluate_seeds.net": Pin("seeder", "GS §4.2", "We evaluate each method on the validation set"),
    "evaluate_seeds.crf": Pin("none", "GS §4.2", "normalise them through dividing by the maximal per-class scores"),
    "evaluate_seeds.background_score": Pin(0.2, "GS §6.1", "The test time foreground threshold τ is set to 0.2"),
}  # fmt: skip
FUSION = {
    "unresolved": Pin("ignore", "GS §E", "When in doubt, mark as ignore"),
    "min_saliency_fraction": Pin(0.01, "GS §E", "with area $\\geq 1\\%$ of the image size"),
    "min_seed_px": Pin(25, "GS code"),
    "min_seed_fraction": Pin(
        None, "GS code"
    ),  # 0.01 in GS §E: "similarly for the set of connected components of the seeds"
    "unary_clip": Pin(0.001, "GS code"),
    "unary_blur_px": Pin(10.0, "GS code"),
    "crf": Pin(
        "deeplab", "GS §C.1", "we use the CRF parameters from the DeepLab-LargeFOV model [7], unless stated otherwise"
    ),
}
GUIDES = {
    **below("make_guides.g2", FUSION),
    **below("make_oracle_guides", FUSION),
    "make_guides.g2.rule": Pin("g2", "GS §5", "**Propagating seeds.**"),
    "make_guides.g2.saliency_threshold": Pin(0.5, "GS §6.1", "$\\geq 50\\%$ of the maximal foreground probability"),
    "make_guides.g2.seeds": Pin("seeds.zip", "GS table 2"),
    "make_guides.g2.saliency": Pin("saliency.zip", "GS table 2"),
}  # fmt: skip

# --- CRFs, losses, experiments -------------------------------------------------------------------------------------------------


def crf(weight: float, sigma_xy: float, sigma_rgb: float, kernel: str, steps: str) -> dict[str, Pin]:
    smooth = "$w^{(2)}=3$ and $\\theta_{\\gamma}=3$ for the smoothness kernel"
    return {
        "bilateral_weight": Pin(weight, "GS §C.1", kernel.format(f"w^{{(1)}}={weight:g}")),
        "bilateral_sigma_xy": Pin(sigma_xy, "GS §C.1", kernel.format(f"\\theta_{{\\alpha}}={sigma_xy:g}")),
        "bilateral_sigma_rgb": Pin(sigma_rgb, "GS §C.1", kernel.format(f"\\theta_{{\\beta}}={sigma_rgb:g}")),
        "gaussian_weight": Pin(3.0, "GS §C.1", smooth),
        "gaussian_sigma_xy": Pin(3.0, "GS §C.1", smooth),
        "steps": Pin(10, steps),
    }


LOSSES = {
    **said("SEC eq. 1", "", **{f"losses.sec.{term}_weight": 1.0 for term in ("seed", "expand", "constrain")}),
    "losses.sec.kind": Pin("sec", "SEC §3.1", "minimizing a loss function that has three terms"),
    "losses.sec.background_cues": Pin(True, "SEC code"),  # false in equation 2, over the labels T of the image
    "losses.sec.pooling_present": Pin("gwrp", "SEC §3.1", "we propose a global weighted rankpooling (GWRP)"),
    "losses.sec.present_share": Pin(0.1, "SEC §4.1", "the top 10% scores represent 50% of the overall aggregated score"),
    "losses.sec.background_share": Pin(0.3, "SEC §4.1", "the top 30% scores represent 50% of the overall aggregated score"),
    "losses.sec.decay_present": Pin(0.996, "SEC §4.1", "$d_{+} = 0.996$"),
    "losses.sec.decay_background": Pin(0.999, "SEC §4.1", "$d_{\\rm bg} = 0.999$"),
    "losses.sec.crf_gradient": Pin("none", "SEC code"),  # exact in SEC §3.2: "we employ the procedure from [34]"
    "losses.sec.crf_image_px": Pin(12 * 41, "SEC §4.1", "we multiply all spatial distance terms by 12"),
    "losses.cross_entropy.kind": Pin("cross_entropy", "GS §3", "the traditional per pixel softmax cross-entropy loss"),
    "losses.cross_entropy.constrain_weight": Pin(0.0, "GS §C", "crf-loss is excluded from our final model"),
}  # fmt: skip
SEC_EXPERIMENT = {
    "train.supervision": Pin("cues.npz", "SEC §3.1", "Seeding loss with localization cues"),
    "train.loss": Pin("sec", "SEC §3.1", "minimizing a composite loss function consisting of three terms"),
    "train.crf": Pin("sec", "SEC §4.1", "the default values from the authors' public implementation"),
    "train.head": Pin("largefov", "SEC §4.1", "*DeepLab-CRF-LargeFOV*"),
    "train.average_pool5a": Pin(True, "SEC code"),
    "train.geometry": Pin("warp", "SEC code"),
    "train.flip": Pin(False, "SEC code"),
    "test.input_px": Pin(321, "SEC §4.1", "The network has inputs of size 321x321"),
    "test.crf": Pin("sec", "SEC §4.1", "apply a fully-connected CRF [17] to refine the segmentation"),
}
GS_EXPERIMENT = {
    "train.loss": Pin("cross_entropy", "GS §3", "the traditional per pixel softmax cross-entropy loss"),
    "train.crf": Pin("none", "GS §C", "crf-loss is excluded from our final model"),
    "train.head": Pin("largefov", "GS §6.1", "we use the DeepLabv1-LargeFOV [7] architecture as our segmenter convnet"),
    "train.average_pool5a": Pin(False, "GS code"),
    "train.geometry": Pin("crop", "GS code"),
    "train.flip": Pin(True, "GS code"),
    "test.input_px": Pin(531, "GS code"),
    "test.crf": Pin("deeplab", "GS §6.1", "we use the CRF parameters used for DeepLabv1-LargeFOV [7]"),
}
EXPERIMENTS = {
    **below("experiments.sec", SEC_EXPERIMENT),
    **{key: pin for name in ("guided", "seeds", "full") for key, pin in below(f"experiments.{name}", GS_EXPERIMENT).items()},
    "experiments.guided.train.supervision": Pin("guides/g2.zip", "GS §3", "trained using the produced guide mask as supervision"),
    "experiments.seeds.train.supervision": Pin("seeds.zip", "GS §6.2", "using the seeds directly as guide labels"),
    "experiments.full.train.supervision": Pin("ground_truth.zip", "GS table 3", "fully supervised case (pixel wise labels)"),
    "report.bound": Pin("full", "GS table 3", "fully supervised percent"),
    "postprocess.backend": Pin("lattice", "SEC code"),
    "postprocess.sigma_scale": Pin(1.0, "SEC code"),
}  # fmt: skip
DATA = {
    "data.format": Pin("voc", "SEC §4.1", "PASCAL VOC 2012 image segmentation benchmark"),
    "data.train_list": Pin("trainaug", "SEC §4.1", "The resulting *trainaug* set has 10,582 weakly annotated images"),
    "data.val_list": Pin("val", "SEC §4.1", "validation (*val*, 1449 images)"),
    "data.classes": Pin(None, "SEC §4.1", "21 semantic classes, including background"),  # null: VOC's
}

PINS: dict[str, Pin] = {
    **DATA,
    **below("crf.sec", crf(10, 80, 13, "$w^{{(1)}}=10$, $\\theta_{{\\alpha}}=80$, and $\\theta_{{\\beta}}=13$", "SEC code")),
    **below("crf.deeplab", crf(4, 121, 5, "$w^{{(1)}}=4$, $\\theta_{{\\alpha}}=121$, and $\\theta_{{\\beta}}=5$", "GS code")),
    **CLASSIFIERS, **MAPS, **SALIENCY, **GUIDES, **below("train_segmenter", SEGMENTER), **LOSSES, **EXPERIMENTS,
}  # fmt: skip

# --- what no paper states --------------------------------------------------------------------------------------------------------

OURS = {  # pattern: why
    "random_seed": "a number", "*.random_seed": "a number",
    "*.colour_jitter": "neither paper has it: 0", "train_classifier.*.crop_area": "neither paper has it: null",
    "make_cams.*.gradient_scales": "neither paper has it: []", "make_*.foreground.coverage": "in place of a threshold",
    "make_cams.*.smoothing_px": "of backprop seeders, whose width GS §4.2 does not give",
    "make_cams.*ground.excitation_at": "read by excitation_backprop alone",
    "train_classifier.*.vgg16.deeplab_pool5": "read by gap_deeplab alone",
    "train_classifier.background.vgg16.relu_after_fc7": "read by the GAP nets alone",
    "train_classifier.classifier.vgg16.relu_after_fc7": "read by the GAP nets alone",
    "train_classifier.*.schedule.power": "read by kind poly alone", "train_segmenter.*.schedule.power": "read by kind poly alone", "train_saliency.training.schedule.step_*": "read by kind step alone",
    "train_saliency.fc_from_pretrained": "read by vgg16 alone", "train_saliency.dropout": "the ASPP head has none",
    "data.root": "where the photos are", "data.test_list": "photos to segment", "data.labels_file": "VOC's annotations",
    "saliency.*": "where the photos are", "crf.none": "no CRF",
    "select_saliency_photos.exclude_scores_above": "GS §6.1 does not say how photos of Pascal's classes were found",
    "make_grabcut_masks.*": "GS §6.1 says no more than grabcut over the average box",
    "train_segmenter.normalization": "caffe_sec in SEC's code, for Caffe's weights; torchvision's want their own",
    "losses.*.crf_backend": "the exact sum, for a GPU; the lattice in SEC's code", "losses.cross_entropy.crf_*": "of crf-loss, which is off",
    "train_classifier.*.loss.saliency": "of EPS' loss (2021)", "crf.irn_labels.*": "of IRN (2019)", "losses.balanced.*": "of AMN (2022)",
    "make_guides.walked.*": "on IRN's seeds", "experiments.tags_only.*": "on IRN's masks", "experiments.best.*": "on those guides",
    "experiments.sec.beyond_tags": "for the tables", "experiments.guided.beyond_tags": "for the tables",
    "experiments.seeds.beyond_tags": "for the tables", "experiments.full.beyond_tags": "for the tables",
    "evaluate_supervision.*": "what is compared with the ground truth",
    "import_cues": "none", "make_g1_guides": "none: a row", "report.images": "of the report", "export_voc.experiments": "none",
}  # fmt: skip
SECTIONS = {  # of papers.yaml that are the two papers'; all others are ours, or of methods that came after
    "data", "saliency", "crf", "train_classifier", "make_cams", "make_cues", "make_seeds", "evaluate_seeds",
    "select_saliency_photos", "make_grabcut_masks", "train_saliency", "predict_saliency", "evaluate_saliency",
    "make_guides", "make_oracle_guides", "evaluate_supervision", "train_segmenter", "losses", "experiments",
    "postprocess", "random_seed", "import_cues", "make_g1_guides", "report", "export_voc",
}  # fmt: skip
HEADINGS = {
    "SEC": ("1", "2", "3", "3.1", "3.2", "4", "4.1", "4.2", "4.3", "5", "6", "6.1", "6.2"),
    "GS": (
        "1", "2", "3", "4", "4.1", "4.2", "5", "5.1", "6", "6.1", "6.2", "6.3", "7", "A", "B", "B.1", "B.2", "B.3", "C",
        "C.1", "D", "E", "F", "G",
    ),
}  # fmt: skip
