"""Train one experiment's segmenter from its supervision: cues, seeds, guides or ground truth."""

from collections.abc import Mapping

import torch

from weakseg.files import check_complete, open_archive, read_class_names, read_manifest
from weakseg.networks import WEIGHTS, build_segmenter, copy_matching, load_pretrained, read_weights, save_model
from weakseg.runtime import arguments, identity_of, is_first, run
from weakseg.settings import Experiment, Loss, Segmenter, read_keys
from weakseg.training import CrossEntropyTerms, LossTerms, Run, SecTerms, SegmentationSamples, train

STRIDE = 8


def main() -> None:
    parser = arguments(
        __doc__, manifest="manifest", classes="class names", supervision=".npz of cues or .zip of label maps",
        classifier="folder of the classifier to start from", model="folder to write", log="CSV of the losses to write",
        checkpoints="folder for checkpoints",
    )  # fmt: skip
    parser.add_argument("--experiment", required=True, help="which of params.yaml's experiments")
    parser.add_argument("--loss", required=True, help="which of params.yaml's losses")
    paths = parser.parse_args()
    settings: Segmenter
    experiment: Experiment
    loss: Loss
    settings, experiment, loss, random_seed = read_keys(
        "segmenter", f"experiments.{paths.experiment}", f"losses.{paths.loss}", "random_seed",
        files=paths.params,
    )  # fmt: skip
    class_names, archive = read_class_names(paths.classes), open_archive(paths.supervision)
    records = read_manifest(paths.manifest, "train")
    check_complete(archive, records)

    torch.manual_seed(random_seed)  # of the new layers
    network = build_segmenter(
        experiment.head, settings.backbone, len(class_names), settings.dropout, experiment.average_pool5a
    )
    load_pretrained(
        network, settings.backbone, settings.pretrained, settings.fc_from_pretrained, settings.normalization
    )
    if settings.start_from_classifier:
        copy_matching(network, read_weights(paths.classifier))
    samples = SegmentationSamples(
        records,
        archive,
        len(class_names),
        settings.input_px,
        experiment.geometry,
        experiment.flip,
        settings.augmentation,
        STRIDE,
    )
    terms, weights = objective(loss, len(class_names), settings.input_px)
    identity = identity_of(
        settings.model_dump(), experiment.model_dump(), loss.model_dump(), random_seed,
        files={"manifest": paths.manifest, "classes": paths.classes, "supervision": paths.supervision, "classifier": paths.classifier / WEIGHTS},
    )  # fmt: skip
    job = Run(paths.model.as_posix(), settings.training, random_seed, paths.log, paths.checkpoints, identity)
    train(network, samples, terms, weights, job)
    if not is_first():
        return

    description = settings.model_dump(include={"backbone", "input_px"})
    description |= experiment.model_dump(include={"head", "geometry", "average_pool5a"})
    save_model(paths.model, network, {**description, "class_names": class_names})
    job.checkpoints.remove()


def objective(loss: Loss, num_classes: int, input_px: int) -> tuple[LossTerms, Mapping[str, float]]:
    """The loss terms and what each counts."""
    if loss.kind == "cross_entropy":
        plain = CrossEntropyTerms(loss, STRIDE, input_px)
        return plain, plain.weights
    terms = SecTerms(loss, num_classes, STRIDE, input_px)
    return terms, terms.weights


if __name__ == "__main__":
    run(main, distributed=True)
