"""Safetensors files made by hand, and damaged in every way that we could think of.

Written from the format's page alone: nothing here comes from fastnn.
"""

from __future__ import annotations

import json
import random


def start_of_values(file):
    return 8 + int.from_bytes(file[:8], "little")


def pack(header, values=b"", length=None):
    """Return a file of that header (an object, text or bytes) and those values."""
    if not isinstance(header, str | bytes):
        header = json.dumps(header)
    if isinstance(header, str):
        header = header.encode()
    return (len(header) if length is None else length).to_bytes(8, "little") + header + values


def unpack(file):
    """Return the header and the values of a sound file."""
    end = start_of_values(file)
    return json.loads(file[8:end]), file[end:]


def about_of(header):
    """Return what the file's metadata says of it, as an object."""
    return json.loads(header["__metadata__"]["fastnn"])


def with_about(file, about):
    """Return the file with other metadata (an object or text)."""
    header, values = unpack(file)
    text = about if isinstance(about, str) else json.dumps(about)
    header["__metadata__"]["fastnn"] = text
    return pack(header, values)


_VALUES = [
    *(None, True, False, 0, 1, -1, 2, 3, 7, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1, 10**30),
    *(0.0, 0.5, 1e308, -2.5, "", "F32", "F64", "BF16", "relu", "softmax", "network", "\ud800"),
    *(
        "ü",
        "a\0b",
        "W1",
        "x" * 5000,
        [],
        {},
        [[]],
        [0],
        [0, 0],
        [10**9, 10**9],
        [True, 2],
        {"a": 1},
    ),
]
_TEXTS = [
    *(
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "-0",
        "00",
        "1.",
        "9" * 5000,
        "[" * 3000,
        '{"a":' * 2000,
    ),
    *('"\\ud800"', "'", "\\", "\0", "\ufeff", "//", ",", ":", "{", "}", "[", "]", '"', " ", "null"),
]


def _places(value, found=None):
    """Return every (container, key) in a JSON value."""
    found = [] if found is None else found
    keys = value if isinstance(value, dict) else range(len(value))
    for key in keys:
        found.append((value, key))
        if isinstance(value[key], dict | list):
            _places(value[key], found)
    return found


def _edit(value, rng):
    """Change a JSON value in one place."""
    container, key = rng.choice(_places(value))
    other, at = rng.choice(_places(value))
    change = rng.randrange(6)
    if change == 0:
        del container[key]
    elif change == 1:
        container[key] = json.loads(json.dumps(other[at]))
    elif change == 2 and isinstance(container[key], int):
        container[key] += rng.choice([-1, 1, 4, 2**32])
    elif change == 3 and isinstance(container, dict):
        container[rng.choice(["W1", "W9", "b2", "extra", "sizes", "__metadata__", ""])] = (
            container.pop(key)
        )
    elif change == 4 and isinstance(container, list):
        container.insert(key, rng.choice(_VALUES))
    else:
        container[key] = rng.choice(_VALUES)


def _edit_text(text, rng):
    """Change a JSON text in one place: what no JSON writer would write."""
    at = rng.randrange(len(text))
    change = rng.randrange(4)
    if change == 0:
        return text[:at] + rng.choice(_TEXTS) + text[at + rng.randrange(3) :]
    if change == 1:  # a value for another
        start = text.find(":", at)
        end = min((i for i in (text.find(c, start) for c in ",}]") if i > 0), default=len(text))
        return text[: start + 1] + rng.choice(_TEXTS) + text[end:]
    if change == 2:  # a name that stands twice
        start = text.find('"', at)
        return text[:start] + text[start : text.find(",", start) + 1] + text[start:]
    return text[:at] + text[rng.randrange(len(text)) :]


def _flip(file, others, rng):
    changed = bytearray(file)
    begin = start_of_values(file)
    places = range(begin, len(file)) if rng.random() < 0.5 else range(begin)
    for _ in range(rng.randint(1, 4)):
        changed[rng.choice(places)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _truncate(file, others, rng):
    return file[: rng.randrange(len(file))]


def _extend(file, others, rng):
    return file + rng.choice([rng.randbytes(rng.randint(1, 200)), file, b"\0" * 4096])


def _lengthen(file, others, rng):
    true = start_of_values(file) - 8
    near = [true - 1, true + 1, true + rng.randint(-50, 50), len(file) - 8, len(file)]
    far = [0, 1, 2, 2**20, 2**20 + 1, 100_000_000, 2**31, 2**32 + true, 2**63, 2**64 - 1]
    length = rng.choice([*near, *far, rng.getrandbits(64)])
    return length.to_bytes(8, "little") + file[8:]


def _edit_header(file, others, rng):
    header, values = unpack(file)
    for _ in range(rng.randint(1, 2)):
        _edit(header, rng)
        if not header:
            break
    return pack(header, values)


def _edit_header_text(file, others, rng):
    header, values = unpack(file)
    return pack(_edit_text(json.dumps(header), rng).encode(errors="surrogatepass"), values)


def _edit_about(file, others, rng):
    about = about_of(unpack(file)[0])
    for _ in range(rng.randint(1, 2)):
        _edit(about, rng)
        if not about:
            break
    return with_about(file, about)


def _edit_about_text(file, others, rng):
    text = json.dumps(about_of(unpack(file)[0]))
    return with_about(file, _edit_text(text, rng))


def _splice(file, others, rng):
    other = rng.choice(others)
    if rng.random() < 0.5:  # the header of one with the values of the other
        return file[: start_of_values(file)] + other[start_of_values(other) :]
    return file[: rng.randrange(len(file))] + other[rng.randrange(len(other)) :]


def _about_of_another(file, others, rng):
    return with_about(file, about_of(unpack(rng.choice(others))[0]))


def _noise(file, others, rng):
    noise = rng.randbytes(rng.randrange(300))
    return rng.choice([noise, pack(noise), file[: start_of_values(file)] + noise])


MUTATIONS = [
    *(_flip, _truncate, _extend, _lengthen, _edit_header, _edit_header_text, _edit_about),
    *(_edit_about_text, _splice, _about_of_another, _noise),
]


def mutated(files, count, seed):
    """Yield so many damaged files, each with the name of what was done to it."""
    rng = random.Random(seed)
    for i in range(count):
        mutation = MUTATIONS[i % len(MUTATIONS)]
        yield mutation.__name__, mutation(rng.choice(files), files, rng)
