"""Train one multi-label classifier on photos and their tags."""

import numpy as np
import torch

from weakseg.files import Record, read_class_names, read_manifest, write_json
from weakseg.networks import build_classifier, load_pretrained, save_model
from weakseg.runtime import arguments, identity_of, is_first, pick_device, run
from weakseg.settings import Classifier, read_keys
from weakseg.training import (
    ClassificationSamples,
    Run,
    classification_terms,
    multi_hot,
    multi_label_average_precision,
    scores,
    train,
)


def main() -> None:
    parser = arguments(
        __doc__, manifest="manifest", classes="class names", model="folder to write", log="CSV of the losses to write",
        metrics="JSON to write", checkpoints="folder for checkpoints",
    )  # fmt: skip
    parser.add_argument("--name", required=True, help="which of params.yaml's classifiers")
    paths = parser.parse_args()
    settings: Classifier
    settings, random_seed = read_keys(f"classifiers.{paths.name}", "random_seed", files=paths.params)

    class_names, records = read_class_names(paths.classes), read_manifest(paths.manifest)
    train_records = [record for record in records if record.split == "train"]
    torch.manual_seed(random_seed)  # of the new layers
    network = build_classifier(
        settings.network, settings.backbone, len(class_names) - 1, settings.dropout, **settings.vgg16.model_dump()
    )
    load_pretrained(network, settings.backbone, settings.pretrained, settings.fc_from_pretrained)
    samples = ClassificationSamples(
        train_records, len(class_names), settings.input_px, settings.geometry, settings.augmentation
    )
    identity = identity_of(
        settings.model_dump(), random_seed, files={"manifest": paths.manifest, "classes": paths.classes}
    )
    job = Run(paths.model.as_posix(), settings.training, random_seed, paths.log, paths.checkpoints, identity)
    train(network, samples, classification_terms, {"logistic": 1.0}, job)
    if not is_first():
        return

    write_json(paths.metrics, mean_average_precision(network, records, class_names, settings))
    description = settings.model_dump(include={"network", "backbone", "vgg16", "input_px", "geometry"})
    save_model(paths.model, network, {**description, "class_names": class_names})
    job.checkpoints.remove()


def mean_average_precision(
    network: object, records: list[Record], class_names: list[str], settings: Classifier
) -> dict[str, object]:
    """mAP in per cent on the val photos that have tags, and by class; null where there are none."""
    val = [record for record in records if record.split == "val" and record.labels]
    if not val:
        return {"map": None}
    device = pick_device()
    network.to(device)  # type: ignore[attr-defined]
    values = np.concatenate(list(scores(network, val, settings.input_px, settings.geometry, device)))  # type: ignore[arg-type]
    labels = np.stack([multi_hot(record.labels, len(class_names)) for record in val])
    precision = 100 * multi_label_average_precision(values, labels)
    known = precision[np.isfinite(precision)]
    return {
        "map": float(known.mean()) if known.size else None,
        "by_class": dict(zip(class_names[1:], precision.tolist(), strict=True)),
    }


if __name__ == "__main__":
    run(main, distributed=True)
