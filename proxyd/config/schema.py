"""The JSON Schema of the file, for editors: they complete keys, show what they mean, and mark mistakes."""

from typing import Any

from proxyd.config.model import Config
from proxyd.config.option import TODAY

_ID = "https://json-schema.org/draft/2020-12/schema"
_TITLE = "The configuration of proxyd"


def schema() -> dict[str, Any]:
    """Return the schema. It is wider than the file's own checks where JSON Schema cannot say it, never narrower."""
    found = _told(Config.model_json_schema())
    return {"$schema": _ID, **found, "title": _TITLE}


def _told(node: Any) -> Any:
    """Return the same as a person writes it: null for an empty mapping, keys for anchors, what works today."""
    if isinstance(node, list):
        return [_told(one) for one in node]
    if not isinstance(node, dict):
        return node
    found = {key: _told(one) for key, one in node.items() if key != TODAY}
    if "$ref" in found or found.get("type") == "object":
        found.pop("default", None)  # those of its keys are with them
    if node.get("additionalProperties") is False:
        found["type"] = ["object", "null"]
        found["patternProperties"] = {"^x-": {}}
        found["properties"] = {key: _untitled(one) for key, one in found["properties"].items()}
    if (allowed := node.get(TODAY)) is not None:
        found = {"description": f"{node['description']} (not in this version yet)", "enum": allowed or [None]}
    return found


def _untitled(option: dict[str, Any]) -> dict[str, Any]:
    return {key: one for key, one in option.items() if key != "title"}
