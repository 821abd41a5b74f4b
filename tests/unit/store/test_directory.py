import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from proxyd.certs.certificate import Certificate
from proxyd.core.hostname import Hostname
from proxyd.store.certificate_store import CertificateStore
from proxyd.store.directory import DirectoryStore
from proxyd.store.store import StoreError
from tests.support.certs import make_pem
from tests.support.clock import FakeClock

HOST = Hostname("a.example")
NOW = datetime.now(UTC)


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
    left, being_written = tmp_path / "+proxyd/tmp/left", tmp_path / "+proxyd/tmp/young"
    for file in (left, being_written):
        file.write_bytes(b"half")
    os.utime(left, (0, 0))
    one.probe()
    assert list((tmp_path / "+proxyd/tmp").iterdir()) == [being_written]


def test_the_longest_names_can_be_saved(tmp_path: Path) -> None:
    name = f"{'a' * 60}.{'b' * 60}.{'c' * 60}.{'d' * 60}.example"
    pem = make_pem(name)
    certificates = CertificateStore(store(tmp_path), clock=FakeClock(NOW))
    certificates.save(Hostname(name), Certificate.parse(pem))
    (tmp_path / name).write_bytes(b"")
    loaded = certificates.load(Hostname(name))
    assert loaded is not None
    assert loaded.pem == pem


def test_private_keys_that_others_can_read_are_tightened(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one = store(tmp_path)
    one.save("k", b"1")
    (tmp_path / "k").chmod(0o644)
    assert one.load("k") == b"1"
    assert (tmp_path / "k").stat().st_mode & 0o777 == 0o600
    assert "could be read by others" in caplog.text


def test_who_only_looks_changes_no_mode(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "k").write_bytes(b"key")
    (tmp_path / "k").chmod(0o644)
    store = DirectoryStore(tmp_path, clock=FakeClock(), only_looks=True)
    assert store.load("k") == b"key"
    assert (tmp_path / "k").stat().st_mode & 0o777 == 0o644
    assert [one.name for one in tmp_path.iterdir()] == ["k"]
    assert not caplog.records


@pytest.mark.parametrize("kind", ["file", "symlink", "fifo"])
def test_what_lies_in_place_of_the_private_directory_makes_way(tmp_path: Path, kind: str) -> None:
    root, elsewhere = tmp_path / "cache", tmp_path / "elsewhere"
    for directory in (root, elsewhere):
        directory.mkdir()
    place = root / "+proxyd"
    if kind == "file":
        place.write_bytes(b"garbage")
    elif kind == "symlink":
        place.symlink_to(elsewhere)
    else:
        os.mkfifo(place)
    one = store(root)
    assert one.inside("generations").names() == []
    one.probe()
    one.save("k", b"1")
    assert one.load("k") == b"1"
    assert not place.is_symlink()
    assert list(elsewhere.iterdir()) == []
    assert len(list(root.glob("+proxyd.broken-*"))) == 1


def test_the_root_may_be_a_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    one = store(tmp_path / "link")
    one.probe()
    one.save("k", b"1")
    assert (tmp_path / "real/k").read_bytes() == b"1"


def test_a_change_of_any_file_shows_in_the_stamps(tmp_path: Path) -> None:
    one = store(tmp_path)
    one.save("k", b"1")
    first = one.stamps()
    one.save("k", b"2")
    second = one.stamps()
    assert first is not None
    assert second is not None
    assert first["k"] != second["k"]


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
    certificates = CertificateStore(store(tmp_path), clock=FakeClock())
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
    certificates = CertificateStore(store(tmp_path), clock=FakeClock())
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
