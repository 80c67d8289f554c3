"""One experiment's segmenter, trained with one random seed; and its recipe, for training it again with others."""

import json
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field, ValidationError

from weakseg.crf import crf_params
from weakseg.errors import UserError
from weakseg.files import (
    check_complete,
    file_sha256,
    open_archive,
    read_class_names,
    read_json,
    read_manifest,
    write_text,
)
from weakseg.networks import WEIGHTS, build_segmenter, save_model, start_from
from weakseg.runtime import is_first
from weakseg.settings import CRF, ExperimentTraining, Loss, Section, TrainSegmenter
from weakseg.training.loop import train
from weakseg.training.objectives import objective_of
from weakseg.training.run import Run
from weakseg.training.samples import SegmentationSamples
from weakseg.training.sampling import STRIDE
from weakseg.watching import PhotoSample

Input = Literal["manifest", "classes", "supervision", "start"]


class InputFile(Section):
    """A file, or a classifier's folder for its weights, as it was when the experiment was first trained."""

    path: str
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]

    @classmethod
    def of(cls, path: Path) -> "InputFile":
        file = path / WEIGHTS if path.is_dir() else path
        if not file.is_file():
            raise UserError(f"{file}: no such file; run `dvc repro`")
        return cls(path=path.as_posix(), sha256=file_sha256(file))


class Recipe(Section):
    """All that a training depends on, apart from the code and the random seed.

    A further training depends on this file alone, so it runs again where a setting or an input has changed, and not
    where another random seed has.
    """

    network: TrainSegmenter
    experiment: ExperimentTraining
    loss: Loss
    crf: CRF | None
    inputs: dict[Input, InputFile]

    def path(self, name: Input) -> Path:
        return Path(self.inputs[name].path)

    def check_inputs(self) -> None:
        """Raises UserError where an input is no longer the file that the recipe names."""
        for file in self.inputs.values():
            if InputFile.of(Path(file.path)) != file:
                raise UserError(f"{file.path}: has changed since the experiment's first training; run `dvc repro`")


def recipe_of(
    network: TrainSegmenter, experiment: ExperimentTraining, loss: Loss, crf: CRF | None, *,
    manifest: Path, classes: Path, supervision: Path, start: Path,
) -> Recipe:  # fmt: skip
    """start: a file to start from, or the folder of a classifier."""
    files: dict[Input, Path] = {
        "manifest": manifest, "classes": classes, "supervision": supervision, "start": start,
    }  # fmt: skip
    inputs = {name: InputFile.of(path) for name, path in files.items()}
    return Recipe(network=network, experiment=experiment, loss=loss, crf=crf, inputs=inputs)


def write_recipe(path: Path, recipe: Recipe) -> None:
    write_text(path, json.dumps(recipe.model_dump(mode="json"), indent=2, sort_keys=True) + "\n")


def read_recipe(path: Path) -> Recipe:
    """Raises UserError where the file is missing or damaged."""
    content = read_json(path)
    try:
        return Recipe.model_validate_json(json.dumps(content))
    except ValidationError as error:
        keys = ", ".join(sorted({".".join(map(str, item["loc"])) for item in error.errors()}))
        raise UserError(f"{path}: damaged or of another version ({keys}); run `dvc repro`") from None


def fit_segmenter(
    recipe: Recipe, random_seed: int, model: Path, log: Path, checkpoints: Path, progress: Path | None = None
) -> None:
    """Train by the recipe, and write the model's folder and the log of its losses. Killed runs resume.

    progress: `.zip` to write, of masks of a few val photos while training (`weakseg.watching`). Further random seeds
    write none: the report shows these masks of an experiment's first training alone.
    """
    settings, chosen, loss, crf = recipe.network, recipe.experiment, recipe.loss, recipe.crf
    class_names = read_class_names(recipe.path("classes"))
    archive = open_archive(recipe.path("supervision"))
    records = read_manifest(recipe.path("manifest"), "train", num_classes=len(class_names))
    check_complete(archive, records)

    torch.manual_seed(random_seed)  # of the new layers
    network = build_segmenter(chosen.head, settings.backbone, len(class_names), settings.dropout, chosen.average_pool5a)
    started = start_from(recipe.path("start"), network, settings)
    samples = SegmentationSamples(
        records, archive, len(class_names), settings.input_px, chosen.geometry, chosen.flip, settings.augmentation, STRIDE
    )  # fmt: skip
    objective = objective_of(loss, crf_params(crf) if crf else None, len(class_names), settings.input_px)
    job = Run.of(
        model, settings.training, random_seed, log, checkpoints,
        depends_on=[settings.model_dump(), chosen.model_dump(), loss.model_dump(), crf and crf.model_dump()],
        files={**{name: recipe.path(name) for name in recipe.inputs}, "start": started},
    )  # fmt: skip
    sample = sample_of(recipe) if progress else None
    train(network, samples, objective, objective.weights, job, sample)
    if not is_first():
        return
    description = settings.model_dump(include={"backbone", "input_px"})
    description |= chosen.model_dump(include={"head", "geometry", "average_pool5a"})
    save_model(model, network, {**description, "class_names": class_names})
    if progress and sample:
        sample.write(progress)
    job.checkpoints.remove()


def sample_of(recipe: Recipe) -> PhotoSample:
    """A few val photos to look at while training."""
    settings, val = recipe.network, read_manifest(recipe.path("manifest"), "val")
    return PhotoSample.of(val, recipe.experiment.geometry, settings.input_px, settings.training.steps)
