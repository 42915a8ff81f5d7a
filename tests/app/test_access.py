"""The flags that say who may use the server."""

from __future__ import annotations

from pathlib import Path

import pytest

from modules.api import Origins, Proxies
from modules.app.options import BadFlag, parse


def test_nobody_is_let_in_unasked() -> None:
    plain = parse([], {})
    assert (plain.host, plain.listens, plain.auth, plain.subpath) == ("127.0.0.1", False, (), "")
    assert (plain.origins, plain.proxies) == (Origins(), Proxies())


@pytest.mark.parametrize("flag", ["--auth", "--api-auth", "--gradio-auth"])
def test_a_login_is_given_under_each_of_its_names(flag: str) -> None:
    assert parse([flag, "ann:a:b,bob:c", flag, "eve:d"], {}).auth == ("ann:a:b", "bob:c", "eve:d")


def test_logins_come_from_a_file_and_are_never_told(tmp_path: Path) -> None:
    file = tmp_path / "logins"
    file.write_text("\ufeffann:secret\n\nbob:hidden,eve:covert\r\n", encoding="utf-8")
    options = parse(["--gradio-auth-path", str(file), "--auth", "joe:known"], {})
    assert options.auth == ("joe:known", "ann:secret", "bob:hidden", "eve:covert")
    told = str(options.flags)
    assert not [word for word in ("secret", "hidden", "covert", "known", str(file)) if word in told]


@pytest.mark.parametrize("login", ["ann", "ann:", ":secret", ":", ","])
def test_a_login_without_a_name_or_a_password_is_refused_and_not_repeated(login: str) -> None:
    with pytest.raises(BadFlag) as told:
        parse(["--auth", f"{login}"], {})
    assert "secret" not in str(told.value)


def test_a_file_without_logins_does_not_open_the_server_to_everybody(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n", encoding="utf-8")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\xff")
    for name, words in (("empty", "everybody"), ("binary", "cannot be read"), ("missing", "cannot be read")):
        with pytest.raises(BadFlag, match=words):
            parse(["--gradio-auth-path", str(tmp_path / name)], {})


def test_origins_are_a_list_and_a_pattern() -> None:
    origins = parse(["--cors-allow-origins=https://a.example,https://b.example"], {}).origins
    assert origins.allows("https://b.example") and not origins.allows("https://c.example")
    pattern = parse(["--cors-allow-origins-regex", r"https://\w+\.example"], {}).origins
    assert pattern.allows("https://c.example") and not pattern.allows("https://c.example.evil")
    with pytest.raises(BadFlag, match="no pattern"):
        parse(["--cors-allow-origins-regex", "("], {})


@pytest.mark.parametrize(("text", "path"), [("tagbrush", "/tagbrush"), ("/a/b/", "/a/b"), ("/", ""), ("", "")])
def test_a_subpath_has_one_slash_before_it(text: str, path: str) -> None:
    assert parse(["--subpath", text], {}).subpath == path


@pytest.mark.parametrize("text", ["../x", "/a/../b", "a b", "a?b", "http://a", "<script>", 'a"b', "/ü"])
def test_a_subpath_is_of_plain_words(text: str) -> None:
    with pytest.raises(BadFlag, match="subpath"):
        parse(["--subpath", text], {})


def test_proxies_are_addresses_and_networks() -> None:
    proxies = parse(["--trusted-proxy", "127.0.0.1,10.0.0.0/8", "--trusted-proxy=::1"], {}).proxies
    assert [proxies.trusts(address) for address in ("127.0.0.1", "10.1.1.1", "::1")] == [True] * 3
    assert not any(proxies.trusts(address) for address in ("127.0.0.2", "11.0.0.1", "localhost", ""))
    with pytest.raises(BadFlag, match="trusted-proxy"):
        parse(["--trusted-proxy", "myproxy"], {})
