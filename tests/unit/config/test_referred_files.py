"""Which files hosts refer to, and how a change of one is seen."""

from pathlib import Path

import pytest

from proxyd.config.load import parse
from proxyd.config.referred_files import changed_files, referred_files, states_of


def test_each_file_of_each_host_once() -> None:
    text = (
        "defaults: {upstream: https://10.0.0.1, upstream_tls: {ca: /ca, cert: /c, key: /k}}\n"
        "acme: {ca_bundle: /bundle}\n"
        "hosts:\n"
        "  a.example.com:\n"
        "  b.example.com: {maintenance: {page: /page}, basic_auth: {users: /users}}\n"
        "  d.example.com: {forward_auth: {url: 'https://10.0.0.2/', ca: /auth}}\n"
        "  '*.c.example.com': {acme: {on_demand: {ask: 'http://127.0.0.1/'}}, upstream_tls: {ca: /other}}\n"
    )
    assert referred_files(parse(text, "f")) == ("/auth", "/c", "/ca", "/k", "/other", "/page", "/users")
    assert referred_files(parse("hosts: {a.example.com: 1}", "f")) == ()


@pytest.mark.parametrize("target", ["file", "link"])
def test_every_change_of_a_file_is_one(tmp_path: Path, target: str) -> None:
    file, other = tmp_path / "a", tmp_path / "b"
    file.write_text("1")
    other.write_text("1")
    link = tmp_path / "link"
    link.symlink_to(file)
    asked = str(file if target == "file" else link)
    state = states_of([asked])
    assert states_of([asked]) == state

    def is_new() -> bool:
        nonlocal state
        before, state = state, states_of([asked])
        return changed_files(before, state) == [asked]

    file.write_text("22")
    assert is_new()
    file.chmod(0o600)
    assert is_new()
    other.rename(file)
    assert is_new()
    file.unlink()
    assert is_new()
    assert not is_new()
    file.write_text("3")
    assert is_new()


def test_a_path_that_leads_nowhere_is_a_state_too() -> None:
    assert states_of(["/no/such/file", "a\0b"]).keys() == {"/no/such/file", "a\0b"}
