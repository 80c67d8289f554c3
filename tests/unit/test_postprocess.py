"""Stage `postprocess` with each backend of the CRF."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from pydensecrf import densecrf

from stages import postprocess
from tests.profile_cases import settings_of
from weakseg.crf import CRFParams, TestTimeCRF
from weakseg.files.archives import ImageArchive, write_arrays
from weakseg.files.manifest import Record, write_manifest
from weakseg.files.maps import map_arrays

HEIGHT, WIDTH, CELLS = 48, 64, 5


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A photo whose left half is dark, and scores that put the border of three classes a little beside it."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 20, (HEIGHT, WIDTH, 3), np.uint8)
    image[:, WIDTH // 2 :] += np.uint8(180)
    Image.fromarray(image).save(tmp_path / "photo.png")
    write_manifest(tmp_path / "manifest.csv", [Record("photo", "val", "photo.png", "", WIDTH, HEIGHT, (1,), "")])
    logits = torch.from_numpy(rng.normal(size=(8, CELLS, CELLS)).astype(np.float32)) * 0.1 - 3
    logits[0, :, :2] += 5
    logits[1, :, 2:] += 4
    entries = [*map_arrays("photo", np.arange(8), logits.log_softmax(0).numpy())]
    write_arrays(tmp_path / "scores.npz", [*entries, ("photo/extent", np.array([HEIGHT, WIDTH], np.uint32))])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WEAKSEG_DEVICE", "cpu")
    monkeypatch.setenv("WEAKSEG_WORKERS", "1")
    return tmp_path


def mask_by(backend: str, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    params = settings_of("toy")
    params["postprocess"]["backend"] = backend
    Path("params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    options = {
        "manifest": "manifest.csv",
        "scores": "scores.npz",
        "out": f"{backend}.zip",
        "checkpoints": "checkpoints",
    }
    options["name"] = "sec"
    monkeypatch.setattr(
        sys, "argv", ["postprocess", *(part for key, value in options.items() for part in (f"--{key}", value))]
    )
    postprocess.main()
    return ImageArchive(Path(f"{backend}.zip"))["photo"]


def test_both_backends_move_the_border_to_the_edge(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = np.repeat(np.arange(WIDTH)[None] >= WIDTH // 2, HEIGHT, 0)
    for backend in ("lattice", "exact"):
        assert (mask_by(backend, monkeypatch) == expected).mean() > 0.99


def test_the_crf_is_the_experiment_s_with_both_widths_scaled(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """sigma_scale is for photos of another size than the widths are meant for."""
    asked = []

    class Watched(TestTimeCRF):
        def __call__(self, image: np.ndarray, log_probs: np.ndarray) -> np.ndarray:
            asked.append((self.params, self.backend))
            return super().__call__(image, log_probs)

    monkeypatch.setattr(postprocess, "TestTimeCRF", Watched)
    mask_by("exact", monkeypatch)
    assert settings_of("toy")["postprocess"]["sigma_scale"] == 0.25
    assert asked == [(CRFParams(10, 80 / 4, 13, 3, 3 / 4, 10), "exact")]


def test_exact_masks_need_no_pydensecrf(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(densecrf, "DenseCRF2D")
    assert set(np.unique(mask_by("exact", monkeypatch))) == {0, 1}
