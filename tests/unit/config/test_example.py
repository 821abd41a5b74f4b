"""The example has every key, with its default, and editors know them."""

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any, get_args

import pytest
import yaml

from proxyd.config.alert import AlertOptions
from proxyd.config.document import Document
from proxyd.config.example import example
from proxyd.config.host import HostOptions
from proxyd.config.load import load, parse
from proxyd.config.model import Config
from proxyd.config.option import Options
from proxyd.config.schema import schema
from tests.support.daemon import ROOT


def test_the_files_are_what_the_declarations_say() -> None:
    assert (ROOT / "config.example.yaml").read_text() == example(), "run: proxyd config example > config.example.yaml"
    made = json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"
    assert (ROOT / "config.schema.json").read_text() == made, "run: proxyd config schema > config.schema.json"
    assert len(load(ROOT / "config.example.yaml").names) == 1
    (referenced,) = re.findall(r"^# yaml-language-server: \$schema=(.*)$", example().splitlines()[0])
    assert (ROOT / referenced).is_file()


def lines_of_the_reference() -> list[str]:
    lines = [line.removeprefix("# ") for line in example().splitlines() if line.startswith("# ")]
    return lines[next(index for index, line in enumerate(lines) if line.startswith("include")) :]


def commented(lines: list[str]) -> Iterator[list[str]]:
    """Yield what stands in place of the line above it, without its #; what is in it in such a way, too."""
    block: list[str] = []
    for line in [*lines, ""]:
        found = re.fullmatch(r"( *)# (.*)", line)
        if found:
            block.append(found[2])
        elif block:
            yield [one for one in block if not re.fullmatch(r" *# .*", one)]
            yield from commented(block)
            block = []


def plain(lines: list[str]) -> dict[str, Any]:
    found = Document("\n".join(line for line in lines if not re.fullmatch(r" *# .*", line)))
    assert isinstance(found.data, dict)
    assert not found.mistakes
    return found.data


def test_the_reference_has_every_key_and_its_real_default() -> None:
    data = plain(lines_of_the_reference())
    hosts = data.pop("hosts")
    assert Config.model_fields.keys() == {*data, "hosts"}
    assert Config.model_validate({**data, "hosts": {}}) == Config.model_validate({"hosts": {}})
    (host,) = hosts.values()
    assert host.keys() == HostOptions.model_fields.keys()
    assert HostOptions.model_validate({**host, "upstream": []}) == HostOptions()
    for name, found, kind in walked(Config, data) | walked(HostOptions, host):
        assert found == kind.model_fields.keys(), name


def walked(model: type[Options], data: dict[str, Any]) -> set[tuple[str, frozenset[str], type[Options]]]:
    found = set()
    for name, field in model.model_fields.items():
        if data.get(name) and isinstance(default := field.get_default(), Options):
            found.add((name, frozenset(data[name]), type(default)))
            found |= walked(type(default), data[name])
    return found


def reachable(model: type[Options], found: set[type[Options]]) -> set[type[Options]]:
    def search(annotation: object) -> None:
        if isinstance(annotation, type) and issubclass(annotation, Options):
            if annotation not in found:
                found.add(annotation)
                reachable(annotation, found)
        else:
            for one in get_args(annotation):
                search(one)

    for field in model.model_fields.values():
        search(field.annotation)
        for one in field.metadata:
            search(one)
    return found


def test_mappings_that_are_not_there_by_default_have_every_key_and_its_real_default_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("EAB_KEY", "SMTP_PASSWORD"):
        monkeypatch.setenv(name, "key")
    there = {type(one) for one in defaults(Config)} | {type(one) for one in defaults(HostOptions)}
    alternatives = [mapping for block in commented(lines_of_the_reference()) for mapping in innermost(plain(block))]
    for model in reachable(Config, set()) - there - {HostOptions}:
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        fitting = [one for one in alternatives if one.keys() == fields.keys()]
        assert fitting, f"the example has no {model.__name__}"
        needed = {key: fitting[0][key] for key, field in fields.items() if field.is_required() or field.examples}
        expected = model.model_validate(needed)
        if model is AlertOptions:  # each key goes with some of the others only
            others = {"webhook": needed["webhook"]}, {"exec": ["/bin/true"]}, {"heartbeat": needed["webhook"]}
            for key in fields.keys() - {"webhook", "exec", "mail", "heartbeat"}:
                assert any(is_default(model, one, {key: fitting[0][key]}) for one in others), key
        else:
            assert model.model_validate(fitting[0]) == expected, model


def is_default(model: type[Options], written: dict[str, Any], more: dict[str, Any]) -> bool:
    with contextlib.suppress(ValueError):
        return model.model_validate({**written, **more}) == model.model_validate(written)
    return False


def defaults(model: type[Options]) -> Iterator[Options]:
    for field in model.model_fields.values():
        if not field.is_required() and isinstance(default := field.get_default(call_default_factory=True), Options):
            yield default
            yield from defaults(type(default))


def innermost(data: dict[str, Any]) -> Iterator[dict[str, Any]]:
    (value,) = data.values()
    if isinstance(value, list):
        value = value[0]
    yield value
    if len(value) == 1 and isinstance(next(iter(value.values())), dict):
        yield next(iter(value.values()))


def test_the_reference_is_a_configuration_where_it_works_today() -> None:
    lines = [line for line in lines_of_the_reference() if "this version" not in line]
    assert parse(yaml.safe_dump(plain(lines)), "f").names
