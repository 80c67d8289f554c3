"""Each key of params.yaml, changed: the stages that DVC then sees as changed are those whose bytes it can change.

Their descendants are not told, for they rerun only where the bytes differ. Keys that reach no common stage are changed
together; `dvc status` is asked through DVC's own Python interface, since a process for each key would take minutes.
"""

import copy
import json
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

import pytest
from dvc.dependency.param import ParamsDependency
from dvc.repo import Repo as DvcRepo
from dvc.utils import strictyaml
from dvc.utils.serialize import _yaml

from tests.pipeline.tiny_repo import EXPERIMENTS, Repo, tiny_params, write_params
from weakseg.errors import UserError
from weakseg.settings.profiles import validated


def of(stage: str, *names: str) -> set[str]:
    return {f"{stage}@{name}" for name in names}


CLASSIFIERS = ("classifier", "seeder")
BY_MASKS = (
    "guided",
    "seeds",
    "tags_only",
    "best",
    "full",
)  # experiments of the loss cross_entropy, and of the CRF deeplab at test time
REPORTED = {"summarize", "report"}  # which list all experiments

EXPECTED: dict[str, set[str]] = {  # by the longest key that a changed one begins with; {name} is what stands there
    "random_seed": {
        *of("train_classifier", *CLASSIFIERS), "train_saliency", "train_boundaries@irn", *of("train_segmenter", *EXPERIMENTS),
        *of("evaluate", *EXPERIMENTS),
    },
    "random_seeds": of("evaluate", *EXPERIMENTS).union(
        *(of(f"{verb}_repeat", *(f"{name}-1" for name in EXPERIMENTS)) for verb in ("train", "predict", "evaluate"))
    ),
    "self_training": {"predict_training@sec", "label_training@sec"},
    "make_toy": {"make_toy"},
    "data": {"prepare"},
    "data.root": {"prepare", "pack_masks"},
    "saliency": {"prepare_saliency"},
    "crf.sec": of("train_segmenter", "sec") | of("write_test_rule", "sec") | of("postprocess", "sec"),
    "crf.deeplab": {
        "make_guides@g2", "make_guides@walked", "make_oracle_guides", *of("write_test_rule", *BY_MASKS), *of("postprocess", *BY_MASKS),
    },
    "crf.irn_labels": {"refine@confident"},
    "train_classifier.{name}": {"train_classifier@{name}"},
    "make_cams.classifier": {"make_cams@classifier"},
    "make_cams.seeder": {"make_cams@seeder", "evaluate_seeds"},
    "make_cues": {"make_cues"},
    "import_cues": {"import_cues@sec_authors"},
    "import_saliency": {"import_saliency@isnet"},
    "import_proposals": {"import_proposals@sam"},
    "train_boundaries.{name}": {"train_boundaries@{name}"},
    "predict_boundaries": {"predict_boundaries@irn"},
    "refine.{name}": {"refine@{name}"},
    "make_seeds": {"make_seeds"},
    "evaluate_seeds": {"evaluate_seeds"},
    "select_saliency_photos": {"select_saliency_photos"},
    "make_grabcut_masks": {"make_grabcut_masks"},
    "train_saliency": {"train_saliency"},
    "predict_saliency": {"predict_saliency"},
    "evaluate_saliency": {"evaluate_saliency"},
    "make_guides.{name}": {"make_guides@{name}"},
    "make_g1_guides": {"make_g1_guides@g1"},
    "make_oracle_guides": {"make_oracle_guides"},
    "evaluate_supervision": {"evaluate_supervision"},
    "train_segmenter": of("train_segmenter", *EXPERIMENTS),
    "losses.sec": {"train_segmenter@sec"},
    "losses.balanced": set(),  # which rows use
    "losses.cross_entropy": of("train_segmenter", *BY_MASKS),
    "experiments.{name}.beyond_tags": REPORTED,
    "experiments.{name}.train": {"train_segmenter@{name}", *REPORTED},
    "experiments.{name}.train.geometry": {  # how a photo is seen at test time, too
        "train_segmenter@{name}", "write_test_rule@{name}", "postprocess@{name}", *REPORTED,
    },
    "experiments.{name}.test.input_px": {"predict@{name}", "write_test_rule@{name}", *REPORTED},
    "experiments.{name}.test.crf": {"postprocess@{name}", "write_test_rule@{name}", *REPORTED},
    "postprocess": of("postprocess", *EXPERIMENTS) | of("write_test_rule", *EXPERIMENTS),
    "export_voc": {"export_voc@sec"},
    "report": {"report"},
    "report.bound": {"summarize", "report"},
}  # fmt: skip

