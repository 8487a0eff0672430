"""Sound cards, by way of PortAudio (the package `sounddevice`)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from harness.challenge import PROTOCOL
from harness.live.exchange import Exchange, SoundFailure

FILE_LATENCY_SECONDS = 0.2
"""What a device may hold of music from a file, for which nobody waits. PortAudio's own "high" latency is 35 ms with
ALSA's virtual devices, too little for some sound servers."""

INSTEAD = "--output FILE needs no sound device"


@dataclass(frozen=True)
class Device:
    """A sound device that plays, and records where that is wanted.

    Attributes:
        name: as PortAudio calls it.
        output, input: its number for playing, and that for recording or None.
        channels: of playing, 1 or 2; `recorded` those of recording, 1 or 2.
    """

    name: str
    output: int
    channels: int
    input: int | None = None
    recorded: int = 2


def portaudio() -> ModuleType:
    """The package `sounddevice`, with PortAudio loaded.

    Raises:
        SoundFailure: one of them is missing; the message says what to install.
    """
    try:
        import sounddevice
    except ModuleNotFoundError:
        raise SoundFailure(
            f'the package sounddevice is missing: pip install "cadenza-harness[live]"; {INSTEAD}'
        ) from None
    except OSError as error:
        raise SoundFailure(
            f"PortAudio cannot be loaded ({error}): install it (apt-get install libportaudio2); {INSTEAD}"
        ) from None
    except Exception as error:  # the package's own kind, which it is too early to name
        raise SoundFailure(f"PortAudio does not start ({' '.join(str(error).split())}); {INSTEAD}") from None
    return sounddevice  # type: ignore[no-any-return]


def find_device(name: str | None, captures: bool) -> Device:
    """Look for a sound device.

    Args:
        name: part of its name; None for the default one.
        captures: whether it has to record, too.

    Raises:
        SoundFailure: there is none, or several, or it cannot do that at 44.1 kHz; names those that are there.
    """
    sounddevice = portaudio()
    try:
        plays = sounddevice.query_devices(name, "output")
        records = sounddevice.query_devices(name, "input") if captures else None
        channels = min(2, plays["max_output_channels"])
        sounddevice.check_output_settings(plays["index"], channels, "float32", samplerate=PROTOCOL.sample_rate)
        recorded = 2 if records is None else min(2, records["max_input_channels"])
        if records is not None:
            sounddevice.check_input_settings(records["index"], recorded, "float32", samplerate=PROTOCOL.sample_rate)
    except (ValueError, sounddevice.PortAudioError) as error:
        what = "that plays and records" if captures else "that plays"
        there = [str(each["name"]) for each in sounddevice.query_devices() if _fits(each, captures)]
        known = f"there are: {', '.join(there)}" if there else "there is none on this machine"
        wanted = "no default sound device" if name is None else f"no sound device {name!r}"
        reason = " ".join(str(error).split())
        raise SoundFailure(f"{wanted} {what} ({reason}); {known}; {INSTEAD}") from None
    return Device(str(plays["name"]), plays["index"], channels, None if records is None else records["index"], recorded)


def _fits(device: Any, captures: bool) -> bool:
    return device["max_output_channels"] > 0 and (device["max_input_channels"] > 0 or not captures)


@contextmanager
def running(device: Device, exchange: Exchange) -> Iterator[float]:
    """Have a sound device play, and record if it is to, while the context lasts; 44.1 kHz.

    Yields:
        Seconds that the device itself adds, by its own account: those of recording and of playing.

    Raises:
        SoundFailure: it cannot be started.
    """
    sounddevice = portaudio()
    latency = "low" if exchange.captures else FILE_LATENCY_SECONDS
    common = {"samplerate": PROTOCOL.sample_rate, "dtype": "float32", "latency": latency}
    try:
        if device.input is None:
            stream = sounddevice.OutputStream(
                device=device.output, channels=device.channels, callback=exchange.play, **common
            )
        else:
            stream = sounddevice.Stream(
                device=(device.input, device.output),
                channels=(device.recorded, device.channels),
                callback=exchange.callback,
                **common,
            )
        stream.start()
    except (ValueError, sounddevice.PortAudioError) as error:
        reason = " ".join(str(error).split())
        raise SoundFailure(f"the sound device {device.name} cannot be started ({reason}); {INSTEAD}") from None
    added = stream.latency
    try:
        yield float(sum(added) if isinstance(added, tuple) else added)
    finally:
        stream.abort()
        stream.close()
