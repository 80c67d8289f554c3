"""Shapes that do not go together are refused by the argument's name, before torch stumbles over them."""

from torch import Tensor


def check_maps(name: str, maps: Tensor, least_classes: int = 1) -> None:
    """Raises ValueError unless these are (B, C, H, W) with so many classes, the background among them."""
    if maps.ndim != 4 or maps.shape[1] < least_classes or not maps.is_floating_point():
        wanted = f"(B, C, H, W) with C at least {least_classes}"
        raise ValueError(f"{name} must be floating point {wanted}, is {_described(maps)}")


def check_like(name: str, maps: Tensor, other_name: str, other: Tensor) -> None:
    """Raises ValueError unless `maps` has the shape of the other maps."""
    if maps.shape != other.shape:
        raise ValueError(f"{name} must have the shape of {other_name}, {tuple(other.shape)}, is {tuple(maps.shape)}")


def check_tags(image_labels: Tensor, name: str, maps: Tensor) -> None:
    """Raises ValueError unless the tags are (B, C-1), one for each class of the maps but the background."""
    wanted = (maps.shape[0], maps.shape[1] - 1)
    if image_labels.shape != wanted:
        raise ValueError(
            f"image_labels must be (B, C-1) = {wanted} for {name} of shape {tuple(maps.shape)}, is {tuple(image_labels.shape)}"
        )


def check_target(target: Tensor, logits: Tensor) -> None:
    """Raises ValueError unless these are class ids (B, H, W) on the grid of the logits."""
    wanted = (len(logits), *logits.shape[2:])
    if target.shape != wanted or target.is_floating_point():
        raise ValueError(f"target must be class ids (B, H, W) = {wanted}, is {_described(target)}")


def _described(maps: Tensor) -> str:
    return f"{str(maps.dtype).removeprefix('torch.')} {tuple(maps.shape)}"
