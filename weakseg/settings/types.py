"""Types that the sections share: bounded numbers, names, and the base of all sections."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


Fraction = Annotated[float, Field(ge=0, le=1)]


OpenFraction = Annotated[float, Field(gt=0, lt=1)]


Count = Annotated[int, Field(ge=1)]


Side = Annotated[int, Field(ge=33, le=4097)]


GRID_STRIDE = 16  # every network's grids of stride 8 and 16 then end on the last pixel, and flips keep cells in place


def _on_grid(side_px: int) -> int:
    if (side_px - 1) % GRID_STRIDE:
        below = (side_px - 1) // GRID_STRIDE * GRID_STRIDE + 1
        raise ValueError(f"must be {GRID_STRIDE}·k + 1, such as {below} or {below + GRID_STRIDE}")
    return side_px


GridSide = Annotated[int, Field(ge=33, le=4097), AfterValidator(_on_grid)]


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]


CuesName = Annotated[str, Field(pattern=r"^[a-z0-9]+(_[a-z0-9]+)*_cues$")]  # no other stage writes such a file


BackboneName = Literal["efficientnet_lite0", "vgg16", "resnet101"]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
