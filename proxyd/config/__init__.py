"""What the user wrote: YAML text to one frozen, typed `Config`, every mistake with its place."""
