"""What OpenSSL thinks of a server's certificate, without a socket."""

import ssl
from pathlib import Path


def objection(server: Path, root: str, name: str) -> str | None:
    """Return why a client that trusts `root` alone refuses the server of this PEM file as `name`; None: it does not."""
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(server)
    theirs = ssl.create_default_context(cadata=root)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = theirs.wrap_bio(back, there, server_hostname=name)
    peer = ours.wrap_bio(there, back, server_side=True)
    for _ in range(10):
        for one in (client, peer):
            try:
                one.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as error:
                return error.verify_message
            except ssl.SSLError as error:
                if one is client:
                    return str(error)
            else:
                if one is client:
                    return None
    raise AssertionError("the handshake did not end")
