"""Train one multi-label classifier on photos and their tags."""

import torch

from weakseg.files import ImageArchive, read_class_names, read_manifest, write_json
from weakseg.networks import WithBackground, build_classifier, load_pretrained, save_model
from weakseg.runtime import arguments, filled, is_first, run
from weakseg.settings import EpsLoss, TrainClassifier, read_keys
from weakseg.training import (
    ClassificationSamples,
    EpsTerms,
    Run,
    classification_terms,
    mean_average_precision,
    train,
)


def main() -> None:
    paths = arguments(
        __doc__, named="which of params.yaml's train_classifier", manifest="manifest", classes="class names",
        pretrained="folder of weights to start from", saliency=".zip of saliency, or a file that stands for none",
        model="folder to write", log="CSV of the losses to write", metrics="JSON to write",
        checkpoints="folder for checkpoints",
    ).parse_args()  # fmt: skip
    settings: TrainClassifier
    settings, random_seed = read_keys("train_classifier.{name}", "random_seed", options=paths)

    filled(paths, saliency=settings.loss.saliency)
    class_names = read_class_names(paths.classes)
    records = read_manifest(paths.manifest, num_classes=len(class_names))
    torch.manual_seed(random_seed)  # of the new layers
    network = build_classifier(
        settings.network, settings.backbone, len(class_names) - 1, settings.dropout, **settings.vgg16.model_dump()
    )
    start = paths.pretrained / settings.pretrained
    load_pretrained(network, settings.backbone, start, settings.fc_from_pretrained)
    samples = ClassificationSamples(
        [record for record in records if record.split == "train"],
        len(class_names), settings.input_px, settings.geometry, settings.augmentation,
        ImageArchive(paths.saliency) if isinstance(settings.loss, EpsLoss) else None,
    )  # fmt: skip
    job = Run.of(
        paths.model, settings.training, random_seed, paths.log, paths.checkpoints, depends_on=[settings.model_dump()],
        files={"manifest": paths.manifest, "classes": paths.classes, "saliency": paths.saliency, "start": start},
    )  # fmt: skip
    if isinstance(settings.loss, EpsLoss):
        terms = EpsTerms(settings.loss)
        train(WithBackground(network), samples, terms, terms.weights, job)
    else:
        train(network, samples, classification_terms, {"logistic": 1.0}, job)
    if not is_first():
        return

    write_json(paths.metrics, mean_average_precision(network, records, class_names, settings))
    description = settings.model_dump(include={"network", "backbone", "vgg16", "input_px", "geometry"})
    save_model(paths.model, network, {**description, "class_names": class_names})
    job.checkpoints.remove()


if __name__ == "__main__":
    run(main, distributed=True)
