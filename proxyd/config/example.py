"""The commented example file, made from the declarations of the options."""

import json

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from proxyd.config.host import HostOptions
from proxyd.config.model import Config
from proxyd.config.option import today

_HEAD = """\
# The configuration of proxyd: HTTPS for every host you list.
# This is all that most people write: a host and the address of your application.
hosts:
  example.com: http://127.0.0.1:8080

# Everything else has a default, shown here. `proxyd check` says what is wrong with a file, `proxyd reload` applies it.
# Durations: 10s 5m 1h 7d. Sizes: 16KiB 10MiB. Keys that begin with x- are ignored (for anchors).

"""


def example() -> str:
    """Return config.example.yaml: the smallest file, then every option with default and meaning, commented."""
    lines: list[str] = []
    _mapping(Config, "", lines, skip={"hosts", "defaults"})
    lines += ["defaults: {}    # any option of a host, for all hosts", "hosts:", "  api.example.com:"]
    _mapping(HostOptions, "    ", lines, skip=set())
    return _HEAD + "".join(f"# {line}\n" for line in lines)


def _mapping(model: type[BaseModel], indent: str, lines: list[str], *, skip: set[str]) -> None:
    for name, field in model.model_fields.items():
        if name in skip:
            continue
        nested = field.get_default(call_default_factory=True) if not field.is_required() else None
        if isinstance(nested, BaseModel) and today(field) is None:
            lines.append(f"{indent}{name}:{_comment(field)}")
            _mapping(type(nested), indent + "  ", lines, skip=set())
        else:
            value = "http://127.0.0.1:9001" if name == "upstream" else _default(field)
            lines.append(f"{indent}{name}: {value}{_comment(field)}")


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
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return "{}"
    if isinstance(value, tuple):
        shown = [json.dumps(str(one)) for one in value]
        return shown[0] if len(shown) == 1 else f"[{', '.join(str(one) for one in value)}]"
    if value is None or isinstance(value, bool | dict | int):
        return json.dumps(value)
    if not isinstance(value, str):
        return "0"
    return json.dumps(value) if value[:1].isdigit() and "." in value else value
