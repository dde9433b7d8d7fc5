"""Where the files of a training go, checked before the work and filled after it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import OutputError
from toolkit.files import check_output


@dataclass(frozen=True)
class Places:
    """The files of a training.

    Attributes:
        model: The chosen model, ``<output>``.
        history: Its figures, ``<output>.history.json``.
        curves: The picture of all runs, ``<output>.curves.png``.
        others: The folder of the other models, ``<output's stem>.sweep``.
    """

    model: Path
    history: Path
    curves: Path
    others: Path

    def others_model(self, stem: str) -> Path:
        """Return where the model of another run goes."""
        return self.others / f"{stem}.keras"

    def fill(self, folder: Path, stems: Sequence[str], chosen: int) -> None:
        """Move all files out of the state folder into their places, the chosen model last.

        Args:
            folder: Holds ``<stem>.json`` of every run, ``<stem>.keras`` of those that gave a
                model, and ``curves.png``.
            stems: The runs.
            chosen: Which of them goes to the output.

        Raises:
            OutputError: A file cannot be moved.
        """
        moves = []
        for index, stem in enumerate(stems):
            if index != chosen:
                model = self.others_model(stem)
                moves.append((folder / f"{stem}.json", _beside(model, ".history.json")))
                moves.append((folder / f"{stem}.keras", model))
        moves.append((folder / "curves.png", self.curves))
        moves.append((folder / f"{stems[chosen]}.json", self.history))
        moves.append((folder / f"{stems[chosen]}.keras", self.model))
        try:
            if len(stems) > 1:
                self.others.mkdir(exist_ok=True)
                # What an earlier comparison left would pass for a part of this one.
                for pattern in ("*.keras", "*.keras.history.json"):
                    for old in self.others.glob(pattern):
                        old.unlink()
            for source, target in moves:
                if source.exists():  # a run that diverged has no model
                    source.replace(target)
        except OSError as error:
            raise OutputError(
                f"'{error.filename2 or error.filename}' cannot be written: {error.strerror}."
            ) from error


def check_places(output: Path, *, force: bool) -> Places:
    """Return the places after checking that the output and the files beside it can be written.

    Raises:
        OutputError: One of them cannot be written, or is there and ``force`` is False.
    """
    return Places(
        model=check_output(output, force=force, suffixes=[".keras"]),
        history=check_output(_beside(output, ".history.json"), force=force),
        curves=check_output(_beside(output, ".curves.png"), force=force),
        others=output.with_suffix(".sweep"),
    )


def check_others(places: Places, *, force: bool) -> None:
    """Check the folder for the other models, once it is known that there will be some.

    Raises:
        OutputError: It is no folder, or holds files and ``force`` is False.
    """
    folder = places.others
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"'{folder}' is in the way of the other models; move it away.")
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise OutputError(f"'{folder}' holds an earlier comparison; add --force to replace it.")


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
