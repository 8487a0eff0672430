"""The embedded excerpt as a song on disk: what `--songs demo` stands for."""

from pathlib import Path

from harness.files import cache_folder
from harness.sets.cutting import wav, write_if_new
from harness.sets.songs import TRACKLIST, tracklist_of


def demo_songs() -> Path:
    """A folder of the layout `folders` with one song, the excerpt that the embedded evaluation sets are made from.

    It lies in the cache, as 32 bit float: the excerpt was compressed, and what is decoded exceeds full scale here and
    there.

    Raises:
        DataError: the excerpt is missing or not the known one, or cannot be decoded.
        StorageError: the cache folder cannot be written.
    """
    from harness.music.excerpt import ABOUT, TRACK, read_excerpt

    folder = cache_folder() / "demo-songs-1"
    for name, signal in read_excerpt().items():
        write_if_new(folder / TRACK / f"{name}.wav", wav(signal, "FLOAT"))
    write_if_new(folder / TRACKLIST, tracklist_of({TRACK: ABOUT}))
    return folder
