"""Certificates from a CA: the ACME protocol, challenge answers, and the renewer that decides when."""
