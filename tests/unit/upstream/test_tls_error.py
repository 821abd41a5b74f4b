"""What is said of an upstream that ends a handshake."""

import ssl

import pytest

from proxyd.upstream.tls_error import refusal


@pytest.mark.parametrize(
    ("reason", "says"),
    [
        ("WRONG_VERSION_NUMBER", "write http:// if that is meant"),
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "if it wants a client certificate, set upstream_tls.cert and key"),
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", "if it wants a client certificate, set upstream_tls.cert and key"),
        ("TLSV1_ALERT_UNKNOWN_CA", "look at upstream_tls.cert, and at the CA it trusts"),
        ("SSLV3_ALERT_BAD_CERTIFICATE", "it refused our client certificate"),
        ("SSLV3_ALERT_CERTIFICATE_EXPIRED", "it refused our client certificate"),
        ("SSLV3_ALERT_CERTIFICATE_REVOKED", "it refused our client certificate"),
        ("SSLV3_ALERT_CERTIFICATE_UNKNOWN", "it refused our client certificate"),
        ("SSLV3_ALERT_UNSUPPORTED_CERTIFICATE", "it refused our client certificate"),
        ("TLSV1_UNRECOGNIZED_NAME", "set upstream_tls.server_name to a name that it serves"),
        ("UNSUPPORTED_PROTOCOL", "it has no TLS 1.2 or newer"),
        ("TLSV1_ALERT_PROTOCOL_VERSION", "it has no TLS 1.2 or newer"),
        ("TLSV1_ALERT_INTERNAL_ERROR", "TLS with it failed (TLSV1_ALERT_INTERNAL_ERROR)"),
    ],
)
def test_the_alert_in_words(reason: str, says: str) -> None:
    error = ssl.SSLError(1, "no")
    error.reason = reason
    assert says in refusal(error)
    assert reason in refusal(error)
