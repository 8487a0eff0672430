"""Damage to FLAC files, manifests and metadata, as accidents and ill will do it: the same draws, the same damage."""

import json
import random
from collections.abc import Callable
from typing import Any

_HEADER = 42
"""Bytes of a FLAC file up to the end of its first block: magic, block header, STREAMINFO."""


def _some_bytes(draw: random.Random, content: bytearray) -> None:
    for _ in range(draw.randint(1, 8)):
        content[draw.randrange(len(content))] = draw.randrange(256)


def _in_the_beginning(draw: random.Random, content: bytearray) -> None:
    for _ in range(draw.randint(1, 4)):
        content[draw.randrange(min(60, len(content)))] = draw.randrange(256)


def _a_bit(draw: random.Random, content: bytearray) -> None:
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)


def _cut(draw: random.Random, content: bytearray) -> None:
    del content[draw.randrange(len(content)) :]


def _cut_a_little(draw: random.Random, content: bytearray) -> None:
    del content[-draw.randint(1, 20) :]


def _removed(draw: random.Random, content: bytearray) -> None:
    start = draw.randrange(len(content))
    del content[start : start + draw.randint(1, 2000)]


def _repeated(draw: random.Random, content: bytearray) -> None:
    start = draw.randrange(len(content))
    content[start:start] = content[start : start + draw.randint(1, 2000)]


def _overwritten(draw: random.Random, content: bytearray) -> None:
    start = draw.randrange(len(content))
    length = min(draw.randint(1, 500), len(content) - start)
    content[start : start + length] = draw.choice([b"\0", b"\xff"]) * length


def _prepended(draw: random.Random, content: bytearray) -> None:
    content[:0] = draw.choice([b"ID3\x04\0\0\0\0\x01\0" + bytes(128), draw.randbytes(draw.randint(1, 300)), b"\n"])


def _appended(draw: random.Random, content: bytearray) -> None:
    whole = bytes(content)
    frames = whole[whole.find(b"\xff\xf8") :]
    tag = b"TAG" + bytes(125)
    content += draw.choice([draw.randbytes(draw.randint(1, 5000)), bytes(draw.randint(1, 99)), tag, whole, frames])


def _block(draw: random.Random, content: bytearray) -> None:
    """A metadata block of any type, as long as it says or not."""
    said = draw.choice([0, 1, 100, 2**24 - 1, draw.randrange(2**24)])
    body = draw.randbytes(min(said, draw.choice([0, 100, 2000])))
    content[4] &= 0x7F  # another block follows
    content[_HEADER:_HEADER] = bytes([draw.randrange(256)]) + said.to_bytes(3, "big") + body


def _stream_info(draw: random.Random, content: bytearray) -> None:
    """Another rate, number of channels, of bits or of samples; or another checksum."""
    fields = int.from_bytes(content[18:26], "big")
    first, bits = draw.choice([(44, 20), (41, 3), (36, 5), (0, 36)])
    fields &= ~(((1 << bits) - 1) << first)
    fields |= draw.choice([0, 1, (1 << bits) - 1, draw.getrandbits(bits)]) << first
    content[18:26] = fields.to_bytes(8, "big")
    if draw.random() < 0.5:
        content[26:_HEADER] = draw.choice([bytes(16), draw.randbytes(16)])


_BYTES: list[Callable[[random.Random, bytearray], None]] = [
    _some_bytes,
    _in_the_beginning,
    _a_bit,
    _cut,
    _cut_a_little,
    _removed,
    _repeated,
    _overwritten,
    _prepended,
    _appended,
]


def _damaged(draw: random.Random, content: bytes, more: list[Callable[[random.Random, bytearray], None]]) -> bytes:
    changed = bytearray(content)
    draw.choice([*_BYTES, *more])(draw, changed)
    return bytes(changed)


def mutated_flac(draw: random.Random, content: bytes) -> bytes:
    """A FLAC file with one kind of damage: of bytes, of its header, of its blocks, or around it."""
    return _damaged(draw, content, [_block, _block, _stream_info, _stream_info, _appended, _cut_a_little])


def mutated_text(draw: random.Random, content: bytes) -> bytes:
    """A number as text with damage to its bytes, or another one in its place."""
    if draw.random() < 0.5:
        return str(draw.choice(_VALUES)).encode("utf-8", "surrogatepass")
    return _damaged(draw, content, [])


_VALUES: list[Any] = [
    *(None, True, False, 0, -1, 3.7, -0.0, 1e308, 5e-324, 2**31, 2**53 + 1, 2**63, 2**64, 10**30, 10**400),
    *(float("nan"), float("inf")),
    *("", "x" * 600, "é" * 60, "\x00", "\x1b[31m", "a\nb", "\u202e", "\ud800", "=1+1", "<b>", "[red]", "NaN"),
    *("../x", "/etc", "a/../../b", "x" * 5000, "0" * 64),
    *([], {}, [[]], {"a": 1}, [None] * 300, {str(number): number for number in range(300)}),
]
_KEYS = ["", "x", "\n", "\ud800", "a" * 300, "../x", "scene_v001", "v1", "settings", "format", "Path", "[/]"]


def _changed(draw: random.Random, document: Any) -> Any:
    """The same document with something replaced, removed, renamed or repeated, at any depth."""
    if not isinstance(document, dict | list) or not document or draw.random() < 0.1:
        return draw.choice(_VALUES)
    if isinstance(document, list):
        items = list(document)
        place = draw.randrange(len(items))
        match draw.choice(["deeper", "deeper", "remove", "repeat"]):
            case "deeper":
                items[place] = _changed(draw, items[place])
            case "remove":
                del items[place]
            case "repeat":
                items.append(items[place])
        return items
    entries = dict(document)
    key = draw.choice(list(entries))
    match draw.choice(["deeper", "deeper", "deeper", "remove", "rename", "add", "swap"]):
        case "deeper":
            entries[key] = _changed(draw, entries[key])
        case "remove":
            del entries[key]
        case "rename":
            entries[draw.choice(_KEYS)] = entries.pop(key)
        case "add":
            entries[draw.choice(_KEYS)] = draw.choice([entries[key], draw.choice(_VALUES)])
        case "swap":
            other = draw.choice(list(entries))
            entries[key], entries[other] = entries[other], entries[key]
    return entries


def _mutated_json(draw: random.Random, document: Any) -> bytes:
    if draw.random() < 0.3:
        return _damaged(draw, json.dumps(document).encode(), [])
    for _ in range(draw.randint(1, 3)):
        document = _changed(draw, document)
    if draw.random() < 0.1:  # text as it is, where it can be
        return json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return json.dumps(document).encode()


def mutated_manifest(draw: random.Random, document: dict[str, Any]) -> bytes:
    """The content of `submission.json` with damage to its values, keys or bytes."""
    return _mutated_json(draw, document)


def mutated_metadata(draw: random.Random, document: Any) -> bytes:
    """The content of a metadata file of an evaluation set with damage to its values, keys or bytes."""
    return _mutated_json(draw, document)
