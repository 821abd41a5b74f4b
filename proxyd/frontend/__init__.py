"""Bytes from a downstream to an Exchange: listeners, the hello gate, HTTP/1.1 by aiohttp's server, port 80."""
