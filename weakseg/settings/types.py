"""Types that the sections share: bounded numbers, names, and the base of all sections.

The registry's names are read from the source of `weakseg/networks`, where each file with backbones has its `NAMES`, so
settings are checked without torch.
"""

import ast
import functools
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from weakseg.runtime import NAME

NETWORKS = Path(__file__).resolve().parents[1] / "networks"


def backbones() -> tuple[str, ...]:
    """Names or patterns such as `timm/*`."""
    return _declared("NAMES")


def backbones_with_sec_s_pool() -> tuple[str, ...]:
    """Those that can be built with SEC's extra pool, and whose weights SEC converted from Caffe."""
    return _declared("WITH_SEC_S_POOL")


@functools.cache
def _declared(constant: str) -> tuple[str, ...]:
    """What the files with backbones name in this constant."""
    files = sorted((NETWORKS / "backbones").glob("*.py"))
    return tuple(sorted(name for file in files for name in _constant(file, constant)))


def check_backbone(name: str) -> str:
    if not any(fnmatchcase(name, known) for known in backbones()):
        raise ValueError(f"no such backbone; there are {', '.join(backbones())}")
    return name


def check_layout(name: str) -> str:
    return _one_of(name, "LAYOUTS", "network")


def check_head(name: str) -> str:
    return _one_of(name, "HEADS", "head")


def _one_of(name: str, constant: str, noun: str) -> str:
    known = _constant(NETWORKS / "heads.py", constant)
    if name not in known:
        raise ValueError(f"no such {noun}; there are {', '.join(known)}")
    return name


@functools.cache
def _constant(file: Path, name: str) -> tuple[str, ...]:
    """A module's tuple of strings; () if the file has none of that name."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and [getattr(target, "id", None) for target in node.targets] == [name]:
            return tuple(ast.literal_eval(node.value))
    return ()


Positive = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
OpenFraction = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1, le=10**9)]
RandomSeed = Annotated[int, Field(ge=0, lt=2**31)]
Side = Annotated[int, Field(ge=33, le=4097)]
Dropout = Annotated[float, Field(ge=0, lt=1)]
GRID_STRIDE = 16  # every network's grids of stride 8 and 16 then end on the last pixel, and flips keep cells in place


def _on_grid(side_px: int) -> int:
    if (side_px - 1) % GRID_STRIDE:
        below = (side_px - 1) // GRID_STRIDE * GRID_STRIDE + 1
        raise ValueError(f"must be {GRID_STRIDE}·k + 1, such as {below} or {below + GRID_STRIDE}")
    return side_px


GridSide = Annotated[int, Field(ge=33, le=4097), AfterValidator(_on_grid)]
Name = Annotated[str, Field(pattern=f"^{NAME}$")]
CrfName = Name | Literal["none"]
# A file below a folder that dvc.yaml names: its parts are plain, so it stays there and is no option.
_PLAIN_PART = r"[\w,+()][\w .,+()-]*"
FileBelow = Annotated[str, Field(pattern=rf"^{_PLAIN_PART}(/{_PLAIN_PART})*$", max_length=200)]
# Files below data/ by what they hold: label maps (.zip), or heat maps too (.npz); saliency; what a refinement uses.
LabelsBelow = Annotated[str, Field(pattern=rf"^(seeds|(guides|refined|imported)/{NAME})\.zip$")]
SourceBelow = Annotated[
    str, Field(pattern=rf"^((seeds|(guides|refined|imported)/{NAME})\.zip|(cams|refined)/{NAME}\.npz)$")
]
SaliencyBelow = Annotated[str, Field(pattern=rf"^(saliency|imported_saliency/{NAME})\.zip$")]
UsedBelow = Annotated[str, Field(pattern=rf"^(none|(boundaries|imported_proposals)/{NAME}\.npz)$")]
Declared = Annotated[str, Field(pattern=r"^[\w][\w .,+()/-]{0,79}$")]  # a few words for tables
StartFrom = Annotated[str, Field(pattern=rf"^(pretrained|classifier)(/{_PLAIN_PART})+$", max_length=200)]
# `geometry` is how a photo becomes a network's input, everywhere: `warp` makes the whole photo a square; `fit` brings its
# longest side to the size and keeps its proportions; `pad` does that and fills up to a square by reflection; `crop` trains on a square
# out of the photo at its own scale, and tests on the whole photo.
BackboneName = Annotated[str, AfterValidator(check_backbone)]
Layout = Annotated[str, AfterValidator(check_layout)]
Head = Annotated[str, AfterValidator(check_head)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
