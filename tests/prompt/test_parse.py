from __future__ import annotations

import gc
import pickle
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.prompt import Scheduled, chunk, parse_attention, parse_prompt


def test_phases_come_in_the_order_of_the_reference():
    found = parse_prompt("a # note AND x\n[cat:dog:5] <lora:a:1> AND b:0.5", steps=10)
    assert found.parts == (
        (1.0, (Scheduled(5, "a \ncat"), Scheduled(10, "a \ndog"))),
        (0.5, (Scheduled(10, " b"),)),
    )
    assert [tag.text for tag in found.tags] == ["<lora:a:1>"]


def test_the_text_is_kept_without_its_comments():
    assert parse_prompt("a <lora:x:1> # note\nAND b", steps=10).text == "a <lora:x:1> \nAND b"


def test_a_negative_prompt_is_not_split_and_has_no_weight_but_its_tags_are_taken():
    found = parse_prompt("a AND b:2 <lora:x:1>", steps=10, negative=True)
    assert found.parts == ((1.0, (Scheduled(10, "a AND b:2 "),)),)
    assert len(found.tags) == 1


def test_a_tag_in_a_schedule_acts_all_the_time_and_leaves_nothing_behind():
    found = parse_prompt("cat [<lora:x:1>::5]", steps=10)
    assert [entry.text for entry in found.parts[0][1]] == ["cat ", "cat "]
    assert len(found.tags) == 1


def test_a_parsed_prompt_is_a_value():
    one, other = (parse_prompt("[a|b] <lora:x:1:te=2> AND c", steps=10) for _ in range(2))
    assert one == other == pickle.loads(pickle.dumps(one))
    assert hash(one) == hash(other)


@given(st.text() | st.text(alphabet="ab ()[]:|\\<>#ANDBREK12.=\n,", max_size=80), st.integers(1, 30), st.booleans())
def test_no_text_is_an_error(text, steps, negative):
    found = parse_prompt(text, steps=steps, negative=negative)
    assert found.parts
    for part in found.texts():
        assert parse_attention(part)


PROMPTS = {
    "words": "masterpiece{n} ",
    "weights": "(word{n}:1.1), ",
    "tags": "<lora:name{n}:0.5> x ",
    "schedules": "[cat{n}:dog:{m}] ",
    "alternations": "[cat{n}|dog] ",
    "parts": "cat{n} AND ",
    "breaks": "cat{n} BREAK ",
    "commas": "é{n}, ",
    "open brackets": "(a{n} ",
    "open squares": "[a:{n} ",
    "groups that fit no rule": "(a:b:c{n}) ",
    "half tags": "<a:{n} ",
    "colons": "a{n}: ",
    "spaces": "                ",
    "embeddings": "bad{n} ",
    "backslashes": "\\\\",
    "hashes": "# ",
    "lines of comment": "#\n",
}


def seconds(kind, count, tokenizer):
    text = "".join(PROMPTS[kind].format(n=n % 997, m=n % 20) for n in range(count))
    started = time.process_time()
    first = next(parse_prompt(text, steps=20).texts())
    chunk(parse_attention(first), tokenizer, {"bad": 2, "bad 1": 3})
    return time.process_time() - started


@pytest.fixture
def stopwatch(tokenizer):
    """`seconds`, with the tokeniser read and without collections of the garbage that other tests left."""
    tokenizer.encode("")
    gc.disable()
    yield lambda kind, count: seconds(kind, count, tokenizer)
    gc.enable()


@pytest.mark.parametrize("kind", ["words", "weights", "tags", "commas"])
def test_ten_thousand_words_are_read_in_half_a_second(kind, stopwatch):
    assert min(stopwatch(kind, 10_000) for _ in range(4)) < 0.5


@pytest.mark.parametrize("kind", PROMPTS)
def test_twice_the_words_take_at_most_2_2_times_as_long_also_for_hostile_text(kind, stopwatch):
    once, twice = [], []
    for _ in range(20):  # the fastest runs tell the truth; a busy machine needs more of them to show it
        once.append(stopwatch(kind, 5_000))
        twice.append(stopwatch(kind, 10_000))
        if min(twice) <= max(2.2 * min(once), 0.005):
            return
    pytest.fail(f"{min(once):.3f} s became {min(twice):.3f} s")
