"""Let torch's Linux build from PyPI run on a machine without a GPU, without 4 GB of CUDA libraries that it never calls.

PyPI has one build of torch for Linux, and importing it loads the CUDA libraries. After `pip install --no-deps torch`
this script writes a placeholder of some 20 KB beside torch's own libraries for each one that is missing. All its
functions answer "no device", so torch finds no GPU and computes on the CPU. Installed CUDA libraries take precedence over
placeholders. `make setup CUDA=no` calls it; it needs gcc and readelf, which compiling pydensecrf2 needs too.
"""

import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

NO_DEVICE = 100  # cudaErrorNoDevice
CUDA = ("libcublas", "libcuda", "libcudnn", "libcufft", "libcufile", "libcupti", "libcurand", "libcusolver", "libcusparse",
        "libnccl", "libnvrtc", "libnvshmem")  # fmt: skip
NOT_AT_IMPORT = ("libcaffe2_nvrtc.so", "libcuda.so.1")  # what torch loads when it meets a GPU, and the driver
OTHERS_SYMBOLS = re.compile(r"_?Py|_Z|GOMP_|omp_|__(cxa|gxx)_")  # Python's, C++'s and OpenMP's own


def main() -> None:
    library = Path(sysconfig.get_path("purelib")) / "torch" / "lib"
    if not library.is_dir():
        sys.exit(f"{library}: torch is not installed here; run `pip install --no-deps torch` first")
    if _imports():
        print("torch can be imported as it is; no placeholder is needed")
        return
    needing = [path for path in library.glob("lib*.so*") if path.name not in NOT_AT_IMPORT]
    functions = missing_functions(needing)
    for name in missing_libraries(needing):
        write_placeholder(library / name, functions)
    if problem := _import_problem():
        sys.exit(f"torch cannot be imported with placeholders ({problem}); install requirements-cuda.txt")
    print(f"{library}: placeholders for CUDA written; torch computes on the CPU")


def missing_libraries(libraries: Iterable[Path]) -> list[str]:
    """File names of the CUDA libraries that others need."""
    libraries = list(libraries)
    needed = {name for path in libraries for name in re.findall(r"\(NEEDED\).*\[(.*)\]", _readelf("-d", path))}
    own = {path.name for path in libraries}
    return sorted(name for name in needed - own if name.startswith(CUDA) and name not in NOT_AT_IMPORT)


def missing_functions(libraries: Iterable[Path]) -> dict[str, set[str]]:
    """Functions that no library of these defines, by the version that they are asked for in ("" for none)."""
    wanted: set[tuple[str, str]] = set()
    defined = set()
    for path in libraries:
        for section, name, version in _symbols(path):
            if section == "UND":
                wanted.add((version, name))
            else:
                defined.add(name)
    found: dict[str, set[str]] = {}
    for version, name in wanted:
        if (
            name not in defined
            and not OTHERS_SYMBOLS.match(name)
            and not re.match(r"GLIBC|GCC|CXXABI|GOMP|OMP", version)
        ):
            found.setdefault(version, set()).add(name)
    return found


def write_placeholder(path: Path, functions: dict[str, set[str]]) -> None:
    """A library of that name, with the functions asked for in its version and those asked for in none."""
    version = {"libnvshmem_host.so.3": "NVSHMEM"}.get(path.name, path.name)
    versioned = functions.get(version, set())
    names = versioned or (functions.get("", set()) if path.name.startswith("libnccl") else set())
    with TemporaryDirectory() as folder:
        code, versions = Path(folder) / "placeholder.c", Path(folder) / "versions"
        code.write_text("".join(map(_function, sorted(names))) or "typedef int nothing;\n", encoding="utf-8")
        versions.write_text(f"{version} {{ global: *; }};\n", encoding="utf-8")
        script = [f"-Wl,--version-script={versions}"] if versioned else []
        command = [
            "gcc",
            "-shared",
            "-fPIC",
            "-fno-builtin",
            "-w",
            f"-Wl,-soname,{path.name}",
            *script,
            str(code),
            "-o",
            str(path),
        ]
        subprocess.run(command, check=True)


def _function(name: str) -> str:
    if "String" in name:
        return f'const char *{name}(void) {{ return "no CUDA"; }}\n'
    return f"long {name}(void) {{ return {NO_DEVICE}; }}\n"


def _symbols(path: Path) -> Iterator[tuple[str, str, str]]:
    """Section, name and version of each dynamic symbol that must be found."""
    for line in _readelf("--dyn-syms", path).splitlines():
        cells = line.split()
        if len(cells) >= 8 and cells[0].endswith(":") and not (cells[6] == "UND" and cells[4] == "WEAK"):
            name, _, version = cells[7].partition("@")
            yield cells[6], name, version.lstrip("@")


def _readelf(option: str, path: Path) -> str:
    return subprocess.run(["readelf", "--wide", option, str(path)], capture_output=True, text=True, check=True).stdout


def _imports() -> bool:
    return not _import_problem()


def _import_problem() -> str:
    """Why torch cannot be imported; empty if it can."""
    done = subprocess.run([sys.executable, "-c", "import torch"], capture_output=True, text=True)
    return done.stderr.strip().rpartition("\n")[2] if done.returncode else ""


if __name__ == "__main__":
    main()
