"""Single-task predictions of a folder of photographs, as a prediction cache."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from jrn_lightning import keys
from jrn_lightning.cache import CacheWriter, PredictionSpec, Provenance
from jrn_lightning.cache.grid import Grid
from jrn_lightning.errors import CacheError, CheckpointError
from jrn_lightning.importers import pictures
from jrn_lightning.importers.pictures import SUFFIXES
from jrn_lightning.modalities import Modality
from jrn_lightning.predictors import checkpoint
from jrn_lightning.predictors.checkpoint import SingleTaskNetwork
from jrn_lightning.predictors.frames import small_image
from jrn_lightning.progress import Advance


class Photographs:
    """The pictures of a folder, by name: of one size, of types :data:`.SUFFIXES`.

    Raises:
        CacheError: no folder, none in it, two of one name, a name that is no text, one that does
            not open, or one of another size than the first.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise CacheError(f"{folder} is no folder. Give a folder of pictures.")
        files = sorted(f for f in folder.iterdir() if f.suffix.lower() in SUFFIXES)
        if not files:
            raise CacheError(f"{folder} holds no picture. Give files of {', '.join(SUFFIXES)}.")
        for file in files:
            if (shown := os.fsencode(file.name).decode(errors="backslashreplace")) != file.name:
                raise CacheError(
                    f"{folder} holds a picture called {shown}, which is not UTF-8. Rename it."
                )
        self.folder = folder
        self.files = {f.stem: f for f in files}
        if len(self.files) < len(files):
            twice = next(f for f in files if self.files[f.stem] != f)
            raise CacheError(
                f"{folder} holds {twice.name} and {self.files[twice.stem].name}. Keep one of them."
            )
        # All of them before any work is done; their headers tell.
        self.size = pictures.size(files[0])
        for file in files[1:]:
            if (size := pictures.size(file)) != self.size:
                raise CacheError(
                    f"{file} has {size[0]} × {size[1]} pixels, {files[0].name} has "
                    f"{self.size[0]} × {self.size[1]}. Give pictures of one size in a folder."
                )

    def read(self, name: str) -> NDArray[np.uint8]:
        """A picture, upright: ``(H, W, 3)``; a CacheError where it does not open."""
        return pictures.read_rgb(self.files[name], upright=True)


def open_networks(
    folder: Path, modalities: Mapping[str, Modality], fold: int = 0
) -> dict[str, SingleTaskNetwork]:
    """The networks of one fold, whose quality a refinement network was trained on.

    Raises:
        CheckpointError: one is missing, or predicts other classes.
    """
    networks = {}
    for name, wanted in modalities.items():
        path = folder / f"{name}-fold{fold}.ckpt"
        if not path.is_file():
            found = sorted(p.name for p in folder.glob("*-fold*.ckpt")) if folder.is_dir() else []
            raise CheckpointError(
                f"{path} does not exist ({', '.join(found) or 'no network there'}). Give "
                "--single-task the folder that 'jrn cache … --single-task' left beside its cache."
            )
        networks[name] = checkpoint.load(path)
        kind = networks[name].modality
        if (kind.kind, kind.attributes) != (wanted.kind, wanted.attributes):
            raise CheckpointError(
                f"{path} predicts {name} = {kind.attributes}, the refinement network takes "
                f"{wanted.attributes}. Use networks of the same classes."
            )
    return networks


def predict_photographs(
    photographs: Photographs,
    networks: Mapping[str, SingleTaskNetwork],
    out: Path,
    advance: Advance = lambda _: None,
) -> None:
    """Write the networks' predictions as a cache whose only split is ``predict``.

    Every picture is a scene of its own; ``advance`` is called with the number of them done.
    """
    names = list(photographs.files)
    specs = {}
    for m, network in networks.items():
        grid = network.settings.grid
        specs[m] = PredictionSpec(
            (network.modality.channels, *grid),
            np.dtype(np.float16),
            Grid.area(grid, photographs.size),
            Provenance(network.settings.encoder, network.digest, "unseen"),
        )
    with CacheWriter(
        out,
        modalities={m: network.modality for m, network in networks.items()},
        frame=photographs.size,
        notes={"data": str(photographs.folder)},
    ) as writer:
        writer.add_split(
            keys.PREDICT,
            ids=names,
            scenes=names,
            predictions=specs,
            targets=False,
            images=True,
        )
        for i, name in enumerate(names):
            image = photographs.read(name)
            predictions = {}
            for m, network in networks.items():
                small = np.array(small_image(image, network.settings.size))
                batch = torch.from_numpy(small).permute(2, 0, 1)[None].float() / 255
                predictions[m] = network.predict(batch)[0].numpy().astype(np.float16)
            writer.write(keys.PREDICT, i, predictions=predictions, image=image)
            advance(1)
