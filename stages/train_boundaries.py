"""Train a network of boundaries from confident labels, on a frozen backbone (IRN)."""

import torch

from weakseg.files import ImageArchive, check_complete, read_class_names, read_manifest
from weakseg.networks import build_boundaries, load_pretrained, save_model
from weakseg.refinement import BOUNDARY_STRIDE, AffinityTerms
from weakseg.runtime import arguments, filled, is_first, run
from weakseg.settings import TrainBoundaries, read_keys
from weakseg.training import Run, SegmentationSamples, train


def main() -> None:
    paths = arguments(
        __doc__, named="which of params.yaml's train_boundaries", manifest="manifest", classes="class names",
        labels=".zip of label maps", pretrained="folder of weights to start from", model="folder to write",
        log="CSV of the losses to write", checkpoints="folder for checkpoints",
    ).parse_args()  # fmt: skip
    settings: TrainBoundaries
    settings, random_seed = read_keys("train_boundaries.{name}", "random_seed", options=paths)
    filled(paths, labels=settings.labels)
    class_names, archive = read_class_names(paths.classes), ImageArchive(paths.labels)
    records = read_manifest(paths.manifest, "train", num_classes=len(class_names))
    check_complete(archive, records)

    torch.manual_seed(random_seed)  # of the new layers
    network = build_boundaries(settings.backbone)
    start = paths.pretrained / settings.pretrained
    load_pretrained(network, settings.backbone, start, False)
    samples = SegmentationSamples(
        records, archive, len(class_names), settings.input_px, "crop", settings.augmentation.flip, settings.augmentation,
        BOUNDARY_STRIDE,
    )  # fmt: skip
    job = Run.of(
        paths.model, settings.training, random_seed, paths.log, paths.checkpoints, depends_on=[settings.model_dump()],
        files={"manifest": paths.manifest, "classes": paths.classes, "labels": paths.labels, "start": start},
    )  # fmt: skip
    terms = AffinityTerms(settings.radius)
    train(network, samples, terms, terms.weights, job)
    if not is_first():
        return

    description = settings.model_dump(include={"backbone", "input_px", "radius"})
    save_model(paths.model, network, {**description, "class_names": class_names})
    job.checkpoints.remove()


if __name__ == "__main__":
    run(main, distributed=True)
