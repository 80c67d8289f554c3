"""Damaged and hostile files, by the hundred: every reader reads, or raises a UserError that names the file.

Photos, masks, text files, folders and saliency sets have such a test beside their other ones (test_photos.py,
test_datasets.py, test_saliency_set.py), and so has what a batch stage left half done (test_partial_results.py).
"""

import copy
import gzip
import hashlib
import json
import pickle
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings, strategies as st
from safetensors.torch import save

from weakseg.errors import UserError
from weakseg.files.archives import ArrayArchive, ImageArchive, npy_bytes, png_bytes
from weakseg.files.class_names import read_class_names
from weakseg.files.label_masks import label_image
from weakseg.files.manifest import read_manifest, read_saliency_manifest
from weakseg.files.maps import cue_arrays, map_arrays, read_cues, read_maps
from weakseg.files.tables import read_json
from weakseg.networks import saved as saved_networks
from weakseg.networks.backbones import caffe_weights
from weakseg.networks.weights import read_state_dict
from weakseg.settings.profiles import composed
from weakseg.settings.reading import read_params
from weakseg.supervision.published_cues import read_published_cues
from weakseg.training.checkpoints import Checkpoints

ROOT = Path(__file__).resolve().parents[2]
SLOW_FIXTURE = [HealthCheck.function_scoped_fixture]
fuzz = settings(max_examples=100, deadline=None, suppress_health_check=SLOW_FIXTURE)
CHANGES = st.tuples(
    st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), max_size=6),  # where, and which byte there
    st.integers(0, 1 << 17),  # where the file ends, if before its end
    st.binary(max_size=8),  # what comes behind that
)
Changes = tuple[list[tuple[int, int]], int, bytes]


def changed(content: bytes, changes: Changes) -> bytes:
    flips, end, tail = changes
    damaged = bytearray(content)
    for place, value in flips:
        damaged[place % len(damaged)] = value
    return bytes(damaged[:end]) + tail


def survives(path: Path, content: bytes, read: Callable[[Path], Any]) -> None:
    """`read` returns, or raises a UserError of one printable message that names the file."""
    path.write_bytes(content)
    try:
        read(path)
    except UserError as error:
        assert path.name in str(error) or path.parent.name in str(error)
        str(error).encode()


# --- archives ---------------------------------------------------------------------------------------------------------------


def archive_of_arrays() -> bytes:
    buffer = BytesIO()
    cues = np.zeros((21, 41, 41), bool)
    cues[3, :9], cues[0, 20:] = True, True
    with zipfile.ZipFile(buffer, "w") as archive:
        entries = [
            *cue_arrays("a", cues),
            *map_arrays("b", np.array([3]), np.ones((1, 5, 5), np.float32)),
        ]
        for key, array in entries:
            archive.writestr(f"{key}.npy", npy_bytes(array))
    return buffer.getvalue()


def archive_of_images() -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        picture = label_image(np.arange(200, dtype=np.uint8).reshape(10, 20))
        archive.writestr("a.png", png_bytes(picture))
    return buffer.getvalue()


def read_arrays(path: Path) -> None:
    archive = ArrayArchive(path)
    for name in archive.names():
        if name in archive:
            assert isinstance(archive[name], np.ndarray)
    assert read_cues(archive, "a").dtype == bool
    read_maps(archive, "b")


def read_images(path: Path) -> None:
    archive = ImageArchive(path)
    assert all(archive[name].dtype == np.uint8 for name in archive.names() if name in archive)


@fuzz
@given(CHANGES)
def test_archives(tmp_path: Path, changes: Changes) -> None:
    survives(tmp_path / "x.npz", changed(archive_of_arrays(), changes), read_arrays)
    survives(tmp_path / "x.zip", changed(archive_of_images(), changes), read_images)


HEADERS = st.sampled_from(["'|u1'", "'<f2'", "'|O'", "'<i8'", "'V9'", "[('a','|O')]", "'<M8[s]'", "1", "'<U4'"])
SHAPES = st.lists(st.integers(-2, 1 << 62), max_size=3).map(tuple)


@fuzz
@given(HEADERS, SHAPES, st.sampled_from(["True", "False", "3", "os"]), st.binary(max_size=20))
def test_array_headers_that_lie(tmp_path: Path, kind: str, shape: tuple[int, ...], order: str, data: bytes) -> None:
    header = f"{{'descr': {kind}, 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()
    entry = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data
    with zipfile.ZipFile(tmp_path / "made.npz", "w") as archive:
        archive.writestr("a.npy", entry)
    survives(tmp_path / "x.npz", (tmp_path / "made.npz").read_bytes(), lambda path: ArrayArchive(path)["a"])


# --- tables, class names, JSON and settings ------------------------------------------------------------------------------------


