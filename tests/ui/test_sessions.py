"""Pages come and go; the server does not grow with them."""

from __future__ import annotations

import asyncio
from pathlib import Path

from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from modules.catalogue import Catalogue, Folders, StyleFiles
from modules.jobs import EventBus, Jobs, JobStore, Supervisor
from modules.ui import mount
from modules.ui.page import SESSIONS


def test_of_many_page_loads_only_the_last_are_remembered(tmp_path: Path) -> None:
    folders = Folders.from_args(shipped=tmp_path, data_dir=tmp_path)
    store = JobStore(None)
    bus = EventBus(store.events_after)
    jobs = Jobs(store, bus, Supervisor(store, bus, ()))

    async def load(times: int) -> list[str]:
        app = FastAPI()
        blocks = mount(app, jobs, Catalogue(folders, None), StyleFiles(()))
        loaded = next(number for number, fn in blocks.fns.items() if fn.fn and fn.targets[0][1] == "load")
        async with AsyncClient(transport=ASGITransport(app), base_url="http://127.0.0.1") as client:
            for visit in range(times):
                call = {"data": [], "fn_index": loaded, "session_hash": f"visit {visit}"}
                answer = await client.post("/gradio_api/run/predict", json=call)
                assert answer.status_code == 200, answer.text
        return list(blocks.state_holder.session_data)

    assert asyncio.run(load(SESSIONS + 6)) == [f"visit {visit}" for visit in range(6, SESSIONS + 6)]
    store.close()
