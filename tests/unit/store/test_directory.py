import os
from pathlib import Path

import pytest

from proxyd.core.hostname import Hostname
from proxyd.store.certificate_store import CertificateStore
from proxyd.store.directory import DirectoryStore
from proxyd.store.store import StoreError
from tests.support.certs import make_pem
from tests.support.clock import FakeClock

HOST = Hostname("a.example")


def store(root: Path) -> DirectoryStore:
    return DirectoryStore(root, clock=FakeClock())


def test_what_is_saved_is_loaded_with_safe_modes(tmp_path: Path) -> None:
    one = store(tmp_path / "new" / "cache")
    assert one.load("k") is None
    one.save("k", b"1")
    one.save("k", b"2")
    assert one.load("k") == b"2"
    assert (tmp_path / "new/cache/k").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "new/cache").stat().st_mode & 0o777 == 0o700
    assert list((tmp_path / "new/cache/+proxyd/tmp").iterdir()) == []


def test_the_probe_clears_what_a_killed_process_left(tmp_path: Path) -> None:
    one = store(tmp_path)
    one.probe()
    (tmp_path / "+proxyd/tmp/k.123").write_bytes(b"half")
    one.probe()
    assert list((tmp_path / "+proxyd/tmp").iterdir()) == []


@pytest.mark.parametrize("key", ["", "../x", "a/b", ".hidden", "a\0b"])
def test_keys_cannot_leave_the_directory(tmp_path: Path, key: str) -> None:
    with pytest.raises(StoreError):
        store(tmp_path).save(key, b"")


def test_unusable_places_are_said_with_the_next_step(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="set `cache`"):
        store(tmp_path / "file" / "cache").probe()
    with pytest.raises(StoreError):
        store(tmp_path / "file").probe()


def test_broken_certificates_are_set_aside_and_never_returned(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    good = make_pem("a.example")
    broken = {
        "empty": b"",
        "zeroes": bytes(4000),
        "cut": good[: len(good) // 2],
        "other key": make_pem("a.example", key_for_leaf=False),
        "other name": make_pem("b.example"),
        "garbage in base64": good.replace(b"M", b"!", 9),
    }
    certificates = CertificateStore(store(tmp_path))
    for number, content in enumerate(broken.values(), 1):
        (tmp_path / "a.example").write_bytes(content)
        assert certificates.load(HOST) is None
        assert len(list((tmp_path / "+proxyd/aside").iterdir())) == number
    assert "set aside" in caplog.text
    assert "PRIVATE KEY" not in caplog.text
    (tmp_path / "a.example").write_bytes(good)
    loaded = certificates.load(HOST)
    assert loaded is not None
    assert "PRIVATE" not in repr(loaded)
    certificates.save(HOST, loaded)
    assert (tmp_path / "a.example").read_bytes() == good


def test_directories_links_and_pipes_in_place_of_a_certificate(tmp_path: Path) -> None:
    certificates = CertificateStore(store(tmp_path))
    place = tmp_path / "a.example"
    place.mkdir()
    assert certificates.load(HOST) is None
    assert not place.exists()
    os.mkfifo(place)
    assert certificates.load(HOST) is None
    outside = tmp_path / "outside"
    outside.write_bytes(make_pem("a.example"))
    place.symlink_to(outside)
    assert certificates.load(HOST) is None
    assert outside.exists()
