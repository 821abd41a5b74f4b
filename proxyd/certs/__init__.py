"""Certificates and private keys as values."""
