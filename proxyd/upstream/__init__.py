"""The servers that requests are proxied to: connections and their pool."""
