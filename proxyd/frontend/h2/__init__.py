"""HTTP/2 with clients (RFC 9113, RFC 7541): an engine of its own, without a socket, and what connects it to one."""
