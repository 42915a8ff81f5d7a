"""Where files are looked for, and where Tagbrush may write."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .entries import Kind


@dataclass(frozen=True, slots=True)
class Folders:
    """The folders of each kind, the user's first and those shipped with Tagbrush last; they need not exist.

    Below an existing A1111 folder (`data_dir`) only `outputs`, `database` and `index` are written unasked.
    """

    data_dir: Path
    checkpoints: tuple[Path, ...]
    vaes: tuple[Path, ...]
    loras: tuple[Path, ...]
    hypernetworks: tuple[Path, ...]
    embeddings: tuple[Path, ...]
    styles: tuple[Path, ...] = ()
    """Files of styles, and patterns such as `styles/*.csv`."""
    vae_path: Path | None = None
    """A VAE for every checkpoint, whatever is chosen otherwise (D021)."""
    config_file: Path | None = None
    ui_config_file: Path | None = None

    @property
    def config(self) -> Path:
        """The file with options to begin with, A1111's; only read."""
        return self.config_file or self.data_dir / "config.json"

    @property
    def ui_config(self) -> Path:
        """The file with what the page's controls begin with, A1111's; only read."""
        return self.ui_config_file or self.data_dir / "ui-config.json"

    @property
    def outputs(self) -> Path:
        """Where pictures are saved."""
        return self.data_dir / "outputs"

    @property
    def database(self) -> Path:
        """The job store's file."""
        return self.data_dir / "tagbrush.db"

    @property
    def index(self) -> Path:
        """The catalogue's file."""
        return self.data_dir / "tagbrush-index.db"

    def of(self, kind: Kind) -> tuple[Path, ...]:
        """The folders in which files of the kind lie."""
        folders = {
            "checkpoint": self.checkpoints,
            "vae": self.vaes,
            "lora": self.loras,
            "hypernetwork": self.hypernetworks,
            "embedding": self.embeddings,
        }
        return folders[kind]

    @classmethod
    def from_args(
        cls,
        *,
        shipped: Path,
        data_dir: Path | None = None,
        models_dir: Path | None = None,
        ckpt_dir: Path | None = None,
        vae_dir: Path | None = None,
        lora_dir: Path | None = None,
        hypernetwork_dir: Path | None = None,
        embeddings_dir: Path | None = None,
        styles_files: Iterable[Path] = (),
        vae_path: Path | None = None,
        ckpt: Path | None = None,
        config_file: Path | None = None,
        ui_config_file: Path | None = None,
    ) -> Folders:
        """The folders that the command line's arguments mean; `shipped` is the folder of the program itself.

        `ckpt` is one checkpoint, wherever it lies. An argument for one kind comes before the usual place, which is
        searched as well; so is the shipped one. Files of styles take the place of the usual ones, as in A1111.
        """
        data = _absolute(data_dir or shipped)
        models = _absolute(models_dir) if models_dir else data / "models"
        builtin = _absolute(shipped) / "models"

        def places(argument: Path | None, *names: str) -> tuple[Path, ...]:
            given = [_absolute(argument)] if argument else []
            return _unique([*given, *(models / name for name in names), *(builtin / name for name in names)])

        words = [_absolute(embeddings_dir)] if embeddings_dir else []
        styles = [*styles_files] or [data / "styles.csv", data / "styles_integrated.csv"]
        return cls(
            data_dir=data,
            checkpoints=_unique([*([_absolute(ckpt)] if ckpt else []), *places(ckpt_dir, "Stable-diffusion")]),
            vaes=places(vae_dir, "VAE"),
            loras=places(lora_dir, "Lora", "LyCORIS"),
            hypernetworks=places(hypernetwork_dir, "hypernetworks"),
            embeddings=_unique([*words, data / "embeddings", _absolute(shipped) / "embeddings"]),
            styles=_unique(map(_absolute, styles)),
            vae_path=_absolute(vae_path) if vae_path else None,
            config_file=_absolute(config_file) if config_file else None,
            ui_config_file=_absolute(ui_config_file) if ui_config_file else None,
        )


def _absolute(path: Path) -> Path:
    return Path(path).expanduser().absolute()


def _unique(paths: Iterable[Path]) -> tuple[Path, ...]:
    """The paths, each at its first place only."""
    return tuple(dict.fromkeys(paths))
