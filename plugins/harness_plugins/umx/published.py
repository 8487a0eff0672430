"""The published Open-Unmix models: what they were trained on, their licences, and where their weights are."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """A published model: what it was trained on, its licence, and where its weights are."""

    training_data: str
    not_eligible: str | None
    licence: str
    url: str
    files: tuple[str, ...]


PUBLISHED = {
    "umxhq": Published(
        "official",
        None,
        "MIT",
        "https://zenodo.org/records/3370489/files/",
        ("vocals-b62c91ce.pth", "drums-9619578f.pth", "bass-8d85a5bd.pth", "other-b52fbbf7.pth"),
    ),
    # MUSDB18 is MUSDB18-HQ's music, compressed (AAC, up to 16 kHz).
    "umx": Published(
        "official",
        None,
        "MIT",
        "https://zenodo.org/records/3370486/files/",
        ("vocals-c8df74a5.pth", "drums-5a48008b.pth", "bass-646024d3.pth", "other-f8e132cc.pth"),
    ),
    "umxl": Published(
        "private",
        "umxl was trained on a private data set of about 400 hours of music",
        "CC BY-NC-SA 4.0 (non-commercial)",
        "https://zenodo.org/records/5069601/files/",
        ("vocals-bccbd9aa.pth", "drums-69e0ebd4.pth", "bass-2ca1ce51.pth", "other-c8c5b3e6.pth"),
    ),
}
"""The addresses are those in openunmix/__init__.py, where they are out of reach of other code."""
