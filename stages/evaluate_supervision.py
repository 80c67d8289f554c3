"""How good cues, seeds, guides, refinements and masks of self-training are: coverage, precision, recall, and mIoU."""

from weakseg.evaluation import MapScores, best_threshold, pseudo_mask_metrics, supervision_metrics
from weakseg.files import ArrayArchive, ImageArchive, read_class_names, read_manifest, write_json
from weakseg.runtime import arguments, filled, run
from weakseg.settings import EvaluateSupervision, read_keys


def main() -> None:
    paths = arguments(
        __doc__, manifest="manifest", classes="class names", ground_truth=".zip of masks", cues=".npz of cues",
        cams=".npz of heat maps", seeds=".zip of seeds", guides="folder of guides", refined="folder of refinements",
        self_trained="folder of masks of self-training", oracle=".zip of oracle guides", cue_metrics="JSON to write", guide_metrics="JSON to write",
        pseudo_masks="JSON to write",
    ).parse_args()  # fmt: skip
    settings: EvaluateSupervision = read_keys("evaluate_supervision", options=paths)
    filled(paths, net=settings.net)
    class_names = read_class_names(paths.classes)
    records = read_manifest(paths.manifest, "train", num_classes=len(class_names))
    truth, cues = ImageArchive(paths.ground_truth), ArrayArchive(paths.cues)
    write_json(paths.cue_metrics, supervision_metrics(cues, records, truth, len(class_names), "cues"))
    sources = {"seeds": paths.seeds} | {rule: paths.guides / f"{rule}.zip" for rule in settings.guides}
    refined = {f"refined/{name}": paths.refined / f"{name}.zip" for name in settings.refined}
    guides = {name: ImageArchive(path) for name, path in {**sources, "oracle": paths.oracle}.items()}
    write_json(paths.guide_metrics, {
        name: supervision_metrics(archive, records, truth, len(class_names), name) for name, archive in guides.items()
    })  # fmt: skip
    measured: dict[str, ArrayArchive | ImageArchive] = {"cues": cues, **guides}
    measured |= {name: ImageArchive(path) for name, path in refined.items()}
    measured |= {f"self/{name}": ImageArchive(paths.self_trained / f"{name}.zip") for name in settings.self_trained}
    masks = {
        name: pseudo_mask_metrics(archive, records, truth, class_names, name) for name, archive in measured.items()
    }
    maps = {"seeds": MapScores(ArrayArchive(paths.cams), own_maximum=True)}
    maps |= {
        name: MapScores(ArrayArchive(path.with_suffix(".npz")), own_maximum=False) for name, path in refined.items()
    }
    best = {name: best_threshold(scored, records, truth, len(class_names), name) for name, scored in maps.items()}
    write_json(paths.pseudo_masks, {"pseudo_masks": masks, "best_threshold_by_masks": best})


if __name__ == "__main__":
    run(main)
