"""A worker hears its server, is not disturbed by prints, and does not outlive it."""

from __future__ import annotations

import select
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from modules.jobs.messages import Interrupt, Notice, Ready, Run, Skip, encode, read

ROOT = Path(__file__).parents[2]
RUN = Run(job_id="a", request={}, settings={})


@contextmanager
def worker(body: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has claimed its pipes as `pipes` and then runs `body`."""
    start = "import os, sys, time\nfrom modules.engine.pipes import claim_pipes\npipes = claim_pipes()\npipes.start()\n"
    command = [sys.executable, "-c", start + textwrap.dedent(body)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, cwd=ROOT) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("prepare", "busy"),
    [
        ("pass", "time.sleep(600)"),
        ("pass", "while True: pass"),
        ("import torch; a = torch.rand(5000, 5000)", "torch.linalg.svd(a)"),  # a single call that takes minutes
    ],
    ids=["sleeping", "calculating", "in a long torch call"],
)
def test_it_ends_with_its_server_whatever_it_does(prepare: str, busy: str) -> None:
    body = f"""
        from modules.jobs.messages import Ready
        {prepare}
        pipes.send(Ready(device="x"))
        {busy}
        os._exit(3)  # it came to the end of its work
    """
    with worker(body) as process:
        assert process.stdin and process.stdout
        assert read(process.stdout) == Ready(device="x")
        process.stdin.close()
        assert process.wait(60) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a call that keeps the interpreter locked ends first")
def test_it_ends_with_its_server_even_while_the_interpreter_is_locked() -> None:
    server = """
        import subprocess, sys, time
        worker = (
            "import sys; from modules.engine.pipes import claim_pipes; pipes = claim_pipes(); pipes.start()\\n"
            "sys.stderr.write('started'); sys.stderr.flush(); sum(range(10**11))"
        )
        subprocess.Popen([sys.executable, "-c", worker], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        time.sleep(600)
    """
    command = [sys.executable, "-c", textwrap.dedent(server)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stderr
        assert process.stderr.read(7) == b"started"
        process.kill()
        # The worker, whose sum takes half an hour, holds the other end of this pipe for as long as it lives.
        ended, _, _ = select.select([process.stderr], [], [], 60)
        assert ended and process.stderr.read() == b""


def test_prints_go_to_the_error_stream_and_input_is_empty() -> None:
    body = """
        import subprocess
        from modules.jobs.messages import Notice
        print("print", flush=True)
        os.write(1, b"descriptor\\n")
        subprocess.run([sys.executable, "-c", "print('child')"])
        pipes.send(Notice(job_id="a", text=repr(sys.stdin.read())))
        time.sleep(600)
    """
    with worker(body) as process:
        assert process.stdout and process.stderr
        assert read(process.stdout) == Notice(job_id="a", text="''")
        process.kill()
        assert process.stderr.read().decode().split() == ["print", "descriptor", "child"]


def test_what_is_asked_of_a_job_is_known_before_its_turn() -> None:
    body = """
        from modules.jobs.messages import Notice
        first, second = pipes.next(), pipes.next()
        while not pipes.control("b").interrupted: time.sleep(0.01)
        text = f"{pipes.control('a')} {pipes.control('b')}"
        pipes.send(Notice(job_id="a", text=text))
        time.sleep(600)
    """
    other = RUN.model_copy(update={"job_id": "b"})
    with worker(body) as process:
        assert process.stdin and process.stdout
        for message in (RUN, other, Skip(job_id="a"), Interrupt(job_id="gone"), Interrupt(job_id="b")):
            process.stdin.write(encode(message))
        process.stdin.flush()
        said = read(process.stdout)
        assert isinstance(said, Notice)
        assert said.text == ("Control(interrupted=False, skipped=True) Control(interrupted=True, skipped=False)")


def test_a_server_that_speaks_garbage_ends_it() -> None:
    with worker("time.sleep(600)") as process:
        assert process.stdin and process.stderr
        process.stdin.write(b"GET / HTTP/1.1\r\n\r\n")
        process.stdin.flush()
        assert process.wait(60) == 1
        assert b"cannot be understood" in process.stderr.read()
