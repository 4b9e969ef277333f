"""``python -m tests.attacks``: write the table of attacks into ``docs/security.rst``."""

from __future__ import annotations

from tests.attacks.table import write

if __name__ == "__main__":
    write()
