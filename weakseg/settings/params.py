"""The settings: `params.yaml`, typed and validated as a whole before a stage does anything.

Nothing has a default, so a params file is complete. Units are part of the names. What depends on the machine (device,
worker processes, how often to save) is an environment variable, not a setting, so DVC's cache keys do not depend on it.
"""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field, model_validator

from weakseg.settings.data import (
    Data,
    EvaluateSaliency,
    ExportVoc,
    ImportCues,
    ImportProposals,
    ImportSaliency,
    MakeGrabcutMasks,
    MakeToy,
    Report,
    SaliencyData,
    SelectSaliencyPhotos,
)
from weakseg.settings.experiments import RESERVED_EXPERIMENTS, Experiment, Postprocess, SelfTraining
from weakseg.settings.losses import Loss
from weakseg.settings.networks import (
    MakeCams,
    PredictBoundaries,
    PredictSaliency,
    TrainBoundaries,
    TrainClassifier,
    TrainSaliency,
    TrainSegmenter,
)
from weakseg.settings.supervision import (
    CRF,
    EvaluateSeeds,
    EvaluateSupervision,
    LabelCRF,
    MakeCues,
    MakeG1Guides,
    MakeGuides,
    MakeOracleGuides,
    MakeSeeds,
    Refine,
    Thresholded,
)
from weakseg.settings.types import Name, RandomSeed, Section, backbones_with_sec_s_pool

NO_CRF = "none"


class Params(Section):
    """The whole file."""

    random_seed: RandomSeed
    random_seeds: list[RandomSeed]
    make_toy: MakeToy
    data: Data
    saliency: SaliencyData
    crf: dict[Name, CRF | None]
    train_classifier: dict[Name, TrainClassifier]
    make_cams: dict[Name, MakeCams]
    make_cues: MakeCues
    import_cues: dict[Name, ImportCues]
    import_saliency: dict[Name, ImportSaliency]
    import_proposals: dict[Name, ImportProposals]
    make_seeds: MakeSeeds
    evaluate_seeds: EvaluateSeeds
    select_saliency_photos: SelectSaliencyPhotos
    make_grabcut_masks: MakeGrabcutMasks
    train_saliency: TrainSaliency
    predict_saliency: PredictSaliency
    evaluate_saliency: EvaluateSaliency
    make_guides: dict[Name, MakeGuides]
    make_g1_guides: dict[Name, MakeG1Guides]
    make_oracle_guides: MakeOracleGuides
    train_boundaries: dict[Name, TrainBoundaries]
    predict_boundaries: PredictBoundaries
    refine: Annotated[dict[Name, Refine], Field(min_length=1)]
    evaluate_supervision: EvaluateSupervision
    train_segmenter: TrainSegmenter
    losses: dict[Name, Loss]
    experiments: dict[Name, Experiment]
    self_training: dict[Name, SelfTraining]
    postprocess: Postprocess
    export_voc: ExportVoc
    report: Report

    @model_validator(mode="after")
    def _fit_together(self) -> "Params":
        if problems := list(self._contradictions()):
            raise ValueError("\n  ".join(problems))
        return self

    def _contradictions(self) -> Iterator[str]:
        """Settings that are valid one by one but contradict each other; `references` finds names of entries that do not
        exist."""
        if self.crf.get(NO_CRF, 0) is not None:
            yield "crf.none: stands for no CRF; it must be there and null"
        yield from (
            f"crf.{name}: is null; only crf.none may be" for name, crf in self.crf.items() if not crf and name != NO_CRF
        )
        for name, cams in self.make_cams.items():
            trained = self.train_classifier[name].geometry if name in self.train_classifier else cams.geometry
            if (cams.geometry == "warp") != (trained == "warp"):
                yield f"make_cams.{name}.geometry: {cams.geometry}, but the net is trained with {trained}; read it as it was trained"
        yield from self._crf_contradictions()
        yield from self._refinement_contradictions()
        yield from self._of_sec_s_network_alone()
        for name in {*self.make_guides} & {*self.make_g1_guides}:
            yield f"make_g1_guides.{name}: make_guides has that name too"
        if len({*self.random_seeds}) < len(self.random_seeds):
            yield f"random_seeds: {self.random_seeds} names a seed twice"
        for name in self.experiments:
            if name.casefold() in RESERVED_EXPERIMENTS:
                yield f"experiments.{name}: the name is reserved; choose another"
        if self.data.format == "voc" and self.data.train_list is None:
            yield "data.train_list: format voc needs a list of the training photos"
        if self.export_voc.experiments and self.data.format == "voc" and self.data.test_list is None:
            yield "export_voc.experiments: data.test_list is null, so there are no test photos to export"
        folder, _, start = self.train_segmenter.start_from.partition("/")
        net = self.train_classifier.get(start)
        if folder == "classifier" and net and net.backbone != self.train_segmenter.backbone:
            yield f"train_segmenter.start_from: classifier {start} is a {net.backbone}, the segmenter a {self.train_segmenter.backbone}"

    def _of_sec_s_network_alone(self) -> Iterator[str]:
        backbone = self.train_segmenter.backbone
        if backbone in backbones_with_sec_s_pool():
            return
        if self.train_segmenter.normalization == "caffe_sec":
            yield f"train_segmenter.normalization: caffe_sec is for VGG-16's Caffe weights, the segmenter is a {backbone}"
        for name, experiment in self.experiments.items():
            if experiment.train.average_pool5a:
                yield f"experiments.{name}.train.average_pool5a: VGG-16 has that pool alone, the segmenter is a {backbone}"

    def _crf_contradictions(self) -> Iterator[str]:
        by_seeds = {f"make_guides.{name}": guides for name, guides in self.make_guides.items()}
        for name, fusion in {**by_seeds, "make_oracle_guides": self.make_oracle_guides}.items():
            if fusion.crf == NO_CRF:
                yield f"{name}.crf: divides components between classes, so it cannot be none"
        for name, experiment in self.experiments.items():
            if experiment.test.crf == NO_CRF:
                yield f"experiments.{name}.test.crf: cannot be none; masks without CRF are made in any case"
            loss = self.losses.get(experiment.train.loss)
            if loss and loss.constrain_weight and experiment.train.crf == NO_CRF:
                yield f"experiments.{name}.train.crf: losses.{experiment.train.loss} has a constrain term, which needs one"

    def _refinement_contradictions(self) -> Iterator[str]:
        wanted = {"boundary_walk": "a file boundaries/<name>.npz", "proposals": "a file imported_proposals/<name>.npz"}
        for name, refinement in self.refine.items():
            needs, used = wanted.get(refinement.by, "none"), refinement.using
            kind = "boundary_walk" if used.startswith("boundaries/") else "proposals" if used != "none" else ""
            if kind != (refinement.by if refinement.by in wanted else ""):
                yield f"refine.{name}.using: {refinement.by} uses {needs}, not {used}"
            if isinstance(refinement, LabelCRF) == (refinement.crf == NO_CRF):
                yield f"refine.{name}.crf: name one where `by` is crf, and none elsewhere"
            if isinstance(refinement, Thresholded) and not refinement.from_.endswith(".npz"):
                yield f"refine.{name}.from: a threshold needs heat maps (.npz), not {refinement.from_}"
