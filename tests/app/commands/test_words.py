"""The words of the commands: every declared parameter is a flag."""

from __future__ import annotations

from pathlib import Path

import pytest

from modules.app.commands.words import MADE_OTHERWISE, PICTURES, REQUESTS, Order, read
from modules.app.options import BadFlag
from modules.params import BadFile, Img2ImgRequest, Param, Settings, Txt2ImgRequest, make_request, parameters
from tests.api.conftest import png

FLAGS = [
    (task, param)
    for task, request in REQUESTS.items()
    for param in parameters(request).values()
    if param.name not in (*MADE_OTHERWISE, *PICTURES)
]
NAMED = {
    "sampler_name": "Euler a",
    "scheduler": "Karras",
    "hr_upscaler": "Lanczos",
    "hr_sampler_name": "DDIM",
    "hr_scheduler": "Simple",
}


def order(*words: str, environ: dict[str, str] | None = None) -> Order:
    return read(words, environ or {})


def other(param: Param) -> tuple[list[str], object]:
    """Words that give the parameter another value than its default, and that value."""
    if param.kind is bool:
        value = not param.default
        return ([] if value else ["no"]), value
    if param.names:
        return [param.names[-1].upper()], len(param.names) - 1
    if param.kind is tuple:
        return ["film"], ["film"]
    if param.kind is str:
        name = NAMED.get(param.name, "word")
        return [name], name
    value = (param.ge or 0) + (64 if param.kind is int else 0.5)
    return [str(param.kind(value))], param.kind(value)


@pytest.mark.parametrize(("task", "param"), FLAGS, ids=lambda value: value if isinstance(value, str) else value.name)
def test_every_parameter_has_a_flag_under_both_spellings(task: str, param: Param) -> None:
    words, value = other(param)
    for spelling in (param.name, param.name.replace("_", "-")):
        flag = [f"--no-{spelling}"] if words == ["no"] else [f"--{spelling}", *words]
        assert order(task, *flag, "a cat").fields[param.name] == value
        assert order(task, "a cat", *flag).fields["prompt"] == "a cat"
    assert param.name not in order(task, "a cat").fields


def test_a_whole_command_is_a_request(tmp_path: Path) -> None:
    told = order("txt2img", "a cat, (fine:1.2)", "--steps", "9", "--seed", "-1", "--cfg-scale", "2.5", "--tiling",
        "--styles", "ink", "--styles", "film", "--settings", "CLIP_stop_at_last_layers=2",
        "--settings", "eta_ancestral=0.5", "--settings", "img2img_fix_steps=true", "--settings", "sd_vae=None",
        "--data-dir", str(tmp_path), "--device", "cpu", "-o", "out.webp", "--json")  # fmt: skip
    request = make_request(told.fields)
    assert isinstance(request, Txt2ImgRequest)
    assert (request.prompt, request.steps, request.seed, request.cfg_scale) == ("a cat, (fine:1.2)", 9, -1, 2.5)
    assert (request.tiling, request.styles, request.save_images) == (True, ("ink", "film"), False)
    assert request.override_settings == {
        "CLIP_stop_at_last_layers": 2,
        "eta_ancestral": 0.5,
        "img2img_fix_steps": True,
        "sd_vae": "None",
        "samples_format": "webp",
    }
    assert Settings().requested(request.override_settings).eta_ancestral == 0.5
    assert (told.options.data_dir, told.options.device, told.as_json) == (tmp_path.resolve(), "cpu", True)


def test_the_servers_flags_may_stand_before_the_prompt_and_in_the_environment(tmp_path: Path) -> None:
    told = order(
        "txt2img",
        "--data-dir",
        str(tmp_path),
        "--auth",
        "ann:a:b",
        "a cat",
        environ={"COMMANDLINE_ARGS": "--device cpu"},
    )
    assert told.fields["prompt"] == "a cat"
    assert (told.options.data_dir, told.options.device) == (tmp_path.resolve(), "cpu")
    assert told.login == ("ann", "a:b")


def test_the_login_of_the_server_here_is_not_told_to_another(tmp_path: Path) -> None:
    here = {"COMMANDLINE_ARGS": "--auth ann:secret"}
    assert order("txt2img", "a cat", environ=here).login == ("ann", "secret")
    assert order("txt2img", "a cat", "--url", "http://example.org", environ=here).login is None
    assert order("txt2img", "a cat", "--url", "http://example.org", "--auth=bob:b").login == ("bob", "b")


def test_pictures_are_named_by_their_files(tmp_path: Path) -> None:
    path = tmp_path / "start.png"
    path.write_bytes(png())
    told = order("img2img", "a lemon", "--init", str(path), "--mask", str(path), "--resize-mode", "Crop and resize")
    assert told.fields["init_images"] == [png()] and told.fields["mask"] == png()
    assert told.fields["resize_mode"] == 1
    with pytest.raises(BadFile, match=r"gone\.png"):
        order("img2img", "a lemon", "--init", str(tmp_path / "gone.png"))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("a cat", "--stepz", "3"), "Did you mean --steps"),
        (("a", "cat"), "Put the prompt in quotation marks"),
        (("a cat", "--steps", "many"), "invalid int value"),
        (("a cat", "--settings", "eta"), "NAME=VALUE"),
        (("a cat", "--settings", "eta_ancestral=big"), "no number"),
        (("a cat", "--settings", "img2img_fix_steps=perhaps"), "true or false"),
        (("a cat", "-o", "cat.gif"), r"\.png, \.jpg"),
        (("a cat", "--device", "tpu"), "tpu"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_words(words: tuple[str, ...], told: str) -> None:
    with pytest.raises(BadFlag, match=told):
        order("txt2img", *words)


def test_the_help_names_every_parameter_with_its_limits(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        order("img2img", "--help")
    assert end.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert all(f"--{param.name.replace('_', '-')}" in text for task, param in FLAGS if task == "img2img")
    assert "Sampling steps (1 to 10000; default 20)" in text
    assert Img2ImgRequest.__doc__ in text
