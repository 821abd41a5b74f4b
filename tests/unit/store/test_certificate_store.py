import errno
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from proxyd.certs.certificate import Certificate
from proxyd.certs.key import generate_key
from proxyd.core.hostname import Hostname
from proxyd.store.certificate_store import CertificateStore
from proxyd.store.directory import DirectoryStore
from tests.support import fake_ca_authority as authority
from tests.support.certs import make_pem
from tests.support.clock import FakeClock
from tests.support.damaged_certificates import wrongly_signed

HOST = Hostname("a.example")
NOW = datetime(2027, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
MIDDLE = authority.authority("Middle")


def certificate(age: int, *, lifetime: int = 90, rsa: bool = False) -> Certificate:
    """Return one that was issued `age` days ago."""
    pem = make_pem(HOST.text, begin=NOW - age * DAY, lifetime=lifetime * DAY, rsa_key=rsa)
    return Certificate.parse(pem)


def opened(root: Path, told: list[str] | None = None) -> CertificateStore:
    clock = FakeClock(NOW)
    heard = [] if told is None else told
    return CertificateStore(
        DirectoryStore(root, clock=clock), clock=clock, told=lambda host, what: heard.append(f"{host} {what}")
    )


def copies(root: Path) -> int:
    return len(list((root / "+proxyd/generations").iterdir()))


def test_the_current_and_three_previous_generations_are_kept(tmp_path: Path) -> None:
    store = opened(tmp_path)
    generations = [certificate(age) for age in (50, 40, 30, 20, 10, 0)]
    for one in generations:
        store.save(HOST, one)
    assert copies(tmp_path) == 4
    assert (tmp_path / "a.example").read_bytes() == generations[-1].pem
    previous = store.previous(HOST, generations[-1])
    assert previous == generations[-2]


def _truncate(place: Path) -> None:
    os.truncate(place, place.stat().st_size // 2)


def _link(place: Path) -> None:
    place.unlink()
    place.symlink_to("/etc/passwd")


def _directory(place: Path) -> None:
    place.unlink()
    place.mkdir()
    (place / "x").write_bytes(b"")


def _fifo(place: Path) -> None:
    place.unlink()
    os.mkfifo(place)


@pytest.mark.parametrize(
    "damage",
    [
        _truncate,
        _link,
        _directory,
        _fifo,
        Path.unlink,
        lambda place: place.write_bytes(b""),
        lambda place: place.write_bytes(bytes(5000)),
        lambda place: place.write_bytes(b"x" * (2 << 20)),
        lambda place: place.write_bytes(make_pem("other.example")),
        lambda place: place.write_bytes(make_pem(HOST.text, key_for_leaf=False)),
    ],
    ids=["truncated", "link", "directory", "fifo", "missing", "empty", "zeroed", "huge", "other-name", "other-key"],
)
def test_a_damaged_live_file_is_put_back_from_its_copy(tmp_path: Path, damage: object) -> None:
    told: list[str] = []
    store = opened(tmp_path, told)
    current = certificate(1)
    store.save(HOST, certificate(30))
    store.save(HOST, current)
    damage(tmp_path / "a.example")  # type: ignore[operator]
    assert store.load(HOST) == current
    assert (tmp_path / "a.example").read_bytes() == current.pem
    assert len(told) == 1
    assert "put back" in told[0]
    assert store.load(HOST) == current
    assert len(told) == 1


def test_a_live_file_that_cannot_be_read_now_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(tmp_path)
    copied = certificate(30)
    store.save(HOST, copied)
    newer = certificate(1)  # another program put it there: there is no copy
    live = tmp_path / "a.example"
    live.write_bytes(newer.pem)
    real = os.open

    def failing(path: object, *more: int, **named: int) -> int:
        if path == live:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(path, *more, **named)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", failing)
        assert store.load(HOST) == copied
    assert live.read_bytes() == newer.pem
    assert store.load(HOST) == newer


def test_a_chain_that_lost_its_second_part_is_put_back(tmp_path: Path) -> None:
    store = opened(tmp_path)
    leaf = certificate(1)
    issuer = make_pem("ca.example")
    whole = Certificate.parse(leaf.pem + issuer[issuer.index(b"-----BEGIN CERT") :])
    store.save(HOST, whole)
    (tmp_path / "a.example").write_bytes(leaf.pem)
    assert store.load(HOST) == whole
    assert (tmp_path / "a.example").read_bytes() == whole.pem


def issued(age: int) -> Certificate:
    """Return one that a CA issued `age` days ago, with its issuer."""
    key = generate_key("p256")
    names = x509.SubjectAlternativeName([x509.DNSName(HOST.text)])
    begin = NOW - age * DAY
    leaf = authority.leaf(key.public_key(), names, MIDDLE, not_before=begin, not_after=begin + 90 * DAY)
    return Certificate.assemble(key, authority.pem(leaf, MIDDLE[0]).encode())


def test_a_wrong_signature_is_put_back_from_the_copy(tmp_path: Path) -> None:
    told: list[str] = []
    store, current = opened(tmp_path, told), issued(1)
    store.save(HOST, issued(30))
    store.save(HOST, current)
    (tmp_path / "a.example").write_bytes(wrongly_signed(current.pem))
    assert list(store.load_all([(HOST, ("ec",))])) == [current]
    assert (tmp_path / "a.example").read_bytes() == current.pem
    assert told == ["a.example put back into a.example: the issuer in the file did not sign the certificate"]


def test_a_wrong_signature_without_a_copy_is_set_aside(tmp_path: Path) -> None:
    store = opened(tmp_path)
    live = tmp_path / "a.example"
    live.write_bytes(wrongly_signed(issued(1).pem))  # of another program
    newer = issued(0)
    store.save(HOST, newer)
    assert copies(tmp_path) == 1
    live.write_bytes(wrongly_signed(newer.pem))
    (copy,) = (tmp_path / "+proxyd/generations").iterdir()
    copy.write_bytes(live.read_bytes())
    assert store.load(HOST) is None
    assert len(list((tmp_path / "+proxyd/aside").iterdir())) == 1


def test_a_copy_that_is_another_one_than_it_was_is_not_used(tmp_path: Path) -> None:
    store, before, current = opened(tmp_path), issued(30), issued(1)
    store.save(HOST, before)
    store.save(HOST, current)
    (copy,) = (one for one in (tmp_path / "+proxyd/generations").iterdir() if one.read_bytes() == current.pem)
    copy.write_bytes(wrongly_signed(current.pem))
    (tmp_path / "a.example").unlink()
    assert store.load(HOST) == before


def test_without_its_issuer_a_certificate_of_another_program_is_taken(tmp_path: Path) -> None:
    alone = issued(1)
    (tmp_path / "a.example").write_bytes(alone.pem[: alone.pem.rindex(b"-----BEGIN CERT")])
    found = opened(tmp_path).load(HOST)
    assert found is not None
    assert found.leaf == alone.leaf


@pytest.mark.parametrize("length", [251, 252, 253])
def test_the_longest_names_have_a_file_for_each_kind_of_key(tmp_path: Path, length: int) -> None:
    host = Hostname.parse(".".join(["a" * 63] * 3 + ["b" * (length - 194), "t"]))
    assert len(host.text) == length
    store = opened(tmp_path)
    kinds = [Certificate.parse(make_pem(host.text, begin=NOW, rsa_key=is_rsa)) for is_rsa in (False, True)]
    for one in kinds:
        store.save(host, one)
    assert [store.load(host, [one.family]) for one in kinds] == kinds
    assert [one for one, _ in store.of_others({HOST})] == [host, host]
    assert (tmp_path / (host.text + ("+rsa" if length == 251 else "+r"))).exists()


def test_newest_valid_wins_and_expired_never_beats_valid(tmp_path: Path) -> None:
    store = opened(tmp_path)
    old, current, expired = certificate(30), certificate(10), certificate(5, lifetime=2)
    not_yet = certificate(-3)
    store.save(HOST, old)
    store.save(HOST, current)
    (tmp_path / "a.example").write_bytes(old.pem)  # somebody restored a backup
    assert store.load(HOST) == current
    for worse in (expired, not_yet):
        (tmp_path / "a.example").write_bytes(worse.pem)
        assert store.load(HOST) == current
        assert (tmp_path / "a.example").read_bytes() == current.pem


def test_an_expired_one_is_better_than_none(tmp_path: Path) -> None:
    store = opened(tmp_path)
    expired = certificate(100)
    store.save(HOST, expired)
    assert store.load(HOST) == expired


def test_the_condemned_never_loads_again_and_the_previous_lies_in_its_place(tmp_path: Path) -> None:
    store = opened(tmp_path)
    previous, current = certificate(30), certificate(1)
    store.save(HOST, previous)
    store.save(HOST, current)
    store.condemn(HOST, current, "clients saw another one")
    assert (tmp_path / "a.example").read_bytes() == previous.pem
    again = opened(tmp_path)
    assert again.load(HOST) == previous
    (tmp_path / "a.example").write_bytes(current.pem)  # by a backup, or another program
    assert again.load(HOST) == previous
    (tmp_path / "a.example").unlink()
    assert again.load(HOST) == previous
    again.condemn(HOST, previous, "revoked")
    assert again.load(HOST) is None
    assert not (tmp_path / "a.example").exists()
    assert copies(tmp_path) == 0


def test_the_mark_may_be_all_that_is_left(tmp_path: Path) -> None:
    store = opened(tmp_path)
    current = certificate(1)
    store.save(HOST, current)
    store.condemn(HOST, current, "revoked")
    for lost in (tmp_path / "+proxyd/generations", tmp_path / "+proxyd/aside", tmp_path / "+proxyd/tmp"):
        for file in lost.iterdir():
            file.unlink()
        lost.rmdir()
    (tmp_path / "a.example").write_bytes(current.pem)
    assert opened(tmp_path).load(HOST) is None


def test_what_is_about_to_be_revoked_does_not_load_and_is_known_until_it_was(tmp_path: Path) -> None:
    store, current = opened(tmp_path), certificate(1)
    (tmp_path / "a.example").write_bytes(current.pem)  # of another program: no copy of it is kept yet
    store.intend(HOST, current, "revoking: keyCompromise", 1)
    again = opened(tmp_path)
    assert again.load(HOST) is None
    assert again.intended() == [(HOST, current, 1)]
    again.pardon(HOST, current)
    assert (again.intended(), again.load(HOST)) == ([], current)
    again.intend(HOST, current, "revoking: keyCompromise", 1)
    again.condemn(HOST, current, "revoked: keyCompromise")
    assert (again.intended(), again.load(HOST)) == ([], None)


def test_a_damaged_copy_is_made_anew_with_the_next_certificate(tmp_path: Path) -> None:
    store, current = opened(tmp_path), certificate(1)
    store.save(HOST, current)
    (copy,) = (tmp_path / "+proxyd/generations").iterdir()
    for damage in (b"", b"garbage", current.pem[:-9]):
        copy.write_bytes(damage)
        store.save(HOST, certificate(0))
        assert copy.read_bytes() == current.pem
        (tmp_path / "a.example").write_bytes(current.pem)


def test_marks_are_forgotten_a_year_after_the_certificate_ended(tmp_path: Path) -> None:
    marks = tmp_path / "+proxyd/condemned"
    store, current = opened(tmp_path), certificate(1)
    for age in (1000, 455, 456, 454):
        store.condemn(HOST, certificate(age), "taken back")
    assert len(list(marks.iterdir())) == 2
    damage = {"0" * 64: b"", "1" * 64: b"[]", "2" * 64: b'{"not_after": 7}', "3" * 64: b'{"not_after": "2020-01-01"}'}
    for name, text in damage.items():
        (marks / name).write_bytes(text)
    store.save(HOST, current)
    store.condemn(HOST, current, "taken back")
    assert len(list(marks.iterdir())) == 3 + len(damage)
    (tmp_path / "a.example").write_bytes(current.pem)
    assert opened(tmp_path).load(HOST) is None


def test_each_family_has_its_own_file_and_generations(tmp_path: Path) -> None:
    store = opened(tmp_path)
    ec, rsa = certificate(1), certificate(2, rsa=True)
    store.save(HOST, ec)
    store.save(HOST, rsa)
    assert (tmp_path / "a.example").read_bytes() == ec.pem
    assert (tmp_path / "a.example+rsa").read_bytes() == rsa.pem
    assert store.load(HOST, ["ec"]) == ec
    assert store.load(HOST, ["rsa"]) == rsa
    (tmp_path / "a.example+rsa").write_bytes(b"")
    assert store.load(HOST, ["rsa"]) == rsa
    store.condemn(HOST, ec, "revoked")
    assert store.load(HOST, ["ec"]) is None
    assert store.load(HOST) == rsa  # for a host with one certificate any that serves is better than none


def test_rsa_under_the_plain_name_loads_and_survives_the_first_ec_certificate(tmp_path: Path) -> None:
    store = opened(tmp_path)
    rsa, ec = certificate(20, rsa=True), certificate(1)
    tmp_path.joinpath("a.example").write_bytes(rsa.pem)
    assert store.load(HOST) == rsa
    assert store.load(HOST, ["rsa"]) == rsa
    assert store.load(HOST, ["ec"]) is None
    store.save(HOST, ec)
    assert store.load(HOST, ["ec"]) == ec
    assert store.load(HOST, ["rsa"]) == rsa
    assert (tmp_path / "a.example+rsa").read_bytes() == rsa.pem


def test_a_broken_archive_costs_nothing(tmp_path: Path) -> None:
    store = opened(tmp_path)
    current = certificate(1)
    store.save(HOST, certificate(30))
    store.save(HOST, current)
    for copy in (tmp_path / "+proxyd/generations").iterdir():
        copy.write_bytes(b"garbage")
    assert store.load(HOST) == current
    (tmp_path / "a.example").write_bytes(b"")
    assert store.load(HOST) is None


def test_strange_names_in_the_cache_are_left_alone(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.save(HOST, certificate(1))
    for name in (b"new\nline", b"\xff\xfe", b"a.example\n", b"+x", b".hidden"):
        for directory in (tmp_path, tmp_path / "+proxyd/generations", tmp_path / "+proxyd/condemned"):
            directory.mkdir(exist_ok=True)
            Path(os.fsdecode(os.fsencode(directory) + b"/" + name)).write_bytes(b"")
    assert store.load(HOST) == store.load(HOST, ["ec"])
    assert store.load(HOST) is not None


def test_an_ipv6_address_is_a_file_name(tmp_path: Path) -> None:
    host = Hostname("2001:db8::1")
    pem = make_pem(host.text)
    clock = FakeClock(datetime.now(UTC))
    store = CertificateStore(DirectoryStore(tmp_path, clock=clock), clock=clock)
    store.save(host, Certificate.parse(pem))
    (tmp_path / host.text).unlink()
    loaded = store.load(host)
    assert loaded is not None
    assert loaded.pem == pem


@pytest.mark.parametrize(
    "place", ["acme_account+key", "a.example", "a.example+rsa", "+proxyd/aside/x", "+proxyd/generations/x"]
)
def test_what_a_ca_gave_is_known_by_its_name(tmp_path: Path, place: str) -> None:
    store = opened(tmp_path / "cache")
    assert not store.has_any()
    store.store.probe()  # makes the directories
    for other in ("lost+found", "+proxyd/lease", "+proxyd/tmp/x"):
        (tmp_path / "cache" / other).touch()
    assert not store.has_any()
    (tmp_path / "cache" / place).parent.mkdir(exist_ok=True)
    (tmp_path / "cache" / place).touch()
    assert store.has_any()
