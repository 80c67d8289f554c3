"""Train the class-agnostic saliency network on the GrabCut masks."""

import torch

from weakseg.files import ImageArchive, read_saliency_manifest
from weakseg.networks import build_segmenter, load_pretrained, save_model
from weakseg.runtime import arguments, identity_of, is_first, run
from weakseg.settings import SaliencyNetwork, read_keys
from weakseg.training import Run, SaliencySamples, cross_entropy_terms, train


def main() -> None:
    paths = arguments(
        __doc__, manifest="saliency manifest", masks=".zip of GrabCut masks", model="folder to write",
        log="CSV of the losses to write", checkpoints="folder for checkpoints",
    ).parse_args()  # fmt: skip
    settings: SaliencyNetwork
    settings, random_seed = read_keys("train_saliency", "random_seed", files=paths.params)
    images = {record.image_id: record.image for record in read_saliency_manifest(paths.manifest)}

    torch.manual_seed(random_seed)  # of the new layers
    network = build_segmenter(settings.head, settings.backbone, 2, settings.dropout, average_pool5a=False)
    load_pretrained(network, settings.backbone, settings.pretrained, settings.fc_from_pretrained)
    samples = SaliencySamples(images, ImageArchive(paths.masks), settings.input_px, settings.augmentation, 8)
    identity = identity_of(settings.model_dump(), random_seed, files={"manifest": paths.manifest, "masks": paths.masks})
    job = Run(paths.model.as_posix(), settings.training, random_seed, paths.log, paths.checkpoints, identity)
    train(network, samples, cross_entropy_terms, {"cross_entropy": 1.0}, job)
    if not is_first():
        return

    description = settings.model_dump(include={"head", "backbone", "input_px"})
    description |= {"geometry": "crop", "average_pool5a": False, "class_names": ["background", "salient"]}
    save_model(paths.model, network, description)
    job.checkpoints.remove()


if __name__ == "__main__":
    run(main, distributed=True)
