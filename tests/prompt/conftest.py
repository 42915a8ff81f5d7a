from __future__ import annotations

import pytest

from modules.prompt import Tokenizer


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return Tokenizer()