G1 = {"unresolved": "ignore", "saliency_threshold": 0.5, "min_saliency_fraction": 0.01, "classifier": "seeder", "require_positive": False}  # fmt: skip
ISNET = {"from": "a.onnx", "supervision": "masks", "input_px": 64, "mean": [0.5] * 3, "std": [1.0] * 3}
OTHER: dict[str, Any] = {  # another value, where the type alone does not say one; numbers and truth values have rules
    "data.format": "folder", "data.root": "data/photos", "saliency.root": "data/ecssd", "saliency.boxes": "other.txt",
    "saliency.image_list": "some.txt", "saliency.exclude": "some.txt", "data.*_list": "other", "data.labels_file": "labels.csv",
    "data.classes": ["cat"], "import_cues": {"sec_authors": {"cues": "a.pkl", "image_list": "a.txt"}},
    "import_saliency": {"isnet": ISNET}, "import_proposals": {"sam": {"from": "a", "supervision": "SAM masks"}},
    "*.loss.kind": "other", "*.loss.saliency": "saliency.zip", "train_boundaries.*.labels": "seeds.zip", "predict_boundaries.input_px": 97,
    "refine.[!w]*.from": "cams/classifier.npz", "refine.*.using": "boundaries/other.npz", "refine.*.by": "other", "refine.*.crf": "sec",
    "refine.*.dilations": [1, 2], "make_guides.g2.seeds": "refined/walk.zip", "make_guides.walked.seeds": "seeds.zip",
    "make_guides.*.saliency": "imported_saliency/isnet.zip", "evaluate_supervision.net": "classifier", "evaluate_supervision.refined": [],
    "experiments.*.beyond_tags": ["more"], "make_guides.walked.crf": "sec",
    "train_boundaries.*.optimizer": "adamw",
    "make_g1_guides": {"g1": G1}, "random_seeds": [1], "self_training": {"sec": {"crf": "none", "min_probability": 0.5}}, "export_voc.experiments": ["sec"],
    "*.network": "gap_highres", "*.backbone": "resnet101", "*.pretrained": "none", "train_classifier.classifier.vgg16.fc_channels": 1024, "*.vgg16.fc_channels": 4096,
    "train_classifier.*.geometry": "warp", "*.crop_area": [0.5, 1.0], "*.optimizer": "sgd", "*.schedule.kind": "step",
    "make_cams.classifier.method": "gap", "make_cams.*.method": "vanilla_backprop", "make_cams.classifier.geometry": "fit",
    "make_cams.seeder.geometry": "pad", "make_cams.*.excitation_at": "stride8", "make_cams.*.scales": [1.0, 2.0], "make_cams.*.gradient_scales": [1.0],
    "make_cues.foreground_net": "classifier", "make_cues.background_net": "seeder", "make_*.foreground": {"threshold": 0.2, "coverage": None},
    "refine.confident.*ground": {"threshold": 0.2, "coverage": None}, "refine.walk.from": "cams/seeder.npz",
    
    "make_seeds.net": "classifier", "evaluate_seeds.net": "classifier", "make_seeds.crf": "sec", "evaluate_seeds.crf": "sec",
    "select_saliency_photos.classifier": "seeder", "select_saliency_photos.exclude_scores_above": 0.5,
    "*.head": "smallfov", "*.sampling": "class_balanced", "*.input_scales": [0.5, 1.0], "*.augmentation.scales": [0.5, 2.0], "make_guides.*.rule": "g0", "*.unresolved": "background",
    "*.min_seed_fraction": 0.02, "make_guides.g2.crf": "sec", "make_oracle_guides.crf": "sec", "evaluate_supervision.guides": [], "evaluate_supervision.self_trained": ["sec"],
    "train_segmenter.start_from": "pretrained/none", "train_segmenter.normalization": "caffe_sec",
    "losses.*.kind": "other", "losses.*.pooling_present": "gap", "losses.*.decay_*": 0.9, "losses.*.crf_backend": "lattice",
    "losses.*.crf_gradient": "release2016", "experiments.*.supervision": "oracle_guides.zip", "experiments.sec.train.loss": "cross_entropy",
    "experiments.*.train.loss": "sec", "experiments.sec.train.crf": "deeplab", "experiments.*.train.crf": "sec",
    "experiments.sec.train.geometry": "crop", "experiments.*.train.geometry": "warp", "experiments.*.test.input_px": 97,
    "experiments.sec.test.crf": "deeplab", "experiments.*.test.crf": "sec", "postprocess.backend": "exact", "report.bound": "sec",
}  # fmt: skip
REFUSED = {  # where settings must fit together: another key has to change too, which is here by itself
    "train_saliency.training.sampling", "evaluate_supervision.self_trained", "train_segmenter.normalization", "experiments.*.train.average_pool5a",
    "train_classifier.*.geometry", "make_cams.classifier.gradient_scales",
    "train_classifier.seeder.backbone", "train_segmenter.backbone", "losses.*.kind", "*.loss.kind", "*.loss.saliency", "refine.*.by", "refine.confident.using", "refine.par.using", "refine.walk.crf", "refine.par.crf", "losses.cross_entropy.constrain_weight",
    *(f"experiments.{name}.train.{key}" for name in BY_MASKS for key in ("loss", "geometry")), "export_voc.experiments",
}  # fmt: skip
UNCHANGEABLE = {"crf.none"}  # is null


