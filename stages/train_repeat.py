"""Train one experiment's segmenter once more, with another random seed."""

from weakseg.files import write_bytes
from weakseg.networks import files_of
from weakseg.runtime import arguments, filled, is_first, run
from weakseg.settings import read_keys, repeat_of
from weakseg.training import fit_segmenter, read_recipe


def main() -> None:
    paths = arguments(
        __doc__, named="which experiment and random seed, such as sec-1", recipe="JSON of the first training",
        first="folder of the first training's segmenter", first_log="CSV of its losses", model="folder to write",
        log="CSV of the losses to write", checkpoints="folder for checkpoints",
    ).parse_args()  # fmt: skip
    repeat = repeat_of(paths.name)
    first_seed: int = read_keys("random_seed", options=paths)
    filled(paths, experiment=repeat.experiment, seed=repeat.seed)
    recipe = read_recipe(paths.recipe)
    recipe.check_inputs()
    if repeat.random_seed != first_seed:
        fit_segmenter(recipe, repeat.random_seed, paths.model, paths.log, paths.checkpoints)
    elif is_first():  # the first training, listed once more
        copies = files_of(paths.model) | {"log": paths.log}
        for name, source in {**files_of(paths.first), "log": paths.first_log}.items():
            write_bytes(copies[name], source.read_bytes())


if __name__ == "__main__":
    run(main, distributed=True)
