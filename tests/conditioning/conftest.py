from __future__ import annotations

from hypothesis import settings

# A busy machine must not make an example that encodes a few rows a failure.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
