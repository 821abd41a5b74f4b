"""What is known of the certificates that serve, as JSON values: a running daemon tells it to a command."""

from collections.abc import Iterable, Mapping

from proxyd.core.hostname import Hostname
from proxyd.core.lineage import Held, Lineage
from proxyd.core.moment import read_moment
from proxyd.core.renewal import Validity
from proxyd.core.status import Facts

Document = Mapping[str, object]


def held_documents(facts: Iterable[Facts]) -> list[dict[str, object]]:
    """Return one document for each certificate that serves."""
    return [_document(one.plan.lineage, one.held) for one in facts if one.held is not None]


def read_held(documents: object) -> dict[Lineage, Held]:
    """Return what `held_documents` gave; broken parts, and what another version told otherwise, are left out."""
    found = [_read(one) for one in documents if isinstance(one, Mapping)] if isinstance(documents, list) else []
    return dict(one for one in found if one is not None)


def _document(lineage: Lineage, held: Held) -> dict[str, object]:
    return {
        "host": lineage.host.text,
        "names": [name.text for name in lineage.names],
        "key_kind": lineage.key_kind,
        "not_before": held.validity.not_before.isoformat(),
        "not_after": held.validity.not_after.isoformat(),
        "serial": f"{held.serial:x}",
        "cert_id": held.cert_id,
        "issuer": held.issuer,
        "owned": held.is_owned,
        "signed_by": held.signed_by,
        "has_key": held.key_kind,
    }


def _read(document: Document) -> tuple[Lineage, Held] | None:
    begins, ends = read_moment(document.get("not_before")), read_moment(document.get("not_after"))
    names, issuer = document.get("names"), document.get("issuer")
    if begins is None or ends is None or not isinstance(names, list):
        return None
    try:
        serial = int(str(document.get("serial")), 16)
    except ValueError:
        return None
    lineage = Lineage(
        host=Hostname(str(document.get("host"))),
        names=tuple(Hostname(str(name)) for name in names),
        key_kind=str(document.get("key_kind")),
    )
    held = Held(
        validity=Validity(not_before=begins, not_after=ends),
        serial=serial,
        cert_id=str(document.get("cert_id")),
        issuer=None if issuer is None else str(issuer),
        is_owned=document.get("owned") is True,
        signed_by=str(document.get("signed_by")),
        key_kind=str(document.get("has_key", "")),
    )
    return lineage, held
