"""Let libFuzzer look for inputs that make a target fail: `scripts/fuzz NAME [SECONDS]`."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import atheris

_SECONDS = 1800
#: What is kept is read by everybody's tests.
_MOST_KEPT, _LONGEST_KEPT, _LONGEST = 150, 2048, 8192


#: Names the target to the program that libFuzzer runs, and runs again.
_TARGET = "PROXYD_FUZZ_TARGET"
_SCRIPT = Path(__file__).parents[2] / "scripts" / "fuzz"


def _fuzz(name: str) -> None:
    with atheris.instrument_imports(include=["proxyd"]):
        from tests.fuzz.targets import TARGETS
    check = TARGETS[name].check
    atheris.Setup([str(_SCRIPT), *sys.argv[1:]], lambda data: check(data))
    atheris.Fuzz()


def _run(name: str, *options: str) -> int:
    return subprocess.run([_SCRIPT, *options], env={**os.environ, _TARGET: name}, check=False).returncode


def main() -> int:
    """Fuzz one target, and keep of what was found the smallest inputs that reach the same code."""
    if name := os.environ.get(_TARGET):
        _fuzz(name)
    from tests.fuzz.targets import TARGETS, keep, kept

    if len(sys.argv) not in (2, 3) or sys.argv[1] not in TARGETS:
        print(f"usage: scripts/fuzz NAME [SECONDS]; NAME is one of {', '.join(TARGETS)}", file=sys.stderr)
        return 2
    name, seconds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) == 3 else _SECONDS
    with tempfile.TemporaryDirectory(prefix="proxyd-fuzz-") as place:
        found, few = Path(place, "found"), Path(place, "few")
        found.mkdir()
        few.mkdir()
        for number, data in enumerate([*TARGETS[name].samples(), *kept(name)]):
            found.joinpath(f"{number}").write_bytes(data)
        crash = Path(tempfile.gettempdir(), f"proxyd-fuzz-{name}-")
        limits = f"-max_len={_LONGEST}", "-timeout=30", f"-artifact_prefix={crash}"
        status = _run(name, f"-max_total_time={seconds}", "-print_final_stats=1", *limits, str(found))
        if status:
            print(f"{name}: failed; the input is in {crash}…: make a test of it", file=sys.stderr)
            return 1
        if _run(name, "-merge=1", f"-max_len={_LONGEST}", str(few), str(found)):
            return 1
        inputs = sorted((one.read_bytes() for one in few.iterdir()), key=len)
        keep(name, [one for one in inputs if len(one) <= _LONGEST_KEPT][:_MOST_KEPT])
    return 0


if __name__ == "__main__":
    sys.exit(main())
