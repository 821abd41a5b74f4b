"""The trust store of this system: where roots are put, and the program that has it take them."""

import contextlib
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

_SECONDS = 120.0


class TrustStoreError(Exception):
    """The store cannot be changed; the text says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustStore:
    """`place`: the directory of roots that an administrator adds; `update`: what is run after a change of it.

    `fresh`: what that needs besides to forget what has gone.
    """

    place: Path
    update: Sequence[str]
    fresh: Sequence[str] = ()

    @classmethod
    def of_system(cls) -> "TrustStore":
        """Return the one that is here. Raises TrustStoreError."""
        for place, update, fresh in (
            ("/usr/local/share/ca-certificates", "update-ca-certificates", ["--fresh"]),  # Debian, Ubuntu, Alpine
            ("/etc/pki/ca-trust/source/anchors", "update-ca-trust", []),  # Fedora, RHEL
            ("/etc/ca-certificates/trust-source/anchors", "update-ca-trust", []),  # Arch
            ("/etc/pki/trust/anchors", "update-ca-certificates", ["--fresh"]),  # openSUSE
        ):
            program = shutil.which(update, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
            if program and Path(place).is_dir():
                return cls(place=Path(place), update=[program], fresh=fresh)
        raise TrustStoreError(
            "this system has no trust store that is known here (update-ca-certificates, or update-ca-trust; on Debian "
            "`apt install ca-certificates`): print the root with `proxyd trust` and install it as the system wants it"
        )

    def install(self, roots: Iterable[tuple[str, str]]) -> list[Path]:
        """Have these trusted, each a fingerprint and its PEM; return the files that are new. Raises TrustStoreError."""
        new = []
        for fingerprint, pem in roots:
            file = self.place / f"proxyd-internal-ca-{fingerprint[:16]}.crt"
            try:
                if file.is_file() and file.read_text() == pem:
                    continue
                _write(file, pem)
            except OSError as error:
                raise _refused(file, error) from error
            new.append(file)
        if new:
            self._run(self.update)
        return new

    def uninstall(self) -> list[Path]:
        """Have no root of ours trusted any more; return the files that are gone. Raises TrustStoreError."""
        ours = sorted(self.place.glob("proxyd-internal-ca-*.crt"))
        for file in ours:
            try:
                file.unlink(missing_ok=True)
            except OSError as error:
                raise _refused(file, error) from error
        if ours:
            self._run([*self.update, *self.fresh])
        return ours

    def _run(self, command: Sequence[str]) -> None:
        try:
            ended = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise TrustStoreError(f"{self.update[0]} could not be run: {error}; run it yourself") from error
        if ended.returncode:
            said = " ".join(f"{ended.stdout} {ended.stderr}".split())[-300:]
            raise TrustStoreError(f"{self.update[0]} failed with status {ended.returncode}: {said}")


def _write(file: Path, pem: str) -> None:
    """Whoever reads the directory meanwhile takes no half file, and everybody may read it, whatever the umask."""
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("x") as opened:
            opened.write(pem)
            os.fchmod(opened.fileno(), 0o644)
        temporary.replace(file)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _refused(file: Path, error: OSError) -> TrustStoreError:
    next_step = "run this as root" if isinstance(error, PermissionError) else "look at the directory"
    return TrustStoreError(f"{file} cannot be changed: {error.strerror}; {next_step}")
