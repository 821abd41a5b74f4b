"""Why TLS with an upstream failed, in words: which check it was, and what to do."""

import ssl

from proxyd.config.host import AuthTls, UpstreamTls

#: OpenSSL's X509_V_ERR_*.
_EXPIRED, _NOT_YET_VALID = 10, 9
_UNKNOWN_CA = {2, 18, 19, 20, 21, 27}
_WRONG_NAME, _WRONG_ADDRESS = 62, 64


def is_untrusted(error: ssl.SSLCertVerificationError) -> bool:
    """Return whether no CA that is trusted signed the certificate."""
    return error.verify_code in _UNKNOWN_CA


def tls_reason(error: ssl.SSLError, *, asked: str, options: UpstreamTls, shown: str | None = None) -> str:
    """Return what is wrong with the upstream whose certificate must be for `asked`; `shown`: the pin of its key."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        return refusal(error)
    code, detail, place = error.verify_code, error.verify_message, options.place
    is_auth = isinstance(options, AuthTls)
    if code in _UNKNOWN_CA:
        if options.ca is not None:
            why = f"no CA in {options.ca} ({place}.ca) signed it: put the root certificate of its CA there"
        else:
            why = f"this machine trusts no CA that signed it: set {place}.ca to the root certificate of its CA (PEM)"
        instead = ""
        if shown is not None and not is_auth:
            instead = f"; or, if that is its own certificate, trust its key alone: {_line(shown)}"
        return f"its certificate does not chain to a trusted CA ({detail}); {why}{instead}"
    if code in (_WRONG_NAME, _WRONG_ADDRESS):
        where = "write it in forward_auth.url as" if is_auth else "set upstream_tls.server_name to"
        return f"its certificate is not for {asked}: {where} a name that is in it"
    if code == _EXPIRED:
        return "its certificate has expired by the clock of this machine: renew it there"
    if code == _NOT_YET_VALID:
        return "its certificate is not valid yet by the clock of this machine: check both clocks"
    return f"its certificate is refused: {detail}"


def pin_reason(found: str) -> str:
    """Return that the upstream shows another key than the pinned one."""
    return f"its key is not the one in upstream_tls.pin but {found}: if that is right, write {_line(found)}"


def _line(pin: str) -> str:
    return f'`upstream_tls: {{pin: "{pin}"}}`'


def refusal(error: ssl.SSLError) -> str:
    """Return why there is no TLS with an upstream whose certificate is not the trouble."""
    reason = error.reason or str(error)
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"):
        return f"it does not speak TLS there ({reason}): write http:// if that is meant"
    if "CERTIFICATE_REQUIRED" in reason or "HANDSHAKE_FAILURE" in reason:
        return f"it refused the handshake ({reason}): if it wants a client certificate, set upstream_tls.cert and key"
    if "ALERT_UNKNOWN_CA" in reason or ("ALERT" in reason and "CERTIFICATE" in reason):  # expired, revoked, bad …
        return f"it refused our client certificate ({reason}): look at upstream_tls.cert, and at the CA it trusts"
    if "UNRECOGNIZED_NAME" in reason:
        return f"it does not serve the name ({reason}): set upstream_tls.server_name to a name that it serves"
    if reason.endswith(("UNSUPPORTED_PROTOCOL", "PROTOCOL_VERSION")):
        return f"it has no TLS 1.2 or newer ({reason}): switch that on there"
    return f"TLS with it failed ({reason})"
