"""Seconds and peak memory of every stage, as a markdown table, from the log of a run.

dvc repro 2>&1 | tee repro.log; python -m benchmarks.pipeline repro.log
"""

import argparse
import os
import platform
import re
from datetime import date
from pathlib import Path

from weakseg.files import read_text

COMMAND = re.compile(r"Running stage '(?P<stage>[^']+)'")
COST = re.compile(r"stages\.\w+: (?P<seconds>\d+) s, CPU (?P<cpu>[\d.]+) s, peak memory (?P<memory>.+)")


def costs(log: str) -> list[tuple[str, int, float, str]]:
    """(stage, seconds, CPU seconds, peak memory) of each stage that ran, in order."""
    rows, stage = [], ""
    for line in log.splitlines():
        if started := COMMAND.search(line):
            stage = started["stage"]
        elif cost := COST.search(line):
            rows.append((stage, int(cost["seconds"]), float(cost["cpu"]), cost["memory"]))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("log", type=Path, help="what `dvc repro` printed")
    rows = costs(read_text(parser.parse_args().log))
    print(f"{date.today()}, {os.cpu_count()} CPUs, {platform.machine()}, Python {platform.python_version()}\n")
    print("| stage | seconds | CPU seconds | peak memory |\n|---|---:|---:|---|")
    for stage, seconds, cpu, memory in rows:
        print(f"| `{stage}` | {seconds} | {cpu:.0f} | {memory} |")
    total, total_cpu = sum(row[1] for row in rows), sum(row[2] for row in rows)
    print(f"| **all** | **{total}** | **{total_cpu:.0f}** | |")


if __name__ == "__main__":
    main()
