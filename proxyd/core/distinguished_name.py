"""Names of X.509 certificates in their text form (RFC 4514), to be compared and shown."""

import re

#: Relative names, the most specific first; each is a set of types and values.
DistinguishedName = tuple[frozenset[tuple[str, str]], ...]

#: Types that people write in more than one way, by the way in which they are compared.
_TYPES = {
    "E": "EMAILADDRESS",
    "1.2.840.113549.1.9.1": "EMAILADDRESS",
    "2.5.4.5": "SERIALNUMBER",
    "S": "ST",
    "2.5.4.42": "GN",
    "GIVENNAME": "GN",
    "2.5.4.4": "SN",
    "SURNAME": "SN",
    "USERID": "UID",
}
_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9-]*|[0-9]+(?:\.[0-9]+)*")
_HEX_PAIR = re.compile(r"[0-9A-Fa-f]{2}")
_SPECIAL = ' "#+,;<=>\\'


def parse_name(text: str) -> DistinguishedName:
    """Return the name that a text like `CN=alice,O=Example` stands for (RFC 4514). Raises ValueError.

    Spaces around the signs, and the case of types, mean nothing; those of values do.
    """
    names: list[frozenset[tuple[str, str]]] = []
    parts: set[tuple[str, str]] = set()
    rest = text
    while True:
        kind, equals, rest = rest.partition("=")
        kind = kind.strip(" ")
        if not equals or _TYPE.fullmatch(kind) is None:
            raise ValueError("must be a name like CN=alice,O=Example, as RFC 4514 writes it")
        value, end, rest = _value(rest)
        parts.add((_TYPES.get(kind.upper(), kind.upper()), value))
        if end != "+":
            names.append(frozenset(parts))
            parts = set()
        if not end:
            return tuple(names)


def one_line(text: str) -> bytes:
    r"""Return the text in visible ASCII: `\` and two hexadecimal digits for each other byte (RFC 4514 §2.4)."""
    return "".join(
        char if " " <= char <= "~" else "".join(f"\\{byte:02X}" for byte in char.encode("utf-8", "surrogatepass"))
        for char in text
    ).encode()


def _value(text: str) -> tuple[str, str, str]:
    """Return the value that a text begins with, the sign after it and what follows that."""
    value, length, at = bytearray(), 0, len(text) - len(text.lstrip(" "))
    if text[at : at + 1] in ("#", '"'):
        raise ValueError('has a value in quotes or as #HEX: write it as it is, with \\ before , + " \\ < > ; =')
    while at < len(text) and text[at] not in "+,":
        char = text[at]
        if char == "\\":
            pair = text[at + 1 : at + 3]
            if _HEX_PAIR.fullmatch(pair):
                value.append(int(pair, 16))
                at += 3
            elif pair[:1] and pair[0] in _SPECIAL:
                value += pair[0].encode()
                at += 2
            else:
                raise ValueError("has a \\ that stands for nothing: after it comes a sign or two hexadecimal digits")
            length = len(value)
            continue
        value += char.encode("utf-8", "surrogatepass")
        at += 1
        if char != " ":
            length = len(value)
    if not length:
        raise ValueError("has a type without a value")
    try:
        found = value[:length].decode()
    except UnicodeDecodeError:
        raise ValueError("has bytes that are no UTF-8") from None
    return found, text[at : at + 1], text[at + 1 :]
