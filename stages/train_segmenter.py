"""Train one experiment's segmenter from its supervision: cues, seeds, guides or ground truth."""

from weakseg.runtime import arguments, filled, is_first, run
from weakseg.settings import ExperimentTraining, Loss, TrainSegmenter, read_keys
from weakseg.training import fit_segmenter, recipe_of, write_recipe


def main() -> None:
    paths = arguments(
        __doc__, named="which of params.yaml's experiments", manifest="manifest", classes="class names",
        supervision=".npz of cues or .zip of label maps", start_from="weights, or folder of a classifier, to start from",
        model="folder to write", log="CSV of the losses to write", recipe="JSON to write, for further trainings",
        progress=".zip of masks of a few val photos while training, to write", checkpoints="folder for checkpoints",
    ).parse_args()  # fmt: skip
    settings: TrainSegmenter
    chosen: ExperimentTraining
    settings, chosen, random_seed = read_keys(
        "train_segmenter", "experiments.{name}.train", "random_seed", options=paths
    )
    loss: Loss
    loss, crf = read_keys(f"losses.{chosen.loss}", f"crf.{chosen.crf}", options=paths)
    filled(paths, supervision=chosen.supervision, start_from=settings.start_from)
    recipe = recipe_of(
        settings, chosen, loss, crf,
        manifest=paths.manifest, classes=paths.classes, supervision=paths.supervision, start=paths.start_from,
    )  # fmt: skip
    fit_segmenter(recipe, random_seed, paths.model, paths.log, paths.checkpoints, paths.progress)
    if is_first():
        write_recipe(paths.recipe, recipe)


if __name__ == "__main__":
    run(main, distributed=True)
