"""Take over another tool's saliency of the training photos: a folder of maps, or an ONNX network run here."""

from pathlib import Path

from PIL import Image

from weakseg.batch import write_archive
from weakseg.files import content_sha256, read_manifest
from weakseg.refinement import ForeignSaliency
from weakseg.runtime import arguments, run
from weakseg.settings import ImportSaliency, read_keys


def main() -> None:
    paths = arguments(
        __doc__, named="which of params.yaml's import_saliency", manifest="manifest", out=".zip to write",
        checkpoints="folder for partial results",
    ).parse_args()  # fmt: skip
    settings: ImportSaliency = read_keys("import_saliency.{name}", options=paths)
    source = Path(settings.from_)
    write_archive(
        paths.out, read_manifest(paths.manifest, "train"), ForeignSaliency(source, settings),
        lambda _, saliency: Image.fromarray(saliency), f"saliency {paths.name}",
        depends_on=[settings.model_dump(), content_sha256(source)], files={"manifest": paths.manifest},
        checkpoints=paths.checkpoints,
    )  # fmt: skip


if __name__ == "__main__":
    run(main, distributed=True)
