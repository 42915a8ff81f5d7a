"""What routes and page ask of the queue."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from modules.jobs import Jobs, JobState, remove_unsaved
from modules.params import BadRequest, Frozen, TooMuch, Txt2ImgRequest, UnknownName

from .conftest import MakeBench


def test_a_submitted_job_has_its_seed_and_its_own_settings(make_bench: MakeBench) -> None:
    jobs = make_bench(start=False).jobs
    job = jobs.submit(Txt2ImgRequest(override_settings={"CLIP_stop_at_last_layers": 2}))
    jobs.change_settings({"CLIP_stop_at_last_layers": 3})
    assert job.request.seed >= 0
    assert jobs.get(job.id).settings.CLIP_stop_at_last_layers == 2
    assert jobs.submit(Txt2ImgRequest(seed=7)).settings.CLIP_stop_at_last_layers == 3
    assert jobs.submit(Txt2ImgRequest(seed=7)).request.seed == 7


def test_wrong_overrides_and_settings_are_refused_and_change_nothing(make_bench: MakeBench) -> None:
    jobs = make_bench(start=False).jobs
    with pytest.raises(UnknownName, match="clip_skip"):
        jobs.submit(Txt2ImgRequest(override_settings={"clip_skip": 2}))
    with pytest.raises(BadRequest, match="out of the data folder"):
        jobs.submit(Txt2ImgRequest(override_settings={"outdir_txt2img_samples": "/elsewhere"}))
    with pytest.raises(BadRequest, match="out of the data folder"):
        jobs.change_settings({"outdir_img2img_samples": "../elsewhere"})
    with pytest.raises(BadRequest):
        jobs.change_settings({"emphasis": "None", "CLIP_stop_at_last_layers": 99})
    assert not jobs.list()
    assert jobs.settings().emphasis == "Original"


def test_a_job_beyond_a_limit_never_reaches_the_queue(make_bench: MakeBench) -> None:
    jobs = make_bench(start=False).jobs
    jobs.change_settings({"max_steps": 20})
    jobs.submit(Txt2ImgRequest(steps=20))
    with pytest.raises(TooMuch, match="21 steps"):
        jobs.submit(Txt2ImgRequest(steps=21))
    with pytest.raises(BadRequest, match="a limit holds for every job"):
        jobs.submit(Txt2ImgRequest(steps=21, override_settings={"max_steps": 21}))
    assert len(jobs.list()) == 1


def test_a_frozen_option_is_changed_neither_for_good_nor_for_one_job(make_bench: MakeBench) -> None:  # F001
    bench = make_bench(start=False)
    jobs = Jobs(bench.store, bench.bus, bench.supervisor, frozen=Frozen.of(sections=["sd"], limits=True))
    for change in ({"CLIP_stop_at_last_layers": 2}, {"max_pictures": 10_000}):
        with pytest.raises(BadRequest, match="it is frozen"):
            jobs.change_settings({"samples_format": "jpg", **change})
    with pytest.raises(BadRequest, match="it is frozen"):
        jobs.submit(Txt2ImgRequest(override_settings={"emphasis": "None"}))
    assert jobs.settings().samples_format == "png"
    assert jobs.change_settings({"samples_format": "jpg", "emphasis": "Original"}).samples_format == "jpg"
    assert not jobs.list()


def test_the_same_key_gives_the_same_job(make_bench: MakeBench) -> None:
    jobs = make_bench(start=False).jobs
    request = Txt2ImgRequest(prompt="a cat")
    first = jobs.submit(request, key="k")
    assert jobs.submit(request, key="k") == first
    assert jobs.submit(request, key="other").id != first.id
    with pytest.raises(BadRequest, match='key "k"'):
        jobs.submit(Txt2ImgRequest(prompt="a dog"), key="k")


def test_an_option_that_this_version_cannot_use_is_left_out(make_bench: MakeBench) -> None:
    bench = make_bench(start=False)
    bench.store.save_settings({"no_such_option": 1, "emphasis": 5, "samples_format": "jpg"})
    assert bench.jobs.settings().samples_format == "jpg"
    assert bench.jobs.settings().emphasis == "Original"


def test_waiting_ends_in_time_or_with_the_job(make_bench: MakeBench) -> None:
    bench = make_bench()
    job = bench.submit("wait")
    assert not bench.jobs.wait(job.id, 0.1).state.is_final
    bench.jobs.cancel(job.id)
    assert bench.jobs.wait(job.id, 120).state is JobState.CANCELLED
    assert bench.jobs.wait(job.id, 0).state is JobState.CANCELLED


def test_a_snapshot_and_what_follows_it_tell_everything(make_bench: MakeBench) -> None:
    async def story() -> None:
        bench = make_bench()
        job = await asyncio.to_thread(bench.submit, "step picture wait")
        while bench.jobs.get(job.id).progress is None:
            await asyncio.sleep(0.01)
        while bench.jobs.worker.state != "busy":
            await asyncio.sleep(0.01)
        snapshot = bench.jobs.snapshot()
        assert snapshot.data["worker"]["state"] == "busy"
        assert [one["id"] for one in snapshot.data["jobs"]] == [job.id]
        assert snapshot.data["jobs"][0]["progress"]["steps"]
        bench.jobs.interrupt(job.id)
        with bench.jobs.listen(after=0) as listener:
            kinds, states = [], []
            async for event in listener:
                kinds.append(event.kind)
                if event.kind == "job":
                    states.append((event.data["state"], event.data["wanted"]))
                if states and states[-1][0] == "interrupted":
                    break
        assert states == [("queued", None), ("running", None), ("running", "interrupted"), ("interrupted", None)]
        assert "picture" in kinds

    asyncio.run(story())


def test_pictures_nobody_wanted_saved_go_after_their_time(tmp_path: Path) -> None:
    old, young, needed = (tmp_path / "unsaved" / name for name in ("old", "young", "needed"))
    for folder in (old, young, needed):
        folder.mkdir(parents=True)
        (folder / "00000-1.png").write_bytes(b"png")
    long_ago = time.time() - 100
    for folder in (old, needed):
        os.utime(folder, (long_ago, long_ago))
    remove_unsaved(tmp_path, time.time() - 50, {"needed"})
    assert (old.exists(), young.exists(), needed.exists()) == (False, True, True)
    remove_unsaved(tmp_path / "nowhere", time.time())


def test_too_many_pictures_nobody_wanted_saved_go_oldest_first_but_none_of_the_last_hour(tmp_path: Path) -> None:
    now = time.time()
    ages = {"just now": 60, "an hour ago": 3500, "two hours ago": 7200, "needed": 10_000, "three hours ago": 10_800}
    for name, age in ages.items():
        folder = tmp_path / "unsaved" / name
        folder.mkdir(parents=True)
        (folder / "00000-1.png").write_bytes(b"x" * 100)
        os.utime(folder, (now - age, now - age))
    remove_unsaved(tmp_path, now - 86_400, {"needed"}, most=500)
    assert len(list((tmp_path / "unsaved").iterdir())) == 5
    remove_unsaved(tmp_path, now - 86_400, {"needed"}, most=300)
    assert {folder.name for folder in (tmp_path / "unsaved").iterdir()} == ages.keys() - {"three hours ago"}
    remove_unsaved(tmp_path, now - 86_400, {"needed"}, most=0)
    assert {folder.name for folder in (tmp_path / "unsaved").iterdir()} == {"just now", "an hour ago", "needed"}


def test_changes_of_files_are_told_kind_by_kind(make_bench: MakeBench) -> None:
    async def story() -> None:
        jobs = make_bench(start=False).jobs
        with jobs.listen() as listener:
            jobs.files_changed(frozenset({"lora", "checkpoint"}))
            jobs.files_changed("vae")
            heard = await listener.get(timeout=60)
        assert [event.data["kind"] for event in heard] == ["checkpoint", "lora", "vae"]

    asyncio.run(story())
