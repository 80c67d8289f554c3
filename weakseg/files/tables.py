"""JSON and CSV files."""

import csv
import json
from collections.abc import Iterable, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from weakseg.errors import UserError
from weakseg.files.atomic import read_text, write_text


def _plain(value: Any) -> Any:
    """JSON-ready copy: numpy scalars become Python's, NaN becomes null, floats keep 2 decimals."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(item) for item in value]
    if isinstance(value, (float, np.floating)):
        return None if not np.isfinite(value) else round(float(value), 2)
    return int(value) if isinstance(value, np.integer) else value


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Metrics (in percent) as JSON; NaN and infinities are written as null."""
    write_text(path, json.dumps(_plain(content), indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a JSON object")
    return content


def write_table(path: Path, rows: Iterable[Mapping[str, Any]], columns: list[str]) -> None:
    text = StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def read_table(path: Path, columns: list[str]) -> list[dict[str, str]]:
    reader = csv.DictReader(StringIO(read_text(path)))
    missing = [name for name in columns if name not in (reader.fieldnames or [])]
    if missing:
        raise UserError(f"{path}: missing columns {', '.join(missing)}")
    return list(reader)
