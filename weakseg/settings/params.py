"""The settings: `params.yaml`, typed and validated as a whole before a stage does anything.

Nothing has a default, so a params file says all there is to say. Units stand in the names. What depends on the
machine (device, worker processes) is no setting: WEAKSEG_DEVICE and WEAKSEG_WORKERS, so that DVC's cache keys do not
depend on it.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from weakseg.settings.data import (
    Data,
    ExportVoc,
    GrabCut,
    PublishedCues,
    Report,
    SaliencyData,
    SelectSaliencyPhotos,
    Toy,
)
from weakseg.settings.losses import Loss
from weakseg.settings.networks import Classifier, PredictSaliency, SaliencyNetwork, Segmenter
from weakseg.settings.supervision import Cues, EvaluateSeeds, Guides, InferenceCRF, Seeds
from weakseg.settings.types import GRID_STRIDE, CuesName, Name, Section, Side


class Experiment(Section):
    """A row of the results: what supervises (a file below data/), which loss, head, geometry and test-time CRF."""

    supervision: Annotated[str, Field(pattern=r"^(guides/)?[a-z0-9_]+\.(npz|zip)$")]
    loss: Name
    head: Literal["largefov", "smallfov", "aspp"]
    average_pool5a: bool
    geometry: Literal["warp", "crop"]
    flip: bool
    test_input_px: Side | None
    test_crf: Name

    @model_validator(mode="after")
    def _warp_has_a_side(self) -> "Experiment":
        on_grid = self.test_input_px is not None and (self.test_input_px - 1) % GRID_STRIDE == 0
        if self.geometry == "warp" and not on_grid:
            raise ValueError(f"geometry warp needs a test_input_px of {GRID_STRIDE}·k + 1")
        return self


class Params(Section):
    """The whole file."""

    random_seed: Annotated[int, Field(ge=0)]
    make_toy: Toy
    data: Data
    saliency: SaliencyData
    classifiers: dict[Name, Classifier]
    make_cues: Cues
    import_cues: dict[CuesName, PublishedCues]
    make_seeds: Seeds
    evaluate_seeds: EvaluateSeeds
    select_saliency_photos: SelectSaliencyPhotos
    make_grabcut_masks: GrabCut
    train_saliency: SaliencyNetwork
    predict_saliency: PredictSaliency
    make_guides: Guides
    segmenter: Segmenter
    losses: dict[Name, Loss]
    crf: dict[Name, InferenceCRF]
    experiments: dict[Name, Experiment]
    export_voc: ExportVoc
    report: Report

    @model_validator(mode="after")
    def _names_exist(self) -> "Params":
        problems = [
            f"classifiers.{name} is missing" for name in ("seeder", "background") if name not in self.classifiers
        ]
        for name, role in (("seeder", "foreground"), ("background", "background")):
            method = self.classifiers[name].cam.method if name in self.classifiers else None
            if method and (method == "background_gradient") != (role == "background"):
                problems.append(f"classifiers.{name}.cam.method: {method} shows no {role}")
        for name, experiment in self.experiments.items():
            if experiment.loss not in self.losses:
                problems.append(f"experiments.{name}.loss: there is no losses.{experiment.loss}")
            if experiment.test_crf not in self.crf:
                problems.append(f"experiments.{name}.test_crf: there is no crf.{experiment.test_crf}")
        for name in self.export_voc.experiments:
            if name not in self.experiments:
                problems.append(f"export_voc.experiments: there is no experiments.{name}")
        if self.export_voc.experiments and self.data.format == "voc" and self.data.test_list is None:
            problems.append("export_voc.experiments: data.test_list is null, so there are no test photos to export")
        if problems:
            raise ValueError("; ".join(problems))
        return self
