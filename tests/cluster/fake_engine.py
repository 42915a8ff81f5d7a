"""An engine without torch: `python fake_engine.py --config JSON` asks for the first checkpoint and saves its bytes.

What it does with a job stands in the prompt: "good", "unsaved", "die" or "wait".
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from PIL import Image

from modules.catalogue import Catalogue
from modules.engine.config import EngineConfig
from modules.engine.needs import Needs
from modules.engine.pipes import Pipes, claim_pipes
from modules.engine.saved import kept_folder, unsaved_folder
from modules.images import Mark, save_picture
from modules.jobs.messages import Done, Failed, Notice, PictureSaved, Ready, Run
from modules.params import Settings, TagbrushError, make_request


def main() -> None:
    pipes = claim_pipes()
    pipes.start()
    config = EngineConfig.model_validate_json(sys.argv[2])
    pipes.send(Ready(device="CPU"))
    with Catalogue(config.folders, config.folders.index, is_thorough=False) as catalogue:
        while True:
            message = pipes.next()
            if isinstance(message, Run):
                try:
                    run(message, pipes, config, catalogue)
                except TagbrushError as error:
                    pipes.send(Failed(job_id=message.job_id, error=str(error), kind="request"))


def run(job: Run, pipes: Pipes, config: EngineConfig, catalogue: Catalogue) -> None:
    request, settings = make_request(job.request), Settings().overridden(job.settings)
    control = pipes.control(job.job_id)
    checkpoint = catalogue.find_checkpoint(settings.sd_model_checkpoint)
    assert checkpoint is not None
    if request.prompt == "die":
        sys.stderr.write("about to die\n")
        sys.stderr.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    if not Needs(pipes, asks=config.asks_for_files).met(checkpoint, lambda: control.interrupted):
        pipes.send(Done(job_id=job.job_id, interrupted=True))
        return
    start = checkpoint.path.read_bytes()[:8]
    pipes.send(Notice(job_id=job.job_id, text=f"{start!r} {os.environ['OMP_NUM_THREADS']}"))
    mark = Mark(job_id=job.job_id, index=0, seed=7, infotext="made", width=8, height=8)
    is_kept = request.prompt != "unsaved"
    folder = kept_folder(request, settings, config.folders) if is_kept else unsaved_folder(job.job_id, config.folders)
    path = save_picture(Image.new("RGB", (8, 8), "teal"), folder, seed=7, infotext="made", mark=mark)
    assert path.is_relative_to(config.folders.data_dir)
    pipes.send(PictureSaved(path=str(path), **mark.model_dump()))
    pipes.send(Done(job_id=job.job_id))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    main()
