"""Included files: their hosts are added, and what is wrong in them is said with their names."""

import os
from pathlib import Path

import pytest

from proxyd.config.document import ConfigError
from proxyd.config.load import load
from proxyd.core.hostname import Hostname


def write(directory: Path, **files: str) -> Path:
    """Write files, `conf_d__x` as conf.d/x.yaml; return the main one."""
    for name, text in files.items():
        file = directory / (name.replace("conf_d__", "conf.d/") + ".yaml")
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    return directory / "main.yaml"


def mistakes(file: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(file)
    return str(caught.value).splitlines()


def test_the_hosts_of_all_are_served_with_the_defaults_of_the_main_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(
        tmp_path,
        main="include: [conf.d/*.yaml, more.yaml]\ndefaults: {max_body: 7}\nhosts:\n  a.example.com: 1\n",
        conf_d__b="hosts:\n  b.example.com: 2\n",
        conf_d__empty="# nothing yet\n",
        more="x-base: &base {upstream: 3}\nhosts:\n  c.example.com: *base\n",
    )
    (tmp_path / "conf.d" / ".b.yaml.swp").write_text("no: [yaml")
    (tmp_path / "conf.d" / "directory.yaml").mkdir()
    config = load(file)
    assert [host.text for host in config.names] == ["a.example.com", "b.example.com", "c.example.com"]
    assert {options.max_body for options in config.names.values()} == {7}
    assert len(config.origin.stamps) == 4
    monkeypatch.chdir(tmp_path)
    assert load(Path("main.yaml")).origin == config.origin, "relative to the file, not to where we stand"


def test_all_hosts_may_be_elsewhere_and_a_pattern_may_match_nothing(tmp_path: Path) -> None:
    file = write(tmp_path, main="include: '*.yaml'\n", b="hosts: {b.example.com: 2}\n")
    assert [*load(file).names] == [Hostname("b.example.com")]
    (tmp_path / "b.yaml").unlink()
    assert mistakes(file)[0].startswith(f"{file}:1:1: hosts: needs at least one host")


def test_each_mistake_has_the_place_where_it_was_made(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        main="include: [conf.d/*.yaml]\nhosts:\n  a.example.com: {upstream: 1, drian: 2}\n",
        conf_d__b="hosts:\n  b.example.com:\n    upstream: 2\n    max_body: many\n",
        conf_d__c="hosts: [\n",
        conf_d__d="drain: 5s\nhosts:\n  d.example.com: 4\n",
        conf_d__e="- e.example.com\n",
        conf_d__f="hosts: [f.example.com]\n",
    )
    found = mistakes(file)
    conf = tmp_path / "conf.d"
    assert len(found) == 6
    assert found[0].startswith(f"{file}:3:32: hosts.a.example.com.drian: unknown key")
    assert found[1].startswith(f"{conf}/b.yaml:4:15: hosts.b.example.com.max_body: must be a size")
    assert found[2].startswith(f"{conf}/c.yaml:2:1: YAML syntax: ")
    assert found[3] == f"{conf}/d.yaml:1:1: drain: an included file has hosts only: move this to {file}"
    assert found[4] == f"{conf}/e.yaml:1:1: an included file must be a mapping with hosts"
    assert found[5].startswith(f"{conf}/f.yaml:1:1: hosts: must be a mapping")


def test_a_host_in_two_files_is_told_with_both_places(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        main="include: [b.yaml, c.yaml]\nhosts:\n  a.example.com: 1\n",
        b="hosts:\n\n  a.example.com: 2\n  b.example.com: 2\n",
        c="hosts:\n  B.example.com: 3\n  c.example.com: {upstream: 3, aliases: [a.example.com]}\n",
    )
    b, c = tmp_path / "b.yaml", tmp_path / "c.yaml"
    assert mistakes(file) == [
        f"{b}:3:3: hosts.a.example.com: a.example.com is listed twice: also in {file}:3:3; remove one",
        f"{c}:2:3: hosts.B.example.com: b.example.com is listed twice: also under b.example.com ({b}:4:3); remove one",
        f"{c}:3:3: hosts.c.example.com: a.example.com is listed twice: also under a.example.com ({file}:3:3); "
        "remove one",
    ]


@pytest.mark.parametrize(
    ("include", "says"),
    [
        ("[no.yaml]", "main.yaml:1:11: include[0]: {0}/no.yaml: there is no such file: name a file, or a pattern"),
        ("no.yaml", "main.yaml:1:10: include: {0}/no.yaml: there is no such file"),
        ("[main.yaml]", "main.yaml:1:11: include[0]: {0}/main.yaml: is this file itself"),
        ("[conf.d]", "main.yaml:1:11: include[0]: {0}/conf.d: is a directory: name a file, or a pattern"),
        ("[pipe.*]", "main.yaml:1:11: include[0]: {0}/pipe.yaml: is no file: include only configuration files"),
        ("[latin.*]", "main.yaml:1:11: include[0]: {0}/latin.yaml: is not UTF-8 text (byte 2): save it as UTF-8"),
        ("[gone.*]", "main.yaml:1:11: include[0]: {0}/gone.yaml: No such file or directory"),
        ("[7]", "main.yaml:1:11: include[0]: must be text (written: 7)"),
        ("['']", "main.yaml:1:11: include[0]: "),
    ],
)
def test_what_cannot_be_included(tmp_path: Path, include: str, says: str) -> None:
    file = write(tmp_path, main=f"include: {include}\nhosts:\n  a.example.com: 1\n", conf_d__b="")
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"# \xe9\n")
    (tmp_path / "gone.yaml").symlink_to("nowhere")
    (found,) = mistakes(file)
    assert found.startswith(f"{tmp_path}/{says.format(tmp_path)}")


def test_where_it_came_from_tells_a_change_of_any_file(tmp_path: Path) -> None:
    main = "include: [conf.d/*]\nhosts: {a.example.com: 1}\n"
    file = write(tmp_path, main=main, conf_d__b="hosts: {b.example.com: 2}")
    origin = load(file).origin
    assert origin.now() == origin.stamps
    write(tmp_path, conf_d__c="")
    assert origin.now().keys() - origin.stamps.keys() == {str(tmp_path / "conf.d" / "c.yaml")}
    (tmp_path / "conf.d" / "c.yaml").unlink()
    (tmp_path / "conf.d" / "b.yaml").rename(tmp_path / "conf.d" / "x")
    (tmp_path / "conf.d" / "b.yaml").write_text("hosts: {b.example.com: 3}")
    assert origin.now() != origin.stamps
