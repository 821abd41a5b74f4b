"""What header fields say of a client's certificate: one line, in which nothing can look like something else."""

from proxyd.core.client_identity import ClientIdentity


def test_values_are_one_line_of_visible_ascii() -> None:
    odd = ClientIdentity(
        subject="CN=Jörg\r\nX-Admin: yes",
        issuer="CN=CA",
        serial="1f",
        alternatives=(("DNS", 'a.example, DNS:root.example"'), ("URI", "urn:a,b%2C\\"), ("email", "ö@example.com")),
        fingerprint="ab" * 32,
        not_after="2030-01-01T00:00:00Z",
    )
    assert odd.told("subject") == rb"CN=J\C3\B6rg\0D\0AX-Admin: yes"
    san = rb"DNS:a.example\2C\20DNS:root.example\22, URI:urn:a\2Cb%2C\5C, email:\C3\B6@example.com"
    assert odd.told("san") == san
    assert odd.told("serial") == b"1f"
    assert odd.told("not_after") == b"2030-01-01T00:00:00Z"
    assert str(odd) == r"CN=J\C3\B6rg\0D\0AX-Admin: yes"