def leaves(content: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if isinstance(value, dict) and value and set(value) != {"threshold", "coverage"}:  # one of which must be null
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def other_value(key: str, value: Any) -> Any:
    for pattern, other in OTHER.items():
        if fnmatchcase(key, pattern):
            return other
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + (16 if key.endswith("_px") else 1)
    assert isinstance(value, float), key
    return value / 2 if value else 0.25


KEYS = {key: other_value(key, value) for key, value in leaves(tiny_params()) if key not in UNCHANGEABLE}


def expected_of(key: str) -> set[str]:
    def found(known: str) -> re.Match[str] | None:
        return re.match(re.escape(known).replace(r"\{name\}", r"(?P<name>[^.]+)") + r"(\.|$)", key)

    longest = max((known for known in EXPECTED if found(known)), key=lambda known: known.count("."), default=None)
    assert longest, f"{key}: which stages does it change? Add it to the table"
    match = found(longest)
    name = match.groupdict().get("name", "") if match else ""
    return {stage.format(name=name) for stage in EXPECTED[longest]}


def batches() -> Iterator[list[str]]:
    """All keys; those of a batch are expected to reach different stages."""
    waiting = list(KEYS)
    while waiting:
        batch: list[str] = []
        for key in waiting:
            if all(not expected_of(key) & expected_of(other) for other in batch):
                batch.append(key)
        yield batch
        waiting = [key for key in waiting if key not in batch]


def changed(*keys: str) -> dict[str, Any]:
    params = tiny_params()
    for key in keys:
        *sections, last = key.split(".")
        content = params
        for section in sections:
            content = content[section]
        assert content[last] != KEYS[key], key
        content[last] = KEYS[key]
    return params


def changed_directly(repo: Repo, params: dict[str, Any]) -> dict[str, set[str]]:
    """By stage: its params that changed, and its deps that are other files than before."""
    write_params(repo.folder, params)
    found: dict[str, set[str]] = {}
    with DvcRepo(str(repo.folder)) as dvc:
        for stage in dvc.index.stages:
            keys: set[str] = set()
            for dep in stage.deps:
                if isinstance(dep, ParamsDependency):
                    status = dep.workspace_status().get("params.yaml", {})
                    known = status if isinstance(status, dict) else {status: "modified"}
                    keys |= {key for key, word in known.items() if word == "modified"}  # new: named by a changed one
                elif not dep.hash_info:
                    keys.add(dep.def_path)
            if keys:
                found[stage.name] = keys
    return found


@pytest.fixture
def asked(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> Repo:
    """The finished repository, for DVC in this process, which parses each version of a file once."""
    for name, value in repo.environment.items():
        monkeypatch.setenv(name, value)
    parse = cache(_yaml.parse_yaml)
    for module in (_yaml, strictyaml):
        monkeypatch.setattr(
            module, "parse_yaml", lambda text, path, typ="safe": copy.deepcopy(parse(text, str(path), typ))
        )
    return repo


def test_a_changed_key_changes_the_stages_whose_bytes_depend_on_it(asked: Repo) -> None:
    assert changed_directly(asked, tiny_params()) == {}
    for batch in batches():
        found = changed_directly(asked, changed(*batch))
        checked = found.pop("check_params")  # which looks at every key
        assert all(any(begins(key, listed) or begins(listed, key) for listed in checked) for key in batch)
        expected = {stage: key for key in batch for stage in expected_of(key)}
        assert found.keys() == expected.keys(), batch
        for stage, key in expected.items():
            others = {listed for listed in found[stage] for other in batch if other != key and begins(other, listed)}
            assert others == set(), (stage, key)  # no other key of the batch is seen by it
            assert any(begins(key, listed) for listed in found[stage]) or not stage_was_there(stage, key), (stage, key)


def begins(key: str, listed: str) -> bool:
    return key == listed or key.startswith(f"{listed}.")


def stage_was_there(stage: str, key: str) -> bool:
    """Not before a section had its first entry; and data.root is a path of pack_masks, not a setting."""
    new = (
        "import_cues",
        "import_saliency",
        "import_proposals",
        "make_g1_guides",
        "self_training",
        "export_voc.experiments",
    )
    return (
        key not in new
        and "_repeat@" not in stage
        and (stage, key)
        != (
            "pack_masks",
            "data.root",
        )
    )


def test_dvc_s_command_sees_what_its_interface_says(asked: Repo) -> None:
    keys = [
        "random_seed",
        "make_cues.grid",
        "experiments.sec.test.crf",
        "crf.deeplab.steps",
        "make_cams.seeder.flip",
        "data.root",
    ]
    changed_directly(asked, changed(*keys))
    status = json.loads(asked.dvc("status", "--json"))
    by_params = {
        stage
        for stage, entries in status.items()
        for entry in entries
        if isinstance(entry, dict) and "params.yaml" in entry.get("changed deps", {})
    }
    assert by_params == set().union(*map(expected_of, keys)) - {"pack_masks"} | {
        "check_params"
    }  # that reads no setting
    assert json.dumps(status["pack_masks"]).count("data/photos") == 1
    assert status.keys() == by_params | {"pack_masks"}


@pytest.mark.parametrize("key", KEYS)
def test_the_other_value_is_one_that_the_settings_take(key: str) -> None:
    """Else the table would speak of what cannot be."""
    if any(fnmatchcase(key, pattern) for pattern in REFUSED):
        with pytest.raises(UserError):
            validated(changed(key), key)
    else:
        validated(changed(key), key)


def test_every_line_of_the_tables_is_used() -> None:
    assert {pattern for pattern in OTHER if not any(fnmatchcase(key, pattern) for key in KEYS)} == set()
    assert {pattern for pattern in REFUSED if not any(fnmatchcase(key, pattern) for key in KEYS)} == set()
    assert len(KEYS) > 200
