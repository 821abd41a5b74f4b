"""What the documents say exists: configurations load, links lead somewhere, commands parse, messages are real."""

import ast
import contextlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from proxyd.cli.main import cli
from proxyd.config.host import HostOptions
from proxyd.config.load import parse
from proxyd.config.model import Config
from tests.support.daemon import ROOT
from tests.support.documents import (
    Snippet,
    codes,
    commands,
    commands_below,
    documents,
    examples,
    links,
    mentions,
    snippets,
)

DOCUMENTS = documents()
HOSTS = {"example.com": "http://127.0.0.1:8080"}
SECRET = re.compile(r"\$\{(\w+)\}|file:(/[\w./-]+)|credential:([\w.-]+)")
#: What Prometheus reads is YAML too.
PROMETHEUS = {"scrape_configs", "rule_files", "groups"}
PLACES = ("proxyd/", "docs/", "tests/", "scripts/", "systemd/", "requirements/", "pebble/", "bench/", "adr/")
ENDS = (".py", ".md", ".yaml", ".json", ".service", ".socket", ".path", ".lock")


def configurations() -> Iterator[Snippet]:
    for file in DOCUMENTS:
        for one in snippets(file):
            data = yaml.safe_load(one.text) if one.kind == "yaml" else None
            if isinstance(data, dict) and not data.keys() & PROMETHEUS:
                yield one


@pytest.mark.parametrize("one", list(configurations()), ids=str)
def test_every_configuration_in_the_documents_loads(
    one: Snippet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _load(one.text, tmp_path, monkeypatch)


@pytest.mark.parametrize("file", DOCUMENTS, ids=str)
def test_every_option_within_the_text_loads(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for code in codes(file):
        key, colon, value = code.partition(": ")
        if not colon or not value or re.search("…|URL", code) or not re.fullmatch(r"[a-z_]+(\.[a-z_]+)*", key):
            continue
        *outer, last = key.split(".")
        option: Any = {last: yaml.safe_load(value)}
        for name in reversed(outer):
            option = {name: option}
        first = next(iter(option))
        if first in Config.model_fields:
            _load(yaml.safe_dump(option), tmp_path, monkeypatch)
        elif first in HostOptions.model_fields:
            host = {"a.example.org": {"upstream": 8080, **option}}
            _load(yaml.safe_dump({"hosts": host}), tmp_path, monkeypatch)


@pytest.mark.parametrize("file", DOCUMENTS, ids=str)
def test_every_link_leads_somewhere(file: Path) -> None:
    for link in links(file):
        path, _, anchor = link.partition("#")
        target = (ROOT / file).parent / path if path else ROOT / file
        assert target.exists(), f"{file}: {link}"
        if anchor:
            assert anchor in _anchors(target), f"{file}: {link}"


@pytest.mark.parametrize("file", DOCUMENTS, ids=str)
def test_every_file_and_test_that_is_named_exists(file: Path) -> None:
    for code in codes(file):
        path, _, test = code.partition("::")
        if path.startswith(PLACES) and path.endswith(ENDS) and "*" not in path:
            places = (ROOT / path, ROOT / "proxyd" / path, (ROOT / file).parent / path)
            found = next((one for one in places if one.exists()), None)
            assert found, f"{file}: {code}"
            assert not test or f"def {test}(" in found.read_text("utf-8"), f"{file}: {code}"


def test_the_index_names_every_document() -> None:
    named = {link.partition("#")[0] for link in links(Path("docs/README.md"))}
    missing = {one.name for one in (ROOT / "docs").glob("*.md")} - named - {"README.md"}
    assert not missing, f"docs/README.md does not say what they are for: {sorted(missing)}"


@pytest.mark.parametrize("file", DOCUMENTS, ids=str)
def test_every_command_in_the_documents_exists(file: Path) -> None:
    for arguments in commands(file):
        _parse(arguments)
    for arguments in mentions(file):
        with contextlib.suppress(click.MissingParameter):
            _parse(arguments)


@pytest.mark.parametrize("command", list(commands_below(cli)), ids=lambda command: str(command.name))
def test_the_help_of_every_command_has_examples_that_parse(command: click.Command) -> None:
    shown = list(examples(command))
    assert shown, "its help shows no example"
    for arguments in shown:
        _parse(arguments)


def test_every_message_of_the_troubleshooting_page_is_one_of_the_program() -> None:
    page = (ROOT / "docs/troubleshooting.md").read_text("utf-8")
    messages = re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)
    assert len(messages) > 60
    strangers = [one for one in messages if not any(_is_said(one, text) for text in _texts())]
    assert not strangers, strangers


def _load(text: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = directory / "secrets"
    secrets.mkdir(exist_ok=True)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(secrets))
    for variable, file, credential in SECRET.findall(text):
        if variable:
            monkeypatch.setenv(variable, "secret")
        elif credential:
            (secrets / credential).write_text("secret")
        else:
            (secrets / Path(file).name).write_text("secret")
            text = text.replace(file, str(secrets / Path(file).name))
    keys = yaml.safe_load(text).keys()
    if keys <= HostOptions.model_fields.keys() - Config.model_fields.keys():  # of one host
        text = yaml.safe_dump({"hosts": {"a.example.org": {"upstream": 8080, **yaml.safe_load(text)}}})
    elif "hosts" not in keys:
        text += yaml.safe_dump({"hosts": HOSTS})
    parse(text, "snippet")


def _parse(arguments: list[str]) -> None:
    """Parse as the program does. Raises click.UsageError."""
    command: click.Command = cli
    while isinstance(command, click.Group) and not arguments[0].startswith("-"):
        _, found, arguments = command.resolve_command(click.Context(command), arguments)
        assert found is not None
        command = found
    with contextlib.suppress(click.exceptions.Exit):  # --help, --version
        command.make_context(command.name, arguments)


def _anchors(file: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", file.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


@cache
def _texts() -> tuple[str, ...]:
    """Return the texts in the program, with … where a value stands."""
    found = []
    for file in (ROOT / "proxyd").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
            elif isinstance(node, ast.JoinedStr):
                parts = (one.value if isinstance(one, ast.Constant) else "…" for one in node.values)
                found.append("".join(map(str, parts)))
    return tuple(found)


def _is_said(message: str, text: str) -> bool:
    """Return whether the fixed parts of a message stand in a text, in this order."""
    place = 0
    for part in (one.strip() for one in message.split("…")):
        found = text.find(part, place)
        if found < 0:
            return False
        place = found + len(part)
    return True
