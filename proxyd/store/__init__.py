"""Where certificates and state live: bytes by key, and a typed face over them."""
