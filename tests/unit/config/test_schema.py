"""What an editor marks by the schema is wrong; what the file takes, it does not mark."""

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from proxyd.config.document import ConfigError, Document
from proxyd.config.example import example
from proxyd.config.host import HostOptions
from proxyd.config.load import parse
from proxyd.config.model import Config
from proxyd.config.schema import schema

HOST = "hosts: {a.example.com: 80}\n"


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    made = schema()
    Draft202012Validator.check_schema(made)
    return Draft202012Validator(made)


def test_every_key_is_named() -> None:
    made = schema()
    assert made["properties"].keys() == Config.model_fields.keys()
    assert made["$defs"]["HostOptions"]["properties"].keys() == HostOptions.model_fields.keys()


def test_the_example(validator: Draft202012Validator) -> None:
    validator.validate(Document(example()).data)


@pytest.mark.parametrize(
    "text",
    [
        HOST,
        "hosts: {a.example.com: 'http://127.0.0.1:8080', b.example.com: [8080, ':81']}",
        "hosts: {a.example.com: {upstream: [80, 'unix:/a'], maintenance: true, redirect: null}}",
        "hosts: {a.example.com: {redirect: 'https://b.example.com'}, b.example.com: {redirect: {to: 'https://c.example.com'}}}",
        "hosts: {a.example.com: {upstream: 80, paths: {/a/: 81, /b/: {redirect: /c/}, /d/: [1, 2]}}}",
        "hosts: {a.example.com: {upstream: 80, maintenance: {retry_after: 5m}, max_body: 10MiB, timeouts: {idle: 0}}}",
        "defaults: {upstream: 80}\nhosts: {a.example.com: }",
        HOST + "admin:\nlog: {access: false}\nlisten: {https: [443, ':8443'], http: []}",
        HOST + "log: {access: {format: combined, file: /a, client: none}}",
        HOST + "workers: 3\ntrusted_proxies: [private, 192.0.2.0/24]\nacme: {key_type: [p256, rsa2048]}",
        HOST
        + "acme: {key_type: [p256], server: zerossl, eab: {kid: a, hmac_key: b}, fallback: [{server: letsencrypt}]}",
        HOST + "limits: {max_header: 20000}\ndrain: 1m30s\nx-base: {upstream: 1}\nresolvers: 9.9.9.9",
    ],
)
def test_what_the_file_takes(text: str, validator: Draft202012Validator) -> None:
    assert parse(text, "f").hosts
    data = Document(text).data
    assert isinstance(data, dict)
    validator.validate({"x-anchors": 1, **data})


@pytest.mark.parametrize(
    "text",
    [
        "cache: /tmp",
        HOST + "cahce: /tmp",
        HOST + "log: {format: xml}",
        HOST + "workers: many",
        HOST + "listen: {http2: 3}",
        "hosts: {a.example.com: {upstream: 80, timeouts: {conect: 3s}}}",
        "hosts: {a.example.com: {upstream: 80, paths: {/a/: {strip: 3}}}}",
        "hosts: {a.example.com: {upstream: 80, maintenance: {pages: a}}}",
    ],
)
def test_what_is_wrong_and_seen_without_the_daemon(text: str, validator: Draft202012Validator) -> None:
    assert not validator.is_valid(Document(text).data)
    with pytest.raises(ConfigError):
        parse(text, "f")
