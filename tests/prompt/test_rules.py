"""The rules of the prompt language one by one, each under its number in the catalogue of A1111's behaviour."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.prompt import (
    BOS,
    EMPTY_CHUNK,
    EOS,
    Break,
    NetworkTag,
    Style,
    Tokenizer,
    active,
    apply_styles,
    check_brackets,
    chunk,
    chunk_the_old_way,
    count_tokens,
    embedding_words,
    extract_styles,
    extract_tags,
    find_embeddings,
    parse_attention,
    parse_prompt,
    read_tag,
    schedule,
    split_and,
    strip_comments,
)
from modules.prompt.attention import MAX_REPEATED

TOKENIZER = Tokenizer()
COMMA = 267


def weighed(text, mode="Original"):
    return ["BREAK" if isinstance(part, Break) else (part.text, part.weight) for part in parse_attention(text, mode)]


def steps(text, count=10, **given):
    return [[entry.until, entry.text] for entry in schedule(text, count, **given)]


def parts(text):
    return [(part.text, part.weight) for part in split_and(text)]


def chunks(text, words=None, backtrack=20):
    return chunk(parse_attention(text), TOKENIZER, words, backtrack).chunks


def used(piece):
    """The tokens of a chunk between BOS and the first EOS."""
    return piece.tokens[1 : piece.tokens.index(EOS)]


def words_of(piece):
    return TOKENIZER.decode(used(piece))


# 1.0 Order


def test_phases_run_in_the_order_styles_comments_tags_and_schedule_attention_tokens():
    # P001
    styled = apply_styles("cat # (AND <lora:no:1>", ["{prompt}\n[a <lora:x:1>:b AND c:5] (d:1.2)"])
    found = parse_prompt(styled, steps=10)
    assert [tag.text for tag in found.tags] == ["<lora:x:1>"]
    assert found.parts[0][1][0].text == "cat \n[a :b"  # AND cut the schedule in two
    assert found.parts[1][1][0].text == " c:5] (d:1.2)"
    assert weighed(found.parts[1][1][0].text) == [(" c:5] ", 1.0), ("d", 1.2)]


def test_the_text_that_is_stored_has_its_styles_and_its_tags():
    # P002
    found = parse_prompt(apply_styles("a <lora:x:1>", ["in oil"]), steps=10)
    assert found.text == "a <lora:x:1>, in oil"
    assert list(found.texts()) == ["a , in oil"]


# 1.1 Attention


def test_round_brackets_multiply_by_1_1_and_square_ones_divide_nesting_multiplies():
    # P010
    assert weighed("(x)") == [("x", 1.1)] and weighed("[x]") == [("x", 1 / 1.1)]
    assert weighed("((x))") == [("x", 1.1 * 1.1)] and weighed("[[x]]") == [("x", 1 / 1.1 * (1 / 1.1))]


def test_a_number_takes_the_place_of_1_1_and_nested_numbers_multiply():
    # P011
    assert weighed("(x:1.5)") == [("x", 1.5)]
    assert weighed("((x:1.2))") == [("x", 1.2 * 1.1)]
    assert weighed("(a (b:1.5):2)") == [("a ", 2.0), ("b", 3.0)]


@pytest.mark.parametrize(
    ("number", "weight"), [(".5", 0.5), ("+1.5", 1.5), ("-1", -1.0), ("0", 0.0), (" 1.2 ", 1.2), ("1.", 1.0)]
)
def test_numbers_may_lack_digits_have_a_sign_and_spaces_around(number, weight):
    # P012
    assert weighed(f"(a:{number})") == [("a", weight)]


def test_a_weight_needs_its_closing_round_bracket():
    # P013
    assert weighed("a:1.2") == [("a:1.2", 1.0)]
    assert weighed("[a:1.2]") == [("a:1.2", 1 / 1.1)]
    assert weighed("(a:1.2") == [("a:1.2", 1.1)]
    assert weighed("(a:)") == [("a:", 1.1)]


def test_open_brackets_act_on_the_rest_and_stray_closers_are_characters():
    # P014
    assert weighed("a (b [c") == [("a ", 1.0), ("b ", 1.1), ("c", 1.1 * (1 / 1.1))]
    assert weighed("a)") == [("a)", 1.0)] and weighed("a]b") == [("a]b", 1.0)]


def test_only_the_last_number_is_the_weight():
    # P015
    assert weighed("(a:b:1.2)") == [("a:b", 1.2)]


def test_escaped_brackets_are_characters_and_other_backslashes_vanish():
    # P016
    assert weighed(r"\(a\) \[b\] \\") == [("(a) [b] \\", 1.0)]
    assert weighed(r"a\b") == [("ab", 1.0)]
    assert weighed(r"name_\(series\)") == [("name_(series)", 1.0)]
    assert steps(r"\[a:b:5\]") == [[10, r"\[a:b:5\]"]]
    assert steps(r"[a\:b:c:5]") == [[5, r"a\:b"], [10, "c"]]
    assert steps(r"[name_\(series\):dog:5]") == [[5, r"name_\(series\)"], [10, "dog"]]


def test_interleaved_brackets_each_act_until_their_own_closer():
    # P017
    assert weighed("(a[b)c]") == [("a", 1.1), ("b", 1.1 * (1 / 1.1)), ("c", 1 / 1.1)]
    assert weighed("()") == weighed("") == [("", 1.0)]


def test_a_malformed_number_is_text():
    # P018
    assert weighed("(a:1.2.3)") == [("a:1.2.3", 1.1)]


def test_neighbours_of_one_weight_are_one_text():
    # P019
    assert weighed("(x)(y)") == [("xy", 1.1)]
    words = embedding_words({"badhand": 1}, TOKENIZER)
    assert find_embeddings(parse_prompt("(bad)(hand)", steps=1), TOKENIZER, words).names == ("badhand",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(x:x3.2)", [("x x ", 1.0), ("x", pytest.approx(1.2))]),
        ("(x:x2.5)", [("x ", 1.0), ("x", 1.5)]),
        ("(x:x2)", [("x x", 1.0)]),
        ("(x:x0.8)", [("x", 0.8)]),
        ("(x:x-2.5)", [("x ", -1.0), ("x", -1.5)]),
        ("((x:x2):1.5)", [("x x", 1.5)]),
        ("(a (b:2):x2)", [("a ", 1.0), ("b", 2.0), (" a ", 1.0), ("b", 2.0)]),
        ("(a BREAK b:x2)", [("a", 1.0), "BREAK", ("b a", 1.0), "BREAK", ("b", 1.0)]),
        ("(x:x1.2.3)", [("x:x1.2.3", 1.1)]),
        ("x:x3)", [("x:x3)", 1.0)]),
    ],
)
def test_a_number_after_an_x_repeats_the_group(text, expected):
    # P020
    assert weighed(text) == expected


def test_repeating_cannot_make_a_short_text_endless():
    # P020
    text = "(" * 9 + "word" + ":x99)" * 9
    assert sum(len(piece) for piece, _ in weighed(text)) < 2 * MAX_REPEATED


def test_modes_of_emphasis():
    # P021 (what Original and No norm do with weights is the encoder's affair)
    assert weighed("(a:1.5) [b]", "None") == [("(a:1.5) [b]", 1.0)]
    assert weighed("(a:1.5) [b]", "Ignore") == [("a", 1.0), (" ", 1.0), ("b", 1.0)]
    assert weighed("(a:1.5) [b]", "No norm") == weighed("(a:1.5) [b]", "Original")


def test_the_old_way_weighs_brackets_as_tokens_and_keeps_75():
    # P024
    found = chunk_the_old_way("a ((cat)) [dog] (x:1.5)", TOKENIZER, embedding_words({}, TOKENIZER))
    told = list(zip(used(found.chunk), found.chunk.weights[1:], strict=False))
    cat, dog = TOKENIZER.encode("cat dog")
    assert dict(told)[cat] == pytest.approx(1.1 * 1.1)
    assert dict(told)[dog] == pytest.approx(1 / 1.1)
    assert TOKENIZER.decode(used(found.chunk)) == "a cat dog x : 1 . 5"  # the number is only more words
    assert found.truncated == ""


def test_the_old_way_tells_which_words_it_cut_off():
    # P024
    found = chunk_the_old_way("cat " * 74 + "ünï tipt3 dog (wolf)", TOKENIZER, embedding_words({"tipt3": 9}, TOKENIZER))
    assert len(found.chunk.tokens) == 77
    assert found.truncated.endswith("tipt 3 dog wolf")


# 1.2 Schedules


def test_a_schedule_has_from_to_and_when_and_keeps_white_space():
    # P030
    assert steps("[a:b:5]") == [[5, "a"], [10, "b"]]
    assert steps("[b:5]") == [[5, ""], [10, "b"]]
    assert steps("[a::5]") == [[5, "a"], [10, ""]]
    assert steps("a [b : c : 1] d") == [[1, "a b  d"], [10, "a  c  d"]]


def test_with_a_dot_when_is_a_share_and_without_a_step():
    # P031
    assert steps("[a:b:1]") == [[1, "a"], [10, "b"]]
    assert steps("[a:b:1.0]") == [[10, "a"]]
    assert steps("[a:b:.5]") == [[5, "a"], [10, "b"]]
    assert steps("[a:b:.57]") == [[5, "a"], [10, "b"]]  # truncated, not rounded
    assert steps("[a:b:0]") == steps("[a:b:-1]") == steps("[a:b:0.05]") == [[10, "b"]]
    assert steps("[a:b:20]") == [[10, "a"]]
    assert steps("[a:b:1.0]", old=True) == [[1, "a"], [10, "b"]]


def test_a_text_holds_while_the_count_of_calls_from_zero_is_at_most_its_step():
    # P032, V15
    entries = schedule("[a:b:5]", 10)
    assert "".join(entries[active(entries, call)].text for call in range(10)) == "aaaaaabbbb"


def test_twice_the_calls_switch_at_a_quarter_of_the_picture():
    # P033
    assert [entry.until for entry in parse_prompt("[a:b:10]", steps=40).parts[0][1]] == [10, 40]


def test_schedules_nest_and_hold_groups():
    # P034
    assert steps("a[b:[c:d:2]:1]e") == [[1, "abe"], [2, "ace"], [10, "ade"]]
    assert steps("[(a:1.1):(b:1.2):3]") == [[3, "(a:1.1)"], [10, "(b:1.2)"]]


def test_alternation_takes_the_next_option_at_each_step():
    # P035, V12, V15
    assert steps("[a|b|c]", 4) == [[1, "a"], [2, "b"], [3, "c"], [4, "a"]]
    assert [text for _, text in steps("[fe|]male", 2)] == ["female", "male"]
    assert [text for _, text in steps("[a||b]", 3)] == ["a", "", "b"]
    entries = schedule("[a|b|c]", 6)
    assert "".join(entries[active(entries, call)].text for call in range(6)) == "aabcab"


@pytest.mark.parametrize("text", ["[a|b:5]", "[a:b:c:5]", "[a:b]", "{a|b}"])
def test_what_is_almost_a_schedule_is_text(text):
    # P036
    assert steps(text) == [[10, text]]


def test_square_brackets_that_are_no_schedule_are_less_emphasis():
    # P036
    assert weighed(steps("[a:b]")[0][1]) == [("a:b", 1 / 1.1)]


def test_unbalanced_brackets_leave_a_valid_schedule_alone():
    # P037
    assert steps("((a][:b:c [d:3]") == [[3, "((a][:b:c "], [10, "((a][:b:c d"]]
    assert steps("a | [b:c:3]") == [[10, "a | [b:c:3]"]]  # this one no grammar takes


def test_in_the_hires_pass_steps_go_on_and_shares_are_of_one_to_two():
    # P038, V14
    assert steps("[a:b:12]", hires_steps=10) == [[2, "a"], [10, "b"]]
    assert steps("[a:b:1.5]", hires_steps=10) == [[5, "a"], [10, "b"]]
    assert steps("[a:b:0.5]", hires_steps=10) == [[10, "b"]]
    assert steps("[a:b:5]", hires_steps=10) == [[10, "b"]]
    assert steps("[a:b:0.5]", hires_steps=10, old=True) == [[5, "a"], [10, "b"]]
    assert steps("[a:b:1.5]", hires_steps=10, old=True) == [[1, "a"], [10, "b"]]


def test_a_tag_in_a_schedule_acts_all_the_time_and_the_rest_schedules_nothing():
    # P039
    found = parse_prompt("cat[<lora:x:1>::5]", steps=10)
    assert [tag.text for tag in found.tags] == ["<lora:x:1>"]
    assert [entry.text for entry in found.parts[0][1]] == ["cat", "cat"]


# 1.3 AND, weights, BREAK


def test_and_is_a_word_in_upper_case_and_empty_parts_stay():
    # P040, V20
    assert parts("aANDb and c") == [("aANDb and c", 1.0)]
    assert parts("a :1.2 AND b:-0.5") == [("a", 1.2), (" b", -0.5)]
    assert parts("AND b AND") == [("", 1.0), (" b", 1.0), ("", 1.0)]


def test_without_and_a_number_at_the_end_is_a_weight_too():
    # P042, V20: of the prompt alone
    assert parts("cat:3") == [("cat", 3.0)] and parts("ratio 16:9") == [("ratio 16", 9.0)]
    assert parse_prompt("ratio 16:9", steps=1, negative=True).parts[0][0] == 1.0


def test_and_comes_before_schedules_and_not_in_the_negative_prompt():
    # P043
    assert [text for text, _ in parts("[a AND b:c:3]")] == ["[a", " b:c:3]"]
    assert len(parse_prompt("a AND b", steps=1, negative=True).parts) == 1


def test_equal_texts_of_different_parts_are_one_text_and_white_space_counts():
    # P044
    assert list(parse_prompt("a AND b AND b AND b", steps=1).texts()) == ["a", " b"]


def test_break_ends_the_chunk_and_swallows_the_white_space_around():
    # P046, V02
    assert [words_of(piece) for piece in chunks("a  BREAK\n b")] == ["a", "b"]
    assert [words_of(piece) for piece in chunks("BREAK a")] == ["", "a"]
    assert [words_of(piece) for piece in chunks("a BREAK BREAK b")] == ["a", "", "b"]
    assert [words_of(piece) for piece in chunks("foo,BREAK,bar")] == ["foo ,", ", bar"]
    assert len(chunks("aBREAKb")) == 1


def test_break_within_a_weighted_group_is_a_break():
    # P047, V01: the ancestor makes a word of it, of weight -1.2
    assert weighed("(a BREAK b:1.2)") == [("a", 1.2), "BREAK", ("b", 1.2)]
    assert chunks("(a BREAK b:1.2)") == chunks("(a:1.2) BREAK (b:1.2)")
    assert weighed("a BREAK b", "None") == [("a BREAK b", 1.0)]


# 1.4 Tags


def test_a_tag_is_taken_out_whole_and_nothing_around_it():
    # P050, V30
    text, (tag,) = extract_tags("a <lora:x\ny:1>,b")
    assert (text, tag.args) == ("a ,b", ("x\ny", "1"))


@pytest.mark.parametrize("text", ["<lora:>", "<lora>", "< lora:a>", "<lo-ra:a>", "x<3 and y>2"])
def test_what_is_no_tag_is_text(text):
    # P050, V30
    assert extract_tags(text) == (text, ())


def test_a_registered_kind_may_have_a_hyphen():
    # P050
    assert extract_tags("<be-lora:a>")[1][0].kind == "lora"


def test_arguments_are_named_where_they_hold_one_equals_sign_but_the_first_is_always_a_name():
    # P051
    (tag,) = extract_tags("<lora:a=b:0.5:te=1:x=y=z>")[1]
    assert (tag.args, dict(tag.named)) == (("a=b", "0.5", "x=y=z"), {"te": "1"})


def test_an_unknown_kind_is_removed_with_a_message_and_case_counts():
    # P052
    text, (tag,) = extract_tags("a <LORA:x:1>")
    network, (problem,) = read_tag(tag)
    assert text == "a " and network is None and '"LORA" is unknown' in problem.message


@pytest.mark.parametrize(
    ("text", "te", "unet", "dyn"),
    [
        ("<lora:x>", 1.0, 1.0, None),
        ("<lora:x:0.5>", 0.5, 0.5, None),
        ("<lora:x:0.5:-2:4>", 0.5, -2.0, 4),
        ("<lora:x:unet=2:te=.5:dyn=8>", 0.5, 2.0, 8),
        ("<lora:x:0.5:te=3>", 3.0, 3.0, None),
        ("<lyco:x:0.5>", 0.5, 0.5, None),
    ],
)
def test_a_lora_has_a_strength_for_text_one_for_the_picture_and_a_rank(text, te, unet, dyn):
    # P053
    assert read_tag(extract_tags(text)[1][0]) == (NetworkTag("lora", "x", te, unet, dyn), ())


def test_a_hypernetwork_has_one_strength_and_several_come_in_order():
    # P054
    found = [read_tag(tag)[0] for tag in extract_tags("<hypernet:b:0.5><hypernet:a>")[1]]
    assert [(network.name, network.unet) for network in found] == [("b", 0.5), ("a", 1.0)]


def test_one_malformed_tag_leaves_the_others_alone():
    # P059
    found = [read_tag(tag)[0] for tag in extract_tags("<lora:a:abc><lora:b:0.5>")[1]]
    assert found == [None, NetworkTag("lora", "b", 0.5, 0.5)]


def test_a_network_that_is_always_there_is_appended_unless_it_is_named():
    # P061
    always = [NetworkTag("lora", "x", 0.7, 0.7), NetworkTag("hypernet", "x", 1.0, 1.0)]
    found = parse_prompt("cat", steps=1, always=always)
    assert found.text == "cat<lora:x:0.7><hypernet:x:1.0>"
    assert list(found.texts()) == ["cat"]
    named = parse_prompt("<lyco:x:0.2> cat # note", steps=1, always=always)
    assert [tag.text for tag in named.tags] == ["<lyco:x:0.2>", "<hypernet:x:1.0>"]
    assert parse_prompt("cat", steps=1).text == "cat"


# 1.5 Styles, comments


def test_a_style_goes_around_the_prompt_or_after_it():
    # P070, V60
    assert apply_styles("p", ["a {prompt} b {prompt}"]) == "a p b p"
    assert apply_styles(" p ", [" s "]) == "p, s"
    assert apply_styles("p", [""]) == "p" and apply_styles("", ["s"]) == "s"
    assert apply_styles("cat", ["red {prompt}", "shiny"]) == "red cat, shiny"


def test_styles_are_found_again_where_both_their_texts_fit_in_the_order_they_were_chosen():
    # P072
    styles = [Style("photo", "photo of {prompt}, 35mm", "drawing"), Style("art", "by nobody"), Style("no", "x", "y")]
    prompt = apply_styles("cat", [styles[0].prompt, styles[1].prompt])
    found = extract_styles(prompt, apply_styles("ugly", ["drawing"]), styles)
    assert found == ("cat", "ugly", ("photo", "art"))


def test_a_comment_begins_with_a_hash_at_a_lines_start_or_after_white_space():
    # P073, V40
    assert strip_comments("a # b") == "a \n"
    assert strip_comments("#x\na") == "\na"
    assert strip_comments("a\n#x\nb") == "a\nb"
    assert strip_comments(r"https://x and C# \# d") == r"https://x and C# \# d"
    assert parse_prompt("a # b", steps=1, comments=False).text == "a # b"


# 1.6 Tokens


def test_a_chunk_is_75_tokens_between_bos_and_eos_and_longer_prompts_have_more():
    # P080, P081
    found = chunks("cat " * 76)
    assert [len(used(piece)) for piece in found] == [75, 1]
    for piece in found:
        assert len(piece.tokens) == 77 and piece.tokens[0] == BOS and piece.tokens[-1] == EOS
    assert (BOS, *(EOS,) * 76) == EMPTY_CHUNK.tokens


def phrase(before, after):
    return "cat " * before + ", " + "dog " * after


def test_what_follows_a_near_comma_moves_to_the_next_chunk():
    # P082: at most so many tokens back, and the comma stays
    assert len(used(chunks(phrase(55, 20))[0])) == 56
    assert len(used(chunks(phrase(54, 21))[0])) == 75  # 21 tokens back
    assert len(used(chunks(phrase(54, 21), backtrack=21)[0])) == 55
    assert len(used(chunks(phrase(60, 20), backtrack=0)[0])) == 75


def test_a_comma_at_the_border_ends_the_chunk_before_it():
    # P082: the check waits for a token that is no comma
    found = chunks("cat " * 75 + ", dog")
    assert used(found[1])[0] == COMMA


def test_an_embedding_that_does_not_fit_goes_whole_to_the_next_chunk():
    # P083
    found = chunks("cat " * 70 + "style", {"style": 6})
    assert [[(slot.offset, slot.vectors) for slot in piece.embeddings] for piece in found] == [[], [(0, 6)]]


def test_an_embedding_longer_than_a_chunk_is_refused_with_a_message():
    # P083
    words = embedding_words({"huge": 76}, TOKENIZER)
    use = find_embeddings(parse_prompt("a huge cat", steps=1), TOKENIZER, words)
    assert use.names == () and "76 vectors" in use.notices[0]
    assert chunks("a huge cat", words) == chunks("a huge cat")


def counter(text, **given):
    found = count_tokens(parse_prompt(text, steps=20, **given), TOKENIZER)
    return f"{found.used}/{found.limit}"


def test_the_counter_counts_the_longest_variant_of_the_longest_part_without_tags():
    # P084
    assert counter("") == "0/75"
    assert counter(apply_styles("a cat", ["in oil, {prompt}"])) == "5/75"
    assert counter("a <lora:very long name:1> [cat:big red dog:0.5] AND a") == "4/75"
    assert counter("a BREAK b") == "76/150"
    assert counter("cat " * 75) == "75/75" and counter("cat " * 76) == "76/150"


def test_brackets_without_a_partner_are_explained_and_escaped_ones_are_none():
    # P085
    assert check_brackets(r"\( (a [b] {c})") == ()
    assert "2 opened but not closed" in check_brackets("((a")[0]
    assert "wrong order" in check_brackets("(a[b)c]")[0]


# 1.7 Embeddings


def named(text, vectors):
    return [
        (index, slot.name, slot.offset)
        for index, piece in enumerate(chunks(text, vectors))
        for slot in piece.embeddings
    ]


def test_words_match_on_tokens_the_longest_first_whatever_their_case_and_punctuation():
    # P090
    vectors = {"bad": 1, "bad hands": 2}
    assert named("BAD Hands, bad!", vectors) == [(0, "bad hands", 0), (0, "bad", 3)]
    assert named("embedding:bad", vectors) == [(0, "bad", len(TOKENIZER.encode("embedding:")))]
    assert named("bad (hands:1.2)", vectors) == [(0, "bad", 0)]  # not across weights


def test_a_word_shadows_an_ordinary_one_and_matches_within_phrases():
    # P091
    assert named("very bad hands", {"bad": 1}) == [(0, "bad", 1)]
    assert named("badhand", {"bad": 1}) == []
    assert named("bad", {"Bad": 1, "bad": 2}) == [(0, "bad", 0)]  # the last one wins


def test_vectors_take_the_place_of_the_words_tokens_and_its_weight():
    # P092
    (piece,) = chunks("a (style:1.5) b", {"style": 3})
    assert piece.weights[1:6] == (1.0, 1.5, 1.5, 1.5, 1.0)
    assert [(slot.offset, slot.vectors) for slot in piece.embeddings] == [(1, 3)]


# Vectors


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
            [
                ("a ", 1.0),
                ("house", 1.573),
                (" ", 1.1),
                ("on", 1.0),
                (" a ", 1.1),
                ("hill", 0.55),
                (", sun, ", 1.1),
                ("sky", 1.4641),
                (".", 1.1),
            ],
        ),  # V03
        ("(unbalanced", [("unbalanced", 1.1)]),  # V04 from here on
        (r"\(literal\]", [("(literal]", 1.0)]),
        ("(unnecessary)(parens)", [("unnecessaryparens", 1.1)]),
        (r"a\\(b)", [("a\\", 1.0), ("b", 1.1)]),
        ("(a\n:1.3)", [("a\n", 1.3)]),
        ("(:1.2)", [("", 1.0)]),
        ("()", [("", 1.0)]),
        ("[a:1.2]", [("a:1.2", 0.909)]),
    ],
)
def test_weighted_texts_are_those_of_the_vectors(text, expected):
    # V03, V04: an empty group is the one empty segment there is, of weight 1
    assert [(piece, pytest.approx(weight, abs=1e-3)) for piece, weight in expected] == weighed(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a:b:5]", [[5, "a"], [10, "b"]]),  # V10
        ("[a:b:0.5]", [[5, "a"], [10, "b"]]),
        ("[a:b:1]", [[1, "a"], [10, "b"]]),
        ("[a:b:1.0]", [[10, "a"]]),
        ("[a:b:0]", [[10, "b"]]),
        ("[a:b:0.05]", [[10, "b"]]),
        ("[a:b:-1]", [[10, "b"]]),
        ("[a:b:20]", [[10, "a"]]),
        ("[a::5]", [[5, "a"], [10, ""]]),
        ("[:b:5]", [[5, ""], [10, "b"]]),
        ("[b:5]", [[5, ""], [10, "b"]]),
        ("a [b:.5] c", [[5, "a  c"], [10, "a b c"]]),  # V11
        ("[ a : b : 3 ]", [[3, " a "], [10, " b "]]),
        ("[a:b:5e-1]", [[10, "b"]]),
        ("a: [b:c:3]", [[3, "a: b"], [10, "a: c"]]),  # V13, still scheduled
        ("((a][:b:c [d:3]", [[3, "((a][:b:c "], [10, "((a][:b:c d"]]),
        (r"[a\:b:c:5]", [[5, r"a\:b"], [10, "c"]]),
    ],
)
def test_schedules_are_those_of_the_vectors(text, expected):
    # V10, V11, V13
    assert steps(text) == expected


@pytest.mark.parametrize(
    ("text", "count", "expected"),
    [
        ("[a|b|c]", 4, ["a", "b", "c", "a"]),
        ("[|a]", 4, ["", "a", "", "a"]),
        ("[a||b]", 3, ["a", "", "b"]),
        ("[fe|||]male", 8, ["female", "male", "male", "male"] * 2),
        ("[a:[b|c]:2]", 4, ["a", "a", "b", "c"]),
    ],
)
def test_alternations_are_those_of_the_vectors(text, count, expected):
    # V12
    assert [entry for _, entry in steps(text, count)] == expected


@pytest.mark.parametrize(
    "text", ["[a|b:5]", "[a:b:c:5]", "[a:b]", r"\[a:b:5\]", "a [b:c:.5", "{a|b}", "a|b", "a [{b|d{:.5] c"]
)
def test_the_vectors_that_are_text_are_text(text):
    # V13, V16: the last one as executed with lark 1.3.1
    assert steps(text) == [[10, text]]


# No string raises, in any phase


anything = st.text() | st.text(alphabet="ab ()[]{}:|\\<>#ANDBREAKx12.=-+\n,é日\0\ud800", max_size=60)


@given(anything, anything, st.integers(1, 40), st.none() | st.integers(1, 40), st.booleans(), st.booleans())
def test_no_text_raises_in_any_phase(text, other, count, hires, old, negative):
    words = embedding_words({other: 3, "a": 80, "b": 2}, TOKENIZER)
    styles = [Style("one", text, other), Style("two", other, text), Style("three", f"{other}{{prompt}}")]
    styled = apply_styles(text, [style.prompt for style in styles])
    extract_styles(styled, text, styles)
    prompt = parse_prompt(styled, steps=count, hires_steps=hires, old_schedules=old, negative=negative)
    for tag in prompt.tags:
        read_tag(tag)
    count_tokens(prompt, TOKENIZER, words)
    find_embeddings(prompt, TOKENIZER, words)
    check_brackets(text)
    TOKENIZER.decode(TOKENIZER.encode(text))
    for entry in prompt.texts():
        chunk_the_old_way(entry, TOKENIZER, words)
        for mode in ("None", "Ignore", "Original", "No norm"):
            for piece in chunk(parse_attention(entry, mode), TOKENIZER, words, count).chunks:
                assert len(piece.tokens) == len(piece.weights) == 77
