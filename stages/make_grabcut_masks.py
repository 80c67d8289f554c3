"""Turn the saliency set's average boxes into masks by GrabCut."""

from weakseg.batch import write_archive
from weakseg.files import label_image, read_saliency_manifest
from weakseg.runtime import arguments, run
from weakseg.settings import MakeGrabcutMasks, read_keys
from weakseg.supervision import GrabcutMask


def main() -> None:
    paths = arguments(
        __doc__, manifest="saliency manifest", out=".zip to write", checkpoints="folder for partial results"
    ).parse_args()
    settings: MakeGrabcutMasks = read_keys("make_grabcut_masks", options=paths)
    write_archive(
        paths.out, read_saliency_manifest(paths.manifest), GrabcutMask(settings), lambda _, mask: label_image(mask),
        "GrabCut", depends_on=[settings.model_dump()], files={"manifest": paths.manifest}, checkpoints=paths.checkpoints,
    )  # fmt: skip


if __name__ == "__main__":
    run(main, distributed=True)
