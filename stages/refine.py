"""Refine heat maps, seeds, guides or another refinement by one method: label maps, and maps of the photos' tags."""

from weakseg.batch import write_archive
from weakseg.crf import crf_params
from weakseg.files import label_image, map_arrays, read_manifest
from weakseg.refinement import method_of
from weakseg.runtime import arguments, filled, run
from weakseg.settings import Refine, read_keys


def main() -> None:
    paths = arguments(
        __doc__, named="which of params.yaml's refine", manifest="manifest", source=".npz of heat maps or .zip of label maps",
        using="boundaries (.npz), proposals (.npz), or a file that stands for none", labels=".zip to write",
        maps=".npz to write", checkpoints="folder for partial results",
    ).parse_args()  # fmt: skip
    settings: Refine = read_keys("refine.{name}", options=paths)
    crf = read_keys(f"crf.{settings.crf}", options=paths)
    filled(paths, **{"from": settings.from_}, using=settings.using)
    records = read_manifest(paths.manifest, "train")
    method = method_of(settings, crf and crf_params(crf), paths.source, paths.using, records)
    write_archive(
        paths.labels, records, method, lambda _, refined: label_image(refined.labels), f"refinement {paths.name}",
        depends_on=[settings.model_dump(), crf and crf.model_dump()],
        files={"manifest": paths.manifest, "source": paths.source, "using": paths.using}, checkpoints=paths.checkpoints,
        also={paths.maps: lambda record, refined: map_arrays(record.image_id, refined.classes, refined.maps)},
    )  # fmt: skip


if __name__ == "__main__":
    run(main, distributed=True)
