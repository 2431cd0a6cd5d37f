"""Where a cluster is: plain values, which need no Dask."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Address:
    """Where a scheduler is, and the files of its encryption: an authority, a certificate, a key.

    `scheduler` is an address such as `tcp://host:8786`, or the file that `dask scheduler --scheduler-file` writes.
    """

    scheduler: str
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None

    @property
    def is_encrypted(self) -> bool:
        """Whether files of encryption were given."""
        return bool(self.tls_ca or self.tls_cert or self.tls_key)
