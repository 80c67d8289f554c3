"""How a trained segmenter is used on a photo: `test_rule.json` beside its weights.

Apart from `model.json`, which is written when training ends: another test-time CRF must not retrain anything.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from weakseg.crf import CRFParams
from weakseg.errors import UserError
from weakseg.files import read_json, write_text

TEST_RULE = "test_rule.json"


@dataclass(frozen=True)
class Rule:
    """`geometry` and `input_px` as `predict_grids` takes them, and the dense CRF."""

    geometry: str
    input_px: int | None
    crf: CRFParams
    backend: Literal["lattice", "exact"] = "lattice"


def write_rule(path: Path, rule: Rule) -> None:
    write_text(path, json.dumps(asdict(rule), indent=2, sort_keys=True) + "\n")


def read_rule(folder: Path) -> Rule:
    """The rule of a model's folder. Raises UserError if the file is missing or damaged."""
    path = folder / TEST_RULE
    if not path.is_file():
        raise UserError(f"{path}: no such file; `dvc repro write_test_rule` writes it, or name a segmenter's folder")
    content = read_json(path)
    try:
        rule = Rule(content["geometry"], content["input_px"], CRFParams(**content["crf"]), content["backend"])
        if rule.backend not in ("lattice", "exact"):
            raise ValueError(f"backend {rule.backend!r}")
        if rule.geometry == "crop" or (rule.geometry == "warp" and isinstance(rule.input_px, int)):
            return rule
        raise ValueError(f"geometry {rule.geometry!r} with input_px {rule.input_px!r}")
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: damaged or from another version ({error})") from None