MANIFEST = (
    b"image_id,split,image,mask,width,height,labels,sha256\na,train,a.jpg,,12,10,1 2,ff\nb,val,b.jpg,b.png,9,9,3,ee\n"
)
BOXED = b"image_id,image,mask,width,height,left,top,right,bottom,sha256\na,a.jpg,,12,10,1.5,2,11,9,ff\nb,b.jpg,,9,9,0,0,9,9,ee\n"
CELLS = st.lists(st.sampled_from(['"', ",", "\n", "\r\n", "1e9", "-1", "\0", "nan", "²", "a", "\u2028", "9" * 5000]), max_size=30)  # fmt: skip


@fuzz
@given(CHANGES, CELLS)
def test_manifests_class_names_and_json(tmp_path: Path, changes: Changes, cells: list[str]) -> None:
    readers = (
        read_manifest,
        read_saliency_manifest,
        read_class_names,
        read_json,
    )
    for valid in (MANIFEST, BOXED, b'{"miou": [1, 2.5, null], "iou": {"cat": 3}}'):
        more = valid + "".join(cells).encode()
        for content in (changed(valid, changes), more):
            for read in readers:
                survives(tmp_path / "x.csv", content, read)


def test_json_of_a_thousand_levels(tmp_path: Path) -> None:
    for content in (b"[" * 100_000, b'{"a":' * 100_000, b'{"a": ' + b"9" * 10_000 + b"}"):
        survives(tmp_path / "x.json", content, read_json)


SETTINGS = (ROOT / "params.yaml").read_bytes()
CONTENT = yaml.safe_load(SETTINGS)
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)  # fmt: skip


@settings(fuzz, max_examples=40)
@given(CHANGES)
def test_params_of_damaged_text(tmp_path: Path, changes: Changes) -> None:
    survives(tmp_path / "params.yaml", changed(SETTINGS, changes), lambda path: read_params([path]))


@settings(fuzz, max_examples=60)
@given(st.data(), VALUES)
def test_params_of_wrong_type(tmp_path: Path, data: st.DataObject, value: Any) -> None:
    inner = content = copy.deepcopy(CONTENT)
    while True:
        key = data.draw(st.sampled_from(sorted(inner)))
        if not isinstance(inner[key], dict) or not inner[key] or data.draw(st.booleans()):
            break
        inner = inner[key]
    inner[key] = value
    text = yaml.dump(content, Dumper=yaml.CSafeDumper, allow_unicode=True).encode(errors="surrogatepass")
    survives(tmp_path / "params.yaml", text, lambda path: read_params([path]))


KEYS = st.one_of(
    st.text(max_size=8), st.sampled_from(["random_seed", "losses.sec.seed_weight", "crf.new", "make_cues", ".", "a..b"])
)


@settings(fuzz, max_examples=60)
@given(st.dictionaries(KEYS, VALUES, max_size=3), VALUES, CHANGES)
def test_rows_that_change_params(tmp_path: Path, row: dict[str, Any], value: Any, changes: Changes) -> None:
    (tmp_path / "params.yaml").write_bytes(SETTINGS)
    files = [tmp_path / "params.yaml", f"{tmp_path / 'rows.yaml'}:rows.a"]
    for content in ({"rows": {"a": {"changes": row}}}, {"rows": {"a": value}}, {"rows": value}, value):
        text = yaml.safe_dump(content, allow_unicode=True).encode(errors="surrogatepass")
        for damaged in (text, changed(text, changes)):
            survives(tmp_path / "rows.yaml", damaged, lambda path: read_params(files))


@settings(fuzz, max_examples=40)
@given(st.dictionaries(KEYS, VALUES, max_size=3), VALUES, CHANGES)
def test_profiles(tmp_path: Path, row: dict[str, Any], value: Any, changes: Changes) -> None:
    """Overlays of every shape, and damaged ones."""
    (tmp_path / "papers.yaml").write_bytes(
        b"random_seed: 0\nmake_cues: {grid: 3}\nlosses: {sec: {seed_weight: 1}}\ncrf: {}\n"
    )
    for content in ({"like": "papers", "changes": row}, {"like": "papers", "without": value}, {"like": value}, value):
        text = yaml.safe_dump(content, allow_unicode=True).encode(errors="surrogatepass")
        for damaged in (text, changed(text, changes)):
            survives(tmp_path / "own.yaml", damaged, lambda path: composed("own", tmp_path))


def test_params_that_would_grow_or_never_end(tmp_path: Path) -> None:
    laughs = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
        for before, name in zip("abcdefg", "bcdefgh", strict=True)
    )
    for text in (
        laughs,
        "a: &a [*a]\n",
        "&a {b: *a}\n",
        "[" * 5000,
        "? {a: b}\n: c\n",
        "!!python/object/apply:os.getpid []\n",
    ):
        survives(tmp_path / "params.yaml", text.encode(), lambda path: read_params([path]))


# --- cues as SEC's authors published them ---------------------------------------------------------------------------------------


