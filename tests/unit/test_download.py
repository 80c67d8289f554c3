"""Getting data sets from a server of this machine: small archives of the public ones' layouts, and all that can go wrong."""

import errno
import hashlib
import io
import json
import os
import shutil
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torchvision
import yaml
from PIL import Image
from pycocotools import mask as coco_masks
from scipy.io import savemat

from weakseg.datasets import scan_coco, scan_saliency, scan_voc
from weakseg.download.__main__ import main
from weakseg.download.sources import Source, read_sources
from weakseg.download.transfer import fetch
from weakseg.download.unpacking import unpack
from weakseg.download.voc import read_sbd_mask
from weakseg.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


class Server(ThreadingHTTPServer):
    """Serves `files` below /whole (with ranges), /cut (a third at a time), /stubborn (no ranges) and /short (half)."""

    files: dict[str, bytes]
    asked: list[tuple[str, str | None]]  # path, range

    def url(self, kind: str, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{kind}/{name}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        kind, _, name = self.path.lstrip("/").partition("/")
        wanted = self.headers["Range"]
        self.server.asked.append((self.path, wanted))
        content = self.server.files.get(name)
        if content is None or kind == "gone":
            return self.send_error(404)
        content = content[: len(content) // 2] if kind == "short" else content
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and kind != "stubborn" else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header(
                "Content-Range", f"bytes {start if kind != 'confused' else 0}-{len(content) - 1}/{len(content)}"
            )
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        part = content[start : start + len(content) // 3 + 1] if kind == "cut" else content[start:]
        self.wfile.write(part)
        return None

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as server:
        server.files, server.asked = {}, []
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


def source(content: bytes, *urls: str, **changes: Any) -> Source:
    digest = hashlib.sha256(content).hexdigest()
    return Source(**{"bytes": len(content), "sha256": digest, "unpacked_bytes": 10**6, "urls": list(urls)} | changes)


CONTENT = np.random.default_rng(0).bytes(50_000)


# --- one archive ------------------------------------------------------------------------------------------------------------


def test_a_file_is_downloaded_once(server: Server, tmp_path: Path) -> None:
    server.files["a.bin"] = CONTENT
    wanted = source(CONTENT, server.url("whole", "a.bin"))
    for _ in range(2):
        assert fetch("a.bin", wanted, tmp_path / "new").read_bytes() == CONTENT
    assert server.asked == [("/whole/a.bin", None)]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.bin"]


def test_a_cut_download_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.files["a.bin"] = CONTENT
    (tmp_path / "a.bin.part").write_bytes(CONTENT[:1000])  # of a run that was killed
    assert fetch("a.bin", source(CONTENT, server.url("cut", "a.bin")), tmp_path).read_bytes() == CONTENT
    starts = [int(wanted.removeprefix("bytes=").removesuffix("-")) for _, wanted in server.asked if wanted]
    assert starts[0] == 1000 and len(starts) == len(server.asked) == 3 and starts == sorted(set(starts))


def test_a_server_without_ranges_starts_again(server: Server, tmp_path: Path) -> None:
    server.files["a.bin"] = CONTENT
    (tmp_path / "a.bin.part").write_bytes(b"x" * 1000)
    assert fetch("a.bin", source(CONTENT, server.url("stubborn", "a.bin")), tmp_path).read_bytes() == CONTENT


def test_a_part_longer_than_the_file_is_dropped(server: Server, tmp_path: Path) -> None:
    server.files["a.bin"] = CONTENT
    (tmp_path / "a.bin.part").write_bytes(CONTENT + b"more")
    assert fetch("a.bin", source(CONTENT, server.url("whole", "a.bin")), tmp_path).read_bytes() == CONTENT


def test_mirrors_are_tried_in_turn(server: Server, tmp_path: Path) -> None:
    """No such file, half a file, other bytes of the same length, another part than asked for, and at last the file."""
    server.files |= {"a.bin": CONTENT, "other.bin": CONTENT[::-1]}
    urls = [
        server.url(*names)
        for names in (("gone", "a.bin"), ("short", "a.bin"), ("whole", "other.bin"), ("whole", "a.bin"))
    ]
    assert fetch("a.bin", source(CONTENT, *urls), tmp_path).read_bytes() == CONTENT
    assert len(server.asked) == 4
    (tmp_path / "b.bin.part").write_bytes(CONTENT[:10])
    urls = [server.url("confused", "a.bin"), server.url("whole", "a.bin")]
    assert fetch("b.bin", source(CONTENT, *urls), tmp_path).read_bytes() == CONTENT


def test_where_no_mirror_has_the_file_the_message_says_what_to_put_where(server: Server, tmp_path: Path) -> None:
    server.files["other.bin"] = CONTENT[::-1]
    closed = "http://127.0.0.1:9/a.bin"
    wanted = source(CONTENT, server.url("gone", "a.bin"), server.url("whole", "other.bin"), closed)
    with pytest.raises(UserError) as told:
        fetch("a.bin", wanted, tmp_path)
    message = str(told.value)
    for words in (
        "answers 404",
        "has sha256 ",
        "no connection",
        str(tmp_path / "a.bin"),
        "50000 bytes",
        f"sha256 {wanted.sha256}",
    ):
        assert words in message
    assert not list(tmp_path.iterdir())  # what has a wrong hash is no beginning of the right file


def test_a_file_of_the_users_that_differs_is_told_and_kept(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"mine")
    with pytest.raises(UserError, match=r"a\.bin: has 4 bytes, not 50000; delete it"):
        fetch("a.bin", source(CONTENT, server.url("whole", "a.bin")), tmp_path)
    (tmp_path / "a.bin").write_bytes(CONTENT[::-1])
    with pytest.raises(UserError, match="has sha256"):
        fetch("a.bin", source(CONTENT, server.url("whole", "a.bin")), tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT[::-1] and not server.asked


def test_a_full_disk_is_told_before_the_download(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["a.bin"] = CONTENT
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("weakseg.download.transfer.shutil.disk_usage", lambda _: usage._replace(free=49_999))
    with pytest.raises(UserError, match=r"No space left on device\); 50000 bytes are missing"):
        fetch("a.bin", source(CONTENT, server.url("whole", "a.bin")), tmp_path)
    assert not server.asked


def test_a_disk_that_fills_up_keeps_what_has_come(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["a.bin"] = CONTENT

    class Full(io.FileIO):
        def write(self, data: Any) -> int:
            if self.tell() >= 20_000:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(data[:20_000])

    monkeypatch.setattr("weakseg.download.transfer.CHUNK_BYTES", 20_000)
    with monkeypatch.context() as patch:
        patch.setattr("weakseg.download.transfer.open", lambda path, mode: Full(path, mode), raising=False)
        with pytest.raises(UserError, match=r"No space left on device\); 30000 bytes are missing"):
            fetch("a.bin", source(CONTENT, server.url("whole", "a.bin")), tmp_path)
    assert fetch("a.bin", source(CONTENT, server.url("whole", "a.bin")), tmp_path).read_bytes() == CONTENT
    assert server.asked[-1] == ("/whole/a.bin", "bytes=20000-")


# --- unpacking ----------------------------------------------------------------------------------------------------------------


def tar(path: Path, members: dict[str, bytes], *others: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for other in others:
            archive.addfile(other)
    return path


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("name", ["../out", "a/../../out", "/out", "a\\..\\..\\out", "C:/out"])
@pytest.mark.parametrize("suffix", ["tar", "tgz", "zip"])
def test_nothing_leads_out_of_the_folder(name: str, suffix: str, tmp_path: Path) -> None:
    make = zipped if suffix == "zip" else tar
    archive = make(tmp_path / f"a.{suffix}", {"good.txt": b"1", name: b"2"})
    with pytest.raises(UserError, match="leads out of the folder"):
        unpack(archive, tmp_path / "x" / "y", str, 10**6)
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} <= {archive.name, "good.txt"}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused_where_wanted(kind: bytes, tmp_path: Path) -> None:
    archive = tar(tmp_path / "a.tar", {"good.txt": b"1"}, special("wanted", kind, "good.txt"))
    with pytest.raises(UserError, match="'wanted' is a link or a device"):
        unpack(archive, tmp_path / "out", str, 10**6)
    assert unpack(archive, tmp_path / "rest", lambda name: str(name) if name.name != "wanted" else None, 10**6) == 1


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("wanted")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(UserError, match="is a link"):
        unpack(tmp_path / "a.zip", tmp_path / "out", str, 10**6)


@pytest.mark.parametrize("suffix", ["tgz", "zip"])
def test_an_archive_cannot_fill_the_disk(suffix: str, tmp_path: Path) -> None:
    make = zipped if suffix == "zip" else tar
    archive = make(tmp_path / f"a.{suffix}", {"zeros": bytes(10**6)})
    assert archive.stat().st_size < 5000
    with pytest.raises(UserError, match="holds more than 999999 bytes"):
        unpack(archive, tmp_path / "out", str, 999_999)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("suffix", ["tar", "tgz", "zip"])
def test_damaged_archives_are_told(suffix: str, tmp_path: Path) -> None:
    make = zipped if suffix == "zip" else tar
    whole = make(tmp_path / f"a.{suffix}", {"noise": CONTENT, "twice": b"1"}).read_bytes()
    for name, content in {"cut": whole[:20_000], "empty": b"", "text": b"no archive" * 100}.items():
        path = tmp_path / f"{name}.{suffix}"
        path.write_bytes(content)
        with pytest.raises(UserError, match=f"{name}.{suffix}: "):
            unpack(path, tmp_path / name, str, 10**6)
    with pytest.raises(UserError, match="twice"):
        unpack(tmp_path / f"a.{suffix}", tmp_path / "out", lambda _: "same", 10**6)


# --- the data sets -------------------------------------------------------------------------------------------------------------


def picture(kind: str, size: tuple[int, int] = (24, 16)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, (200, 30, 30)).save(file, kind)
    return file.getvalue()


def palette(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(values.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def annotation(name: str) -> bytes:
    return f"<annotation><object><name>{name}</name></object></annotation>".encode()


MASK = np.zeros((16, 24), np.uint8)
MASK[4:9, 5:12], MASK[0] = 12, 255


def voc_archive(path: Path) -> bytes:
    top, lists = "VOCdevkit/VOC2012", "VOCdevkit/VOC2012/ImageSets/Segmentation"
    members = {f"{lists}/train.txt": b"t1\nt2\n", f"{lists}/val.txt": b"v1\nv2\n", f"{top}/README": b"left out"}
    for name in ("t1", "t2", "v1", "v2", "s1", "s2", "s3"):
        members |= {f"{top}/JPEGImages/{name}.jpg": picture("JPEG"), f"{top}/Annotations/{name}.xml": annotation("dog")}
    for name in ("t1", "t2", "v1", "v2"):
        members[f"{top}/SegmentationClass/{name}.png"] = palette(np.where(MASK == 12, 8, MASK))
    return tar(path, members).read_bytes()


def sbd_archive(path: Path) -> bytes:
    members = {"benchmark_RELEASE/dataset/train.txt": b"s1", "benchmark_RELEASE/README": b"left out"}
    for name in ("s1", "s2", "s3", "t1", "v1"):
        file = io.BytesIO()
        savemat(file, {"GTcls": {"Segmentation": MASK, "Boundaries": np.zeros(3)}})
        members[f"benchmark_RELEASE/dataset/cls/{name}.mat"] = file.getvalue()
        members[f"benchmark_RELEASE/dataset/inst/{name}.mat"] = b"left out"
    return tar(path, members).read_bytes()


def coco_archive(path: Path) -> dict[str, bytes]:
    """Four photos a split: two objects that overlap, a crowd, run lengths, nothing."""
    square, inner = [[2, 2, 12, 2, 12, 12, 2, 12]], [[4, 4, 8, 4, 8, 8, 4, 8]]
    crowd = np.zeros((16, 24), np.uint8)
    crowd[:, 20:] = 1
    compressed = coco_masks.encode(np.asfortranarray(crowd))
    counts = [0, 16, 16 * 23]  # the first column, run by run
    files = {}
    for split in ("train2014", "val2014"):
        items = [
            (1, 18, 100.0, square, 0), (1, 90, 16.0, inner, 0), (2, 1, 64.0, {"size": [16, 24], "counts": compressed["counts"].decode()}, 1),
            (3, 90, 16.0, {"size": [16, 24], "counts": counts}, 1),
        ]  # fmt: skip
        content = {
            "images": [
                {"id": i, "file_name": f"COCO_{split}_{i:012d}.jpg", "height": 16, "width": 24} for i in (1, 2, 3, 4)
            ],
            "categories": [{"id": i, "name": name} for i, name in ((90, "toothbrush"), (1, "person"), (18, "dog"))],
            "annotations": [
                {"image_id": i, "category_id": c, "area": a, "segmentation": s, "iscrowd": crowd}
                for i, c, a, s, crowd in items
            ],
        }
        files[f"annotations/instances_{split}.json"] = json.dumps(content).encode()
        files[f"annotations/captions_{split}.json"] = b"left out"
        photos = {f"{split}/COCO_{split}_{i:012d}.jpg": picture("JPEG") for i in (1, 2, 3, 4)}
        files[f"{split}.zip"] = zipped(path / f"{split}.zip", photos).read_bytes()
    packed = {name: content for name, content in files.items() if not name.endswith(".zip")}
    files["annotations_trainval2014.zip"] = zipped(path / "annotations.zip", packed).read_bytes()
    return {name: content for name, content in files.items() if name.endswith(".zip")}


@pytest.fixture
def sources(server: Server, tmp_path: Path) -> Path:
    """A file of sources with small archives of the same layouts."""
    make = tmp_path / "made"
    make.mkdir()
    salient = palette(np.where(MASK == 12, 255, 100 * (MASK > 0)))
    server.files |= {
        "VOCtrainval_11-May-2012.tar": voc_archive(make / "voc.tar"),
        "benchmark.tgz": sbd_archive(make / "sbd.tgz"),
        "MSRA-B.zip": zipped(make / "msra.zip", {
            "MSRA-B/1.jpg": picture("JPEG"), "MSRA-B/1.png": salient, "MSRA-B/2.jpg": picture("JPEG"),
            "MSRA-B/3.jpg": picture("JPEG"), "MSRA-B/3.png": palette(np.zeros((16, 24))), "__MACOSX/._1.jpg": b"",
        }).read_bytes(),
        "images.zip": zipped(make / "i.zip", {"images/0001.jpg": picture("JPEG")}).read_bytes(),
        "ground_truth_mask.zip": zipped(make / "g.zip", {"ground_truth_mask/0001.png": salient}).read_bytes(),
        **coco_archive(make),
    }  # fmt: skip
    shutil.rmtree(make)
    content = yaml.safe_load((ROOT / "data" / "sources.yaml").read_text(encoding="utf-8"))
    content["archives"] = str(tmp_path / "downloads")
    for name, entry in content.items():
        if name != "archives":
            entry["folder"] = str(tmp_path / name)
            entry["files"] = {
                file: source(server.files[file], server.url("whole", file)).model_dump() for file in entry["files"]
            }
    content["voc12"]["trainaug"] = 5
    path = tmp_path / "sources.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


def test_voc12_is_what_the_pipeline_reads(sources: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["voc12", "--sources", str(sources)]) == 0
    folder = tmp_path / "voc12"
    lists = folder / "ImageSets" / "Segmentation"
    assert (lists / "trainaug.txt").read_text().split() == ["s1", "s2", "s3", "t1", "t2"]  # SBD ∪ train − val
    assert sorted(path.name for path in (folder / "SegmentationClassAug").iterdir()) == ["s1.png", "s2.png", "s3.png"]
    with Image.open(folder / "SegmentationClassAug" / "s1.png") as image:
        assert image.mode == "P" and image.getpalette()[12 * 3 : 12 * 3 + 3] == [64, 0, 128]  # VOC's colour of dogs
        np.testing.assert_array_equal(np.asarray(image), MASK)  # 255 kept
    assert {path.name for path in folder.iterdir()} == {
        "Annotations", "ImageSets", "JPEGImages", "SegmentationClass", "SegmentationClassAug",
    }  # fmt: skip
    scan = scan_voc(folder, "trainaug", "val")
    assert [record.split for record in scan.records] == ["train"] * 5 + ["val"] * 2
    assert all(record.mask for record in scan.records) and scan.label_counts["train"] == {"annotations": 5}
    assert main(["voc12", "--sources", str(sources)]) == 0
    assert "is there already" in capsys.readouterr().out


def test_another_number_of_photos_in_trainaug_is_an_error(
    sources: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = yaml.safe_load(sources.read_text())
    content["voc12"]["trainaug"] = 10582
    sources.write_text(yaml.safe_dump(content, sort_keys=False))
    assert main(["voc12", "--sources", str(sources)]) == 1
    assert "trainaug has 5 photos, not 10582" in capsys.readouterr().err
    assert not [path for path in tmp_path.iterdir() if "voc12" in path.name]


def test_saliency_sets_get_boxes_from_their_masks(sources: Path, tmp_path: Path) -> None:
    for name, boxes, image_id in (("msra", "UserData/msra.txt", "1"), ("ecssd", "UserData/boxes.txt", "0001")):
        assert main([name, "--sources", str(sources)]) == 0
        (record,) = scan_saliency(tmp_path / name, boxes)  # photos without a mask, or with an empty one, have no box
        assert (record.image_id, record.width, record.height) == (image_id, 24, 16)
        assert (record.left, record.top, record.right, record.bottom) == (5, 4, 12, 9)
        with Image.open(record.mask) as mask:
            assert mask.mode == "1" and np.array_equal(np.asarray(mask), MASK == 12)


def test_coco14_has_tags_and_masks(sources: Path, tmp_path: Path) -> None:
    assert main(["coco14", "--sources", str(sources)]) == 0
    folder = tmp_path / "coco14"
    assert not (folder / "annotations" / "captions_train2014.json").exists()
    scan = scan_coco(folder, "train2014", "val2014")
    assert scan.class_names == ["background", "person", "dog", "toothbrush"]  # in the order of COCO's ids
    assert [(record.split, record.image_id[-1], record.labels) for record in scan.records] == [
        *(("train", *rest) for rest in (("1", (2, 3)), ("2", (1,)), ("3", (3,)))),
        *(("val", *rest) for rest in (("1", (2, 3)), ("2", (1,)), ("3", (3,)), ("4", ()))),
    ]
    assert any("1 photos of train2014 show no object" in note for note in scan.notes)
    overlapping, crowd, runs = (
        np.asarray(Image.open(folder / "masks/train2014" / f"COCO_train2014_{number:012d}.png")) for number in (1, 2, 3)
    )
    assert overlapping[6, 6] == 3 and overlapping[10, 10] == 2 and overlapping[14, 20] == 0  # the smaller on top
    assert (crowd[:, 20:] == 1).all() and not crowd[:, :20].any()
    assert (runs[:, 0] == 3).all() and not runs[:, 1:].any()


@pytest.mark.parametrize(
    ("content", "words"),
    [("{}", "KeyError"), ("[]", "expected a JSON object"), ('{"categories": [], "images": [{"id": 1, "file_name": "../a.jpg"}]}', "file_name"),
     ('{"categories": 3}', "TypeError")],
)  # fmt: skip
def test_annotations_that_are_not_cocos_are_told(content: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_train2014.json").write_text(content)
    with pytest.raises(UserError, match=words):
        scan_coco(tmp_path, "train2014", "train2014")
    with pytest.raises(UserError, match=r"instances_nosuch\.json: no such file"):
        scan_coco(tmp_path, "nosuch", None)


@pytest.mark.parametrize(
    "content", [{}, {"GTcls": np.zeros(3)}, {"GTcls": {"Segmentation": np.full((4, 5), 21, np.uint8)}},
                {"GTcls": {"Segmentation": np.zeros((4, 5))}}, {"GTcls": {"Segmentation": np.zeros((2, 4, 5), np.uint8)}}],
)  # fmt: skip
def test_a_matrix_that_is_no_mask_is_told(content: dict[str, Any], tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", content)
    with pytest.raises(UserError, match=r"a\.mat: not a mask of SBD"):
        read_sbd_mask(tmp_path / "a.mat")
    (tmp_path / "a.mat").write_bytes((tmp_path / "a.mat").read_bytes()[:150])
    with pytest.raises(UserError, match=r"a\.mat: not a mask of SBD"):
        read_sbd_mask(tmp_path / "a.mat")


# --- the file of sources ------------------------------------------------------------------------------------------------------


def test_the_shipped_sources_are_whole_and_have_torchvisions_hashes() -> None:
    found = read_sources(ROOT / "data" / "sources.yaml")
    voc, sbd = found.voc12.files.values()
    assert voc.md5 == torchvision.datasets.voc.DATASET_YEAR_DICT["2012"]["md5"]
    assert torchvision.datasets.voc.DATASET_YEAR_DICT["2012"]["url"] in voc.urls
    assert sbd.md5 == torchvision.datasets.SBDataset.md5 and torchvision.datasets.SBDataset.url in sbd.urls
    assert found.voc12.trainaug == 10582
    papers = yaml.safe_load((ROOT / "profiles" / "papers.yaml").read_text(encoding="utf-8"))
    assert (found.voc12.folder, found.msra.folder) == (papers["data"]["root"], papers["saliency"]["root"])
    assert found.msra.boxes == papers["saliency"]["boxes"]
    coco = yaml.safe_load((ROOT / "profiles" / "coco14.yaml").read_text(encoding="utf-8"))["changes"]
    assert found.coco14.folder == coco["data.root"]


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [("urls", ["file:///etc/passwd"], "urls"), ("urls", [], "urls"), ("md5", "0" * 32, "not both"), ("sha256", None, "needs md5"),
     ("bytes", 0, "bytes"), ("surprise", 1, "surprise")],
)  # fmt: skip
def test_a_wrong_source_is_told(key: str, value: Any, words: str, sources: Path) -> None:
    content = yaml.safe_load(sources.read_text())
    content["msra"]["files"]["MSRA-B.zip"][key] = value
    sources.write_text(yaml.safe_dump(content, sort_keys=False))
    with pytest.raises(UserError, match=words):
        read_sources(sources)


def test_a_name_that_is_a_path_is_refused(sources: Path) -> None:
    content = yaml.safe_load(sources.read_text())
    content["msra"]["files"]["../x.zip"] = content["msra"]["files"].pop("MSRA-B.zip")
    sources.write_text(yaml.safe_dump(content, sort_keys=False))
    with pytest.raises(UserError, match=r"\.\./x\.zip"):
        read_sources(sources)
