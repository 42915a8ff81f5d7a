"""The command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from modules.app.historical import IGNORED_SWITCHES, IGNORED_WITH_VALUE
from modules.app.options import ROOT, BadFlag, Options, parse

# Every flag that A1111 users have in their start scripts (F001), with a value where it takes one.
F001 = """
--listen --port=7861 --share --gradio-auth=a:b --api --api-auth=a:b --nowebui --ckpt=x --ckpt-dir=x
--vae-dir=x --vae-path=x --embeddings-dir=x --lora-dir=x --hypernetwork-dir=x --styles-file=x --data-dir=x
--models-dir=x
--no-half --no-half-vae --precision=full --upcast-sampling --medvram --medvram-sdxl --lowvram --xformers
--opt-sdp-attention --opt-sdp-no-mem-attention --opt-sub-quad-attention --use-cpu=all --device-id=0 --autolaunch
--theme=dark --skip-torch-cuda-test --no-hashing --no-download-sd-model --disable-nan-check --disable-safe-unpickle
--allow-code --hide-ui-dir-config --freeze-settings --freeze-settings-in-sections=x --freeze-specific-settings=x
--cors-allow-origins=x --cors-allow-origins-regex=x --tls-keyfile=x --tls-certfile=x --subpath=x --gradio-allowed-path=x
--ui-settings-file=x --ui-config-file=x --enable-insecure-extension-access --disable-all-extensions
--disable-extra-extensions --ui-debug-mode --test-server --dump-sysinfo --loglevel=INFO
"""


def options(*argv: str, **environ: str) -> Options:
    return parse(argv, environ)


def test_without_flags_it_serves_this_machine_alone() -> None:
    plain = options()
    assert (plain.host, plain.port, plain.first_port, plain.listens) == ("127.0.0.1", None, 7860, False)
    assert (plain.data_dir, plain.device, plain.browser, plain.page) == (ROOT, "auto", True, True)
    assert plain.notes == ()


@pytest.mark.parametrize("flag", F001.split())
def test_every_historical_flag_is_accepted(flag: str) -> None:
    assert options(flag, "--no-browser")


@pytest.mark.parametrize("name", ["xformers", "medvram", "no-half"])
def test_a_flag_without_meaning_is_ignored_with_one_line(name: str) -> None:
    assert options(f"--{name}").notes == (f"--{name} has no effect in Tagbrush and is ignored.",)


def test_an_ignored_flag_takes_its_value_with_it() -> None:
    result = options("--theme", "dark", "--port", "7000")
    assert (result.port, len(result.notes)) == (7000, 1)


def test_no_flag_is_both_known_and_ignored() -> None:
    assert len({*IGNORED_SWITCHES, *IGNORED_WITH_VALUE}) == len(IGNORED_SWITCHES) + len(IGNORED_WITH_VALUE)


def test_the_variable_counts_as_the_lines_end() -> None:
    result = options("--port", "7000", COMMANDLINE_ARGS='--medvram --port 7001 --lora-dir "my loras"')
    assert (result.port, result.lora_dir) == (7001, Path("my loras").resolve())


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--lisen"], "Did you mean --listen?"),
        (["--port", "0"], "1 to 65535"),
        (["--port", "x"], "1 to 65535"),
        (["--port"], "--port"),
        (["--device", "gpu"], "auto, cpu, cuda, mps, xpu"),
        (["--device", "cuda:x"], "cuda"),
        (["--api-auth", "me"], "USER:PASSWORD"),
        (["--loglevel", "loud"], "loud"),
        (["picture.png"], "picture.png"),
    ],
)
def test_a_line_that_cannot_be_used_is_refused_in_words(argv: list[str], words: str) -> None:
    with pytest.raises(BadFlag, match=words):
        options(*argv)


def test_unknown_flags_can_be_ignored() -> None:
    assert options("--wibble", IGNORE_CMD_ARGS_ERRORS="1").notes == ("--wibble is unknown and ignored.",)


@pytest.mark.parametrize(
    ("argv", "device"),
    [
        ([], "auto"),
        (["--device", "CUDA"], "cuda"),
        (["--device", "cuda:1"], "cuda:1"),
        (["--device-id", "1"], "cuda:1"),
        (["--use-cpu", "all"], "cpu"),
        (["--use-cpu"], "cpu"),
        (["--use-cpu", "interrogate"], "auto"),
    ],
)
def test_the_device_is_chosen_by_new_and_old_flags(argv: list[str], device: str) -> None:
    assert options(*argv).device == device


def test_listening_and_the_api_alone() -> None:
    assert options("--listen").host == "0.0.0.0"
    assert options("--server-name", "192.168.1.2").listens
    alone = options("--nowebui")
    assert (alone.page, alone.browser, alone.first_port) == (False, False, 7861)


def test_passwords_are_not_among_the_flags_that_are_shown() -> None:
    result = options("--api-auth", "ann:secret,bob:hidden")
    assert result.auth == ("ann:secret", "bob:hidden")
    assert "secret" not in str(result.flags)


def test_files_of_styles_may_be_several() -> None:
    # D062
    assert options().styles_files == ()
    result = options("--styles-file", "/a/mine.csv", "--styles-file=/packs/*.csv")
    assert result.styles_files == (Path("/a/mine.csv"), Path("/packs/*.csv"))
    assert not result.notes