def published() -> bytes:
    labels, cues = np.array([3, 20], np.uint8), np.array([[0, 3], [5, 0], [7, 1]], np.int32)
    return pickle.dumps({"0_labels": labels, "0_cues": cues}, protocol=2)


@fuzz
@given(CHANGES, st.booleans())
def test_published_cues(tmp_path: Path, changes: Changes, compressed: bool) -> None:
    (tmp_path / "list.txt").write_text("a.jpg 0\n")
    content = changed(gzip.compress(published(), mtime=0) if compressed else published(), changes)
    survives(
        tmp_path / "x.pickle", content, lambda path: list(read_published_cues(path, tmp_path / "list.txt").items())
    )
    (tmp_path / "x.pickle").write_bytes(published())
    survives(tmp_path / "list.txt", changed(b"a.jpg 0\n", changes), lambda path: read_published_cues(tmp_path / "x.pickle", path))  # fmt: skip


# --- weights, models and checkpoints ----------------------------------------------------------------------------------------------


def state_dict() -> dict[str, torch.Tensor]:
    return {"conv1_1.weight": torch.ones(2, 3, 3, 3), "conv1_1.bias": torch.zeros(2)}


def saved(content: Any) -> bytes:
    buffer = BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def read_whole_weights(path: Path) -> object:
    """As if model.json had been written for the file as it is."""
    return saved_networks.read_weights(path.parent, hashlib.sha256(path.read_bytes()).hexdigest())


@fuzz
@given(CHANGES)
def test_safetensors(tmp_path: Path, changes: Changes) -> None:
    content = changed(save(state_dict()), changes)
    survives(tmp_path / saved_networks.WEIGHTS, content, read_whole_weights)
    survives(tmp_path / "x.safetensors", content, caffe_weights.read_caffe_layers)


OFFSETS = st.integers(-1, 1 << 40)
TENSORS = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "F64", "U8", "BF16", "O", "", 3]),
        "shape": st.lists(st.integers(-1, 1 << 62), max_size=3),
        "data_offsets": st.one_of(st.lists(OFFSETS, max_size=3), st.just([0, 16]), st.just([8, 24])),
    }
)


@fuzz
@given(st.dictionaries(st.sampled_from(["a", "b", "__metadata__"]), TENSORS, max_size=2), st.integers(-20, 1 << 40))
def test_safetensors_headers_that_lie(tmp_path: Path, tensors: dict[str, Any], surplus: int) -> None:
    header = json.dumps(tensors).encode()
    content = max(0, len(header) + surplus).to_bytes(8, "little") + header + bytes(16)
    survives(tmp_path / saved_networks.WEIGHTS, content, read_whole_weights)


@fuzz
@given(CHANGES)
def test_pth_npz_and_checkpoint_files(tmp_path: Path, changes: Changes) -> None:
    weights = changed(saved(state_dict()), changes)
    survives(tmp_path / "x.pth", weights, lambda path: read_state_dict("vgg16", path))
    arrays = BytesIO()
    np.savez(arrays, **{"conv1_1.weight": np.ones((2, 3, 3, 3), np.float32)})
    survives(tmp_path / "x.npz", changed(arrays.getvalue(), changes), caffe_weights.read_caffe_layers)
    checkpoints = Checkpoints(tmp_path, "run", "0" * 64)
    survives(checkpoints.path(1), weights, lambda path: checkpoints.restore(lambda content: content["conv1_1.bias"]))


SEGMENTER = {
    "head": "largefov", "backbone": "efficientnet_lite0", "input_px": 65, "geometry": "crop", "average_pool5a": True,
    "class_names": ["background", "cat"], "normalization": "efficientnet_lite",
}  # fmt: skip
CLASSIFIER = {"network": "gap_lowres", **{key: SEGMENTER[key] for key in ("backbone", "input_px", "class_names", "normalization")}, "geometry": "pad", "vgg16": {"fc_channels": 1024, "relu_after_fc7": True, "deeplab_pool5": False}}  # fmt: skip
JSON_VALUES = st.one_of(
    VALUES.filter(lambda value: value == value), st.sampled_from(["vgg16", "aspp", "classifier", "caffe"])
)


@settings(fuzz, max_examples=60)
@given(st.sampled_from(sorted({*SEGMENTER, *CLASSIFIER})), JSON_VALUES, st.booleans())
def test_descriptions_of_models(tmp_path: Path, key: str, value: Any, missing: bool) -> None:
    """The weights file is not there, so a sound description ends in a UserError too."""
    for description, load in (
        (SEGMENTER, saved_networks.rebuild_segmenter),
        (CLASSIFIER, saved_networks.rebuild_classifier),
    ):
        content = {name: kept for name, kept in {**description, key: value}.items() if name != key or not missing}
        (tmp_path / saved_networks.DESCRIPTION).write_text(json.dumps(content))
        with torch.device("meta"), pytest.raises(UserError, match=tmp_path.name):  # meta: no time spent on weights
            load(tmp_path)
