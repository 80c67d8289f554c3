"""`data/sources.yaml`: where the data sets' archives come from, their sizes and hashes, and where they go."""

from pathlib import Path
from typing import Annotated

import yaml
from pydantic import Field, ValidationError, model_validator

from weakseg.errors import UserError
from weakseg.files import read_text
from weakseg.settings import Section

SOURCES = Path("data/sources.yaml")

Bytes = Annotated[int, Field(ge=1, le=10**13)]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", max_length=100)]
PathBelow = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$", max_length=200)
]
Url = Annotated[str, Field(pattern=r"^https?://[^\s]+$", max_length=2000)]


class Source(Section):
    """One archive: exact size, one hash, and the places that have it."""

    bytes: Bytes
    md5: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    unpacked_bytes: Bytes
    urls: Annotated[list[Url], Field(min_length=1)]

    @model_validator(mode="after")
    def _one_hash(self) -> "Source":
        if (self.md5 is None) == (self.sha256 is None):
            raise ValueError("needs md5 or sha256, and not both")
        return self

    @property
    def digest(self) -> tuple[str, str]:
        """(name of the algorithm, hexadecimal)."""
        return ("sha256", self.sha256) if self.sha256 else ("md5", self.md5 or "")


class Archives(Section):
    folder: str
    files: dict[FileName, Source]


class Voc12(Archives):
    trainaug: Annotated[int, Field(ge=1)]


class SaliencySet(Archives):
    boxes: PathBelow


class Sources(Section):
    """The whole file; `archives` is the folder that downloads are kept in."""

    archives: str
    voc12: Voc12
    msra: SaliencySet
    ecssd: SaliencySet
    coco14: Archives


def read_sources(path: Path = SOURCES) -> Sources:
    """Raises UserError, naming every wrong entry."""
    try:
        return Sources.model_validate(yaml.safe_load(read_text(path)))
    except ValidationError as error:
        problems = [f"  {'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise UserError(f"{path}:\n" + "\n".join(problems)) from None
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read as YAML: {error}") from None
