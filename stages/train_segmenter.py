"""Train one experiment's segmenter from its supervision: cues, seeds, guides or ground truth."""

import torch

from weakseg.crf import crf_params
from weakseg.files import check_complete, open_archive, read_class_names, read_manifest
from weakseg.networks import build_segmenter, save_model, start_from
from weakseg.runtime import arguments, filled, is_first, run
from weakseg.settings import ExperimentTraining, Loss, TrainSegmenter, read_keys
from weakseg.training import STRIDE, Run, SegmentationSamples, objective_of, train


def main() -> None:
    paths = arguments(
        __doc__, named="which of params.yaml's experiments", manifest="manifest", classes="class names",
        supervision=".npz of cues or .zip of label maps", start_from="weights, or folder of a classifier, to start from",
        model="folder to write", log="CSV of the losses to write", checkpoints="folder for checkpoints",
    ).parse_args()  # fmt: skip
    settings: TrainSegmenter
    chosen: ExperimentTraining
    settings, chosen, random_seed = read_keys(
        "train_segmenter", "experiments.{name}.train", "random_seed", options=paths
    )
    loss: Loss
    loss, crf = read_keys(f"losses.{chosen.loss}", f"crf.{chosen.crf}", options=paths)
    filled(paths, supervision=chosen.supervision, start_from=settings.start_from)
    class_names, archive = read_class_names(paths.classes), open_archive(paths.supervision)
    records = read_manifest(paths.manifest, "train", num_classes=len(class_names))
    check_complete(archive, records)

    torch.manual_seed(random_seed)  # of the new layers
    network = build_segmenter(chosen.head, settings.backbone, len(class_names), settings.dropout, chosen.average_pool5a)
    started = start_from(paths.start_from, network, settings)
    samples = SegmentationSamples(
        records, archive, len(class_names), settings.input_px, chosen.geometry, chosen.flip, settings.augmentation, STRIDE
    )  # fmt: skip
    objective = objective_of(loss, crf and crf_params(crf), len(class_names), settings.input_px)
    job = Run.of(
        paths.model, settings.training, random_seed, paths.log, paths.checkpoints,
        depends_on=[settings.model_dump(), chosen.model_dump(), loss.model_dump(), crf and crf.model_dump()],
        files={"manifest": paths.manifest, "classes": paths.classes, "supervision": paths.supervision, "start": started},
    )  # fmt: skip
    train(network, samples, objective, objective.weights, job)
    if not is_first():
        return

    description = settings.model_dump(include={"backbone", "input_px"})
    description |= chosen.model_dump(include={"head", "geometry", "average_pool5a"})
    save_model(paths.model, network, {**description, "class_names": class_names})
    job.checkpoints.remove()


if __name__ == "__main__":
    run(main, distributed=True)
