"""Coverage-guided fuzzing of the whole of ingest: `make fuzz-hour`, or `python -m tests.fuzz --seconds 60`.

One process works at a time; a finding does not end it. Each kind of finding is kept once, with the input that shows it.
`--again FILE` says one input again.
"""

# ruff: noqa: PLC0415 - what is fuzzed is imported late, so that atheris can count its branches
from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

_MISSING = """\
atheris, which guides the fuzzing by coverage, is not installed. It is no dependency of the project, as it is there for
Linux on x86-64 and few versions of Python only. Install it beside the others, and say the word again:

    {python} -m pip install --target build/atheris atheris==3.0.0
"""
_INSTRUMENTED = ["ingest", "mesh", "store", "signalsvc"]


def main() -> int:
    """Fuzz for a time; return 1 when something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=3600, help="how long (3600)")
    parser.add_argument("--folder", type=Path, default=Path("build/fuzz"), help="of corpus and findings (build/fuzz)")
    parser.add_argument("--again", type=Path, help="a kept input to say again")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.again is not None:
        return _again(options.again)
    try:
        import atheris  # type: ignore[import-untyped, import-not-found, unused-ignore]
    except ImportError:
        print(_MISSING.format(python=os.path.relpath(sys.executable)), file=sys.stderr)
        return 2
    if options.child:
        return _fuzz(atheris, options.folder, options.seconds)
    return _supervise(options.folder, options.seconds)


def _again(path: Path) -> int:
    from tests.fuzz import whole_ingest
    from tests.fuzz.inputs import run

    whole_ingest.configure_log()
    run(path.read_bytes())
    return 0


def _supervise(folder: Path, seconds: int) -> int:
    """Let a process fuzz, and another one when that ends before its time."""
    for name in ("corpus", "findings"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    before = {path.name for path in (folder / "findings").iterdir()}
    ends_s = time.monotonic() + seconds
    while (left_s := int(ends_s - time.monotonic())) > 5:
        command = [sys.executable, "-m", "tests.fuzz", "--child", "--folder", str(folder), "--seconds", str(left_s)]
        subprocess.run(command, check=False)
    names = {path.name for path in (folder / "findings").iterdir()} - before
    found = sorted(name for name in names if not name.endswith(".txt"))
    print(_told(folder, seconds, found), file=sys.stderr)
    return 1 if found else 0


def _told(folder: Path, seconds: int, found: list[str]) -> str:
    lines = [json.loads(line) for line in (folder / "progress").read_text().splitlines()]
    by_process = {line["process"]: line for line in lines}
    executions = sum(line["executions"] for line in by_process.values())
    where = "".join(f"\n    {folder}/findings/{name}" for name in found)
    return f"{executions} conversations in {seconds} s, {len(by_process)} processes; {len(found)} findings{where}"


def _fuzz(atheris: Any, folder: Path, seconds: int) -> int:
    with atheris.instrument_imports(include=_INSTRUMENTED, enable_loader_override=False):
        from tests.fuzz import whole_ingest
        from tests.fuzz.conversation import MAX_BYTES, Mutator, bus_seeds, joined, seeds
        from tests.fuzz.inputs import run

    whole_ingest.configure_log()
    corpus = folder / "corpus"
    for seed in (*seeds(), *bus_seeds()):
        data = joined(seed)
        (corpus / hashlib.sha1(data).hexdigest()).write_bytes(data)
    began_s, executions = time.monotonic(), 0
    kinds = {path.name.partition(".")[0] for path in (folder / "findings").iterdir()}

    def progress() -> None:
        line = {"process": os.getpid(), "seconds": round(time.monotonic() - began_s), "executions": executions}
        with (folder / "progress").open("a") as file:
            file.write(json.dumps(line) + "\n")

    def one_input(data: bytes) -> None:
        nonlocal executions
        executions += 1
        if executions % 500 == 0:
            progress()
        try:
            run(data)
        except BaseException as exc:
            if isinstance(exc, KeyboardInterrupt):
                raise
            name = _kind(exc)
            if name not in kinds:
                kinds.add(name)
                (folder / "findings" / name).write_bytes(data)
                (folder / "findings" / f"{name}.txt").write_text("".join(traceback.format_exception(exc)))

    mutator = Mutator()
    progress()
    arguments = [
        *(sys.argv[0], str(corpus), f"-artifact_prefix={folder}/findings/", f"-max_total_time={seconds}"),
        *(
            f"-max_len={MAX_BYTES}",
            "-timeout=120",
            "-rss_limit_mb=3000",
            "-len_control=0",
            "-reload=0",
            "-entropic_scale_per_exec_time=1",
        ),
    ]
    atheris.Setup(arguments, one_input, custom_mutator=mutator.mutate, custom_crossover=mutator.cross)
    atheris.Fuzz()
    return 0


def _kind(exc: BaseException) -> str:
    """Return a name for a finding: its type and where in our code it was raised."""
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    frames = traceback.extract_tb(exc.__traceback__)
    ours = [frame for frame in frames if "site-packages" not in frame.filename and "/asyncio/" not in frame.filename]
    frame = (ours or frames)[-1]
    return f"{type(exc).__name__}-{Path(frame.filename).stem}-{frame.name}-{frame.lineno}"


if __name__ == "__main__":
    sys.exit(main())
