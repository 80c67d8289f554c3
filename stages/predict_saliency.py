"""Predict the train and val photos' saliency: the foreground probability as 8-bit grey."""

from PIL import Image

from weakseg.batch import write_archive
from weakseg.files import read_manifest
from weakseg.inference import SaliencyTask
from weakseg.networks import files_of
from weakseg.runtime import arguments, run
from weakseg.settings import PredictSaliency, read_keys


def main() -> None:
    paths = arguments(
        __doc__, manifest="manifest", model="folder of the saliency network", out=".zip to write",
        checkpoints="folder for partial results",
    ).parse_args()  # fmt: skip
    settings: PredictSaliency = read_keys("predict_saliency", options=paths)
    write_archive(
        paths.out, read_manifest(paths.manifest, "train", "val"), SaliencyTask(paths.model, settings.max_side_px),
        lambda _, saliency: Image.fromarray(saliency), "saliency", depends_on=[settings.model_dump()],
        files={"manifest": paths.manifest, **files_of(paths.model)}, checkpoints=paths.checkpoints,
    )  # fmt: skip


if __name__ == "__main__":
    run(main, distributed=True)
