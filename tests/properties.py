"""How much the property tests try."""

from __future__ import annotations

from hypothesis import settings

#: Enough examples to find what there is, few enough for a quick run; no deadline, as machines of CI are slow.
moderately = settings(deadline=None, max_examples=200)
