"""Where a model may be: a folder, a URL, a DVC repository, or a hub.

A model is the files of `FILES`. The two JSON files are read anew each time; weights are kept in a cache, and fetched only
where the cached ones are not those whose SHA-256 model.json names. No file of a model can run code.
"""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

from weakseg.errors import UserError
from weakseg.files import file_sha256, write_bytes

DESCRIPTION, RULE, WEIGHTS = FILES = ("model.json", "test_rule.json", "weights.safetensors")
MAX_JSON_BYTES, MAX_WEIGHTS_BYTES = 1 << 20, 1 << 32
TIMEOUT_SECONDS = 60
Read = Callable[[str, int], bytes]  # name of a file, most bytes


def model_folder(place: Path | str) -> Path:
    """The folder of a model, fetched into the cache ($XDG_CACHE_HOME/weakseg/models) where it is not local.

    place: a folder; `https://…` (or `http://`), a folder on a web server; `dvc:REPOSITORY#FOLDER`, with `@REVISION` behind
    it if wanted, where REPOSITORY is a URL or folder that git can clone; `hub:ORGANIZATION/NAME`, with `@REVISION`.

    Raises UserError for what cannot be fetched or is not what model.json says.
    """
    text = str(place)
    if text.startswith(("https://", "http://")):
        return _cached(text, _url_reader(text))
    if text.startswith("dvc:"):
        return _cached(text, _dvc_reader(text.removeprefix("dvc:")))
    if text.startswith("hub:"):
        return _cached(text, _hub_reader(text.removeprefix("hub:")))
    return Path(place)


def _cached(place: str, read: Read) -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = base / "weakseg" / "models" / hashlib.sha256(place.encode()).hexdigest()[:20]
    description = read(DESCRIPTION, MAX_JSON_BYTES)
    wanted = _weights_digest(place, description)
    weights = folder / WEIGHTS
    if not weights.is_file() or file_sha256(weights) != wanted:
        content = read(WEIGHTS, MAX_WEIGHTS_BYTES)
        if hashlib.sha256(content).hexdigest() != wanted:
            raise UserError(f"{place}: {WEIGHTS} is not the file that {DESCRIPTION} was written for; nothing was kept")
        write_bytes(weights, content)
    write_bytes(folder / RULE, read(RULE, MAX_JSON_BYTES))
    write_bytes(folder / DESCRIPTION, description)
    return folder


def _weights_digest(place: str, description: bytes) -> str:
    try:
        content: Any = json.loads(description)
        return str(content["weights_sha256"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise UserError(f"{place}: {DESCRIPTION} is damaged or of another version ({error!r})") from None


def _url_reader(place: str) -> Read:
    def read(name: str, most: int) -> bytes:
        url = f"{place.rstrip('/')}/{name}"
        try:
            with urlopen(Request(url, headers={"User-Agent": "weakseg"}), timeout=TIMEOUT_SECONDS) as answer:
                return _bounded(url, answer.read(most + 1), most)
        except (URLError, OSError, ValueError) as error:
            raise UserError(f"{url}: cannot be fetched ({error})") from None

    return read


def _dvc_reader(place: str) -> Read:
    repository, mark, rest = place.partition("#")
    folder, _, revision = rest.partition("@")
    if not mark or not folder or not repository:
        raise UserError(f"dvc:{place}: say dvc:REPOSITORY#FOLDER, such as dvc:/mnt/team/clone#models/segmenter/guided")
    try:
        from dvc.api import DVCFileSystem
    except ModuleNotFoundError:
        raise UserError(f"dvc:{place}: DVC is not installed; `pip install dvc`") from None
    opened: list[Any] = []

    def read(name: str, most: int) -> bytes:
        try:
            opened[:] = opened or [DVCFileSystem(repository, rev=revision or None)]
            with opened[0].open(f"/{folder.strip('/')}/{name}", "rb") as file:
                return _bounded(f"dvc:{place}/{name}", file.read(most + 1), most)
        except UserError:
            raise
        except Exception as error:  # DVC, its remotes and git have exceptions of all kinds
            raise UserError(f"dvc:{place}: {name} cannot be fetched ({error})") from None

    return read


def _hub_reader(place: str) -> Read:
    name, _, revision = place.partition("@")
    try:
        from huggingface_hub import hf_hub_download
    except ModuleNotFoundError:
        raise UserError(f"hub:{place}: huggingface-hub is not installed; `pip install 'weakseg[hub]'`") from None

    def read(file: str, most: int) -> bytes:
        try:
            path = Path(hf_hub_download(name, file, revision=revision or None))
            return _bounded(f"hub:{place}/{file}", path.read_bytes(), most)
        except (OSError, ValueError) as error:  # its own exceptions are among these
            raise UserError(f"hub:{place}: {file} cannot be fetched ({error})") from None

    return read


def _bounded(source: str, content: bytes, most: int) -> bytes:
    if len(content) > most:
        raise UserError(f"{source}: larger than {most} bytes; refused")
    return content
