from __future__ import annotations

import pytest

from netpick.sessions.workers import cluster_stream


@pytest.fixture
def short_waits(monkeypatch):
    """Look soon whether the worker of results that don't come is there: where it has gone, waiting is all there is."""
    monkeypatch.setattr(cluster_stream, "GATHER_SECONDS", 0.5)
