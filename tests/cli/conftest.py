from __future__ import annotations

import pytest

from netpick.cli import app


@pytest.fixture
def call(capsys):
    """Call the command line in this process; return exit code, standard output and error."""

    def run(*words):
        with pytest.raises(SystemExit) as end:
            app.main([str(word) for word in words])
        return end.value.code, *capsys.readouterr()

    return run
