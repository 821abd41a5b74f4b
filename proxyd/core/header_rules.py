"""What a proxy says to the upstream of who asks (RFC 7239). Header lines are blocks: each line after a CRLF."""


def forwarded_lines(*, client: str, host: bytes, proto: bytes) -> bytes:
    """Return the lines that tell the upstream who asks for what: what the client wrote under these names is dropped."""
    peer = client.encode()
    node = b'"[%b]"' % peer if b":" in peer else peer
    return (
        b"\r\nX-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Host: %b"
        b'\r\nForwarded: for=%b;host="%b";proto=%b' % (peer, proto, host, node, host, proto)
    )
