"""The commented example file, made from the declarations of the options."""

import json
from collections.abc import Collection

import yaml
from pydantic.fields import FieldInfo

from proxyd.config.acme import AcmeOptions
from proxyd.config.host import HostOptions
from proxyd.config.model import Config
from proxyd.config.option import Options, nested, today

#: Beside the file, where editors look for it.
_SCHEMA = "config.schema.json"
_HEAD = f"""\
# yaml-language-server: $schema={_SCHEMA}
# The configuration of proxyd: HTTPS for every host you list.
# This is all that most people write: a host and the address of your application.
hosts:
  example.com: http://127.0.0.1:8080

# Everything else has a default, shown here. `proxyd check` says what is wrong with a file, `kill -HUP` applies it.
# Durations: 10s 5m 1h 7d. Sizes: 16KiB 10MiB. Keys that begin with x- are ignored (for anchors).
# A secret may be ${{ENV_NAME}}, file:/path or credential:NAME (systemd); $$ is a $.
# What has two # is what may stand in place of the null or {{}} above it.

"""


def example() -> str:
    """Return config.example.yaml: the smallest file, then every option with default and meaning, commented."""
    lines: list[str] = []
    _mapping(Config, "", lines, skip={"hosts", "defaults"})
    lines += ["defaults: {}    # any option of a host, for all hosts", "hosts:", "  api.example.com:"]
    _mapping(HostOptions, "    ", lines)
    return _HEAD + "".join(f"# {line}\n" for line in lines)


def _mapping(model: type[Options], indent: str, lines: list[str], *, skip: Collection[str] = ()) -> None:
    for name, field in model.model_fields.items():
        if name in skip:
            continue
        key = field.alias or name
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        if isinstance(default, Options) and today(field) is None:
            lines.append(f"{indent}{key}:{_comment(field)}")
            _mapping(type(default), indent + "  ", lines)
            continue
        lines.append(f"{indent}{key}: {_default(field)}{_comment(field)}")
        inner = nested(field.annotation)
        if inner is not None and inner is not AcmeOptions:  # its keys stand at the top
            _instead(key, inner, field, indent, lines)


def _instead(name: str, inner: type[Options], field: FieldInfo, indent: str, lines: list[str]) -> None:
    """Show the keys of a mapping that is not there by default."""
    shown: list[str] = []
    default = field.get_default(call_default_factory=True)
    if isinstance(default, dict):
        shown.append("  /PREFIX/:")
        _mapping(inner, "    ", shown)
    elif isinstance(default, tuple):
        _mapping(inner, "    ", shown)
        shown[0] = f"  - {shown[0].lstrip()}"
    else:
        _mapping(inner, "  ", shown)
    lines += [f"{indent}# {line}" for line in (f"{name}:", *shown)]


def _comment(field: FieldInfo) -> str:
    allowed = today(field)
    if allowed is None:
        later = ""
    elif not allowed:
        later = " (not in this version yet)"
    else:
        later = f" (this version: only {' or '.join(json.dumps(one) for one in allowed)})"
    return f"    # {field.description}{later}"


def _default(field: FieldInfo) -> str:
    value = field.examples[0] if field.examples else field.get_default(call_default_factory=True)
    if isinstance(value, Options):
        return "{}"
    if isinstance(value, tuple):
        shown = [json.dumps(str(one)) for one in value]
        return shown[0] if len(shown) == 1 else f"[{', '.join(str(one) for one in value)}]"
    if value is None or isinstance(value, bool | dict | list | int):
        return json.dumps(value)
    if not isinstance(value, str):
        return "0"
    is_number = not isinstance(yaml.safe_load(value), str)
    return json.dumps(value) if is_number or (value[:1].isdigit() and "." in value) else value
