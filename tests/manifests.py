"""What tests that write a run's manifest by hand share."""


def unsealed(path):
    """Return the text of run.toml without the checksum in its first line, which holds as long as nobody edits it."""
    first, _, rest = path.read_text().partition("\n")
    assert first.startswith("#")
    return rest
