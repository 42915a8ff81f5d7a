"""The command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from modules.app.flags import Computing
from modules.app.historical import SILENT, SWITCHES, UNSAFE, WITH_VALUE
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


# Others of theirs, which A1111 reads too (F002, G006).
OTHERS = """
-f --max-batch-count=32 --unload-gfpgan --deepdanbooru --show-negative-prompt --tests=x --no-tests
--filenames-max-length=64 --ldsr-models-path=x --log-startup --gradio-img2img-tool=sketch --gradio-inpaint-tool=sketch
"""


def options(*argv: str, **environ: str) -> Options:
    return parse(argv, environ)


def test_without_flags_it_serves_this_machine_alone() -> None:
    plain = options()
    assert (plain.host, plain.port, plain.first_port, plain.listens) == ("127.0.0.1", None, 7860, False)
    assert (plain.data_dir, plain.device, plain.browser, plain.page) == (ROOT, "auto", True, True)
    assert plain.notes == ()


@pytest.mark.parametrize("flag", [*F001.split(), *OTHERS.split()])
def test_every_historical_flag_is_accepted(flag: str) -> None:
    assert options(flag, "--no-browser")
    assert options(*flag.split("="), "--port", "7000").port == 7000, "its value stands behind a space as well"


@pytest.mark.parametrize(
    ("flag", "reason"),
    [
        ("--xformers", "attention is always PyTorch's own"),
        ("--opt-sub-quad-attention", "attention is always PyTorch's own"),
        ("--upcast-sampling", "samplers always compute in float32"),
        ("--share", "--listen with --auth NAME:PASSWORD lets other machines in"),
        ("--gradio-allowed-path=x", "pictures are served by job and number"),
        ("--disable-all-extensions", "this version has no extensions"),
        ("--enable-insecure-extension-access", "this version has no extensions"),
        ("--allow-code", "no code to be allowed"),
    ],
)
def test_a_flag_without_meaning_is_ignored_with_one_line_that_says_why(flag: str, reason: str) -> None:
    # F001
    (note,) = options(flag).notes
    assert note.startswith(f"{flag.partition('=')[0]} has no effect in Tagbrush and is ignored")
    assert reason in note


def test_no_flag_makes_reading_files_unsafe_and_who_asks_for_it_is_warned() -> None:
    # F001, R001
    (warning,) = options("--disable-safe-unpickle").warnings
    assert "--disable-safe-unpickle has no effect" in warning
    assert "nothing in a file is ever run" in warning


@pytest.mark.parametrize("flag", ["--api", "--autolaunch", "--skip-torch-cuda-test", "--no-download-sd-model"])
def test_a_flag_for_what_happens_anyway_is_not_worth_a_line(flag: str) -> None:
    # F001
    plain = options(flag)
    assert (plain.notes, plain.warnings) == ((), ())


@pytest.mark.parametrize(
    ("line", "computing"),
    [
        ("", Computing()),
        ("--no-half", Computing(full_precision=True, full_precision_vae=True)),
        ("--precision full", Computing(full_precision=True, full_precision_vae=True)),
        ("--all-in-fp32", Computing(full_precision=True, full_precision_vae=True)),
        ("--no-half-vae", Computing(full_precision_vae=True)),
        ("--precision autocast", Computing()),
        ("--precision half", Computing()),
        ("--disable-nan-check", Computing(checks_numbers=False)),
        ("--no-hashing", Computing(computes_hashes=False)),
        ("--medvram", Computing(sparing="always")),
        ("--lowvram", Computing(sparing="always")),
        ("--medvram-sdxl", Computing(sparing="sdxl")),
        ("--ui-debug-mode", Computing(preloads=False)),
        ("--skip-load-model-at-start", Computing(preloads=False)),
    ],
)
def test_the_flags_of_computing_say_how(line: str, computing: Computing) -> None:
    # F001
    result = options(*line.split())
    assert result.computing == computing
    assert result.notes == ()


def test_options_are_frozen_by_name_by_section_and_altogether() -> None:
    # F001
    assert not options().frozen.reasons
    some = options("--freeze-specific-settings", "s_churn, jpeg_quality", "--freeze-settings-in-sections=vae,sdxl")
    assert {"s_churn", "jpeg_quality", "sd_vae", "sdxl_crop_top"} <= set(some.frozen.reasons)
    assert "samples_format" not in some.frozen.reasons
    assert "sd_model_checkpoint" in options("--freeze-settings").frozen.reasons
    assert "outdir_txt2img_samples" in options("--hide-ui-dir-config").frozen.reasons


def test_an_option_that_does_not_exist_here_cannot_be_frozen_and_that_is_told() -> None:
    # F001
    result = options("--freeze-specific-settings=samples_save,s_churn", "--freeze-settings-in-sections=upscaling")
    assert set(result.frozen.reasons) == {"s_churn"}
    assert result.warnings == (
        '--freeze-specific-settings: there is no option "samples_save" here.',
        '--freeze-settings-in-sections: no option here is in a section "upscaling".',
    )


def test_whom_the_owner_lets_in_cannot_raise_the_limits() -> None:
    behind_proxy = ("--trusted-proxy=127.0.0.1", "--allow-host=pictures.example.com", "--subpath=/pictures")
    for flag in ("--listen", "--server-name=192.168.1.2", *behind_proxy):
        assert "max_steps" in options(flag).frozen.reasons
    assert "max_steps" not in options().frozen.reasons


def test_files_of_the_owner_may_lie_anywhere(tmp_path: Path) -> None:
    # F001
    result = options(
        *("--ckpt", f"{tmp_path}/a.ckpt"),
        *("--ui-settings-file", f"{tmp_path}/b.json"),
        *("--ui-config-file", f"{tmp_path}/c.json"),
    )
    assert result.ckpt == tmp_path / "a.ckpt"
    assert (result.settings_file, result.defaults_file) == (tmp_path / "b.json", tmp_path / "c.json")


def test_a_server_under_test_shows_no_browser_and_listens_to_its_own_flags_alone() -> None:
    # F001
    result = options("--test-server", COMMANDLINE_ARGS="--port 7000")
    assert (result.browser, result.port, result.computing.checks_numbers) == (False, None, False)


def test_the_log_is_as_loud_as_flag_or_variable_say() -> None:
    # F002
    assert options().loglevel == "WARNING"
    assert options(SD_WEBUI_LOG_LEVEL="debug").loglevel == "DEBUG"
    assert options("--loglevel", "ERROR", SD_WEBUI_LOG_LEVEL="debug").loglevel == "ERROR"
    assert options(SD_WEBUI_LOG_LEVEL="loud").loglevel == "WARNING"


def test_a_server_that_is_started_again_opens_no_second_page() -> None:
    # F002
    assert options().browser
    assert not options(SD_WEBUI_RESTARTING="1").browser


def test_an_ignored_flag_takes_its_value_with_it() -> None:
    result = options("--localizations-dir", "dark", "--port", "7000")
    assert (result.port, len(result.notes)) == (7000, 1)


def test_no_flag_is_both_known_and_ignored() -> None:
    names = [name for flags in (SWITCHES, WITH_VALUE) for group in flags.values() for name in group]
    assert len({*names, *SILENT, *UNSAFE}) == len(names) + len(SILENT) + len(UNSAFE)


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
        (["--ray-workers", "2"], "--ray auto"),
        (["--ray", "auto", "--ray-workers", "0"], "1 or more"),
        (["--ray", "auto", "--devices", "cpu,cpu"], "Leave out --devices"),
        (["--ray", "auto", "--device-id", "1"], "Ray says which GPU"),
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
        (["--use-cpu", "interrogate", "SD"], "cpu"),
        (["--always-cpu"], "cpu"),
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
