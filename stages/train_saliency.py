"""Train the class-agnostic saliency network on the GrabCut masks."""

import torch

from weakseg.files import ImageArchive, read_saliency_manifest
from weakseg.networks import MultiScale, build_segmenter, load_pretrained, save_model
from weakseg.runtime import arguments, is_first, run
from weakseg.settings import TrainSaliency, read_keys
from weakseg.training import STRIDE, CrossEntropyTerms, MultiScaleTerms, Objective, Run, SaliencySamples, train


def main() -> None:
    paths = arguments(
        __doc__, manifest="saliency manifest", masks=".zip of GrabCut masks", pretrained="folder of weights to start from",
        model="folder to write", log="CSV of the losses to write", checkpoints="folder for checkpoints",
    ).parse_args()  # fmt: skip
    settings: TrainSaliency
    settings, random_seed = read_keys("train_saliency", "random_seed", options=paths)
    records = read_saliency_manifest(paths.manifest)

    torch.manual_seed(random_seed)  # of the new layers
    network = build_segmenter(settings.head, settings.backbone, 2, settings.dropout)
    start = paths.pretrained / settings.pretrained
    load_pretrained(network, settings.backbone, start, settings.fc_from_pretrained)
    samples = SaliencySamples(records, ImageArchive(paths.masks), settings.input_px, settings.augmentation, STRIDE)
    job = Run.of(
        paths.model, settings.training, random_seed, paths.log, paths.checkpoints, depends_on=[settings.model_dump()],
        files={"manifest": paths.manifest, "masks": paths.masks, "start": start},
    )  # fmt: skip
    scales = settings.input_scales
    terms: Objective = MultiScaleTerms(scales) if len(scales) > 1 else CrossEntropyTerms()
    train(MultiScale(network, scales) if len(scales) > 1 else network, samples, terms, terms.weights, job)
    if not is_first():
        return

    description = settings.model_dump(include={"head", "backbone", "input_px"})
    description |= {"geometry": "crop", "average_pool5a": False, "class_names": ["background", "salient"]}
    save_model(paths.model, network, description)
    job.checkpoints.remove()


if __name__ == "__main__":
    run(main, distributed=True)
