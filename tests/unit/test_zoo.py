"""Models that travel: published with a card, and loaded from a folder, a web server, a DVC remote and a hub."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
import yaml

import weakseg
from weakseg.cli import main
from weakseg.crf.params import DEEPLAB
from weakseg.errors import UserError
from weakseg.inference.test_time_rule import TEST_RULE, Rule, write_rule
from weakseg.networks.registry import build_segmenter, load_pretrained
from weakseg.networks.saved import save_model
from weakseg.zoo.places import FILES, model_folder

CLASSES = ["background", "cat", "dog"]
METRICS = {
    "images_with_ground_truth": 8, "miou": 41.24, "miou_crf": 45.0,
    "iou": {"background": 80.0, "cat": 2.48, "dog": None}, "iou_crf": {"background": 85.0, "cat": 5.0, "dog": None},
}  # fmt: skip
PHOTO = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model where the pipeline would have left it, with its experiment's metrics."""
    base = tmp_path_factory.mktemp("clone")
    folder = base / "models" / "segmenter" / "guided"
    torch.manual_seed(0)
    network = build_segmenter("largefov", "efficientnet_lite0", len(CLASSES), 0.0, False)
    load_pretrained(network, "efficientnet_lite0", "none", False)
    description = {"backbone": "efficientnet_lite0", "head": "largefov", "average_pool5a": False, "input_px": 65}
    save_model(folder, network, description | {"geometry": "crop", "class_names": CLASSES})
    write_rule(folder / TEST_RULE, Rule("crop", None, DEEPLAB))
    (base / "metrics").mkdir()
    (base / "metrics" / "guided.json").write_text(json.dumps(METRICS), encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "weakseg" / "models"


@pytest.fixture
def published(model: Path, tmp_path: Path) -> Path:
    words = [
        "--licence",
        "MIT",
        "--data",
        "eight photos",
        "--made-by",
        "make profile NAME=toy",
        "--made-by",
        "make run",
    ]
    main(["publish", str(model), "--to", str(tmp_path / "shared" / "guided"), *words])
    return tmp_path / "shared" / "guided"


def assert_same(place: object, model: Path) -> None:
    ours, theirs = weakseg.load_segmenter(model), weakseg.load_segmenter(str(place))
    assert theirs.class_names == CLASSES
    np.testing.assert_array_equal(theirs.segment(PHOTO, crf=False), ours.segment(PHOTO, crf=False))


def test_a_published_folder_is_whole_and_its_card_tells_data_licence_and_metrics(published: Path, model: Path) -> None:
    assert sorted(path.name for path in published.iterdir()) == ["README.md", *sorted(FILES)]
    assert_same(published, model)
    text = (published / "README.md").read_text(encoding="utf-8")
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["license"] == "MIT" and front["library_name"] == "weakseg"
    digest = json.loads((published / "model.json").read_text(encoding="utf-8"))["weights_sha256"]
    for words in ("# guided", "eight photos", "(2): cat, dog", digest, "On 8 held-out photos", "| mean IoU | 41.2 | 45.0 |",
                  "| cat | 2.5 | 5.0 |", "| dog | – | – |", "```sh\nmake profile NAME=toy\nmake run\n```"):  # fmt: skip
        assert words in text


def test_a_model_without_metrics_says_so(model: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "a" / "b" / "mine"
    shutil.copytree(model, elsewhere)
    main(["publish", str(elsewhere), "--to", str(tmp_path / "out"), "--licence", "MIT", "--data", "x"])
    assert "Not measured: there were no masks" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


def test_what_is_incomplete_damaged_or_in_the_way_is_refused(published: Path, model: Path, tmp_path: Path) -> None:
    given = ["--licence", "MIT", "--data", "x"]
    with pytest.raises(SystemExit, match=r"weakseg publish: .*has another README\.md already"):
        main(["publish", str(model), "--to", str(published), *given])
    with pytest.raises(SystemExit, match=r"has no model\.json, test_rule\.json, weights\.safetensors"):
        main(["publish", str(tmp_path), "--to", str(tmp_path / "out"), *given])
    with open(published / "weights.safetensors", "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x55")
    with pytest.raises(SystemExit, match=r"weights\.safetensors: is not the file that model\.json"):
        main(["publish", str(published), "--to", str(tmp_path / "out"), *given])
    assert not (tmp_path / "out").exists()


# --- a web server ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def asked(published: Path) -> Iterator[tuple[str, list[str]]]:
    """The folder on a local web server; the names that it was asked for."""
    names: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *arguments: Any) -> None:
            names.append(self.path.rpartition("/")[2])

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(published.parent)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/guided", names
    server.shutdown()


def test_a_url_is_fetched_once_and_again_where_the_weights_changed(
    asked: tuple[str, list[str]], published: Path, model: Path, cache: Path
) -> None:
    url, names = asked
    assert_same(url, model)
    assert sorted(names) == sorted(FILES)
    names.clear()
    assert_same(url, model)
    assert sorted(names) == ["model.json", "test_rule.json"]
    (cached,) = cache.glob("*/weights.safetensors")
    cached.write_bytes(cached.read_bytes()[:-1] + b"\x55")
    assert_same(url, model)  # a damaged cache is replaced

    (published / "weights.safetensors").write_bytes(b"other")
    shutil.rmtree(cache)
    with pytest.raises(UserError, match=r"guided: weights\.safetensors is not the file that model\.json"):
        weakseg.load_segmenter(url)
    (published / "model.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match=r"guided: model\.json is damaged"):
        weakseg.load_segmenter(url)
    with pytest.raises(UserError, match=r"nosuch/model\.json: cannot be fetched .*404"):
        weakseg.load_segmenter(url.replace("guided", "nosuch"))
    assert not list(cache.glob("*/weights.safetensors"))


# --- a DVC remote ------------------------------------------------------------------------------------------------------------


def test_a_model_is_loaded_from_a_dvc_remote(published: Path, model: Path, tmp_path: Path) -> None:
    """Pushed by the commands of the docs; nothing but the remote has the files then."""
    team = published.parent
    environment = os.environ | {
        "HOME": str(tmp_path),
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(tmp_path / "s"),
    }
    commit = ["git", "-c", "user.name=Test", "-c", "user.email=test@localhost", "commit", "-qm", "Model"]
    dvc = [sys.executable, "-m", "dvc"]
    for command in (
        ["git", "init", "-q"], [*dvc, "init", "-q"], [*dvc, "remote", "add", "-d", "team", str(tmp_path / "remote")],
        [*dvc, "add", "-q", "guided"], [*dvc, "push", "-q"], ["git", "add", "."], commit,
    ):  # fmt: skip
        subprocess.run(command, cwd=team, env=environment, check=True)
    shutil.rmtree(team / "guided")
    shutil.rmtree(team / ".dvc" / "cache")
    assert_same(f"dvc:{team}#guided", model)
    assert_same(f"dvc:{team}#guided@HEAD", model)
    with pytest.raises(UserError, match=r"nosuch: model\.json cannot be fetched"):
        model_folder(f"dvc:{team}#nosuch")
    with pytest.raises(UserError, match="say dvc:REPOSITORY#FOLDER"):
        model_folder("dvc:somewhere")


# --- a hub -------------------------------------------------------------------------------------------------------------------


def test_a_hub_gets_the_files_with_the_card_and_gives_them_back(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the hub's client replaced by a folder; what is asked of it are its documented functions."""
    hub = tmp_path / "hub"

    def create_commit(name: str, operations: list[Any], commit_message: str) -> None:
        for operation in operations:
            path = hub / name / operation.path_in_repo
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(operation.path_or_fileobj)

    def download(name: str, file: str, revision: str | None = None) -> str:
        if not (hub / name / file).exists():
            raise OSError(f"404: {name}")
        return str(hub / name / file)

    client = SimpleNamespace(create_repo=lambda name, exist_ok: None, create_commit=create_commit)
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: client)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    main(["publish", str(model), "--to", "hub:team/guided", "--licence", "CC-BY-4.0", "--data", "x"])
    assert capsys.readouterr().out == "hub:team/guided: the model and its card\n"
    assert 'load_segmenter("hub:team/guided")' in (hub / "team/guided/README.md").read_text(encoding="utf-8")
    assert_same("hub:team/guided", model)
    with pytest.raises(UserError, match=r"hub:team/nosuch: model\.json cannot be fetched \(404: team/nosuch\)"):
        model_folder("hub:team/nosuch")
