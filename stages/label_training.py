"""Masks of the training photos from an experiment's own scores, for the next round of self-training to learn from."""

from weakseg.batch import write_archive
from weakseg.crf import TestTimeCRF, crf_params
from weakseg.files import ArrayArchive, label_image, read_manifest
from weakseg.inference import OwnTagMasks
from weakseg.runtime import arguments, run
from weakseg.settings import CRF, Postprocess, SelfTraining, read_keys


def main() -> None:
    paths = arguments(
        __doc__, named="which of params.yaml's self_training", manifest="manifest",
        scores=".npz of the training photos' scores", out=".zip to write", checkpoints="folder for partial results",
    ).parse_args()  # fmt: skip
    chosen: SelfTraining
    settings: Postprocess
    chosen, geometry, settings = read_keys(
        "self_training.{name}", "experiments.{name}.train.geometry", "postprocess", options=paths
    )
    crf: CRF | None = read_keys(f"crf.{chosen.crf}", options=paths)
    params = crf_params(crf).scaled(1 / settings.sigma_scale) if crf else None
    write_archive(
        paths.out, read_manifest(paths.manifest, "train"),
        OwnTagMasks(ArrayArchive(paths.scores), geometry, TestTimeCRF(params, settings.backend) if params else None, chosen.min_probability),
        lambda _, labels: label_image(labels), "masks of the training photos",
        depends_on=[geometry, chosen.model_dump(), settings.model_dump(), crf and crf.model_dump()],
        files={"manifest": paths.manifest, "scores": paths.scores}, checkpoints=paths.checkpoints,
    )  # fmt: skip


if __name__ == "__main__":
    run(main, distributed=True)
