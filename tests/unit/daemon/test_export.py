"""Copies of certificates on a real file system."""

import os
import ssl
import stat
from pathlib import Path

import pytest

from proxyd.certs.certificate import Certificate
from proxyd.config.host import Export
from proxyd.daemon.export import ExportError, export
from tests.support.certs import make_pem

HOST = "example.com"


def certificate() -> Certificate:
    return Certificate.parse(make_pem(HOST))


def options(directory: Path, **more: object) -> Export:
    return Export.model_validate({"dir": str(directory), **more})


def names(directory: Path) -> list[str]:
    return sorted(one.name for one in directory.iterdir())


def test_a_pair_and_both_in_one_that_other_programs_load(tmp_path: Path) -> None:
    place, one = tmp_path / "tls", certificate()
    assert export(options(place, group=str(os.getegid())), HOST, one)
    assert names(place) == [f"{HOST}.{kind}.pem" for kind in ("combined", "fullchain", "privkey")]
    assert {stat.S_IMODE(file.stat().st_mode) for file in place.iterdir()} == {0o640}
    assert stat.S_IMODE(place.stat().st_mode) == 0o750
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(place / f"{HOST}.fullchain.pem", place / f"{HOST}.privkey.pem")
    context.load_cert_chain(place / f"{HOST}.combined.pem")
    assert "PRIVATE" not in (place / f"{HOST}.fullchain.pem").read_text()
    assert (place / f"{HOST}.combined.pem").read_bytes() == one.pem


def test_only_what_is_missing_or_differs_is_written(tmp_path: Path) -> None:
    place, one = tmp_path / "tls", certificate()
    export(options(place), HOST, one)
    before = {file.name: file.stat().st_ino for file in place.iterdir()}
    assert not export(options(place), HOST, one)
    key, chain = place / f"{HOST}.privkey.pem", place / f"{HOST}.fullchain.pem"
    chain.unlink()
    key.chmod(0o644)
    combined = place / f"{HOST}.combined.pem"
    assert export(options(place), HOST, one)
    assert stat.S_IMODE(key.stat().st_mode) == 0o640
    assert chain.exists()
    assert combined.stat().st_ino == before[combined.name]
    assert export(options(place), HOST, certificate())


def test_the_group_gets_them(tmp_path: Path) -> None:
    group = 8 if os.geteuid() == 0 else os.getgroups()[-1]  # root may give files to any
    export(options(tmp_path / "tls", group=str(group), mode="0660"), HOST, certificate())
    found = {(file.stat().st_gid, stat.S_IMODE(file.stat().st_mode)) for file in (tmp_path / "tls").iterdir()}
    assert found == {(group, 0o660)}


def test_a_directory_that_was_not_given_at_first_is_given_later(tmp_path: Path) -> None:
    group, place, of_another = 8 if os.geteuid() == 0 else os.getgroups()[-1], tmp_path / "tls", tmp_path / "other"
    place.mkdir(0o750)
    of_another.mkdir(0o755)
    for one in (place, of_another):
        export(options(one, group=str(group)), HOST, certificate())
    assert place.stat().st_gid == group
    assert of_another.stat().st_gid == os.getegid(), "who made it so has a reason"


def test_a_link_in_the_place_of_the_new_directory_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, elsewhere, mkdir = tmp_path / "tls", tmp_path / "elsewhere", Path.mkdir
    elsewhere.mkdir(0o700)

    def replaced(path: Path, mode: int) -> None:
        mkdir(path, mode)
        path.rmdir()
        path.symlink_to(elsewhere)

    monkeypatch.setattr(Path, "mkdir", replaced)
    with pytest.raises(ExportError, match="Not a directory"):
        export(options(place), HOST, certificate())
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o700
    assert not names(elsewhere)


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    place, elsewhere = tmp_path / "tls", tmp_path / "elsewhere"
    place.mkdir()
    elsewhere.write_text("mine")
    (place / f"{HOST}.privkey.pem").symlink_to(elsewhere)
    export(options(place), HOST, certificate())
    assert elsewhere.read_text() == "mine"
    assert not (place / f"{HOST}.privkey.pem").is_symlink()


def test_what_cannot_be_written_is_said_with_the_next_step_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="make its parent directory first"):
        export(options(tmp_path / "no" / "tls"), HOST, certificate())
    with pytest.raises(ExportError, match="has no group nosuchgroup"):
        export(options(tmp_path / "tls", group="nosuchgroup"), HOST, certificate())
    with pytest.raises(ExportError, match="too long"):
        export(options(tmp_path / "tls"), "a" * 250, certificate())
    assert names(tmp_path / "tls") == []
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="Not a directory"):
        export(options(tmp_path / "file"), HOST, certificate())
