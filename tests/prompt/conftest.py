from __future__ import annotations

import pytest
from hypothesis import settings

from modules.prompt import Tokenizer

# The first example that tokenises also reads the vocabulary; a busy machine must not make that a failure.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return Tokenizer()
